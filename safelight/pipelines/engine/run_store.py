"""What one run has written, and how it writes more: fenced by its lease, and through an outage of the database."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from safelight.db.connection.clock import DatabaseClock
from safelight.db.connection.database import Connection, Database, Row
from safelight.db.connection.notifications import Notifier
from safelight.db.generations import generations, runs
from safelight.db.generations.runs import Ending, Lease, StepRow, Written
from safelight.db.operations import ops_rows
from safelight.db.operations.ops_rows import OpsError
from safelight.domain import variables as variable_map
from safelight.domain.errors.base import SafelightError
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


class RunStore:
    """`variables` is the generation's map; `status` what it is doing; `deadline` until when that must have ended, by
    the database's `clock`, which each write sets anew."""

    def __init__(self, db: Database, notifier: Notifier, leased: Row, steps: list[Row], said: list[Row]) -> None:
        self.generation_id: str = leased["mg_generation_id"]
        self.clock = DatabaseClock(leased["taken_at"])
        self.variables: Json = leased["mg_mma_vars"]
        self.status = Status(leased["mg_mma_status"])
        self.deadline: datetime | None = leased["mg_deadline_at"]
        self.cancelling: bool = leased["cancelling"]
        self.lease = Lease(self.generation_id, leased["mg_lease_no"], leased["mg_user_id"])
        self.log_seq: int = leased["mg_log_seq"]
        self.takeovers: int = leased["mg_takeovers"]
        self._db = db
        self._notifier = notifier
        self._written = {row["mg_step_no"]: row for row in steps}
        self.variables["userMessages"]["scan_lines"] = [
            {"index": line["seq"] - 1, "text": line["message"]} for line in said
        ]

    @property
    def is_new(self) -> bool:
        """Nothing of the story has happened yet."""
        return not self._written

    def step(self, number: int, step_type: str) -> StepRow:
        """The step as far as it is written. Raises SafelightError where the record tells another story."""
        written = self._written.get(number)
        if written is None:
            return step_payload.empty_step(number, step_type, self.clock)
        if written["mg_step_type"] == step_type:
            return StepRow(number, step_type, written["mg_payload"], self.clock)
        raise SafelightError(f"step {number} is {written['mg_step_type']!r} in the record, {step_type!r} in the story")

    def restore(self, sealer: Sealer | None) -> None:
        """Have what steps were given, and gave, as it was written. Raises ConfigError as `restored`."""
        for row in self._written.values():
            payload = row["mg_payload"]
            row["mg_payload"] = restored(sealer, payload, payload.get(SEALED, {}))

    def result(self) -> StepRow | None:
        """The step whose result was stored when the lease was taken."""
        return next((step for step in self._steps() if step_payload.is_result(step)), None)

    def may_have_stored(self) -> bool:
        """Whether files of a result could lie in our storage when the lease was taken."""
        return any(step_payload.may_have_stored(step) for step in self._steps())

    def _steps(self) -> Iterator[StepRow]:
        return (
            StepRow(number, row["mg_step_type"], row["mg_payload"], self.clock) for number, row in self._written.items()
        )

    def set(self, path: str, value: Any) -> None:
        variable_map.assign(self.variables, path, value)

    def deadline_passed(self) -> bool:
        return self.deadline is not None and self.clock.now() >= self.deadline

    def seconds_left(self) -> float | None:
        return (self.deadline - self.clock.now()).total_seconds() if self.deadline else None

    async def write(
        self,
        step: StepRow,
        lines: list[LogLine],
        *,
        with_variables: bool = False,
        deadline_seconds: float | None = None,
        ops: OpsError | None = None,
        admit: Admit | None = None,
    ) -> None:
        """Write the step as it stands now. `ops` is a row of the ops plane that must be written with it; what `admit`
        raises prevents it.

        Raises:
            LeaseLost: another worker has the generation, or it is final; nothing was written.
        """

        async def write(conn: Connection) -> Written:
            return await runs.write_step(
                conn,
                self.lease,
                step,
                log_seq=self.log_seq,
                status=self.status,
                variables=self.told(lines) if with_variables else None,
                lines=lines,
                deadline_seconds=deadline_seconds,
            )

        async def write_with_more(conn: Connection) -> Written:
            async with conn.transaction():
                if admit:
                    await admit(conn)
                if ops:
                    await ops_rows.insert(conn, ops)
                return await write(conn)

        await self.retry_transient(write_with_more if ops or admit else write, lines)
        if step.status != "processing":
            self.takeovers = 0

    async def finish(self, ending: Ending) -> None:
        """Give the generation its final status.

        Raises:
            LeaseLost: as `write`.
        """

        async def write(conn: Connection) -> Written:
            return await runs.finish(conn, self.lease, ending, log_seq=self.log_seq, variables=self.told(ending.lines))

        await self.retry_transient(write, ending.lines)

    async def reread(self, step: StepRow) -> StepRow:
        """The step as it is written now, whoever has the lease."""

        async def read(conn: Connection) -> list[Row]:
            return await runs.steps_of(conn, self.generation_id)

        rows = await self._db.retry_transient(read, seconds=OUTAGE_SECONDS_MAX)
        return StepRow(step.number, step.type, rows[step.number]["mg_payload"], self.clock)

    async def written_step(self, step: StepRow) -> Json:
        """The payload of the step as it is written; of one that is not, an empty one."""
        rows = await self._db.retry_transient(
            lambda conn: runs.steps_of(conn, self.generation_id), seconds=OUTAGE_SECONDS_MAX
        )
        written = {row["mg_step_no"]: row["mg_payload"] for row in rows}
        return written.get(step.number) or step_payload.empty_step(step.number, step.type, self.clock).payload

    async def forget_unwritten(self) -> None:
        """Have the variables as they are written."""
        row = await self._db.retry_transient(
            lambda conn: generations.get(conn, self.generation_id), seconds=OUTAGE_SECONDS_MAX
        )
        if row:
            self.variables = row["mg_mma_vars"]

    async def warn(self, row: OpsError) -> None:
        """Tell operators, whoever has the lease."""
        await self._db.retry_transient(lambda conn: ops_rows.insert(conn, row), seconds=OUTAGE_SECONDS_MAX)

    async def retry_transient(
        self, write: Callable[[Connection], Awaitable[Written]], lines: Sequence[LogLine]
    ) -> None:
        """Do a write that adds these lines, through an outage. It may be done twice."""
        written = await self._db.retry_transient(write, seconds=OUTAGE_SECONDS_MAX)
        self.variables = self.told(lines)
        self.log_seq, self.cancelling = written.log_seq, written.cancelling
        self.deadline = written.deadline_at
        self.clock.set(written.written_at)
        self._notifier.notify(self.generation_id)

    def told(self, lines: Sequence[LogLine]) -> Json:
        """The variable map with these lines: it tells them too."""
        messages = self.variables["userMessages"]
        told = messages["scan_lines"][: self.log_seq]
        told += [{"index": self.log_seq + no, "text": line.to_json()["message"]} for no, line in enumerate(lines)]
        return self.variables | {"userMessages": messages | {"scan_lines": told}}
