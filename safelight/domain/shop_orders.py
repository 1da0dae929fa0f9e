"""Orders of a shop (Shopify's order webhook): what was bought, by whom, and how many credits that is."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from safelight.domain import passes
from safelight.domain.errors import ConfigError, InvalidInput

ID_CHARS_MAX = 100
EMAIL_CHARS_MAX = 180  # a pass id may be made of it
LINES_MAX = 500
CREDITS_MAX = 1_000_000
PASS_ID_ATTRIBUTE = "mina_pass_id"  # noqa: S105 - a name
UNPAID = ("pending", "authorized", "voided", "expired", "refunded")
_PACK = re.compile(r"MINA-(\d{1,6})", re.IGNORECASE)

Products = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Shop:
    """`secret` signs what the shop says; `products` are those whose names do not tell their credits."""

    secret: str
    products: Products


@dataclass(frozen=True, slots=True)
class ShopOrder:
    id: str
    credits: int
    is_paid: bool
    at: datetime
    pass_id: str | None
    customer_id: str | None
    email: str | None


def credit_products(text: str) -> Products:
    """Raises ConfigError where it is no JSON object of whole numbers."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"SAFELIGHT_CREDIT_PRODUCTS is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(type(credits) is int and credits > 0 for credits in found.values()):
        raise ConfigError('SAFELIGHT_CREDIT_PRODUCTS must look like {"SKU": 50}')
    return {name.lower(): credits for name, credits in found.items()}


def read(order: Any, products: Products) -> ShopOrder:
    """Raises InvalidInput where it has no id."""
    order = order if isinstance(order, dict) else {}
    order_id = _id(order.get("id"))
    if order_id is None:
        raise InvalidInput("id: the order has none.", code="MISSING_ORDER_ID")
    customer = order.get("customer") if isinstance(order.get("customer"), dict) else {}
    return ShopOrder(
        id=order_id,
        credits=min(sum(_credits(line, products) for line in _objects(order.get("line_items"))), CREDITS_MAX),
        is_paid=order.get("financial_status") not in UNPAID,
        at=_time(order.get("processed_at")) or _time(order.get("created_at")) or datetime.now(UTC),
        pass_id=_stated_pass_id(order),
        customer_id=_id(customer.get("id")),
        email=_email(order.get("email")) or _email(customer.get("email")),
    )


def _credits(line: dict[str, Any], products: Products) -> int:
    """Of one line: what its SKU or variant is worth, times how many were bought."""
    sku, variant, quantity = _id(line.get("sku")) or "", _id(line.get("variant_id")) or "", line.get("quantity", 1)
    if type(quantity) is not int or quantity < 1:
        return 0
    pack = _PACK.fullmatch(sku)
    each = int(pack[1]) if pack else products.get(sku.lower(), products.get(variant.lower(), 0))
    return each * quantity


def _stated_pass_id(order: dict[str, Any]) -> str | None:
    for attribute in _objects(order.get("note_attributes")):
        value = attribute.get("value")
        if attribute.get("name") == PASS_ID_ATTRIBUTE and isinstance(value, str) and value.isprintable():
            stated = passes.normal_form(value)
            return stated if stated and len(stated) <= passes.PASS_ID_CHARS_MAX else None
    return None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value[:LINES_MAX] if isinstance(one, dict)] if isinstance(value, list) else []


def _id(value: Any) -> str | None:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if text and len(text) <= ID_CHARS_MAX and text.isprintable() else None


def _email(value: Any) -> str | None:
    email = value.strip().lower() if isinstance(value, str) else ""
    return email if "@" in email and len(email) <= EMAIL_CHARS_MAX and email.isprintable() else None


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
