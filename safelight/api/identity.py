"""Who is asking (contract section 3.2): the user who signed in, else the stated pass id, a shop's customer key, the
header, or a new visitor.

A token is checked before a route begins, and what came of it travels with the request in a context variable, not from
hand to hand: a route cannot ask for a stated id and forget the token that goes before it.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header, Request
from starlette.types import Scope

from safelight.api.errors import report_wrong_admin_token
from safelight.api.folding import clean_text
from safelight.api.rates import Kind, address_of
from safelight.api.services import Services
from safelight.api.tokens import User
from safelight.db import customers
from safelight.db.customers import Account
from safelight.db.database import Connection
from safelight.domain import passes
from safelight.domain.errors import AuthError, InvalidInput, InvalidToken, NotFound, SafelightError, SignInUnavailable
from safelight.domain.shared_secrets import same_secret
from safelight.redaction import KNOWN_FORMS

HEADER = "X-Mina-Pass-Id"
HEADER_CHARS_MAX = 8192
BEARER = "bearer "
KEYED_ROUTES = "/admin/"
NO_TOKENS = ("", "null", "undefined", "[object object]")  # what clients send when they have none
ACCESS_TOKEN = re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*")  # a user's, which is no guess at the admin token
SIGN_IN = "Sign in first: this needs the access token of a user."

PassIdHeader = Annotated[
    str | None, Header(alias=HEADER, description="The customer's stable id, where the body states none.")
]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent the request, as far as a token says. `refused` is why a token does not hold: whatever asks who is
    calling raises it. `has_admin_token`: an operator, or a server of ours, for whoever it states."""

    services: Services
    state: dict[str, Any]
    user: User | None = None
    refused: SafelightError | None = None
    has_admin_token: bool = False

    def signed_in(self) -> User | None:
        """Raises InvalidToken or SignInUnavailable where there is a token and it does not hold."""
        if self.refused:
            raise self.refused
        return self.user

    @property
    def needs_token(self) -> bool:
        return self.services.token_required and not self.has_admin_token

    def must_not_be_nobody(self, found: str | None) -> None:
        """Raises AuthError: nobody says who they are, where only a token counts."""
        if found is None and self.needs_token:
            raise AuthError(SIGN_IN)


_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    return _caller.get()


@asynccontextmanager
async def introduced(scope: Scope) -> AsyncIterator[None]:
    """The caller of the request is known inside this context."""
    token = _caller.set(await _caller_of(scope))
    try:
        yield
    finally:
        _caller.reset(token)


async def _caller_of(scope: Scope) -> Caller:
    """Raises TooManyRequests: too many wrong admin tokens came from this address."""
    services: Services = scope["app"].state.services
    state, request = scope["state"], Request(scope)
    stated = request.headers.get("authorization", "")[:HEADER_CHARS_MAX]
    admin_secret = request.headers.get("x-admin-secret", "")[:HEADER_CHARS_MAX]
    if await _states_admin_token(request, services, without_bearer(stated), admin_secret, _key_of(scope)):
        return Caller(services, state, has_admin_token=True)
    token = without_bearer(stated) if stated.strip().lower().startswith(BEARER.strip()) else ""
    if services.tokens is None or token.lower() in NO_TOKENS:
        return Caller(services, state)
    try:
        return Caller(services, state, user=await services.tokens.user_of(token))
    except (InvalidToken, SignInUnavailable) as error:
        return Caller(services, state, refused=error)


async def _states_admin_token(request: Request, services: Services, *stated: str) -> bool:
    """Whether one of them is the admin token.

    Where too many from this address were wrong, none is looked at, not even the right one: else guessing would go on.
    One more is looked at as soon as `Retry-After` says.
    """
    tried = [one for one in stated if may_be_admin_token(one)]
    guesses, address = [one for one in tried if not ACCESS_TOKEN.fullmatch(one.strip())], address_of(request)
    if guesses:
        services.rates.check(Kind.ADMIN_TOKENS, address)
    if any([is_admin_token(services, one) for one in tried]):  # noqa: C419 - all of them, which takes the same time
        return True
    if guesses:
        request.state.wrong_admin_token = True
        if services.rates.is_news(Kind.ADMIN_TOKENS, address):
            await report_wrong_admin_token(request)
    for _ in guesses:
        services.rates.take(Kind.ADMIN_TOKENS, address)
    return False


