"""Identity of callers and targets (docs/contract/identity.md): the user who signed in, else the stated pass id, a
shop's customer key, the header, or a new visitor.

Routes declare what they need by the dependencies of `principals.py`, and call nothing here. A token is checked before a
route begins, and what came of it travels with the request in a context variable: nothing can ask for a stated id and
forget the token that goes before it.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request
from starlette.types import Scope

from safelight import telemetry
from safelight.api.auth import visitors
from safelight.api.http.errors import report_wrong_admin_token
from safelight.api.http.rate_limits import RateLimitGroup, address_of
from safelight.api.http.services import Services
from safelight.api.schemas.aliases import clean_text
from safelight.db.connection.database import Connection
from safelight.db.money import customers
from safelight.db.money.customers import Account
from safelight.domain import pass_ids
from safelight.domain.errors.base import AuthError, Forbidden, InvalidInput, InvalidToken, SafelightError
from safelight.domain.errors.retries import AuthUnavailable
from safelight.domain.identities import ActingCustomer, TargetCustomer, Welcome
from safelight.domain.shared_secrets import same_secret
from safelight.redaction import DEFAULT_REDACTOR
from safelight.security.jwt import PUBLISHABLE, TokenUser, names_nobody

HEADER = "X-Mina-Pass-Id"
HEADER_CHARS_MAX = 8192
BEARER = "bearer "
KEYED_ROUTES = "/admin/"
NO_TOKENS = ("", "null", "undefined", "[object object]")  # what clients send when they have none
ACCESS_TOKEN = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*")  # a user's, which is no guess at the admin token
ADDRESS = "network address"
SIGN_IN = "Sign in first: this needs the access token of a user."


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request, as far as a token says. `refused` is why a token does not hold: whatever asks who is
    calling raises it. `has_admin_token`: an operator, or a server of ours, for whoever it states. `network` is the
    address that it came from."""

    services: Services
    state: dict[str, Any]
    network: str
    user: TokenUser | None = None
    refused: SafelightError | None = None
    has_admin_token: bool = False

    def signed_in(self) -> TokenUser | None:
        """Raises InvalidToken or AuthUnavailable where there is a token and it does not hold."""
        if self.refused:
            raise self.refused
        return self.user

    @property
    def needs_token(self) -> bool:
        return self.services.auth.token_required and not self.has_admin_token

    @property
    def address(self) -> str:
        return self.services.signer.keyed_hash(ADDRESS, self.network)

    @property
    def welcome(self) -> Welcome | None:
        credits = self.services.welcome_credits
        return Welcome(credits, self.address, self.services.welcomes_per_day) if credits else None

    def require_identity(self, customer: ActingCustomer | None) -> None:
        """Raises AuthError: nobody says who they are, where only a token counts."""
        if customer is None and self.needs_token:
            raise AuthError(SIGN_IN)


_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    return _caller.get()


@asynccontextmanager
async def authenticated(scope: Scope) -> AsyncIterator[None]:
    """The caller of the request is known inside this context."""
    token = _caller.set(await _caller_of(scope))
    try:
        yield
    finally:
        _caller.reset(token)


async def _caller_of(scope: Scope) -> Caller:
    """Raises TooManyRequests: too many wrong admin tokens came from this address."""
    services: Services = scope["app"].state.services
    request = Request(scope)
    caller = Caller(services, scope["state"], address_of(request))
    stated = request.headers.get("authorization", "")[:HEADER_CHARS_MAX]
    admin_secret = request.headers.get("x-admin-secret", "")[:HEADER_CHARS_MAX]
    # `?key=` counts on few routes: browsers and proxies keep addresses.
    key = request.query_params.get("key", "") if scope["path"].startswith(KEYED_ROUTES) else ""
    if await _states_admin_token(request, services, without_bearer(stated), admin_secret, key):
        return replace(caller, has_admin_token=True)
    token = without_bearer(stated) if stated.strip().lower().startswith(BEARER.strip()) else ""
    if services.auth.tokens is None or token.lower() in NO_TOKENS or names_nobody(token):
        return caller
    try:
        return replace(caller, user=await services.auth.tokens.user_of(token))
    except (InvalidToken, AuthUnavailable) as error:
        telemetry.warning(telemetry.Tag.API, f"An access token was refused: {error.details.get('reason', error)}")
        return replace(caller, refused=error)


async def _states_admin_token(request: Request, services: Services, *stated: str) -> bool:
    """Return true if one of them is the admin token.

    Where too many from this address were wrong, none is looked at, not even the right one: else guessing would go on.
    One more is looked at as soon as `Retry-After` says.
    """
    tried = [one for one in stated if may_be_admin_token(one)]
    guesses, address = [one for one in tried if not ACCESS_TOKEN.fullmatch(one.strip())], address_of(request)
    if guesses:
        services.rates.check(RateLimitGroup.ADMIN_TOKENS, address)
    secret = services.auth.admin_token
    if any([same_secret(one.strip(), secret) for one in tried]):  # noqa: C419 - all of them, which takes the same time
        return True
    if guesses:
        request.state.wrong_admin_token = True
        if services.rates.is_news(RateLimitGroup.ADMIN_TOKENS, address):
            await report_wrong_admin_token(request)
    for _ in guesses:
        services.rates.acquire(RateLimitGroup.ADMIN_TOKENS, address)
    return False


def may_be_admin_token(stated: str) -> bool:
    """False for what clients send when they have no token, the publishable key included, and for other schemes than
    `Bearer`."""
    stated = stated.strip()
    is_none = stated.lower() in (*NO_TOKENS, BEARER.strip()) or stated.startswith(PUBLISHABLE)
    return not is_none and " " not in stated


