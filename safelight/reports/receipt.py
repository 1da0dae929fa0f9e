"""The receipt of a generation: each charge and refund with its reason, and the steps that the credits paid for.

A customer's receipt names no provider and no model, and says nothing of what these cost us.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from safelight.db.connection.database import Connection
from safelight.db.generations import generations
from safelight.db.money import receipts
from safelight.db.money.receipts import MovedCredits, PaidStep
from safelight.domain.statuses import Status
from safelight.reports.generation import GenerationReport

ChargeOrRefund = Literal["charge", "refund", "expiry"]

_KINDS: dict[str, ChargeOrRefund] = {"mma_charge": "charge", "mma_refund": "refund", "expiration": "expiry"}
_UNITS = {"still": "still", "video": "video", "image_job": "position", "model_run": "result"}


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """One move of credits; `credits` is negative for a charge. `positions` are the results that it is for. `reference`
    names it in the ledger."""

    at: datetime
    kind: ChargeOrRefund
    credits: int
    positions: int
    reason: str
    reference: str


@dataclass(frozen=True, slots=True)
class ReceiptStep:
    """A step; what only operators see of it is None for others."""

    number: int
    type: str
    status: str
    attempts: int
    seconds: float | None
    error_code: str | None
    positions: int
    provider: str | None
    model: str | None
    provider_usd: Decimal | None
    possible_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """`paid` is `charged` less `refunded`: the price of what was delivered, once the generation is final. The costs of
    providers are None for customers; `possible_usd` may have been paid, since the answer to a start was lost."""

    generation_id: str
    pass_id: str
    kind: str
    status: str
    name: str | None
    created_at: datetime
    positions_ordered: int
    positions_delivered: int
    price_each: int
    charged: int
    refunded: int
    lines: tuple[ReceiptLine, ...]
    steps: tuple[ReceiptStep, ...]
    provider_usd: Decimal | None
    possible_usd: Decimal | None

    @property
    def paid(self) -> int:
        return self.charged - self.refunded


async def find(conn: Connection, generation_id: str, *, for_operator: bool) -> Receipt | None:
    """None if there is no such generation, or an older backend made it, which kept no references."""
    row = await generations.get(conn, generation_id)
    if row is None or row.status is None or row.mode is None:
        return None
    moved = await receipts.entries(conn, generation_id)
    steps = await receipts.steps(conn, generation_id)
    return _receipt(GenerationReport(row), moved, steps, for_operator=for_operator)


def _receipt(
    report: GenerationReport, moved: Sequence[MovedCredits], steps: Sequence[PaidStep], *, for_operator: bool
) -> Receipt:
    row = report.generation
    ordered = int((row.variables.get("progress") or {}).get("expected", 1))
    price_each = int(row.meta.get("price_each") or (report.price_credits or 0) // max(ordered, 1))
    made = sum(step.positions for step in steps)
    is_delivered = report.status is not None and report.status.record_status in ("succeeded", "completed_partial")
    return Receipt(
        generation_id=row.generation_id,
        pass_id=row.pass_id,
        kind=str(row.mode),
        status=str(row.status),
        name=row.title,
        created_at=row.created_at,
        positions_ordered=ordered,
        positions_delivered=made or int(is_delivered),
        price_each=price_each,
        charged=-sum(entry.credits for entry in moved if entry.ref_type == "mma_charge"),
        refunded=sum(entry.credits for entry in moved if entry.ref_type == "mma_refund"),
        lines=tuple(_line(report, entry, price_each) for entry in moved if entry.ref_type in _KINDS),
        steps=tuple(_step(step, for_operator=for_operator) for step in steps),
        provider_usd=sum((step.usd for step in steps), Decimal(0)) if for_operator else None,
        possible_usd=sum((step.possible_usd for step in steps), Decimal(0)) if for_operator else None,
    )


def _line(report: GenerationReport, entry: MovedCredits, price_each: int) -> ReceiptLine:
    kind = _KINDS[entry.ref_type]
    positions = abs(entry.credits) // price_each if price_each else 0
    reason = {
        "charge": _charged_for(report, entry, positions),
        "refund": _refunded_for(report, positions),
        "expiry": "These credits had expired before they came back.",
    }[kind]
    return ReceiptLine(entry.at, kind, entry.credits, positions, reason, entry.reference)


def _charged_for(report: GenerationReport, entry: MovedCredits, positions: int) -> str:
    unit = _UNITS.get(str(report.generation.mode), "result")
    ordered = f"{positions} {unit}{'' if positions == 1 else 's'}"
    return f"{ordered} that were missing" if ":retry:" in entry.reference else ordered


def _refunded_for(report: GenerationReport, positions: int) -> str:
    """The reason is the one that its customer was told."""
    stated = report.error or {}
    told = " ".join(str(stated[name]) for name in ("code", "message") if stated.get(name))
    match report.status:
        case Status.CANCELLED:
            why = "It was cancelled"
        case Status.ERROR:
            why = "It failed"
        case _:
            why = f"{positions} result{' was' if positions == 1 else 's were'} not delivered"
    return f"{why}: {told}" if told else f"{why}."


def _step(step: PaidStep, *, for_operator: bool) -> ReceiptStep:
    return ReceiptStep(
        step.number,
        step.type,
        step.status,
        step.attempts,
        step.seconds,
        step.error_code,
        step.positions,
        step.provider if for_operator else None,
        step.model if for_operator else None,
        step.usd if for_operator else None,
        step.possible_usd if for_operator else None,
    )
