"""A generation, as the API and the commands show it: status, result, order, steps and lines."""

from dataclasses import dataclass
from typing import Any

from safelight.db.connection.database import Connection
from safelight.db.generations import generations, job_log
from safelight.db.generations.generations import GenerationRow, GenerationStatus, StoredStep
from safelight.db.generations.job_log import StoredLine
from safelight.domain.statuses import Status

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GenerationReport:
    """`status` is None for what an older backend made without a pipeline."""

    generation: GenerationRow

    @property
    def status(self) -> Status | None:
        return Status(self.generation.status) if self.generation.status else None

    @property
    def outputs(self) -> Json:
        """The result, with its measures; empty until the generation is done."""
        found: Json = self.generation.variables.get("outputs", {}) if self.status is Status.DONE else {}
        return found

    @property
    def error(self) -> Json | None:
        return self.generation.meta.get("error")

    @property
    def price_credits(self) -> int | None:
        return self.generation.meta.get("cost")

    @property
    def flow(self) -> str | None:
        return self.generation.meta.get("flow")

    @property
    def retry_of(self) -> str | None:
        return self.generation.meta.get("retry_of")

    @property
    def is_stand_in(self) -> bool:
        """True if the offline renderer made the result."""
        return bool(self.generation.variables.get("meta", {}).get("stand_in"))

    @property
    def warnings(self) -> list[str]:
        """All warnings if there is a result; before that, those of the order."""
        order = (self.generation.payload or {}).get("order") or {}
        return list(self.generation.meta.get("warnings") or order.get("warnings") or [])


@dataclass(frozen=True, slots=True)
class GenerationDetails:
    """A generation with its steps and the generations that it was retried as."""

    report: GenerationReport
    steps: list[StoredStep]
    retries: list[GenerationStatus]


async def find(conn: Connection, generation_id: str) -> GenerationReport | None:
    generation = await generations.get(conn, generation_id)
    return GenerationReport(generation) if generation else None


async def details(conn: Connection, generation_id: str) -> GenerationDetails | None:
    report = await find(conn, generation_id)
    if report is None:
        return None
    retries = await generations.retries_of(conn, generation_id, pass_id=report.generation.pass_id)
    return GenerationDetails(report, await generations.steps_of(conn, generation_id), retries)


async def stored(conn: Connection, generation_id: str) -> Json | None:
    """The columns of the generation and its steps as they are stored, and its retries, for `--json`."""
    found, known = await generations.stored(conn, generation_id), await details(conn, generation_id)
    if found is None or known is None:
        return None
    return {
        "generation": found.columns,
        "steps": [step.columns for step in known.steps],
        "retries": [{"id": one.id, "status": one.status} for one in known.retries],
    }


async def lines(conn: Connection, generation_id: str) -> list[StoredLine] | None:
    """The lines that a waiting person saw. None if there is no such generation."""
    if await generations.get(conn, generation_id) is None:
        return None
    return await job_log.lines(conn, generation_id)
