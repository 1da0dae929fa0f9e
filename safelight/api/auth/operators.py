"""Access to the operators' routes: with the admin token, or signed in as a user who is on the allow-list."""

from typing import Annotated

from fastapi import Depends, Header, Query, Request

from safelight.api.auth import identity
from safelight.api.auth.identity import HEADER_CHARS_MAX
from safelight.api.http.request_ids import origin
from safelight.api.http.services import FromApp, Services
from safelight.db.money import customers
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import AuthError, Forbidden

KEY_CHARS_MAX = 256  # a request's first line and its headers must fit together into what a server reads at once


AdminHeader = Annotated[
    str | None,
    Header(
        alias="authorization",
        max_length=HEADER_CHARS_MAX,
        description="`Bearer` and the admin token (the word may be left out), or an operator's access token.",
    ),
]
AdminSecret = Annotated[
    str | None,
    Header(alias="x-admin-secret", max_length=HEADER_CHARS_MAX, description="The admin token, as it is."),
]
AdminKey = Annotated[
    str | None,
    Query(alias="key", max_length=KEY_CHARS_MAX, description="The admin token, where no header can be sent."),
]


async def require_admin(
    request: Request, services: FromApp, authorization: AdminHeader = None, secret: AdminSecret = None
) -> Operator:
    """Raises AuthError, or Forbidden where we know who it is and they are no operator."""
    return await _operator_by(request, services, identity.without_bearer(authorization or ""), secret)


async def require_admin_by_key_too(
    request: Request,
    services: FromApp,
    authorization: AdminHeader = None,
    secret: AdminSecret = None,
    key: AdminKey = None,
) -> Operator:
    """As `require_admin`, for the routes that accept the admin token as `?key=`."""
    return await _operator_by(request, services, identity.without_bearer(authorization or ""), secret, key)


async def _operator_by(request: Request, services: Services, *stated: str | None) -> Operator:
    if not any((one or "").strip() for one in stated):
        raise AuthError("This needs the admin token: `Authorization: Bearer TOKEN` or `x-admin-secret: TOKEN`.")
    operator = await optional_operator(request, services)
    if operator is None and identity.current_caller().user:
        raise Forbidden("You are signed in, and no operator.")
    if operator is None:
        raise AuthError("The admin token does not hold.")
    return operator


async def optional_operator(request: Request, services: Services) -> Operator | None:
    """The operator who sent the request; None where it is somebody else.

    Raises:
        InvalidToken: there is an access token, and it does not hold.
    """
    who = identity.current_caller()
    if who.has_admin_token:
        return Operator("admin token", **origin(request))
    user = who.signed_in()
    if user is None:
        return None
    async with services.db.connection() as conn:
        known = await customers.of_known_user(conn, user.id)
    if not is_on_allow_list(services, user.email, bool(known and known.is_admin)):
        return None
    pass_id = known.pass_id if known else None
    return Operator(user.email or user.id, pass_id=pass_id, user_id=user.id, email=user.email, **origin(request))


def is_on_allow_list(services: Services, email: str | None, row_says_so: bool) -> bool:
    return row_says_so or email in services.auth.admin_emails


ADMIN_ONLY = Depends(require_admin)
ByOperator = Annotated[Operator, ADMIN_ONLY]
ADMIN_ONLY_BY_KEY_TOO = Depends(require_admin_by_key_too)
ByOperatorWithKey = Annotated[Operator, ADMIN_ONLY_BY_KEY_TOO]
