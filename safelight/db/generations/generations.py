"""Generations, and what belongs to a customer's account of them: sessions, events, likes, history."""

from collections.abc import AsyncIterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import StoredRow, column, row_as, rows_as
from safelight.domain.flows import Mode
from safelight.domain.ids import generation_key
from safelight.domain.steps import POSITION_STEPS

_queries = load_queries(__file__)

HISTORY_ROWS_MAX = 500
HISTORY_BYTES_MAX = 8 * 1024 * 1024  # of the rows of one page
FEEDBACK_COUNTED_MAX = 50


@dataclass(frozen=True, slots=True)
class NewGeneration:
    """An accepted order; its generation must be taken up by a worker within `start_within_seconds`."""

    generation_id: str
    parent_generation_id: str | None
    pass_id: str
    session_id: str
    platform: str
    title: str
    mode: str
    provider: str
    variables: Row
    meta: Row
    payload: Row
    pipeline_version: int
    idempotency_key: str | None
    request_hash: str
    start_within_seconds: float
    project_id: str | None = None


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """`mode` and `status` of a generation of an older backend may be unknown; it has no payload. `balance` is that of
    its customer now."""

    generation_id: str
    parent_id: str | None
    pass_id: str
    session_id: str | None
    platform: str | None
    title: str | None
    mode: Mode | None
    status: str | None
    variables: Row
    meta: Row
    payload: Row | None
    prompt: str | None
    output_url: str | None
    error: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    balance: int | None

    @property
    def parent_generation_id(self) -> str | None:
        return self.parent_id.removeprefix("generation:") if self.parent_id else None


@dataclass(frozen=True, slots=True)
class ListedGeneration(StoredRow):
    generation_id = column("mg_generation_id")
    flow = column("flow")
    status = column("mg_mma_status")
    latency_ms = column("mg_latency_ms")
    pass_id = column("mg_pass_id")
    error = column("mg_error")


@dataclass(frozen=True, slots=True)
class StoredStep(StoredRow):
    number = column("mg_step_no")
    type = column("mg_step_type")
    payload = column("mg_payload")


@dataclass(frozen=True, slots=True)
class HistoryItem(StoredRow):
    """A session, generation, feedback or ledger entry in a customer's history."""

    id = column("mg_id")
    record_type = column("mg_record_type")
    pass_id = column("mg_pass_id")
    session_id = column("mg_session_id")
    generation_id = column("mg_generation_id")
    platform = column("mg_platform")
    created_at = column("mg_created_at")
    title = column("mg_title")
    type = column("mg_type")
    mode = column("mg_mma_mode")
    status = column("mg_mma_status")
    prompt = column("mg_prompt")
    output_url = column("mg_output_url")
    meta = column("mg_meta")
    result_type = column("mg_result_type")
    comment = column("mg_comment")
    image_url = column("mg_image_url")
    video_url = column("mg_video_url")


@dataclass(frozen=True, slots=True)
class AcceptedGeneration:
    """A generation that was accepted before, under an idempotency key or under the same id."""

    generation_id: str
    request_hash: str | None
    price_credits: int


@dataclass(frozen=True, slots=True)
class GenerationStatus:
    """The generation that another one was retried as."""

    id: str
    status: str


@dataclass(frozen=True, slots=True)
class CancelState:
    """With `has_result` it is too late to cancel."""

    status: str
    balance: int | None
    refunded: int
    has_result: bool


@dataclass(frozen=True, slots=True)
class LikedItem:
    """A picture or video that a customer liked or downloaded last; `item` is a generation's id or a URL."""

    item: str
    prompt: str | None
    url: str | None
    content_type: str | None
    at: datetime


async def insert(conn: Connection, new: NewGeneration) -> None:
    is_video = new.mode == "video"
    await _queries.insert_generation(
        conn,
        **asdict(new)
        | {name: Jsonb(getattr(new, name)) for name in ("variables", "meta", "payload")}
        | {
            "generation_key": generation_key(new.generation_id),
            "parent_key": generation_key(new.parent_generation_id) if new.parent_generation_id else None,
            "type": "motion" if is_video else "image",
            "content_type": "video" if is_video else "image",
        },
    )


async def accepted_before(
    conn: Connection, generation_id: str, *, pass_id: str, key: str | None
) -> AcceptedGeneration | None:
    """The generation that was accepted under the idempotency key, or under this id."""
    row = await _queries.accepted_before(conn, generation_key=generation_key(generation_id), pass_id=pass_id, key=key)
    return row_as(AcceptedGeneration, row)


async def get(conn: Connection, generation_id: str) -> GenerationRow | None:
    return row_as(GenerationRow, await _queries.by_id(conn, generation_key=generation_key(generation_id)))


async def stored(conn: Connection, generation_id: str) -> StoredRow | None:
    """All columns of the generation, with its customer's `balance`."""
    row: Row | None = await _queries.columns_by_id(conn, generation_key=generation_key(generation_id))
    return StoredRow(row) if row else None


async def steps_of(conn: Connection, generation_id: str) -> list[StoredStep]:
    return [StoredStep(row) async for row in _queries.steps(conn, generation_id=generation_id)]


async def of_url(conn: Connection, url: str, pass_id: str) -> GenerationRow | None:
    """The customer's generation of an older backend whose result is at this URL."""
    key = await _queries.key_of_url(conn, url=url, pass_id=pass_id)
    return row_as(GenerationRow, await _queries.by_id(conn, generation_key=key)) if key else None


