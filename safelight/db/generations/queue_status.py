"""The queues and their workers at one moment, as operators ask for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.money import invariants

_queries = load_queries(__file__)

STATEMENT_SECONDS_MAX = 5


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """All times are the database's.

    `workers_lost` stopped answering in the last day without a word. `due` is, by queue, what waits for a free place of
    a worker, the oldest for `oldest_due_seconds`; `scheduled` is due later: it waits for a provider, or to be tried
    again. `abandoned` is what lost workers had in progress. `results_at_risk` only their provider has, because our
    storage is unavailable.
    """

    workers_alive: int
    workers_lost: int
    due: Mapping[str, int]
    oldest_due_seconds: float | None
    scheduled: int
    in_progress: int
    abandoned: int
    results_at_risk: int

    @property
    def waiting(self) -> int:
        """The number of generations that a worker could go on with now."""
        return sum(self.due.values()) + self.abandoned

    @property
    def is_stalled(self) -> bool:
        """True if there is work and no worker is alive."""
        return self.workers_alive == 0 and self.waiting > 0

    @property
    def alarm(self) -> str | None:
        if not self.is_stalled:
            return None
        oldest = "" if self.oldest_due_seconds is None else f", the oldest for {self.oldest_due_seconds:.0f} s"
        plural = "s wait" if self.waiting > 1 else " waits"
        return f"no worker is alive, and {self.waiting} generation{plural} for one{oldest}; start safelight worker"


async def read(conn: Connection, *, queue_names: Sequence[str], dead_after_seconds: float) -> QueueStatus:
    """A worker process registers once for each queue; it is alive if a registration had a heartbeat within
    `dead_after_seconds`.

    Raises:
        QueryCanceled: it took more than STATEMENT_SECONDS_MAX.
    """
    async with conn.transaction():
        await _queries.bound_read(conn, statement_timeout=f"{STATEMENT_SECONDS_MAX}s")
        row: Row = await _queries.read(conn, queue_names=list(queue_names), dead_after_seconds=dead_after_seconds)
        at_risk = await invariants.results_at_risk(conn)
    workers = {f"workers_{name}": _processes(row.pop(name), queue_names) for name in ("alive", "lost")}
    due = {name: row["due"].get(name, 0) for name in queue_names}
    return QueueStatus(**row | workers | {"due": due, "results_at_risk": len(at_risk)})


async def alive_workers(conn: Connection, *, queue_names: Sequence[str], dead_after_seconds: float) -> int:
    alive = await _queries.alive_registrations(conn, dead_after_seconds=dead_after_seconds)
    return _processes(int(alive), queue_names)


def _processes(registrations: int, queue_names: Sequence[str]) -> int:
    return -(-registrations // len(queue_names))
