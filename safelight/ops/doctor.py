"""The doctor: finds what breaks an invariant on a live database, says what repairs it, and repairs what is safe.

Safe is what a program can know: a refund that is due, the record of a failure, a generation that nobody runs. Balances,
results and histories that contradict each other are for a person to judge.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from psycopg.errors import InsufficientPrivilege

from safelight import telemetry
from safelight.db.connection.clock import DatabaseClock
from safelight.db.connection.database import TRANSIENT_ERRORS, Connection, Database
from safelight.db.money import invariants, ledger
from safelight.db.money.invariants import FailureRecord, RefundedResult, ResultAtRisk, StoredResult
from safelight.db.operations import audit, ops_rows
from safelight.db.operations.audit import Operator
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.db.operations.ops_rows import OpsError
from safelight.db.schema import view_leaks
from safelight.db.schema.problems import INVARIANTS, PROBLEMS, Violation
from safelight.domain.errors import base
from safelight.domain.errors.base import ConfigError, SafelightError, StorageError
from safelight.ops.maintenance import check_result
from safelight.pipelines.engine.reaper import ADOPT_AFTER_SECONDS, Reaper
from safelight.pipelines.engine.step import Step
from safelight.pipelines.engine.step_payload import StepError
from safelight.pipelines.results import withdraw
from safelight.reports import queue
from safelight.storage import results
from safelight.storage.assets import AssetStore

Json = dict[str, Any]

EXAMPLES = 5
REFUNDED_CHECKED = 200  # the newest generations without a result whose files are looked for, where no number is given
REPAIRED_AT_ONCE = 10_000  # rows of one problem; what is left is for the next run
RECORDS_OF_A_FAILURE = frozenset({"refund_missing", "failure_without_step", "failure_without_ops_row"})
MARKED_BY_HAND = SafelightError("The generation was set to a failed status outside its pipeline.", code="MARKED_FAILED")


@dataclass(frozen=True, slots=True)
class Report:
    violations: tuple[Violation, ...]
    warnings: tuple[str, ...]
    seconds: float
    results_at_risk: int = 0

    def counts(self) -> dict[int, int]:
        """Return the number of violations of each invariant."""
        return {
            number: sum(found.count for found in self.violations if found.problem.invariant == number)
            for number in INVARIANTS
        }

    def as_json(self) -> Json:
        return {
            "ok": not self.violations,
            "invariants": {str(number): count for number, count in self.counts().items()},
            "violations": [_as_json(found) for found in self.violations],
            "results_at_risk": self.results_at_risk,
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 3),
        }


def _as_json(found: Violation) -> Json:
    return {
        "invariant": found.problem.invariant,
        "problem": found.problem.name,
        "says": found.problem.description,
        "count": found.count,
        "examples": list(found.ids[:EXAMPLES]),
        "mend": found.problem.remedy,
    }


@dataclass(slots=True)
class Repaired:
    """The repairs that were made: credits given back, failures whose record is whole again, generations that are queued
    again or ended, refunded generations whose results were deleted, views that read as whoever asks now.
    `queue_warning` says if nobody goes on with what is queued."""

    credits: int = 0
    failures: int = 0
    generations: int = 0
    results: int = 0
    views: int = 0
    queue_warning: str = ""

    def as_json(self) -> Json:
        return {name: count for name, count in asdict(self).items() if name != "queue_warning"}


class Doctor:
    """A worker without a heartbeat for `dead_after_seconds` is dead."""

    def __init__(
        self, db: Database, reaper: Reaper, assets: AssetStore, spool: OpsOutbox, *, dead_after_seconds: float
    ) -> None:
        self._db = db
        self._spool = spool
        self._reaper = reaper
        self._assets = assets
        self._dead_after_seconds = dead_after_seconds

    async def check(self, *, files: int = 0, examples: int = EXAMPLES) -> Report:
        """Look at the whole database, for files that refunded generations have left, and read the newest `files` files.
        Nothing is written."""
        started = time.monotonic()
        async with self._db.connection() as conn:
            warnings = await invariants.schema_warnings(conn)
            found = await invariants.find(
                conn,
                examples=examples,
                accepted_seconds=ADOPT_AFTER_SECONDS,
                dead_after_seconds=self._dead_after_seconds,
            )
            at_risk = await invariants.results_at_risk(conn)
            queues = await queue.read(conn, self._dead_after_seconds)
            rows = await invariants.newest_files(conn, files) if files else []
            refunded = await invariants.refunded_results(conn, files or REFUNDED_CHECKED, withdrawn=bool(files))
        found += await self._check_files(rows, examples)
        readable, unknown = await self._check_refunded(refunded, examples)
        found += readable
        refused = await asyncio.to_thread(self._spool.refused_count)
        alarm = [queues.alarm] if queues.alarm else []
        warnings = [*alarm, *_risk(at_risk), *unknown, *_set_aside(refused, self._spool.refused_folder), *warnings]
        return Report(tuple(found), tuple(warnings), time.monotonic() - started, len(at_risk))

    async def repair(self, operator: Operator, *, files: int = 0) -> Repaired:
        """Write what is safe to write, and that the operator had it written, also where it is broken off. `files` is as
        for `check`."""
        repaired, found = Repaired(), (await self.check(examples=REPAIRED_AT_ONCE)).violations
        before = {one.problem.name: {"count": one.count, "examples": one.ids[:EXAMPLES]} for one in found}
        try:
            await self._repair(found, repaired, files)
        finally:
            async with self._db.transaction() as conn:
                await audit.record(conn, operator, "doctor.fix", target=None, before=before, after=repaired.as_json())
        return repaired

    async def _repair(self, found: Sequence[Violation], repaired: Repaired, files: int) -> None:
        """Each failure is repaired in a transaction of its own."""
        failures = {id for one in found if one.problem.name in RECORDS_OF_A_FAILURE for id in one.ids}
        for generation_id in sorted(failures):
            async with self._db.transaction() as conn:
                repaired.credits += await _complete_failure(conn, generation_id)
            repaired.failures += 1
        if any(one.problem.invariant == PROBLEMS["generation_without_job"].invariant for one in found):
            reaped = await self._reaper.reap()
            repaired.queue_warning = reaped.warning
            repaired.generations = len(reaped.taken_back) + len(reaped.adopted) + len(reaped.expired_in_queue)
        if any(one.problem.name == "view_shows_all_rows" for one in found):
            repaired.views = await self._close_views()
        repaired.results = await self.delete_refunded_results(files=files)

    async def _close_views(self) -> int:
        try:
            async with self._db.connection() as conn:
                return await view_leaks.close(conn)
        except InsufficientPrivilege as error:
            telemetry.warning(telemetry.Tag.DB_UPDATE, f"A view could not be repaired; its owner must do it: {error}")
            return 0

    async def _check_files(self, rows: Sequence[StoredResult], examples: int) -> list[Violation]:
        ids: dict[str, list[str]] = {"file_unreadable": [], "file_changed": []}
        for row in rows:
            if issue := (await check_result(self._assets, row)).issue:
                ids["file_changed" if issue == "hash_mismatch" else "file_unreadable"].append(row.generation_id)
        return _violations(ids, examples)

    async def _check_refunded(self, rows: Sequence[RefundedResult], examples: int) -> tuple[list[Violation], list[str]]:
        """The violations, and what could not be told."""
        ids: dict[str, list[str]] = {"refunded_result_readable": [], "deleted_result_readable": []}
        try:
            for row in rows:
                if await results.stored(self._assets, row.mode, row.generation_id, row.keys):
                    name = "deleted_result_readable" if row.is_deleted else "refunded_result_readable"
                    ids[name].append(row.generation_id)
        except StorageError as error:
            return [], [f"files of refunded and deleted generations could not be looked for: {error}"]
        return _violations(ids, examples), []

    async def delete_refunded_results(self, *, files: int = 0) -> int:
        """Delete what refunded generations have left, and clear what leads to it; with `files`, also what came back.
        Returns how many of them had left something."""
        async with self._db.connection() as conn:
            rows = await invariants.refunded_results(conn, REPAIRED_AT_ONCE, withdrawn=files > 0)
        deleted = [await withdraw(self._db, self._assets, row.generation_id, row.mode, row.keys) for row in rows]
        return sum(bool(keys) for keys in deleted)


def _violations(ids: Mapping[str, Sequence[str]], examples: int) -> list[Violation]:
    return [Violation(PROBLEMS[name], len(of), tuple(of[:examples])) for name, of in ids.items() if of]


def _risk(at_risk: Sequence[ResultAtRisk]) -> list[str]:
    if not at_risk:
        return []
    first = at_risk[0]
    return [
        f"{len(at_risk)} results are at risk: our storage cannot take them, and their providers forget them, the first"
        f" ({first.generation_id}) at {first.lost_at.isoformat(timespec='seconds')}; mend the storage"
    ]


def _set_aside(count: int, folder: Path) -> list[str]:
    if not count:
        return []
    return [
        f"{count} rows of the ops plane were refused by the database, or are no rows, and are set aside in {folder};"
        " read them, then delete them"
    ]


async def _complete_failure(conn: Connection, generation_id: str) -> int:
    """Write what a failure's record lacks: step, ops row, refund. Returns the credits that were given back."""
    failure = await invariants.failure(conn, generation_id)
    if failure is None:
        return 0
    if failure.status != "cancelled" and failure.payload is None:
        step = Step(failure.next_step_no, "pipeline", DatabaseClock(failure.read_at))
        step.end({}, _marked_by_hand(failure))
        payload = step.payload.to_json()
        await invariants.insert_failed_step(
            conn, generation_id, number=step.number, step_type=step.type, payload=payload
        )
        failure = replace(failure, step_type=step.type, payload=payload)
    if failure.payload is not None and not failure.has_ops_row:
        await ops_rows.insert(conn, _ops_error(failure, failure.payload))
    if failure.is_set:
        missing = max(failure.overpaid, 0)
        return await ledger.refund_part(conn, generation_id=generation_id, round_no=failure.round_no, credits=missing)
    return await ledger.refund(conn, generation_id=generation_id) if failure.status != "partial" else 0


