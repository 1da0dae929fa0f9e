"""Generations, and what belongs to a customer's account of them: sessions, events, likes, history."""

from datetime import datetime

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.domain.ids import generation_key

_queries = load_queries(__file__)

HISTORY_ROWS_MAX = 500
HISTORY_BYTES_MAX = 8 * 1024 * 1024  # of the rows of one page
IN_PROGRESS_COUNTED_MAX = 10_000


async def insert(
    conn: Connection,
    *,
    generation_id: str,
    parent_generation_id: str | None,
    pass_id: str,
    session_id: str,
    platform: str,
    title: str,
    mode: str,
    provider: str,
    variables: Row,
    meta: Row,
    payload: Row,
    pipeline_version: int,
    idempotency_key: str | None,
    request_hash: str,
    start_within_seconds: float,
) -> None:
    await _queries.insert_generation(
        conn,
        generation_key=generation_key(generation_id),
        generation_id=generation_id,
        parent_key=generation_key(parent_generation_id) if parent_generation_id else None,
        pass_id=pass_id,
        session_id=session_id,
        platform=platform,
        title=title,
        type="image" if mode == "still" else "motion",
        content_type="image" if mode == "still" else "video",
        provider=provider,
        mode=mode,
        variables=Jsonb(variables),
        meta=Jsonb(meta),
        payload=Jsonb(payload),
        pipeline_version=pipeline_version,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
        start_within_seconds=start_within_seconds,
    )


async def accepted_before(conn: Connection, generation_id: str, *, pass_id: str, key: str | None) -> Row | None:
    """The generation that was accepted under the idempotency key, or under this id."""
    row: Row | None = await _queries.accepted_before(
        conn, generation_key=generation_key(generation_id), pass_id=pass_id, key=key
    )
    return row


async def in_progress(conn: Connection, pass_id: str) -> int:
    """How many unfinished generations the customer has, counted up to IN_PROGRESS_COUNTED_MAX."""
    return int(await _queries.in_progress(conn, pass_id=pass_id, most=IN_PROGRESS_COUNTED_MAX))


async def get(conn: Connection, generation_id: str) -> Row | None:
    """The generation's row, with its customer's `balance`."""
    row: Row | None = await _queries.by_id(conn, generation_key=generation_key(generation_id))
    return row


async def of_url(conn: Connection, url: str, pass_id: str) -> Row | None:
    """The customer's generation of an older backend whose result is at this URL."""
    row: Row | None = await _queries.of_url(conn, url=url, pass_id=pass_id)
    return row


async def retries_of(conn: Connection, generation_id: str, *, pass_id: str) -> list[Row]:
    """id and status of what the customer's generation was retried as, the oldest first."""
    return [row async for row in _queries.retries_of(conn, generation_id=generation_id, pass_id=pass_id)]


async def request_cancelling(conn: Connection, generation_id: str, *, pass_id: str | None, by: str) -> bool:
    """Note that somebody wants the generation stopped; one that is final, or has its result, stays as it is. Needs a
    transaction. `pass_id` None: whoever's it is. Returns whether there is such a generation."""
    key = generation_key(generation_id)
    await _queries.lock_generation(conn, generation_key=key)
    row = await _queries.request_cancelling(
        conn, generation_key=key, generation_id=generation_id, pass_id=pass_id, by=by
    )
    return row is not None


async def cancelling(conn: Connection, generation_id: str) -> Row:
    """status, cost, balance, and has_result: from then on it is too late to cancel."""
    row: Row = await _queries.cancelling(
        conn, generation_key=generation_key(generation_id), generation_id=generation_id
    )
    return row


async def ended_without_result(conn: Connection, generation_id: str) -> bool:
    return bool(await _queries.ended_without_result(conn, generation_key=generation_key(generation_id)))


async def note_withdrawn(conn: Connection, generation_id: str) -> None:
    """Note that nothing is left of what the generation had stored. Only one that ended without a result, or that was
    deleted, is changed."""
    await _queries.note_withdrawn(conn, generation_key=generation_key(generation_id))


async def newest(conn: Connection, *, pass_id: str | None, status: str | None, most: int) -> list[Row]:
    return [row async for row in _queries.newest(conn, pass_id=pass_id, status=status, most=most)]


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


async def liked(conn: Connection, pass_id: str, most: int) -> list[Row]:
    """What this customer liked or downloaded, newest first: item, prompt, url, content_type, at."""
    return [row async for row in _queries.liked(conn, pass_id=pass_id, most=most)]


async def history(
    conn: Connection, pass_id: str, *, before: datetime | None, most: int, results_only: bool
) -> list[Row]:
    rows = _queries.history(
        conn,
        pass_id=pass_id,
        before=before,
        most=most,
        results_only=results_only,
        bytes_max=HISTORY_BYTES_MAX,
    )
    return [_told(row) async for row in rows]


async def credit_history(conn: Connection, pass_id: str) -> list[Row]:
    return [_told(row) async for row in _queries.credit_history(conn, pass_id=pass_id, most=HISTORY_ROWS_MAX)]


def _told(row: Row) -> Row:
    """The row as customers are told it: its hash is for the doctor."""
    return {name: value for name, value in row.items() if name != "mg_row_hash"}
