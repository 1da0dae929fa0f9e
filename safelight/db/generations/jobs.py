"""The queue's rows, seen from outside the queue: what dead workers left behind."""

from collections.abc import Sequence
from dataclasses import dataclass

from safelight.db.connection.database import Connection, load_queries
from safelight.domain.ids import generation_key

_queries = load_queries(__file__)

TURNS_COUNTED_MAX = 10_000
PRIORITY_MIN = -2_000_000_000


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task, and the queue whose workers do it."""

    queue_name: str
    task_name: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The place of a customer's next job in the queue: behind the `unfinished` generations that the customer has, and
    among the jobs of others (docs/operating.md). A job that `is_held` waits until one of the customer's ends."""

    unfinished: int
    priority: int
    is_held: bool


async def requeue_stalled(
    conn: Connection, *, queue_names: Sequence[str], dead_after_seconds: float, hung_after_seconds: float
) -> list[str]:
    """Put the jobs of workers without a heartbeat back, and those whose generation is so long past its deadline. It
    counts as a take-over of the generation, unless the worker had withdrawn its registration. Returns the
    generations."""
    rows = _queries.requeue_stalled(
        conn,
        queue_names=list(queue_names),
        dead_after_seconds=dead_after_seconds,
        hung_after_seconds=hung_after_seconds,
    )
    return [row["generation_id"] async for row in rows]


async def enqueue_orphaned(
    conn: Connection, *, work: QueuedTask, imports: QueuedTask, older_than_seconds: float, limit: int
) -> list[str]:
    """Give a job to unfinished generations that have none: one that imports where their pictures are not ours yet.
    Returns them."""
    rows = _queries.enqueue_orphaned(
        conn,
        queue_name=work.queue_name,
        task_name=work.task_name,
        import_queue_name=imports.queue_name,
        import_task_name=imports.task_name,
        older_than_seconds=older_than_seconds,
        limit=limit,
    )
    return [row["generation_id"] async for row in rows]


async def expired_in_queue(conn: Connection, *, limit: int) -> list[str]:
    """Generations that no worker has touched before their deadline."""
    return [row["generation_id"] async for row in _queries.expired_in_queue(conn, limit=limit)]


async def turn(conn: Connection, generation_id: str, *, customer: str | None = None, places_max: int = 0) -> Turn:
    """Find the place of a generation's job. With `places_max`, so many of a customer's jobs may be begun: needs a
    transaction then. `customer` None: the one that the generation's row names."""
    owner = customer or await customer_of(conn, generation_id)
    if places_max:
        await _queries.lock_customer(conn, customer=owner)
    row = await _queries.turn(
        conn,
        generation_id=generation_id,
        customer=owner,
        places_max=places_max,
        priority_min=PRIORITY_MIN,
        limit=TURNS_COUNTED_MAX,
    )
    return Turn(**row)


async def customer_of(conn: Connection, generation_id: str) -> str:
    return str(await _queries.customer_of(conn, generation_key=generation_key(generation_id)))


async def release(conn: Connection, customer: str, *, places_max: int) -> list[str]:
    """Let jobs of the customer that are held be begun, as many as there are free places. Returns their generations."""
    async with conn.transaction():
        await _queries.lock_customer(conn, customer=customer)
        rows = _queries.release(conn, customer=customer, places_max=places_max)
        return [row["generation_id"] async for row in rows]


async def release_forgotten(conn: Connection, *, places_max: int) -> None:
    """Release what a worker that was killed, or another bound, left held; all of it if `places_max` is 0."""
    if not places_max:
        await _queries.release_all(conn)
        return
    for customer in [row["customer"] async for row in _queries.customers_held(conn)]:
        await release(conn, customer, places_max=places_max)


async def put_back(conn: Connection, job_id: int, *, seconds: float) -> None:
    """Make a job that runs due again after so many seconds.

    Raises:
        psycopg.errors.RaiseException: it does not run any more: it was taken over.
    """
    await _queries.put_back(conn, job_id=job_id, seconds=seconds)


async def wake(conn: Connection, generation_id: str, *, priority: int = 0) -> bool:
    """Make the generation's job due now, unless it is under way. False: there is no such generation."""
    known = await _queries.wake(
        conn, generation_id=generation_id, generation_key=generation_key(generation_id), priority=priority
    )
    return bool(known)
