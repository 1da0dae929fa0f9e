"""`/api/v1/generations/stats`: a customer's generations, counted."""

from collections import Counter

from fastapi import APIRouter
from pydantic import Field

from safelight.api.auth.principals import CustomerByHeader
from safelight.api.http.services import FromApp
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.routing import v1_route
from safelight.db.generations import listing
from safelight.db.money import ledger

UNKNOWN_MODEL = "unknown"

router = APIRouter(route_class=v1_route(), tags=["v1"])


class GenerationStats(ResponseModel):
    """Deleted generations are not counted. `success_rate` is the percentage of ended generations with all or some of
    their results; null while none has ended. Cancelled ones count on neither side."""

    total: fields.Count
    queued: fields.Count
    processing: fields.Count
    completed: fields.Count
    completed_partial: fields.Count
    failed: fields.Count
    cancelled: fields.Count
    favorite: fields.Count
    total_credits_used: fields.Count
    success_rate: float | None = Field(ge=0, le=100, examples=[97.5])
    type_breakdown: dict[str, int] = Field(examples=[{"still": 12}])
    model_breakdown: dict[str, int] = Field(examples=[{"seedream-4.5": 12}])


@router.get(f"{PREFIX}/generations/stats", summary="Your generations, counted")
async def stats(services: FromApp, customer: CustomerByHeader) -> GenerationStats:
    async with services.db.connection() as conn:
        counts = await listing.counts(conn, customer.pass_id)
        favorite = await listing.favorite_count(conn, customer.pass_id)
        sums = {one.ref_type: one for one in await ledger.sums(conn, customer.pass_id)}
    by_status, by_kind, by_model = Counter[str](), Counter[str](), Counter[str]()
    for one in counts:
        by_status[one.status] += one.count
        by_kind[one.kind] += one.count
        by_model[one.model or UNKNOWN_MODEL] += one.count
    good = by_status["completed"] + by_status["completed_partial"]
    ended = good + by_status["failed"]
    charged = sums["mma_charge"].taken if "mma_charge" in sums else 0
    refunded = sums["mma_refund"].given if "mma_refund" in sums else 0
    return GenerationStats(
        total=by_status.total(),
        **{name: by_status[name] for name in ("queued", "processing", "completed", "completed_partial", "failed")},
        cancelled=by_status["cancelled"],
        favorite=favorite,
        total_credits_used=charged - refunded,
        success_rate=round(100 * good / ended, 2) if ended else None,
        type_breakdown=dict(by_kind),
        model_breakdown=dict(by_model),
    )
