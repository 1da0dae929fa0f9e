"""Amounts of credits, read in one way from the bodies of all routes and from the command line."""

from typing import Any

from safelight.domain.errors.base import InvalidInput

AMOUNT_MAX = 1_000_000


def credit_amount(
    stated: Any, field: str, *, takes_text: bool = False, minimum: int = -AMOUNT_MAX, code: str | None = None
) -> int:
    """Read a whole number of credits that is not 0; with `takes_text` also one that is written as a text. Raises
    InvalidInput if it is none, or out of bounds; the message names the field."""
    kinds = str | int | float if takes_text else int | float
    try:
        amount = float(stated) if isinstance(stated, kinds) and not isinstance(stated, bool) else 0.0
    except (ValueError, OverflowError):
        amount = 0.0
    if not amount.is_integer() or amount == 0 or not minimum <= amount <= AMOUNT_MAX:
        rule = f"a whole number from {minimum} to {AMOUNT_MAX}" + (" that is not 0" if minimum < 0 else "")
        raise InvalidInput(f"{field}: {rule}.", code=code)
    return int(amount)
