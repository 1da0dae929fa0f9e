"""The rows of one run: the steps that were written, and fenced writes of more, through an outage of the database.

Steps may write side by side. While one write is under way those that come meanwhile are gathered, and the next
statement carries them all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from safelight.db.connection.clock import DatabaseClock
from safelight.db.connection.database import TRANSIENT_ERRORS, Connection, Database, Unwritable
from safelight.db.connection.notifications import Notifier
from safelight.db.generations import generations, job_log, runs
from safelight.db.generations.runs import Checkpoint, Ending, Lease, LeasedGeneration, WriteOutcome
from safelight.db.operations import ops_rows
from safelight.db.operations.ops_rows import OpsError
from safelight.domain import variables as variable_map
from safelight.domain.errors.base import LeaseLost, SafelightError
from safelight.domain.job_log import LogLine
from safelight.domain.statuses import Status
from safelight.pipelines.engine import write_log
from safelight.pipelines.engine.sealing import Sealer, restored
from safelight.pipelines.engine.step import Step
from safelight.pipelines.engine.step_payload import StepPayload
from safelight.pipelines.engine.write_log import Delivered

Json = dict[str, Any]

Admit = Callable[[Connection], Awaitable[None]]

OUTAGE_SECONDS_MAX = 900.0


@dataclass(slots=True)
class StepWrite:
    """One write of one step. `variables` are set by it, by their paths; None leaves the generation's map as it is."""

    step: Step
    lines: Sequence[LogLine] = ()
    variables: Mapping[str, Any] | None = None
    deadline_seconds: float | None = None
    is_done: bool = field(default=False, init=False)
    error: Exception | None = field(default=None, init=False)

    def settle(self, error: Exception | None = None) -> None:
        self.is_done, self.error = True, error