def without_bearer(header: str) -> str:
    """The token of an `Authorization` header; the word before it may be left out."""
    header = header.strip()
    return header[len(BEARER) :].strip() if header.lower().startswith(BEARER) else header


# --- how customers are found ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stated:
    """The customer whom a request names, by the place in which it does."""

    pass_id: str | None = None
    customer_key: str | None = None
    header: str | None = None

    def claim(self) -> str | None:
        """Return the id that the client states as its own; a shop's customer key may be anybody's."""
        stated = self.pass_id or self.header
        return pass_ids.normalize(stated) if stated else None


async def acting(stated: Stated, *, is_write: bool) -> ActingCustomer | None:
    """The customer whom the token names, else the request; None if they name nobody. A user's first write makes their
    row, or takes over the one that they state as their own.

    Raises:
        InvalidToken: there is a token, and it does not hold.
        AuthError: an id is stated where only a token counts, or the id of a row that belongs to a user.
        InvalidInput: an id is longer than any we store, or holds control characters.
    """
    caller = current_caller()
    user = caller.signed_in()
    async with caller.services.db.connection() as conn:
        named = await _named(conn, stated)
        if user is not None:
            customer = await _of_user(conn, user, stated.claim(), is_write=is_write)
        elif named is not None:
            customer = await _of_stated(conn, named)
        else:
            return None
    caller.state["pass_id"] = customer.pass_id
    return customer


async def _of_user(conn: Connection, user: TokenUser, claim: str | None, *, is_write: bool) -> ActingCustomer:
    if is_write:
        own: Account | None = await account(conn, user, claim)
    else:
        own = await customers.of_known_user(conn, user.id)
    pass_id = own.pass_id if own else await _future_pass_id(conn, user)
    return ActingCustomer(pass_id, True, own is None, current_caller().address)


async def _future_pass_id(conn: Connection, user: TokenUser) -> str:
    """The pass id that the user's row will have, if they take over none. Raises Forbidden, if it is another user's."""
    pass_id = pass_ids.for_user(user.id)
    row = await customers.get(conn, pass_id)
    if row is not None and row.user_id is not None:
        raise Forbidden(f"The pass id {pass_id} is another user's.")
    return pass_id


async def account(conn: Connection, user: TokenUser, claim: str | None) -> Account:
    """The user's row, made on their first visit. An operator never takes over a row: whom they state is whom they act
    on."""
    caller = current_caller()
    adopted = None if user.email in caller.services.auth.admin_emails else claim
    return await customers.of_user(conn, user.id, user.email, stated=adopted, welcome=caller.welcome)


async def _of_stated(conn: Connection, named: str) -> ActingCustomer:
    """Raises AuthError: only a token counts, or the row is a user's, whose token it needs in every mode."""
    who = current_caller()
    row = await customers.get(conn, named)
    has_user = row is not None and row.user_id is not None
    if who.needs_token or (has_user and not who.has_admin_token):
        raise AuthError(SIGN_IN)
    return _stated_customer(named, has_user=has_user)


def _stated_customer(pass_id: str, *, has_user: bool = False) -> ActingCustomer:
    """A new row is welcomed if its id is one that we issued."""
    caller = current_caller()
    is_ours = visitors.is_issued(caller.services.signer, pass_id)
    return ActingCustomer(pass_id, has_user, address=caller.address, welcome=caller.welcome if is_ours else None)


def new_visitor() -> ActingCustomer:
    caller = current_caller()
    customer = _stated_customer(visitors.issue(caller.services.signer))
    caller.state["pass_id"] = customer.pass_id
    return customer


async def target(stated: Stated) -> TargetCustomer | None:
    """Return the customer whom the request names, whoever sends it.

    Raises:
        InvalidInput: an id is longer than any we store, or holds control characters.
    """
    async with current_caller().services.db.connection() as conn:
        named = await _named(conn, stated)
    return TargetCustomer(named) if named else None


async def _named(conn: Connection, stated: Stated) -> str | None:
    places = (("passId", stated.pass_id), ("customerId", stated.customer_key), (HEADER, stated.header))
    for name, value in places:
        found = pass_ids.normalize(_checked(name, value)) if value else None
        if found is not None:
            return await _stored_form(conn, found, is_key=name == "customerId")
    return None


def pass_id_of_header(header: str | None) -> str | None:
    """None also where it holds what no id can be: a client's first call must not fail for that."""
    if not header or len(header) > pass_ids.PASS_ID_CHARS_MAX or not header.isprintable():
        return None
    return pass_ids.normalize(header)


def _checked(name: str, value: str) -> str:
    value = str(clean_text(value))
    if len(value) > pass_ids.PASS_ID_CHARS_MAX or not value.isprintable():
        raise InvalidInput(f"{name}: at most {pass_ids.PASS_ID_CHARS_MAX} printable characters are allowed.")
    return DEFAULT_REDACTOR.safe_id(value)


async def _stored_form(conn: Connection, name: str, *, is_key: bool) -> str:
    """A shop's customer key, bare or as `pass:shopify:KEY`, is the row that has the key, whatever that is called."""
    is_shops = name.startswith(pass_ids.SHOPIFY)
    if (pass_ids.looks_like_pass_id(name) or not is_key) and not is_shops:
        return name
    if await customers.get(conn, name):
        return name
    key = name.removeprefix(pass_ids.SHOPIFY)
    return await customers.pass_id_of_shopify_customer(conn, key) or pass_ids.of_shopify_customer(key)
