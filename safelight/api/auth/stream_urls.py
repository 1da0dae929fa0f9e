"""Addresses of streams. Browsers cannot send a token with one, so where an id is not enough the address carries a
signature of its own: for one generation, for an hour, looked at when a client connects."""

from typing import Annotated

from fastapi import Query

from safelight.api.http.services import Services
from safelight.domain.identities import ActingCustomer

PURPOSE = "stream"
SECONDS = 3600
V1_PURPOSE = "stream of /api/v1"
V1_SECONDS = 300  # of a token that a client fetches just before it connects
TOKEN_CHARS_MAX = 200

StreamToken = Annotated[
    str | None,
    Query(alias="token", max_length=TOKEN_CHARS_MAX, description="As it stands in the `sse_url` of an order."),
]


def stream_url(services: Services, generation_id: str, customer: ActingCustomer) -> str:
    """Return the address at which the customer can follow the generation."""
    path = f"/mma/stream/{generation_id}"
    if not (services.auth.token_required or customer.has_user):
        return path
    return f"{path}?token={services.signer.token(PURPOSE, generation_id, seconds=SECONDS)}"