class RunStore:
    """`variables` is the generation's map; `status` what it is doing; `deadline` until when that must have ended, by
    the database's `clock`, which each write sets anew. `may_have_stored` says if files of a result may lie in our
    storage by now."""

    def __init__(self, db: Database, notifier: Notifier, leased: LeasedGeneration, steps: Sequence[Checkpoint]) -> None:
        self.generation_id: str = leased.generation_id
        self.clock = DatabaseClock(leased.taken_at)
        self.variables: Json = leased.variables
        self.status = self._written_status = Status(leased.status)
        self.deadline: datetime | None = leased.deadline_at
        self.cancelling: bool = leased.cancelling
        self.lease = Lease(self.generation_id, leased.lease_no, leased.user_id)
        self.log_seq: int = leased.log_seq
        self._log_unsure = False  # whether the log may have other lines than we know of
        self.takeovers: int = leased.takeovers
        self._first_step_no = leased.first_step_no
        self._db = db
        self._notifier = notifier
        self._written = {one.number: self._step(one.number, one.type, one.payload) for one in steps}
        self.may_have_stored = any(step.may_have_stored for step in self._written.values())
        self._gathered: list[StepWrite] = []
        self._writing = asyncio.Lock()
        self._deadlines = {
            number: step.deadline for number, step in self._written.items() if step.deadline and not step.has_ended
        }

    # --- what is written ----------------------------------------------------------------------------------------------

    @property
    def is_new(self) -> bool:
        """True if no step of the flow, or of the current round of a set, has begun."""
        return self.next_step_no <= self._first_step_no

    @property
    def next_step_no(self) -> int:
        """The number after those of all steps that are written."""
        return max(self._written, default=-1) + 1

    def has_step(self, number: int) -> bool:
        return number in self._written

    def ended(self, *step_types: str, first: int = 0, before: int | None = None) -> list[Step]:
        """The steps of these types that have ended, in the order of their numbers, from `first` on."""
        steps = [step for number, step in sorted(self._written.items()) if number >= first]
        return [
            step
            for step in steps
            if step.type in step_types and step.has_ended and (before is None or step.number < before)
        ]

    @property
    def result(self) -> Step | None:
        """The step whose result was stored."""
        return next((step for step in self._written.values() if step.is_result), None)

    def step(self, number: int, step_type: str) -> Step:
        """The step as it is written, or a new one. Raises SafelightError if the rows are those of another flow."""
        step = self._written.get(number) or Step(number, step_type, self.clock)
        if step.type != step_type:
            raise SafelightError(f"step {number} is {step.type!r} in the record, {step_type!r} in the flow")
        return step

    def restore(self, sealer: Sealer | None) -> None:
        """Have what steps were given, and gave, as it was written. Raises ConfigError as `restored`."""
        for payload in (step.payload for step in self._written.values() if step.payload.sealed):
            shown = {name: getattr(payload, name) for name in payload.sealed if name in payload.model_fields_set}
            for name, part in restored(sealer, shown, payload.sealed).items():
                setattr(payload, name, part)

    def _step(self, number: int, step_type: str, payload: Json) -> Step:
        return Step(number, step_type, self.clock, StepPayload.read(payload))

    # --- the variable map and the deadline ----------------------------------------------------------------------------

    def set(self, path: str, value: Any) -> None:
        variable_map.assign(self.variables, path, value)

    def seconds_left(self, step: Step | None = None) -> float | None:
        """Seconds until the deadline of the generation, or the step's own; None if there is none."""
        deadlines = [deadline for deadline in (self.deadline, step and step.deadline) if deadline]
        return (min(deadlines) - self.clock.now()).total_seconds() if deadlines else None

    def deadline_passed(self, step: Step | None = None) -> bool:
        left = self.seconds_left(step)
        return left is not None and left <= 0

    # --- writes -------------------------------------------------------------------------------------------------------

    async def write(
        self,
        step: Step,
        lines: Sequence[LogLine] = (),
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
        step.note_deadline(deadline_seconds)
        self.may_have_stored = self.may_have_stored or step.may_have_stored
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
            for write in writes:
                write.settle(error)
        except Unwritable as error:
            if len(writes) == 1:
                own.settle(error)
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
                write.settle(error)
        await self._forget_unwritten()

    async def _write(
        self, writes: Sequence[StepWrite], ops: OpsError | None = None, admit: Admit | None = None
    ) -> None:
        rows, lines = [write.step.next_row() for write in writes], [line for write in writes for line in write.lines]
        changes = [write.variables for write in writes if write.variables is not None]
        for change in changes:
            for path, value in change.items():
                self.set(path, value)
        if changes:
            await self._read_missing_lines()

        async def write_rows(conn: Connection) -> WriteOutcome:
            return await runs.write_steps(
                conn,
                self.lease,
                rows,
                status=self.status,
                variables=self.with_lines(lines) if changes else None,
                lines=lines,
                deadline_seconds=self._deadline_seconds(writes),
            )

        async def write_with_more(conn: Connection) -> WriteOutcome:
            async with conn.transaction():
                if admit:
                    await admit(conn)
                if ops:
                    await ops_rows.insert(conn, ops)
                return await write_rows(conn)

        status = self.status
        with write_log.status_change(self.generation_id, self._written_status, status):
            await self._send(write_with_more if ops or admit else write_rows, lines)
        self._written_status = status
        for write in writes:
            write.settle()
            self._count(write.step)

    def _count(self, step: Step) -> None:
        step.payload.writes += 1
        self._written[step.number] = step
        if step.has_ended:
            self.takeovers = 0
            self._deadlines.pop(step.number, None)
        elif step.deadline:
            self._deadlines[step.number] = step.deadline

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
            return await runs.finish(conn, self.lease, ending, variables=self.with_lines(ending.lines))

        delivered = None
        if ending.output_url:
            size = ending.meta.get("result", {}).get("bytes")
            delivered = Delivered(ending.output_url, size, self.generation_id if ending.output_key else None)
        await self.end(write, ending, delivered)

    async def end(
        self, write: Callable[[Connection], Awaitable[WriteOutcome]], ending: Ending, delivered: Delivered | None = None
    ) -> None:
        """Do the write that gives the generation its final status and adds its last lines. It may be done twice."""
        async with self._writing:
            await self._read_missing_lines()
            with write_log.end(self.generation_id, ending.status, delivered):
                await self._send(write, ending.lines)

    async def written_step(self, step: Step) -> Step:
        """The step as it is written now, whoever has the lease; an empty one if it is not."""

        async def read(conn: Connection) -> Json | None:
            return await runs.payload_of_step(conn, self.generation_id, step.number)

        payload = await self._db.retry_transient(read, seconds=OUTAGE_SECONDS_MAX)
        return self._step(step.number, step.type, payload) if payload else Step(step.number, step.type, self.clock)

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

    async def _send(self, write: Callable[[Connection], Awaitable[WriteOutcome]], lines: Sequence[LogLine]) -> None:
        written = None
        try:
            written = await self._db.retry_transient(write, seconds=OUTAGE_SECONDS_MAX)
        finally:  # without an answer, the lines may be written all the same
            self._log_unsure |= written is None or written.log_seq != self.log_seq + len(lines)
        self.variables = self.with_lines(lines)
        self.log_seq, self.cancelling = written.log_seq, written.cancelling
        self.deadline = written.deadline_at
        self.clock.set(written.written_at)
        self._notifier.notify(self.generation_id)

    # --- lines of the log that the variable map holds too -------------------------------------------------------------

    async def _read_missing_lines(self) -> None:
        """Read the lines that the map lacks, if it has a place for lines: those that were written without the map. If
        the log is not known for sure, read all of them, once a write that is still under way has ended."""
        known = self.variables["userMessages"].get("scan_lines")

        async def read(conn: Connection) -> list[Json]:
            if self._log_unsure:
                await generations.wait_for_writes(conn, self.generation_id)
            return await job_log.lines_after(conn, self.generation_id, len(known))

        if known is not None and self._log_unsure:
            known.clear()
        while known is not None and (self._log_unsure or len(known) < self.log_seq):
            lines = await self._db.retry_transient(read, seconds=OUTAGE_SECONDS_MAX)
            known.extend({"index": line["seq"] - 1, "text": line["message"]} for line in lines)
            if not lines:
                self.log_seq, self._log_unsure = len(known), False

    def with_lines(self, lines: Sequence[LogLine]) -> Json:
        """The variable map with these lines, if it has all lines before them."""
        messages = self.variables["userMessages"]
        known = messages.get("scan_lines")
        if known is None or self._log_unsure or len(known) < self.log_seq:
            return self.variables
        more = [{"index": self.log_seq + no, "text": line.text} for no, line in enumerate(lines)]
        return self.variables | {"userMessages": messages | {"scan_lines": known + more}}
