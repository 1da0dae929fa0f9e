"""The receipt of a generation, as JSON and as one page."""

from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import Field

from safelight.api.auth.principals import OwnerOrOperator
from safelight.api.http.error_responses import error_responses
from safelight.api.http.services import FromApp
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.generation_models import GenerationUri
from safelight.api.v1.routing import GenerationPath, path_of, v1_route, visible_generation
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import NotFound
from safelight.reports import receipt as receipts
from safelight.reports.receipt import ChargeOrRefund, Receipt

PAGE = Template(Path(__file__).with_suffix(".html").read_text())
# Nothing may be loaded or run; the page's own style is all there is.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

router = APIRouter(route_class=v1_route(), tags=["v1"])


class ReceiptEntry(ResponseModel):
    """One move of credits; a charge is negative. `positions` are the results that it is for."""

    at: fields.Time
    kind: ChargeOrRefund = Field(examples=["charge"])
    credits: int = Field(examples=[-1])
    positions: fields.Count
    reason: str = Field(examples=["1 still"])
    reference: str = Field(description="In the ledger.", examples=["mma:0193d7a5-6f00-7000-8000-000000000000"])


class ReceiptStepEntry(ResponseModel):
    """A step that the credits paid for. What only operators see is null for others."""

    number: fields.Count
    type: str = Field(examples=["seedream_generate"])
    status: str = Field(examples=["succeeded"])
    attempts: fields.Count
    seconds: float | None = Field(examples=[12.5])
    error_code: str | None = Field(examples=[None])
    positions: fields.Count = Field(description="Results of a set that it made.", examples=[0])
    provider: str | None = Field(examples=[None])
    model: str | None = Field(examples=[None])
    provider_usd: str | None = Field(examples=[None])
    possible_usd: str | None = Field(examples=[None])


class ReceiptOfGeneration(ResponseModel):
    """`paid` is `charged` less `refunded`. `provider_usd` is what the providers took, `possible_usd` what they may have
    taken, since the answer to a start was lost; both are for operators, and null for others."""

    generation_id: fields.GenerationId
    kind: str = Field(examples=["still"])
    status: str = Field(examples=["done"])
    name: str | None = Field(examples=["Spring"])
    created_at: fields.Time
    positions_ordered: fields.Count
    positions_delivered: fields.Count
    price_each: fields.Count
    charged: fields.Count
    refunded: fields.Count = Field(examples=[0])
    paid: int = Field(examples=[1])
    lines: list[ReceiptEntry]
    steps: list[ReceiptStepEntry]
    provider_usd: str | None = Field(examples=[None])
    possible_usd: str | None = Field(examples=[None])
    steps_url: GenerationUri


@router.get(
    f"{PREFIX}/generations/{{generation_id}}/receipt",
    summary="The receipt of a generation",
    response_class=Response,
    responses={
        200: {
            "description": "Each charge and refund with its reason; as a page where `Accept` names HTML.",
            "model": ReceiptOfGeneration,
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
        **error_responses(404),
    },
)
async def receipt(
    services: FromApp,
    generation_id: GenerationPath,
    by: OwnerOrOperator,
    accept: Annotated[str, Header(max_length=2000)] = "",
) -> Response:
    await visible_generation(services, generation_id, by, made_max=0)
    async with services.db.connection() as conn:
        found = await receipts.find(conn, generation_id, for_operator=isinstance(by, Operator))
    if found is None:
        raise NotFound(f"There is no receipt of generation {generation_id!r}: an older backend made it.")
    headers = {"Vary": "Accept", "Cache-Control": "no-store"}
    if "text/html" in accept.lower():
        return HTMLResponse(_page(found), headers=headers | {"Content-Security-Policy": POLICY})
    return JSONResponse(_answer(found).model_dump(mode="json"), headers=headers)


def _answer(found: Receipt) -> ReceiptOfGeneration:
    stated = asdict(found) | {"paid": found.paid, "steps_url": path_of(found.generation_id, "steps")}
    del stated["pass_id"]
    return ReceiptOfGeneration.model_validate(_with_texts(stated))


def _with_texts(stated: dict[str, Any]) -> dict[str, Any]:
    """Amounts of money as decimal texts, which are exact."""
    amounts = {name: None if stated[name] is None else str(stated[name]) for name in ("provider_usd", "possible_usd")}
    steps = [_with_texts(step) for step in stated["steps"]] if "steps" in stated else []
    return stated | amounts | ({"steps": steps} if "steps" in stated else {})


def _page(found: Receipt) -> str:
    lines = (
        _row(line.at.isoformat(timespec="seconds"), line.kind, f"{line.credits:+d}", line.reason, line.reference)
        for line in found.lines
    )
    steps = (
        _row(step.number, step.type, step.status, step.attempts, step.seconds, step.positions) for step in found.steps
    )
    texts = {
        "id": found.generation_id,
        "link": path_of(found.generation_id),
        "steps_link": path_of(found.generation_id, "steps"),
        "name": found.name or "",
        "kind": found.kind,
        "status": found.status,
        "created_at": found.created_at.isoformat(timespec="seconds"),
        "ordered": found.positions_ordered,
        "delivered": found.positions_delivered,
        "charged": found.charged,
        "refunded": found.refunded,
        "paid": found.paid,
        "provider": "" if found.provider_usd is None else f" The providers took {found.provider_usd} USD.",
    }
    escaped = {name: escape(str(text)) for name, text in texts.items()}
    return PAGE.substitute(escaped, lines="".join(lines), steps="".join(steps))


def _row(*cells: Any) -> str:
    return "<tr>" + "".join(f"<td>{escape('' if cell is None else str(cell))}" for cell in cells) + "\n"
