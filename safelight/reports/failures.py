"""Failed, cancelled and stuck generations, as the API, the commands and pages show them."""

from dataclasses import dataclass
from typing import Any

from safelight.db.connection.database import Connection
from safelight.db.operations import failures
from safelight.db.operations.failures import (
    Cause,
    FailedGeneration,
    FailuresOfUser,
    Found,
    Kind,
    Question,
    StuckThresholds,
)

UNKNOWN_USER = "Unknown"
NO_EMAIL = "N/A"
STUCK_MESSAGES = {
    "past-deadline": "It is past its deadline.",
    "worker-lost": "Its worker stopped answering; another one takes it over.",
    "no-job": "It has no live worker and no job; it will be queued again.",
}
_STUCK_CAUSES = {
    "past-deadline": "it is past its deadline",
    "worker-lost": "its worker stopped answering",
    "no-job": "it has no job in the queue",
}


@dataclass(frozen=True, slots=True)
class ReportedFailure:
    """One generation that failed, was cancelled or is stuck. Customers are not shown `stack` and `cause`."""

    generation: FailedGeneration
    stack: str | None = None
    cause: Cause | None = None

    @property
    def is_stuck(self) -> bool:
        return self.generation.kind == Kind.STUCK

    @property
    def error_message(self) -> str | None:
        """The sentence for customers."""
        liveness = self.generation.liveness
        if liveness:
            return STUCK_MESSAGES[liveness]
        message: str | None = self.generation.parameters["error"]
        return message

    @property
    def error_context(self) -> dict[str, Any] | None:
        return self.generation.parameters.get("errorContext")

    @property
    def status(self) -> str:
        return "stuck" if self.is_stuck else self.generation.status

    @property
    def code(self) -> str | None:
        """The error code; of what is stuck the reason."""
        if self.is_stuck:
            return self.generation.liveness
        context = self.error_context or {}
        return context.get("code") or (self.cause.code if self.cause else None) or context.get("type")

    @property
    def step(self) -> str | None:
        stated: str | None = (self.error_context or {}).get("step")
        return stated or (self.cause.step or self.cause.last_step if self.cause else None)

    @property
    def model(self) -> str | None:
        return (self.cause.model if self.cause else None) or self.generation.model_id

    @property
    def reason(self) -> str | None:
        """The sentence for operators."""
        if self.generation.liveness:
            return _STUCK_CAUSES[self.generation.liveness]
        if self.cause is None:
            return self.error_message
        if self.status == "cancelled" and self.cause.cancelled_by:
            return f"cancelled by {self.cause.cancelled_by}"
        return self.cause.message or self.error_message


@dataclass(frozen=True, slots=True)
class FailureReport:
    """`found` counts all that was asked for; `failures` is one page, the newest first."""

    found: Found
    failures: tuple[ReportedFailure, ...]


def name_of(user: FailuresOfUser) -> str:
    return user.display_name or user.username or UNKNOWN_USER


def email_of(user: FailuresOfUser) -> str:
    return user.email or NO_EMAIL


async def for_customer(conn: Connection, question: Question, thresholds: StuckThresholds) -> FailureReport:
    found = await failures.read(conn, question, thresholds)
    return FailureReport(found, tuple(map(ReportedFailure, found.generations)))


async def for_operators(conn: Connection, question: Question, thresholds: StuckThresholds) -> FailureReport:
    """The report with stacks and causes."""
    found = await failures.read(conn, question, thresholds)
    ids = [generation.id for generation in found.generations]
    stacks, causes = await failures.stacks(conn, ids), await failures.causes(conn, ids)
    shown = (ReportedFailure(one, stacks.get(one.id), causes.get(one.id)) for one in found.generations)
    return FailureReport(found, tuple(shown))
