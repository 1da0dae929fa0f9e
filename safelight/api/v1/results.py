"""The steps of a generation, and fresh addresses of its files."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from safelight.api.auth.principals import OwnerOrOperator
from safelight.api.http.error_responses import error_responses
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX, invalid
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.generation_models import FINAL, THUMBNAIL_SIZE, files_of
from safelight.api.v1.routing import GenerationPath, v1_route, visible_generation
from safelight.db.generations import listing
from safelight.db.generations.listing import FIRST, GenerationListing, ListedStep, ResultPlace, ResultSums
from safelight.db.operations.audit import Operator
from safelight.domain.flows import SET_MODES
from safelight.storage import file_log, keys
from safelight.storage.assets import SIGNED_SECONDS, SIGNED_SECONDS_MAX, SIGNED_SECONDS_MIN, AssetStore

STEPS_DEFAULT, STEPS_MAX = 100, 500
FILES_DEFAULT, FILES_MAX = 100, 1000
MEGABYTE = 1024 * 1024
CURSOR = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}")

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


class MediaFile(ResponseModel):
    """A result. `number` counts the places of the set from 1: those of results that are missing are left out."""

    variant: fields.Count = Field(examples=[0])
    source: fields.Count = Field(examples=[0])
    number: int = Field(ge=1, examples=[1])
    url: fields.Uri
    thumbnail_url: fields.Uri | None
    media_type: str | None = Field(examples=["image/png"])
    width: int | None = Field(examples=[1024])
    height: int | None = Field(examples=[1280])
    seconds: float | None = Field(examples=[None])
    bytes: int | None = Field(examples=[79975])
    storage_path: fields.Key | None


class MediaUrls(ResponseModel):
    """Fresh addresses of one page of the results, by their positions. They are good for `expires_in` seconds at least;
    where the storage knows no signatures they are permanent. `file_count` and `total_size_mb` count all pages."""

    generation_id: fields.GenerationId
    items: list[MediaFile]
    next_cursor: str | None = Field(examples=[None])
    signed_urls: list[fields.Uri]
    thumbnail_urls: list[fields.Uri]
    primary_url: fields.Uri | None
    expires_in: fields.Seconds
    expires_at: fields.Time
    file_count: fields.Count
    total_size_mb: float = Field(description="Of the files whose size is known.", examples=[1.25])
    storage_paths: list[str] = Field(examples=[["mma/still/…/1.png"]])
    has_thumbnails: bool
    is_fully_processed: bool = Field(description="True if the generation is final.")


@dataclass(frozen=True, slots=True)
class _ResultPage:
    """Files of one page, and the sums of all."""

    row: GenerationListing
    files: list[tuple[list[int], fields.Json]]
    next_cursor: str | None
    sums: ResultSums


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
    limit: Annotated[int, Query(ge=1, le=FILES_MAX, description="The most results of one page.")] = FILES_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=20, description="`next_cursor` of the page before.")] = None,
) -> MediaUrls:
    after = _place(cursor)
    row = await visible_generation(services, generation_id, by, made_max=1)
    page = await _page(services, row, after, limit)
    first_key = page.files[0][1].get("key") if page.files else None
    if first_key:
        file_log.primary_url_wanted()
    items = [await _item(services.assets, page.row, one, expires_in) for one in page.files]
    if first_key:
        file_log.primary_url_generated(is_signed=items[0].url != services.assets.url_of(first_key))
    thumbnails = [one.thumbnail_url for one in items if one.thumbnail_url]
    return MediaUrls(
        generation_id=generation_id,
        items=items,
        next_cursor=page.next_cursor,
        signed_urls=[one.url for one in items],
        thumbnail_urls=thumbnails,
        primary_url=items[0].url if items else None,
        expires_in=expires_in,
        expires_at=datetime.now(UTC) + timedelta(seconds=expires_in),
        file_count=page.sums.count,
        total_size_mb=round(page.sums.bytes / MEGABYTE, 3),
        storage_paths=[one.storage_path for one in items if one.storage_path],
        has_thumbnails=bool(thumbnails),
        is_fully_processed=row.status in FINAL,
    )


def _place(cursor: str | None) -> ResultPlace:
    """The position that a cursor names. Raises InvalidInput: it is none of ours."""
    if cursor is None:
        return FIRST
    if not CURSOR.fullmatch(cursor):
        raise invalid("cursor", "It is no `next_cursor` of this list.", code="INVALID_CURSOR")
    variant, _, source = cursor.partition(".")
    return ResultPlace(int(variant), int(source))


async def _page(services: Services, row: GenerationListing, after: ResultPlace, limit: int) -> _ResultPage:
    files = list(files_of(row))
    if row.kind not in SET_MODES or not files:
        size = sum(file.get("bytes") or 0 for _, file in files)
        return _ResultPage(row, files if after == FIRST else [], None, ResultSums(len(files), size))
    async with services.db.connection() as conn:
        found = await listing.results_of(conn, row.generation_id, after=after, limit=limit + 1)
        sums = await listing.result_sums(conn, row.generation_id)
    shown = list(files_of(replace(row, made=[{"slides": found[:limit]}])))
    next_cursor = "{}.{}".format(*shown[-1][0]) if len(found) > limit else None
    return _ResultPage(row, shown, next_cursor, sums)


async def _item(
    assets: AssetStore, row: GenerationListing, file: tuple[list[int], fields.Json], expires_in: int
) -> MediaFile:
    (variant, source), record = file
    key = record.get("key")
    media_type = record.get("media_type") or (keys.media_type_of_key(key) if key else None)
    return MediaFile(
        variant=variant,
        source=source,
        number=variant * max(row.source_count, 1) + source + 1,
        url=await assets.expiring_url_of(key, expires_in) if key else record["url"],
        thumbnail_url=assets.thumbnail_url_of(key, THUMBNAIL_SIZE) if key else None,
        media_type=media_type,
        storage_path=key,
        **{name: record.get(name) for name in ("width", "height", "seconds", "bytes")},
    )