def _marked_by_hand(failure: FailureRecord) -> StepError:
    return StepError(
        error_code=MARKED_BY_HAND.code,
        type=type(MARKED_BY_HAND).__name__,
        message=f"{MARKED_BY_HAND} It says: {failure.message}" if failure.message else str(MARKED_BY_HAND),
        provider_http_status=None,
    )


def _ops_error(failure: FailureRecord, payload: Json) -> OpsError:
    request = failure.request
    kind = _kind(payload["error"].get("type"))
    return OpsError(
        category=kind.category,
        code=str(payload["error"].get("error_code") or kind.code),
        message=str(payload["error"].get("message") or failure.message or kind.safe_message),
        action="doctor.mend",
        request_id=request.get("request_id", ""),
        route=request.get("route", "mma"),
        method=request.get("method", "POST"),
        http_status=kind.http_status,
        pass_id=failure.pass_id,
        generation_id=failure.generation_id,
        step_type=failure.step_type,
        provider=failure.provider,
        model=failure.model,
        provider_http_status=payload["error"].get("provider_http_status"),
        context=_version(payload, "ctx"),
        settings=_version(payload, "settings"),
    )


def _kind(name: str | None) -> type[SafelightError]:
    """The error type that a step's row names."""
    found = getattr(base, name or "", SafelightError)
    return found if isinstance(found, type) and issubclass(found, SafelightError) else SafelightError


