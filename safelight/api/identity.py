"""Who is asking (contract section 3.2): the stated pass id, a shop's customer key, the header, or a new visitor."""

from typing import Annotated

from fastapi import Header, Request

from safelight.api.folding import clean_text
from safelight.db import customers
from safelight.db.database import Connection
from safelight.domain import passes
from safelight.domain.errors import InvalidInput
from safelight.redaction import KNOWN_FORMS

HEADER = "X-Mina-Pass-Id"
PassIdHeader = Annotated[
    str | None, Header(alias=HEADER, description="The customer's stable id, where the body states none.")
]


async def stated_pass_id(
    conn: Connection, *, pass_id: str | None, customer_key: str | None, header: str | None
) -> str | None:
    """The pass id that body or header state; None where they state nobody.

    Raises:
        InvalidInput: an id is longer than any we store, or holds control characters.
    """
    for name, value in (("passId", pass_id), ("customerId", customer_key), (HEADER, header)):
        stated = passes.normal_form(_checked(name, value)) if value else None
        if stated is None:
            continue
        return stated if name != "customerId" else await _of_customer_key(conn, stated)
    return None


async def resolve(
    request: Request, conn: Connection, *, pass_id: str | None, customer_key: str | None, header: str | None
) -> str:
    """The stated pass id, else that of a new anonymous visitor. The answer's header says which."""
    found = await stated_pass_id(conn, pass_id=pass_id, customer_key=customer_key, header=header)
    request.state.pass_id = found or passes.new_anonymous()
    return str(request.state.pass_id)


def _checked(name: str, value: str) -> str:
    value = str(clean_text(value))
    if len(value) > passes.PASS_ID_CHARS_MAX or not value.isprintable():
        raise InvalidInput(f"{name}: at most {passes.PASS_ID_CHARS_MAX} printable characters are allowed.")
    return KNOWN_FORMS.identifier(value)


async def _of_customer_key(conn: Connection, key: str) -> str:
    if passes.looks_like_pass_id(key) or await customers.get(conn, key):
        return key
    return await customers.pass_id_of_shopify_customer(conn, key) or passes.of_shopify_customer(key)