async def retries_of(conn: Connection, generation_id: str, *, pass_id: str) -> list[GenerationStatus]:
    """The generations that the customer's generation was retried as, the oldest first."""
    return await rows_as(GenerationStatus, _queries.retries_of(conn, generation_id=generation_id, pass_id=pass_id))


async def wait_for_writes(conn: Connection, generation_id: str) -> None:
    """Wait until no write of the generation is under way."""
    await _queries.lock_generation(conn, generation_key=generation_key(generation_id))


async def request_cancelling(conn: Connection, generation_id: str, *, pass_id: str | None, by: str) -> bool:
    """Note that somebody wants the generation stopped; one that is final, or has its result, stays as it is. Needs a
    transaction. `pass_id` None: whoever's it is. Returns whether there is such a generation."""
    key = generation_key(generation_id)
    await _queries.lock_generation(conn, generation_key=key)
    row = await _queries.request_cancelling(
        conn, generation_key=key, generation_id=generation_id, pass_id=pass_id, by=by
    )
    return row is not None


async def cancelling(conn: Connection, generation_id: str) -> CancelState:
    row = await _queries.cancelling(conn, generation_key=generation_key(generation_id), generation_id=generation_id)
    return CancelState(**row)


async def ended_without_result(conn: Connection, generation_id: str) -> bool:
    return bool(
        await _queries.ended_without_result(
            conn, generation_key=generation_key(generation_id), position_types=list(POSITION_STEPS)
        )
    )


async def note_withdrawn(conn: Connection, generation_id: str) -> None:
    """Note that nothing is left of what the generation had stored. Only one that ended without a result, or that was
    deleted, is changed."""
    await _queries.note_withdrawn(conn, generation_key=generation_key(generation_id))


async def newest(conn: Connection, *, pass_id: str | None, status: str | None, limit: int) -> list[ListedGeneration]:
    rows = _queries.newest(conn, pass_id=pass_id, status=status, limit=limit)
    return [ListedGeneration(row) async for row in rows]


async def insert_session(
    conn: Connection, *, session_id: str, pass_id: str, platform: str, title: str, meta: Row
) -> None:
    await _queries.insert_session(
        conn, session_id=session_id, pass_id=pass_id, platform=platform, title=title, meta=Jsonb(meta)
    )


async def owner_of_session(conn: Connection, session_id: str) -> str | None:
    """None also where there is no such session."""
    owner: str | None = await _queries.owner_of_session(conn, session_id=session_id)
    return owner


async def insert_event(
    conn: Connection,
    *,
    event_id: str,
    event_type: str,
    pass_id: str,
    generation_id: str | None,
    payload: Row,
    request_id: str | None = None,
) -> bool:
    """Returns whether the event is new: an id that was stated before is stored once."""
    inserted = await _queries.insert_event(
        conn,
        event_id=event_id,
        pass_id=pass_id,
        generation_id=generation_id,
        parent_key=generation_key(generation_id) if generation_id else None,
        meta=Jsonb(
            {"event_type": event_type, "payload": payload} | ({"request_id": request_id} if request_id else {}),
        ),
    )
    return bool(inserted)


async def liked(conn: Connection, pass_id: str, limit: int) -> list[LikedItem]:
    """The items that this customer liked or downloaded, newest first."""
    return await rows_as(LikedItem, _queries.liked(conn, pass_id=pass_id, limit=limit))


async def insert_feedback(conn: Connection, row: Row) -> None:
    """A row without a comment is a like. Doing it twice is doing it once. `row` names the columns of the statement."""
    await _queries.insert_feedback(conn, **row | {"meta": Jsonb(row["meta"])})


async def count_feedback(conn: Connection, pass_id: str) -> int:
    """Count the customer's likes and comments, up to FEEDBACK_COUNTED_MAX."""
    return int(await _queries.count_feedback(conn, pass_id=pass_id, limit=FEEDBACK_COUNTED_MAX))


async def history(
    conn: Connection, pass_id: str, *, before: datetime | None, limit: int, results_only: bool
) -> list[HistoryItem]:
    rows = _queries.history(
        conn,
        pass_id=pass_id,
        before=before,
        limit=limit,
        results_only=results_only,
        bytes_max=HISTORY_BYTES_MAX,
    )
    return await _history_items(rows)


async def credit_history(conn: Connection, pass_id: str) -> list[HistoryItem]:
    return await _history_items(_queries.credit_history(conn, pass_id=pass_id, limit=HISTORY_ROWS_MAX))


async def _history_items(rows: AsyncIterable[Row]) -> list[HistoryItem]:
    return [HistoryItem(_shown_to_customer(row)) async for row in rows]


def _shown_to_customer(row: Row) -> Row:
    """All columns but the hash, which is for the doctor, and the order of a generation."""
    hidden = {"mg_row_hash"} | ({"mg_payload"} if row["mg_record_type"] == "generation" else set())
    return {name: value for name, value in row.items() if name not in hidden}


async def unnamed_keys(conn: Connection, generation_of: Mapping[str, str]) -> set[str]:
    """Of these keys, each with the generation it would be of, those that nothing names and nobody is about to."""
    rows = _queries.unnamed_keys(conn, keys=list(generation_of), generation_ids=list(generation_of.values()))
    return {row["key"] async for row in rows}
