"""The first calls of a client: who am I, and which pass id is mine (docs/contract/legacy.md)."""

import psycopg
from fastapi import APIRouter, Request

from safelight.api.auth.operators import is_on_allow_list
from safelight.api.auth.principals import SignIn, SigningIn
from safelight.api.http import errors
from safelight.api.http.rate_limits import RateLimitGroup, per_address
from safelight.api.http.request_ids import prefixed
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import responses
from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.db.money import customers
from safelight.db.money.customers import Account
from safelight.domain.errors.base import InvalidToken
from safelight.domain.errors.retries import AuthUnavailable
from safelight.security.jwt import TokenUser

DEGRADED = "Something went wrong on our side; you can go on as a visitor."

router = APIRouter(tags=["account"])


@router.get("/me", summary="Who am I?", dependencies=[per_address(RateLimitGroup.PUBLIC), prefixed("me_")])
async def me(request: Request, services: FromApp, sign_in: SigningIn) -> responses.Me:
    """Without a token nothing is written. With one, the user's row is found or made. Where tokens cannot be checked
    just now, or something is wrong on our side, the client may go on as a visitor."""
    try:
        user = sign_in.user()
        if user is None:
            return _visitor(request, sign_in)
        account = await _account(request, services, sign_in, user)
        return responses.SignedIn(
            user=responses.User(id=user.id, email=user.email),
            isAdmin=is_on_allow_list(services, user.email, account.is_admin),
            passId=account.pass_id,
        )
    except AuthUnavailable as error:
        return _visitor_for_now(request, sign_in, error.safe_message)
    except TRANSIENT_ERRORS:
        raise
    except psycopg.Error as error:
        await errors.report(request, error)
        return _visitor_for_now(request, sign_in, DEGRADED)


async def _account(
    request: Request, services: Services, sign_in: SignIn, user: TokenUser, *, gathers_credits: bool = False
) -> Account:
    """The row of the user, who visits now. With `gathers_credits` it gets the credits of their e-mail; without, a first
    visit may take over the row that the header states."""
    async with services.db.transaction() as conn:
        account = await sign_in.account(conn, user, may_adopt=not gathers_credits)
        await customers.record_visit(conn, account.pass_id, user.email)
        if gathers_credits and user.email:
            await customers.merge_credits(conn, account.pass_id, user.email)
    request.state.pass_id = account.pass_id
    return account


def _visitor(request: Request, sign_in: SignIn) -> responses.Visitor:
    request.state.pass_id = sign_in.visitor()
    return responses.Visitor(passId=request.state.pass_id)


def _visitor_for_now(request: Request, sign_in: SignIn, reason: str) -> responses.VisitorForNow:
    return responses.VisitorForNow(**_visitor(request, sign_in).model_dump(), degradedReason=reason)


@router.post(
    "/auth/shopify-sync",
    summary="Sign in: find or make the user's row, and gather the credits of their e-mail",
    dependencies=[per_address(RateLimitGroup.PUBLIC)],
)
async def sync(request: Request, services: FromApp, sign_in: SigningIn) -> responses.Login:
    """Only the token counts; whatever the body states is ignored. Without one that holds, nobody is logged in."""
    nobody = responses.NotLoggedIn()
    try:
        user = sign_in.user()
        if user is None:
            return nobody
        account = await _account(request, services, sign_in, user, gathers_credits=True)
        return responses.LoggedIn(passId=account.pass_id, email=user.email, isNewUser=account.is_new)
    except InvalidToken:
        return nobody
    except (AuthUnavailable, psycopg.Error) as error:
        await errors.report(request, error)
        return responses.NotLoggedInForNow()
