"""The writes of a worker that runs a generation, each set of rows in one statement that holds the fence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.errors import NotNullViolation
from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import row_as, rows_as
from safelight.domain.errors.base import LeaseLost
from safelight.domain.ids import generation_key, step_key
from safelight.domain.job_log import LogLine
from safelight.domain.statuses import Status

_queries = load_queries(__file__)

_WRITTEN_OF_ENDING = ("prompt", "output_url", "output_key", "provider", "model", "error")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to one generation, until another worker takes it over."""

    generation_id: str
    number: int
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """The length of the job log after a write, whether somebody asked for the generation to be stopped, and until when
    what it waits for must have happened; `written_at` is the database's time."""

    log_seq: int
    cancelling: bool
    deadline_at: datetime | None
    written_at: datetime


class TextUsage(NamedTuple):
    """The lengths of a question to a model and of its answer."""

    input_chars: int | None = None
    output_chars: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


NO_USAGE = TextUsage()


@dataclass(frozen=True, slots=True)
class StepRow:
    """One `mma_step` row as a write makes it. `payload` has the keys of docs/contract/rows.md; its `writes` is the
    number of this write among those of the step."""

    number: int
    type: str
    payload: Row
    status: str
    provider: str | None = None
    model: str | None = None
    latency_ms: int | None = None
    usage: TextUsage = NO_USAGE

    def to_json(self, generation_id: str) -> Row:
        return {
            "id": step_key(generation_id, self.number),
            "number": self.number,
            "type": self.type,
            "payload": self.payload,
            "provider": self.provider,
            "model": self.model,
            "latency_ms": self.latency_ms,
            "status": self.status,
            **{name: stated for name, stated in self.usage._asdict().items() if stated is not None},
        }


@dataclass(frozen=True, slots=True)
class Ending:
    status: Status
    lines: Sequence[LogLine]
    prompt: str | None = None
    output_url: str | None = None
    output_key: str | None = None
    provider: str | None = None
    model: str | None = None
    error: str | None = None
    meta: Row = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeasedGeneration:
    """A generation as its new worker finds it. `taken_at` is the database's time."""

    generation_id: str
    pass_id: str
    lease_no: int
    pipeline_version: int
    payload: Row
    variables: Row
    meta: Row
    status: str
    log_seq: int
    takeovers: int
    deadline_at: datetime | None
    cancelling: bool
    user_id: UUID | None
    preferences: Row
    taken_at: datetime

    @property
    def request(self) -> Row:
        """The caller's request, as far as it is on record."""
        return self.meta.get("request") or {}

    @property
    def rounds(self) -> list[Row]:
        """The rounds after the first, in which a set makes what was missing (`pipelines/reopen.py`)."""
        return self.meta.get("rounds") or []

    @property
    def first_step_no(self) -> int:
        """The number of the first step of the current round."""
        return int(self.rounds[-1]["first_step"]) if self.rounds else 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A step as it was written when the lease was taken."""

    number: int
    type: str
    payload: Row


async def take_lease(
    conn: Connection, generation_id: str, pipeline_versions: Iterable[int], *, if_lease_no: int | None = None
) -> LeasedGeneration | None:
    """Take the generation over from whoever had it, or only where its lease has this number. None: it is final, or
    unknown, or has another, or follows a flow of a version that is not among these."""
    row = await _queries.take_lease(
        conn,
        generation_key=generation_key(generation_id),
        pipeline_versions=list(pipeline_versions),
        if_lease_no=if_lease_no,
    )
    return row_as(LeasedGeneration, row)


async def checkpoints(conn: Connection, generation_id: str, whole_types: Iterable[str]) -> list[Checkpoint]:
    """The steps as a run goes on from them: whole where a step has not ended or has one of these types, else without
    what it was given."""
    rows = _queries.checkpoints(conn, generation_id=generation_id, whole_types=list(whole_types))
    return await rows_as(Checkpoint, rows)


async def payload_of_step(conn: Connection, generation_id: str, number: int) -> Row | None:
    payload: Row | None = await _queries.payload_of_step(conn, step_key=step_key(generation_id, number))
    return payload


async def write_steps(
    conn: Connection,
    lease: Lease,
    steps: Sequence[StepRow],
    *,
    status: Status,
    variables: Row | None,
    lines: Sequence[LogLine] = (),
    deadline_seconds: float | None = None,
) -> WriteOutcome:
    """Begin, continue or end steps, each with its next write. `variables` None leaves the generation's map as it is,
    `deadline_seconds` None its deadline. Doing it twice is doing it once: each row says which write of its step it is.

    Raises:
        LeaseLost: nothing was written.
    """
    written = Jsonb([step.to_json(lease.generation_id) for step in steps])
    try:
        row = await _queries.write_steps(
            conn,
            **_fence(lease),
            user_id=lease.user_id,
            status=status,
            variables=None if variables is None else Jsonb(variables),
            lines=_json(lines),
            deadline_seconds=deadline_seconds,
            steps=written,
        )
    except NotNullViolation as error:  # only some of the steps match
        raise LeaseLost(f"generation {lease.generation_id}: another worker has written some of these steps") from error
    return _written(lease, row or await _queries.written_before(conn, **_fence(lease), steps=written))


async def finish(conn: Connection, lease: Lease, ending: Ending, *, variables: Row) -> WriteOutcome:
    """Give the generation its final status. Doing it twice is doing it once.

    Raises:
        LeaseLost: nothing was written.
    """
    row = await _queries.finish(
        conn,
        **_fence(lease),
        user_id=lease.user_id,
        status=ending.status,
        record_status=ending.status.record_status,
        meta=Jsonb(ending.meta),
        variables=Jsonb(variables),
        lines=_json(ending.lines),
        **{name: getattr(ending, name) for name in _WRITTEN_OF_ENDING},
    )
    return _written(lease, row or await _queries.finished_before(conn, **_fence(lease), status=ending.status))


def _fence(lease: Lease) -> dict[str, Any]:
    return {"generation_key": generation_key(lease.generation_id), "lease_no": lease.number}


def _json(lines: Sequence[LogLine]) -> Jsonb:
    return Jsonb([line.to_json() for line in lines])


def _written(lease: Lease, row: Row | None) -> WriteOutcome:
    if row is None:
        raise LeaseLost(f"generation {lease.generation_id}: lease {lease.number} is no longer ours, or it is final")
    return WriteOutcome(**row)
