"""The record of one run: what it has written, and fenced writes of more, through an outage of the database.

Steps may write side by side. While one write is under way those that come meanwhile are gathered, and the next
statement carries them all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from safelight.db.connection.clock import DatabaseClock
from safelight.db.connection.database import TRANSIENT_ERRORS, Connection, Database, Unwritable
from safelight.db.connection.notifications import Notifier
from safelight.db.generations import generations, job_log, runs
from safelight.db.generations.runs import Checkpoint, Ending, Lease, LeasedGeneration, StepRow, WriteOutcome
from safelight.db.operations import ops_rows
from safelight.db.operations.ops_rows import OpsError
from safelight.domain import variables as variable_map
from safelight.domain.errors.base import LeaseLost, SafelightError
from safelight.domain.job_log import LogLine
from safelight.domain.statuses import Status
from safelight.pipelines.engine import step_payload
from safelight.pipelines.engine.as_written import SEALED, restored
from safelight.pipelines.engine.sealing import Sealer

Json = dict[str, Any]

Admit = Callable[[Connection], Awaitable[None]]

OUTAGE_SECONDS_MAX = 900.0
# A step that asks a model: every attempt, every pause between them, and the copying of its result fit into this.
STEP_SECONDS_MAX = 1800.0


@dataclass(slots=True)
class StepWrite:
    """One write of one step. `variables` are set by it, by their paths; None leaves the generation's map as it is."""

    step: StepRow
    lines: Sequence[LogLine] = ()
    variables: Mapping[str, Any] | None = None
    deadline_seconds: float | None = None
    is_done: bool = field(default=False, init=False)
    error: Exception | None = field(default=None, init=False)


