"""A generation as `/api/v1` answers it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import Field

from safelight.api.schemas import examples, fields
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.routing import path_of
from safelight.db.generations.listing import GenerationListing
from safelight.domain.statuses import Status
from safelight.reports.progress import ProgressReport, final_percent
from safelight.storage import keys
from safelight.storage.assets import AssetStore

Json = dict[str, Any]

Kind = Literal["still", "video", "image_job", "model_run"]
PublicStatus = Literal["queued", "processing", "completed", "completed_partial", "failed", "cancelled"]
FINAL = ("completed", "completed_partial", "failed", "cancelled")
THUMBNAIL_SIZE = 512
Place = Annotated[list[int], Field(min_length=2, max_length=2, examples=[[0, 0]])]
GenerationUri = Annotated[
    str,
    Field(json_schema_extra={"format": "uri-reference"}, examples=[f"/api/v1/generations/{examples.GENERATION}"]),
]


class GenerationResult(ResponseModel):
    """A file that was made. What is not known of files of an older backend is null."""

    position: Place = Field(description="Variant and source, both from 0.")
    url: fields.Uri
    thumbnail_url: fields.Uri | None
    media_type: str | None = Field(examples=["image/png"])
    width: int | None = Field(examples=[1024])
    height: int | None = Field(examples=[1280])
    seconds: float | None = Field(description="Of a video.", examples=[None])
    bytes: int | None = Field(examples=[79975])
    sha256: str | None = Field(examples=["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"])


class GenerationProgress(ResponseModel):
    """Counted work: `done` of `expected` results are there; `missing` are those that `retry-missing` would make. The
    base images of an image job are 30 %, its results 70 %. `eta_seconds` is the time within which 4 of 5 like it are
    final, null while too little is known; `queue_position` is 1 for the next, null once it has begun."""

    percent: int = Field(ge=0, le=100, examples=[100])
    done: fields.Count
    expected: fields.Count
    missing: fields.Count = Field(examples=[0])
    eta_seconds: float | None = Field(examples=[None])
    queue_position: int | None = Field(ge=1, examples=[None])
    stalled: bool = Field(
        description="True if the step under way takes longer than 99 of 100 recent ones.", examples=[False]
    )


class GenerationCost(ResponseModel):
    """`credits` is the price of the order, null where an older backend made it. `charged - refunded` was paid, over
    all rounds of a set."""

    credits: fields.Count | None
    charged: fields.Count
    refunded: fields.Count = Field(examples=[0])


class GenerationError(ResponseModel):
    code: str = Field(examples=["SEEDREAM_TIMEOUT"])
    message: str = Field(examples=["The picture service took too long to answer."])
    retryable: bool


class GenerationLinks(ResponseModel):
    self: GenerationUri
    stream: GenerationUri
    steps: GenerationUri
    media_urls: GenerationUri
    logs: GenerationUri
    receipt: GenerationUri


class GenerationResource(ResponseModel):
    """One generation. At most 100 results of a set are shown, in lists 4, by their positions; `progress` counts all,
    and `/media-urls` has all, page by page."""

    id: fields.GenerationId
    kind: Kind
    status: PublicStatus
    status_text: str = Field(description="For a person who waits.", examples=["Ready."])
    name: str | None = Field(examples=["Spring"])
    project_id: str | None = Field(examples=[None])
    parent_id: str | None = Field(examples=[None])
    retry_of: str | None = Field(examples=[None])
    favorite: bool
    model: str | None = Field(description="The model that made it.", examples=["seedream-4.5"])
    stand_in: bool = Field(description="True if the offline stand-in made it, not a vendor's model.")
    created_at: fields.Time
    started_at: fields.Time | None
    completed_at: fields.Time | None
    progress: GenerationProgress
    results: list[GenerationResult]
    result_urls: list[fields.Uri]
    thumbnail_urls: list[fields.Uri]
    width: int | None = Field(description="Of the first result.", examples=[1024])
    height: int | None = Field(examples=[1280])
    cost: GenerationCost
    error: GenerationError | None = Field(examples=[None])
    warnings: list[str] = Field(examples=[["9:16 was ordered; the result is 1:1 (1024 x 1024)."]])
    links: GenerationLinks


def resource_of(
    assets: AssetStore, row: GenerationListing, live: ProgressReport | None, *, results_max: int
) -> GenerationResource:
    """`live` is the progress of what is not final."""
    results = list(islice(_results(assets, row), results_max))
    first = results[0] if results else None
    return GenerationResource(
        id=row.generation_id,
        kind=row.kind,  # type: ignore[arg-type]
        status=row.status,  # type: ignore[arg-type]
        status_text=Status(row.mma_status).friendly if row.mma_status else Status.DONE.friendly,
        name=row.name,
        project_id=row.project_id,
        parent_id=row.parent_id,
        retry_of=row.meta.get("retry_of"),
        favorite=row.meta.get("favorite") is True,
        model=row.model,
        stand_in=row.stand_in is True,
        created_at=row.created_at,
        started_at=datetime.fromisoformat(row.started_at) if row.started_at else None,
        completed_at=_completed_at(row),
        progress=_progress(row, results, live),
        results=results,
        result_urls=[one.url for one in results],
        thumbnail_urls=[one.thumbnail_url for one in results if one.thumbnail_url],
        width=first.width if first else None,
        height=first.height if first else None,
        cost=GenerationCost(credits=row.meta.get("cost"), charged=row.charged, refunded=row.refunded),
        error=_error(row),
        warnings=list(row.meta.get("warnings") or row.order_warnings or []),
        links=GenerationLinks(
            self=path_of(row.generation_id),
            stream=path_of(row.generation_id, "stream"),
            steps=path_of(row.generation_id, "steps"),
            media_urls=path_of(row.generation_id, "media-urls"),
            logs=path_of(row.generation_id, "logs"),
            receipt=path_of(row.generation_id, "receipt"),
        ),
    )


def _completed_at(row: GenerationListing) -> datetime | None:
    if row.status not in FINAL or row.latency_ms is None:
        return None
    return (row.created_at + timedelta(milliseconds=row.latency_ms)).astimezone(UTC)


def _error(row: GenerationListing) -> GenerationError | None:
    """Of what failed or was cancelled; an older backend may have stored less."""
    stated = row.meta.get("error")
    if row.status not in ("failed", "cancelled", "completed_partial") or not isinstance(stated, dict):
        return None
    return GenerationError(
        code=str(stated.get("code") or "UNKNOWN"),
        message=str(stated.get("message") or Status.ERROR.friendly),
        retryable=stated.get("isRetryable") is True,
    )


# --- results --------------------------------------------------------------------------------------------------------


def files_of(row: GenerationListing) -> Iterator[tuple[list[int], Json]]:
    """The position of each file that was made and may be seen, and the file. A still or a video is shown when it is
    final; each position of a set is charged, so it may be seen while others are made."""
    if "result_withdrawn_at" in row.meta or row.status == "failed":
        return
    is_done = row.status in ("completed", "completed_partial")
    sets = [output for output in row.made if "slides" in output]
    for slide in (slide for output in sets for slide in output["slides"]):
        yield [slide.get("variant", 0), slide.get("source", 0)], slide
    if sets or not is_done:
        return
    single = next((output for output in reversed(row.made) if output.get("output_url")), None)
    if single:
        yield [0, 0], single | {"url": single["output_url"], "key": single.get("output_key")}
    elif row.output_url:
        yield [0, 0], {"url": row.output_url, "key": row.output_key}


def _results(assets: AssetStore, row: GenerationListing) -> Iterator[GenerationResult]:
    for position, file in files_of(row):
        key = file.get("key")
        media_type = file.get("media_type") or (keys.media_type_of_key(key) if key else None)
        yield GenerationResult(
            position=position,
            url=file["url"],
            thumbnail_url=assets.thumbnail_url_of(key, THUMBNAIL_SIZE) if key else None,
            media_type=media_type,
            **{name: file.get(name) for name in ("width", "height", "seconds", "bytes", "sha256")},
        )


def _progress(
    row: GenerationListing, results: list[GenerationResult], live: ProgressReport | None
) -> GenerationProgress:
    counted = row.progress or {}
    expected = int(counted.get("expected", 1))
    if live is None:
        done = int(counted.get("made", bool(results)))
        status = Status(row.mma_status) if row.mma_status else Status.DONE
        percent = final_percent(status, done) if row.status in FINAL else 0
        missing = expected - done if row.status == "completed_partial" else 0
        return GenerationProgress(
            percent=percent,
            done=done,
            expected=expected,
            missing=missing,
            eta_seconds=None,
            queue_position=None,
            stalled=False,
        )
    return GenerationProgress(
        percent=live.percent,
        done=live.done,
        expected=live.expected,
        missing=0,
        eta_seconds=live.eta_seconds,
        queue_position=live.queue_position,
        stalled=live.stalled,
    )
