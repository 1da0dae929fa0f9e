"""The queue's rows, seen from outside the queue: what dead workers left behind."""

from collections.abc import Sequence
from dataclasses import dataclass

from safelight.db.connection.database import Connection, load_queries
from safelight.domain.ids import generation_key

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task, and the queue whose workers do it."""

    queue_name: str
    task_name: str


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