def may_be_admin_token(stated: str) -> bool:
    """False for what clients send when they have no token, and for other schemes than `Bearer`."""
    stated = stated.strip()
    return stated.lower() not in (*NO_TOKENS, BEARER.strip()) and " " not in stated


def _key_of(scope: Scope) -> str:
    """`?key=`, where the contract lets it be the admin token: addresses are kept by browsers and proxies."""
    return Request(scope).query_params.get("key", "") if scope["path"].startswith(KEYED_ROUTES) else ""


def is_admin_token(services: Services, stated: str) -> bool:
    return same_secret(stated.strip(), services.admin_token)


def without_bearer(header: str) -> str:
    """The token of an `Authorization` header; the word before it may be left out."""
    header = header.strip()
    return header[len(BEARER) :].strip() if header.lower().startswith(BEARER) else header


# --- for routes -----------------------------------------------------------------------------------------------------


async def stated_pass_id(
    conn: Connection, *, pass_id: str | None, customer_key: str | None, header: str | None
) -> str | None:
    """The pass id of the user who signed in, else what body or header state; None where they state nobody.

    Raises:
        InvalidToken: there is a token, and it does not hold.
        AuthError: an id is stated where only a token counts.
        InvalidInput: an id is longer than any we store, or holds control characters.
    """
    who = caller()
    user = who.signed_in()
    found = await named_pass_id(conn, pass_id=pass_id, customer_key=customer_key, header=header)
    if user:
        found = (await account(conn, stated=found)).pass_id
    elif found and who.needs_token:
        raise AuthError(SIGN_IN)
    who.state["pass_id"] = found
    return found


async def resolve(
    request: Request, conn: Connection, *, pass_id: str | None, customer_key: str | None, header: str | None
) -> str:
    """As `stated_pass_id`; where nobody is stated, that of a new anonymous visitor. The answer's header says which."""
    found = await stated_pass_id(conn, pass_id=pass_id, customer_key=customer_key, header=header)
    caller().must_not_be_nobody(found)
    request.state.pass_id = found or passes.new_anonymous()
    return str(request.state.pass_id)


async def account(conn: Connection, *, stated: str | None = None) -> Account:
    """The row of the user who signed in, made where it is their first visit."""
    who = caller()
    user = who.signed_in()
    if user is None:
        raise AuthError(SIGN_IN)
    return await customers.of_user(conn, user.id, user.email, stated=stated, free_credits=who.services.free_credits)


async def must_own(conn: Connection, owner: str | None, *, header: str | None, what: str) -> None:
    """An id is unguessable and passes for permission where nobody says who they are; who does must be its owner.

    Raises:
        NotFound: it is somebody else's.
        AuthError: nobody says who they are, where only a token counts.
    """
    who = caller()
    if who.has_admin_token:
        return
    asker = await stated_pass_id(conn, pass_id=None, customer_key=None, header=header)
    who.must_not_be_nobody(asker)
    if asker is not None and asker != owner:
        raise NotFound(f"There is no {what}.")


async def named_pass_id(
    conn: Connection, *, pass_id: str | None, customer_key: str | None, header: str | None
) -> str | None:
    """Whom body or header name, whoever asks. It gives no right to anything: for operators' routes, and to compare.

    Raises:
        InvalidInput: an id is longer than any we store, or holds control characters.
    """
    for name, value in (("passId", pass_id), ("customerId", customer_key), (HEADER, header)):
        stated = passes.normal_form(_checked(name, value)) if value else None
        if stated is None:
            continue
        return stated if name != "customerId" else await _of_customer_key(conn, stated)
    return None


def pass_id_of_header(header: str | None) -> str | None:
    """None also where it holds what no id can be: a client's first call must not fail for that."""
    if not header or len(header) > passes.PASS_ID_CHARS_MAX or not header.isprintable():
        return None
    return passes.normal_form(header)


def _checked(name: str, value: str) -> str:
    value = str(clean_text(value))
    if len(value) > passes.PASS_ID_CHARS_MAX or not value.isprintable():
        raise InvalidInput(f"{name}: at most {passes.PASS_ID_CHARS_MAX} printable characters are allowed.")
    return KNOWN_FORMS.identifier(value)


async def _of_customer_key(conn: Connection, key: str) -> str:
    if passes.looks_like_pass_id(key) or await customers.get(conn, key):
        return key
    return await customers.pass_id_of_shopify_customer(conn, key) or passes.of_shopify_customer(key)
