"""Pass ids, the stable identity of a customer: opaque text in documented forms (docs/contract/identity.md)."""

import re
import uuid

PASS_ID_CHARS_MAX = 200
ANONYMOUS = "pass:anon:"
SHOPIFY = "pass:shopify:"
NAMED_AFTER_SOMEBODY = (SHOPIFY, "pass:user:", "pass:email:", "pass:emailhash:")
_BARE_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def anonymous(visitor: uuid.UUID) -> str:
    return f"{ANONYMOUS}{visitor}"


def anonymous_uuid(pass_id: str) -> uuid.UUID | None:
    """The uuid of an anonymous pass id, in the form that `anonymous` gives it; None if it is another kind of id."""
    text = pass_id.removeprefix(ANONYMOUS)
    if text == pass_id or text != text.lower() or not _BARE_UUID.fullmatch(text):
        return None
    return uuid.UUID(text)


def looks_like_pass_id(value: str) -> bool:
    return value.startswith(("pass:", "pass_"))


def normalize(value: str) -> str | None:
    """A stated id in its normal form: None for `anonymous`; a bare UUID becomes an anonymous pass id."""
    value = value.strip()
    if not value or value.lower() in ("anonymous", "null", "undefined", "pass_anonymous"):
        return None
    if _BARE_UUID.fullmatch(value):
        return f"{ANONYMOUS}{value.lower()}"
    return value


def for_user(user_id: str) -> str:
    return f"pass:user:{user_id}"


def of_email(email: str) -> str:
    return f"pass:email:{email}"


def can_claim(pass_id: str, user_id: str) -> bool:
    """True if a signed-in user who states the id may take over its row. Ids made of a shop's customer, an e-mail or
    another user can be guessed, and belong to whom they name."""
    return pass_id == for_user(user_id) or not pass_id.startswith(NAMED_AFTER_SOMEBODY)


def of_shopify_customer(shopify_customer_id: str) -> str:
    return f"{SHOPIFY}{shopify_customer_id}"