def _version(payload: Json, name: str) -> Json | None:
    given = payload.get("input") or {}
    if f"{name}_key" not in given:
        return None
    return {part: given.get(f"{name}_{part}") for part in ("key", "version", "id")}


class LatestFindings:
    """The doctor's newest findings for whoever asks often and must not wait: a pass runs beside the questions, once a
    minute at most, and at a twentieth of the time at most if it takes long."""

    MINUTE_SECONDS = 60.0
    SHARE_OF_TIME = 1 / 20

    def __init__(self, doctor: Doctor) -> None:
        self._doctor = doctor
        self._examining: asyncio.Task[None] | None = None
        self._examined_at = float("-inf")
        self.known: Report | None = None

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self._examined_at

    def ask(self) -> Report | None:
        """Return the newest findings, None before the first pass has ended. Begins a new pass if it is time for one."""
        is_busy = self._examining is not None and not self._examining.done()
        if not is_busy and self.age_seconds > self._valid_seconds():
            self._examining = asyncio.create_task(self._examine())
        return self.known

    async def _examine(self) -> None:
        try:
            self.known = await self._doctor.check()
        except (*TRANSIENT_ERRORS, ConfigError) as error:
            telemetry.warning(telemetry.Tag.DB_STATUS, f"The invariants could not be checked: {error}")
            return
        self._examined_at = time.monotonic()

    def _valid_seconds(self) -> float:
        return max(self.MINUTE_SECONDS, self.known.seconds / self.SHARE_OF_TIME if self.known else 0)

    async def close(self) -> None:
        """Break off a pass that is under way."""
        if self._examining is not None:
            self._examining.cancel()
            await asyncio.wait({self._examining})
