"""The steps of a generation, and fresh addresses of its files."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from safelight.api.auth.principals import OwnerOrOperator
from safelight.api.http.error_responses import error_responses
from safelight.api.http.services import FromApp
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX, invalid
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.generation_models import FINAL, THUMBNAIL_SIZE, files_of
from safelight.api.v1.routing import GenerationPath, v1_route, visible_generation
from safelight.db.generations import listing
from safelight.db.generations.listing import ListedStep
from safelight.db.operations.audit import Operator
from safelight.storage.assets import SIGNED_SECONDS, SIGNED_SECONDS_MAX, SIGNED_SECONDS_MIN

STEPS_DEFAULT, STEPS_MAX = 100, 500
MEGABYTE = 1024 * 1024

router = APIRouter(route_class=v1_route(), tags=["v1"])
StepCursor = Annotated[str | None, Query(max_length=20, description="`next_cursor` of the page before.")]


class StepProblem(ResponseModel):
    code: str = Field(examples=["SEEDREAM_TIMEOUT"])
    message: str | None = Field(description="For operators; null for others.", examples=[None])


class GenerationStep(ResponseModel):
    """A step of the pipeline. `provider`, `model`, `input` and the words of an error are for operators, and null for
    others."""

    number: fields.Count
    type: str = Field(examples=["seedream_generate"])
    status: str = Field(examples=["succeeded"])
    started_at: fields.Time | None
    ended_at: fields.Time | None
    seconds: float | None = Field(examples=[12.5])
    attempts: fields.Count
    error: StepProblem | None = Field(examples=[None])
    provider: str | None = Field(examples=[None])
    model: str | None = Field(examples=[None])
    input: fields.Json | None = Field(examples=[None])


class GenerationSteps(ResponseModel):
    """In the order of their numbers."""

    items: list[GenerationStep]
    next_cursor: str | None = Field(examples=[None])


@router.get(
    f"{PREFIX}/generations/{{generation_id}}/steps",
    summary="The steps of a generation",
    responses=error_responses(404),
)
async def steps(
    services: FromApp,
    generation_id: GenerationPath,
    by: OwnerOrOperator,
    limit: Annotated[int, Query(ge=1, le=STEPS_MAX)] = STEPS_DEFAULT,
    cursor: StepCursor = None,
) -> GenerationSteps:
    await visible_generation(services, generation_id, by, made_max=0)
    is_operators = isinstance(by, Operator)
    async with services.db.connection() as conn:
        rows = await listing.steps_of(
            conn, generation_id, after=_number(cursor), limit=limit + 1, with_input=is_operators
        )
    shown = rows[:limit]
    return GenerationSteps(
        items=[_step(row, is_operators=is_operators) for row in shown],
        next_cursor=str(shown[-1].number) if len(rows) > limit else None,
    )


def _number(cursor: str | None) -> int:
    if cursor is None:
        return -1
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 10):
        raise invalid("cursor", "It is no `next_cursor` of this list.", code="INVALID_CURSOR")
    return int(cursor)


def _step(row: ListedStep, *, is_operators: bool) -> GenerationStep:
    timing, error = row.timing or {}, row.error
    milliseconds = timing.get("duration_ms")
    return GenerationStep(
        number=row.number,
        type=row.type,
        status=row.status,
        started_at=timing.get("started_at"),
        ended_at=timing.get("ended_at"),
        seconds=None if milliseconds is None else milliseconds / 1000,
        attempts=row.attempts,
        error=_error(error, is_operators=is_operators) if error else None,
        provider=row.provider if is_operators else None,
        model=row.model if is_operators else None,
        input=row.input,
    )


def _error(stored: fields.Json, *, is_operators: bool) -> StepProblem:
    message = stored.get("message") if is_operators else None
    return StepProblem(code=str(stored.get("error_code") or "UNKNOWN"), message=message)


class MediaUrls(ResponseModel):
    """Fresh addresses of the results, in the order of `storage_paths`. They are good for `expires_in` seconds at least;
    where the storage knows no signatures they are permanent."""

    generation_id: fields.GenerationId
    signed_urls: list[fields.Uri]
    thumbnail_urls: list[fields.Uri]
    primary_url: fields.Uri | None
    expires_in: fields.Seconds
    expires_at: fields.Time
    file_count: fields.Count
    total_size_mb: float = Field(description="Of the files whose size is known.", examples=[1.25])
    storage_paths: list[str] = Field(examples=[["mma/still/…/1.png"]])
    has_thumbnails: bool
    is_fully_processed: bool = Field(description="Whether the generation is final.")


@router.get(
    f"{PREFIX}/generations/{{generation_id}}/media-urls",
    summary="Fresh addresses of the results",
    responses=error_responses(404),
)
async def media_urls(
    services: FromApp,
    generation_id: GenerationPath,
    by: OwnerOrOperator,
    expires_in: Annotated[
        int, Query(ge=SIGNED_SECONDS_MIN, le=SIGNED_SECONDS_MAX, description="Seconds.")
    ] = SIGNED_SECONDS,
) -> MediaUrls:
    row = await visible_generation(services, generation_id, by)
    files = [file for _, file in files_of(row)]
    stored = [str(file["key"]) for file in files if file.get("key")]
    foreign = [str(file["url"]) for file in files if not file.get("key")]
    signed = [await services.assets.expiring_url_of(key, expires_in) for key in stored]
    thumbnails = [services.assets.thumbnail_url_of(key, THUMBNAIL_SIZE) for key in stored]
    return MediaUrls(
        generation_id=generation_id,
        signed_urls=[*signed, *foreign],
        thumbnail_urls=thumbnails,
        primary_url=next(iter([*signed, *foreign]), None),
        expires_in=expires_in,
        expires_at=datetime.now(UTC) + timedelta(seconds=expires_in),
        file_count=len(files),
        total_size_mb=round(sum(file.get("bytes") or 0 for file in files) / MEGABYTE, 3),
        storage_paths=stored,
        has_thumbnails=bool(thumbnails),
        is_fully_processed=row.status in FINAL,
    )
