"""Who may use the operators' routes: whoever knows the admin token."""

import secrets
from typing import Annotated

from fastapi import Depends, Header

from safelight.api.services import FromApp
from safelight.domain.errors import AuthError

HEADER_CHARS_MAX = 8192
BEARER = "bearer "


def require_admin(
    services: FromApp,
    authorization: Annotated[
        str | None,
        Header(max_length=HEADER_CHARS_MAX, description="`Bearer` and the admin token; the word may be left out."),
    ] = None,
    x_admin_secret: Annotated[
        str | None, Header(max_length=HEADER_CHARS_MAX, description="The admin token, as it is.")
    ] = None,
) -> None:
    stated = [token for token in (_without_bearer(authorization or ""), (x_admin_secret or "").strip()) if token]
    if not stated:
        raise AuthError("This needs the admin token: `Authorization: Bearer TOKEN` or `x-admin-secret: TOKEN`.")
    if not any(secrets.compare_digest(token.encode(), services.admin_token.encode()) for token in stated):
        raise AuthError("The admin token does not hold.")


def _without_bearer(header: str) -> str:
    header = header.strip()
    return header[len(BEARER) :].strip() if header.lower().startswith(BEARER) else header


ADMIN_ONLY = Depends(require_admin)
