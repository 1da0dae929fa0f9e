"""`/api/v1/generations/{id}/logs`: the job log of a generation, page by page, or whole as a file."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from safelight.api.auth.principals import OwnerOrOperator
from safelight.api.http.error_responses import error_responses
from safelight.api.http.services import FromApp
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.routing import GenerationPath, v1_route, visible_generation
from safelight.db.connection.database import Database
from safelight.db.generations.job_log import LINES_AT_ONCE, SEQ_MAX, LineFilter
from safelight.db.operations.audit import Operator
from safelight.domain.job_log import Level
from safelight.domain.stages import STAGES, Stage
from safelight.reports import job_log
from safelight.reports.job_log import LogQuery

LINES_DEFAULT = 100
TEXT_CHARS_MAX = 200
LEVELS_MAX = 4

router = APIRouter(route_class=v1_route(), tags=["v1"])


class LogEntry(ResponseModel):
    """A line of the job log. `seq` counts from 1 without a hole; `details.step_type` names the step of the flow where
    that is not the stage itself."""

    seq: fields.Count
    created_at: str = Field(json_schema_extra={"format": "date-time"}, examples=["2025-12-19T08:00:00.000Z"])
    level: Level
    step: Stage
    message: str = Field(examples=["Looking closely at your product."])
    details: dict[str, Any] | None = Field(examples=[{"step_type": "scan_product"}])


class LogEntries(ResponseModel):
    """`next_cursor` is null if there are no more lines now; while the generation runs, go on with the last `seq`."""

    items: list[LogEntry]
    next_cursor: int | None = Field(examples=[None])


class _Export(NamedTuple):
    write: Callable[[Database, LogQuery], AsyncIterator[str]]
    media_type: str


_EXPORTS: Mapping[str, _Export] = {
    "jsonl": _Export(job_log.as_jsonl, "application/x-ndjson"),
    "csv": _Export(job_log.as_csv, "text/csv"),
}
_TEXT = {"schema": {"type": "string"}}


def _filter(
    level: Annotated[
        list[Level] | None, Query(max_length=LEVELS_MAX, description="Only these levels; may be stated several times.")
    ] = None,
    step: Annotated[
        list[Stage] | None, Query(max_length=len(STAGES), description="Only these stages; may be stated several times.")
    ] = None,
    q: Annotated[
        str | None, Query(min_length=1, max_length=TEXT_CHARS_MAX, description="A text in the message, in any case.")
    ] = None,
) -> LineFilter:
    return LineFilter(level or (), step or (), q or "")


@router.get(
    f"{PREFIX}/generations/{{generation_id}}/logs",
    summary="The job log of a generation",
    response_model=LogEntries,
    responses={
        200: {
            "description": f"A page; with `format`, the lines as a file, at most {job_log.EXPORTED_LINES_MAX}.",
            "content": {export.media_type: _TEXT for export in _EXPORTS.values()},
        },
        **error_responses(404),
    },
)
async def read_log(
    services: FromApp,
    generation_id: GenerationPath,
    by: OwnerOrOperator,
    wanted: Annotated[LineFilter, Depends(_filter)],
    cursor: Annotated[
        int | None, Query(ge=0, le=SEQ_MAX, description="The `seq` of the last line seen, in the same order.")
    ] = None,
    order: Annotated[Literal["asc", "desc"], Query(description="`asc`: the oldest first.")] = "asc",
    limit: Annotated[int, Query(ge=1, le=LINES_AT_ONCE, description="The most lines of one page.")] = LINES_DEFAULT,
    format: Annotated[
        Literal["json", "jsonl", "csv"], Query(description="`jsonl` and `csv`: all lines as a file, without `limit`.")
    ] = "json",
) -> LogEntries | Response:
    """Of every kind of generation, also while it runs. In CSV, a cell that a spreadsheet would take for a
    formula begins with an apostrophe."""
    await visible_generation(services, generation_id, by, made_max=0)
    query = LogQuery(generation_id, wanted, cursor, order == "desc", isinstance(by, Operator))
    if export := _EXPORTS.get(format):
        named = f'attachment; filename="{generation_id}-log.{format}"'
        return StreamingResponse(
            export.write(services.db, query),
            media_type=export.media_type,
            headers={"Content-Disposition": named, "Cache-Control": "no-store"},
        )
    page = await job_log.page(services.db, query, limit)
    return LogEntries(items=[LogEntry.model_validate(one) for one in page.entries], next_cursor=page.next_cursor)
