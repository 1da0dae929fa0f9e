"""The first calls of a client: who am I, and which pass id is mine (docs/contract/legacy.md)."""

from typing import Any

import psycopg
from fastapi import APIRouter, Request

from safelight.api.auth.operators import is_on_allow_list
from safelight.api.auth.principals import SignIn, SigningIn
from safelight.api.http import errors
from safelight.api.http.error_responses import error_responses
from safelight.api.http.rate_limits import RateLimitGroup, per_address
from safelight.api.http.request_ids import prefixed, request_id
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import examples, responses
from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.db.money import customers
from safelight.domain.errors.base import InvalidToken
from safelight.domain.errors.retries import AuthUnavailable
from safelight.security.jwt import User

Json = dict[str, Any]

DEGRADED = "Something went wrong on our side; you can go on as a visitor."

router = APIRouter(tags=["account"])

_ME = {
    "ok": True,
    "user": {"id": "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11", "email": "ann@example.com"},
    "isAdmin": False,
    "passId": "pass:user:0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11",
    "requestId": "me_…",
}


@router.get(
    "/me",
    summary="Who am I?",
    dependencies=[per_address(RateLimitGroup.PUBLIC), prefixed("me_")],
    responses={200: examples.of(responses.Me, _ME), **error_responses(401, 429, 503)},
)
async def me(request: Request, services: FromApp, sign_in: SigningIn) -> Json:
    """Without a token nothing is written. With one, the user's row is found or made. Where tokens cannot be checked
    just now, or something is wrong on our side, the client may go on as a visitor."""
    try:
        user = sign_in.user()
        return _visitor(request, sign_in) if user is None else await _user(request, services, sign_in, user)
    except AuthUnavailable as error:
        return _visitor(request, sign_in) | {"degraded": True, "degradedReason": error.safe_message}
    except TRANSIENT_ERRORS:
        raise
    except psycopg.Error as error:
        await errors.tell(request, error)
        return _visitor(request, sign_in) | {"degraded": True, "degradedReason": DEGRADED}


async def _user(request: Request, services: Services, sign_in: SignIn, user: User) -> Json:
    async with services.db.transaction() as conn:
        account = await sign_in.account(conn, user, may_adopt=True)
        await customers.record_visit(conn, account.pass_id, user.email)
    request.state.pass_id = account.pass_id
    return {
        "ok": True,
        "user": {"id": user.id, "email": user.email},
        "isAdmin": is_on_allow_list(services, user.email, account.is_admin),
        "passId": account.pass_id,
        "requestId": request_id(request),
    }


def _visitor(request: Request, sign_in: SignIn) -> Json:
    request.state.pass_id = sign_in.visitor()
    return {
        "ok": True,
        "user": None,
        "isAdmin": False,
        "passId": request.state.pass_id,
        "requestId": request_id(request),
    }


@router.post(
    "/auth/shopify-sync",
    summary="Sign in: find or make the user's row, and gather the credits of their e-mail",
    dependencies=[per_address(RateLimitGroup.PUBLIC)],
    responses={
        200: examples.of(
            responses.Login,
            {
                "ok": True,
                "loggedIn": True,
                "passId": _ME["passId"],
                "email": "ann@example.com",
                "isNewUser": False,
                "requestId": "req_…",
            },
        ),
        **error_responses(403, 429),
    },
)
async def sync(request: Request, services: FromApp, sign_in: SigningIn) -> Json:
    """Only the token counts; whatever the body states is ignored. Without one that holds, nobody is logged in."""
    nobody = {"ok": True, "loggedIn": False, "requestId": request_id(request)}
    try:
        user = sign_in.user()
        return nobody if user is None else await _synced(request, services, sign_in, user)
    except InvalidToken:
        return nobody
    except (AuthUnavailable, psycopg.Error) as error:
        await errors.tell(request, error)
        return nobody | {"degraded": True}


async def _synced(request: Request, services: Services, sign_in: SignIn, user: User) -> Json:
    async with services.db.transaction() as conn:
        account = await sign_in.account(conn, user, may_adopt=False)
        await customers.record_visit(conn, account.pass_id, user.email)
        if user.email:
            await customers.merge_credits(conn, account.pass_id, user.email)
    request.state.pass_id = account.pass_id
    return {
        "ok": True,
        "loggedIn": True,
        "passId": account.pass_id,
        "email": user.email,
        "isNewUser": account.is_new,
        "requestId": request_id(request),
    }