class RunStore:
    """`variables` is the generation's map; `status` what it is doing; `deadline` until when that must have ended, by
    the database's `clock`, which each write sets anew."""

    def __init__(self, db: Database, notifier: Notifier, leased: LeasedGeneration, steps: Sequence[Checkpoint]) -> None:
        self.generation_id: str = leased.generation_id
        self.clock = DatabaseClock(leased.taken_at)
        self.variables: Json = leased.variables
        self.status = Status(leased.status)
        self.deadline: datetime | None = leased.deadline_at
        self.cancelling: bool = leased.cancelling
        self.lease = Lease(self.generation_id, leased.lease_no, leased.user_id)
        self.log_seq: int = leased.log_seq
        self.takeovers: int = leased.takeovers
        self._db = db
        self._notifier = notifier
        self._written = {step.number: step for step in steps}
        self.may_have_stored = any(step_payload.may_have_stored(step) for step in self._steps())
        self._gathered: list[StepWrite] = []
        self._writing = asyncio.Lock()
        self._deadlines = {
            step.number: deadline
            for step in self._steps()
            if (deadline := step_payload.deadline(step)) and not step_payload.has_ended(step)
        }

    @property
    def is_new(self) -> bool:
        """True if no step of the story has begun."""
        return not self._written

    @property
    def next_step_no(self) -> int:
        """The number after those of all steps that were written when the lease was taken."""
        return max(self._written, default=-1) + 1

    def step(self, number: int, step_type: str) -> StepRow:
        """The step as it was written when the lease was taken. Raises SafelightError if the record tells another
        story."""
        written = self._written.get(number)
        if written is None:
            return step_payload.empty_step(number, step_type, self.clock)
        if written.type == step_type:
            return self._row(written)
        raise SafelightError(f"step {number} is {written.type!r} in the record, {step_type!r} in the story")

    def restore(self, sealer: Sealer | None) -> None:
        """Have what steps were given, and gave, as it was written. Raises ConfigError as `restored`."""
        for number, step in self._written.items():
            payload = restored(sealer, step.payload, step.payload.get(SEALED, {}))
            self._written[number] = replace(step, payload=payload)

    def result(self) -> StepRow | None:
        """The step whose result was stored when the lease was taken."""
        return next((step for step in self._steps() if step_payload.is_result(step)), None)

    def _steps(self) -> Iterator[StepRow]:
        return map(self._row, self._written.values())

    def _row(self, written: Checkpoint) -> StepRow:
        writes = written.payload.get("writes", 0)
        return StepRow(written.number, written.type, written.payload, self.clock, writes=writes)

    def set(self, path: str, value: Any) -> None:
        variable_map.assign(self.variables, path, value)

    def deadline_passed(self, step: StepRow | None = None) -> bool:
        """True if the deadline of the generation has passed, or the step's own."""
        left = self.seconds_left(step)
        return left is not None and left <= 0

    def seconds_left(self, step: StepRow | None = None) -> float | None:
        deadlines = [deadline for deadline in (self.deadline, step and step_payload.deadline(step)) if deadline]
        return (min(deadlines) - self.clock.now()).total_seconds() if deadlines else None

    # --- writes -------------------------------------------------------------------------------------------------------

    async def write(
        self,
        step: StepRow,
        lines: Sequence[LogLine],
        *,
        variables: Mapping[str, Any] | None = None,
        deadline_seconds: float | None = None,
        ops: OpsError | None = None,
        admit: Admit | None = None,
    ) -> None:
        """Write the step as it stands now. `variables` sets these paths of the map and stores it; None leaves it. `ops`
        is a row of the ops plane that must be written with it; what `admit` raises prevents it.

        Raises:
            LeaseLost: another worker has the generation, or it is final; nothing was written.
        """
        step_payload.note_deadline(step, deadline_seconds)
        self.may_have_stored = self.may_have_stored or step_payload.may_have_stored(step)
        write = StepWrite(step, lines, variables, deadline_seconds)
        if ops or admit:
            async with self._writing:
                await self._write([write], ops, admit)
            return
        self._gathered.append(write)
        async with self._writing:
            if not write.is_done:
                await self._write_gathered(write)
        if write.error:
            raise write.error

    async def _write_gathered(self, own: StepWrite) -> None:
        """Write what has come together. If the database does not take it, each write is tried by itself; those of other
        steps are left to them if this one is interrupted."""
        writes, self._gathered = self._gathered, []
        try:
            await self._write(writes)
        except (LeaseLost, *TRANSIENT_ERRORS) as error:
            _settle(writes, error)
        except Unwritable as error:
            if len(writes) == 1:
                _settle(writes, error)
            else:
                await self._write_one_by_one(writes)
        finally:
            self._gathered[:0] = [write for write in writes if not write.is_done and write is not own]

    async def _write_one_by_one(self, writes: Sequence[StepWrite]) -> None:
        for write in writes:
            await self._forget_unwritten()
            try:
                await self._write([write])
            except Unwritable as error:
                _settle([write], error)
        await self._forget_unwritten()

    async def _write(
        self, writes: Sequence[StepWrite], ops: OpsError | None = None, admit: Admit | None = None
    ) -> None:
        steps, lines = [write.step for write in writes], [line for write in writes for line in write.lines]
        changes = [write.variables for write in writes if write.variables is not None]
        for path, value in ((path, value) for change in changes for path, value in change.items()):
            self.set(path, value)
        if changes:
            await self._read_missing_lines()

        async def write(conn: Connection) -> WriteOutcome:
            return await runs.write_steps(
                conn,
                self.lease,
                steps,
                status=self.status,
                variables=self.told(lines) if changes else None,
                lines=lines,
                deadline_seconds=self._deadline_seconds(writes),
            )

        async def write_with_more(conn: Connection) -> WriteOutcome:
            async with conn.transaction():
                if admit:
                    await admit(conn)
                if ops:
                    await ops_rows.insert(conn, ops)
                return await write(conn)

        await self._insist(write_with_more if ops or admit else write, lines)
        for write_done in writes:
            self._count(write_done)

    def _count(self, write: StepWrite) -> None:
        write.is_done, step = True, write.step
        step.writes += 1
        if step.status != "processing":
            self.takeovers = 0
            self._deadlines.pop(step.number, None)
        elif deadline := step_payload.deadline(step):
            self._deadlines[step.number] = deadline

    def _deadline_seconds(self, writes: Sequence[StepWrite]) -> float | None:
        """The generation's deadline: that of the write, or a later one of a step beside it."""
        stated = [write.deadline_seconds for write in writes if write.deadline_seconds is not None]
        left = [(deadline - self.clock.now()).total_seconds() for deadline in self._deadlines.values()]
        return max(stated + left) if stated else None

    async def finish(self, ending: Ending) -> None:
        """Give the generation its final status.

        Raises:
            LeaseLost: as `write`.
        """

        async def write(conn: Connection) -> WriteOutcome:
            return await runs.finish(conn, self.lease, ending, variables=self.told(ending.lines))

        await self.end(write, ending.lines)

    async def end(self, write: Callable[[Connection], Awaitable[WriteOutcome]], lines: Sequence[LogLine]) -> None:
        """Do the write that gives the generation its final status and adds these lines. It may be done twice."""
        async with self._writing:
            await self._read_missing_lines()
            await self._insist(write, lines)

    async def written_step(self, step: StepRow) -> StepRow:
        """The step as it is written now, whoever has the lease; an empty one if it is not."""

        async def read(conn: Connection) -> Json | None:
            return await runs.payload_of_step(conn, self.generation_id, step.number)

        payload = await self._db.retry_transient(read, seconds=OUTAGE_SECONDS_MAX)
        if payload is None:
            return step_payload.empty_step(step.number, step.type, self.clock)
        return StepRow(step.number, step.type, payload, self.clock, writes=payload.get("writes", 0))

    async def forget_unwritten(self) -> None:
        """Have the variables as they are written."""
        async with self._writing:  # a write that ends between reading and assigning would be forgotten too
            await self._forget_unwritten()

    async def _forget_unwritten(self) -> None:
        row = await self._db.retry_transient(
            lambda conn: generations.get(conn, self.generation_id), seconds=OUTAGE_SECONDS_MAX
        )
        if row:
            self.variables = row.variables

    async def warn(self, row: OpsError) -> None:
        """Tell operators, whoever has the lease."""
        await self._db.retry_transient(lambda conn: ops_rows.insert(conn, row), seconds=OUTAGE_SECONDS_MAX)

    async def _insist(self, write: Callable[[Connection], Awaitable[WriteOutcome]], lines: Sequence[LogLine]) -> None:
        written = await self._db.retry_transient(write, seconds=OUTAGE_SECONDS_MAX)
        self.variables = self.told(lines)
        self.log_seq, self.cancelling = written.log_seq, written.cancelling
        self.deadline = written.deadline_at
        self.clock.set(written.written_at)
        self._notifier.notify(self.generation_id)

    # --- lines of the log that the variable map holds too -------------------------------------------------------------

    async def _read_missing_lines(self) -> None:
        """Read the lines that were written without the map, if the map has a place for lines."""
        told = self.variables["userMessages"].get("scan_lines")

        async def read(conn: Connection) -> list[Json]:
            return await job_log.lines_after(conn, self.generation_id, len(told))

        while told is not None and len(told) < self.log_seq:
            for line in await self._db.retry_transient(read, seconds=OUTAGE_SECONDS_MAX):
                told.append({"index": line["seq"] - 1, "text": line["message"]})

    def told(self, lines: Sequence[LogLine]) -> Json:
        """The variable map with these lines, if it has all lines before them."""
        messages = self.variables["userMessages"]
        told = messages.get("scan_lines")
        if told is None or len(told) < self.log_seq:
            return self.variables
        more = [{"index": self.log_seq + no, "text": line.to_json()["message"]} for no, line in enumerate(lines)]
        return self.variables | {"userMessages": messages | {"scan_lines": told + more}}


def _settle(writes: Sequence[StepWrite], error: Exception) -> None:
    for write in writes:
        write.is_done, write.error = True, error
