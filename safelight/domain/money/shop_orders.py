"""Orders and refunds of a shop, as Shopify's webhooks state them: the products, the buyer and the credits."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from safelight.domain import pass_ids
from safelight.domain.errors.base import ConfigError, InvalidInput

ID_CHARS_MAX = 100
EMAIL_CHARS_MAX = 180  # a pass id may be made of it
LINES_MAX = 500
CREDITS_MAX = 1_000_000
PASS_ID_ATTRIBUTE = "mina_pass_id"  # noqa: S105 - a name
PAID = "paid"
PAID_TOPIC = "orders/paid"
REFUND_TOPIC = "refunds/create"
OrderRefusal = Literal["NOT_PAID", "TEST_ORDER", "CANCELLED"]
GIVEN_BACK = ("refunded", "voided")  # a refund of the whole order, by its financial status
REFUNDS_MAX = 100
_PACK = re.compile(r"MINA-(\d{1,6})", re.IGNORECASE)

Products = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Shop:
    """`secret` signs the webhooks; `products` are the credits of products whose SKU does not tell them."""

    secret: str
    products: Products


@dataclass(frozen=True, slots=True)
class ShopRefund:
    """With `credits` None the rest of the order is refunded."""

    id: str
    order_id: str
    credits: int | None


@dataclass(frozen=True, slots=True)
class ShopOrder:
    """`refusal` is the reason for not crediting it: NOT_PAID, TEST_ORDER or CANCELLED. `pass_id` is the recipient that
    the buyer names, as for a gift; `customer_id` and `email` are the buyer. `at` is None if the order states no
    date."""

    id: str
    credits: int
    refusal: OrderRefusal | None
    refunds: tuple[ShopRefund, ...]
    at: datetime | None
    pass_id: str | None
    customer_id: str | None
    email: str | None


def credit_products(text: str) -> Products:
    """Raises ConfigError if the text is not a JSON object of whole numbers."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"SAFELIGHT_CREDIT_PRODUCTS is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(type(credits) is int and credits > 0 for credits in found.values()):
        raise ConfigError('SAFELIGHT_CREDIT_PRODUCTS must look like {"SKU": 50}')
    return {name.lower(): credits for name, credits in found.items()}


def is_refund(payload: Any, topic: str) -> bool:
    """True if the webhook is about a refund, by its topic, else by its fields."""
    if topic:
        return topic == REFUND_TOPIC
    return isinstance(payload, dict) and "order_id" in payload and "refund_line_items" in payload


def read_refund(payload: Any, products: Products) -> ShopRefund:
    """Raises InvalidInput if the refund or its order has no id."""
    refund = payload if isinstance(payload, dict) else {}
    found = _refund(refund, _id(refund.get("order_id")), [], products)
    if found is None:
        raise InvalidInput("id, order_id: a refund has both.", code="MISSING_ORDER_ID")
    return found


def read(order: Any, products: Products, topic: str = "") -> ShopOrder:
    """Raises InvalidInput if the order has no id."""
    order = order if isinstance(order, dict) else {}
    order_id = _id(order.get("id"))
    if order_id is None:
        raise InvalidInput("id: the order has none.", code="MISSING_ORDER_ID")
    customer = order.get("customer") if isinstance(order.get("customer"), dict) else {}
    lines = _objects(order.get("line_items"))
    return ShopOrder(
        id=order_id,
        credits=min(sum(_credits(line, products) for line in lines), CREDITS_MAX),
        refusal=_refusal(order, topic),
        refunds=_refunds(order, order_id, lines, products),
        at=_time(order.get("processed_at")) or _time(order.get("created_at")),
        pass_id=_stated_pass_id(order),
        customer_id=_id(customer.get("id")),
        email=_email(order.get("email")) or _email(customer.get("email")),
    )


def _refusal(order: dict[str, Any], topic: str) -> OrderRefusal | None:
    """Shopify states the financial status of every order. If a sender leaves it out, the topic tells that the order was
    paid; without a topic, it is the webhook for paid orders."""
    if order.get("test") not in (None, False):
        return "TEST_ORDER"
    if order.get("cancelled_at") is not None:
        return "CANCELLED"
    is_paid = order["financial_status"] == PAID if "financial_status" in order else topic in (PAID_TOPIC, "")
    return None if is_paid else "NOT_PAID"


def _refunds(
    order: dict[str, Any], order_id: str, lines: list[dict[str, Any]], products: Products
) -> tuple[ShopRefund, ...]:
    stated = (_refund(refund, order_id, lines, products) for refund in _objects(order.get("refunds"))[:REFUNDS_MAX])
    found = [refund for refund in stated if refund]
    if order.get("financial_status") in GIVEN_BACK:
        found.append(ShopRefund(f"order:{order_id}", order_id, None))
    return tuple(found)


def _refund(
    refund: dict[str, Any], order_id: str | None, lines: list[dict[str, Any]], products: Products
) -> ShopRefund | None:
    """The credits are those of the refunded lines, which are in the refund itself or in the order."""
    refund_id = _id(refund.get("id"))
    if refund_id is None or order_id is None:
        return None
    of_order = {_id(line.get("id")): line for line in lines}
    credits = 0
    for item in _objects(refund.get("refund_line_items")):
        line = item.get("line_item") if isinstance(item.get("line_item"), dict) else None
        line = line or of_order.get(_id(item.get("line_item_id"))) or {}
        credits += _credits(line | {"quantity": item.get("quantity", 1)}, products)
    return ShopRefund(refund_id, order_id, min(credits, CREDITS_MAX))


def _credits(line: dict[str, Any], products: Products) -> int:
    """The credits of one line: those of its SKU or variant, times the quantity."""
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
            stated = pass_ids.normalize(value)
            return stated if stated and len(stated) <= pass_ids.PASS_ID_CHARS_MAX else None
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
