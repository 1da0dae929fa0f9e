"""What is answered about failed, cancelled and stuck generations, for the OpenAPI document."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import MISSING, BaseModel, ConfigDict, Field

from safelight.api.schemas.responses import Count, ErrorContext, Ok, ResponseModel


class Project(ResponseModel):
    id: str
    name: str


class SessionOfFailed(ResponseModel):
    id: str | None
    name: str | None
    project: Project | None


class ErrorContextOfUser(ErrorContext):
    userId: str


class ErrorContextOfOperators(ErrorContextOfUser):
    stack: Annotated[str | None, Field(description="From the ops plane.")]


class Parameters(BaseModel):
    """The order as it was accepted; where it failed or was cancelled, also why."""

    model_config = ConfigDict(extra="allow")

    error: str | MISSING | None = MISSING
    errorContext: ErrorContextOfUser | MISSING = MISSING


class Failed(ResponseModel):
    """A generation that failed, was cancelled or is stuck."""

    id: str
    sessionId: str | None
    modelId: str | None
    prompt: str | None
    status: Literal["queued", "processing", "failed", "cancelled"]
    parameters: Parameters
    createdAt: datetime
    session: SessionOfFailed
    errorMessage: str | None
    isStuck: bool
    stuckReason: Literal["past-deadline", "worker-lost", "no-job"] | None
    ageMinutes: Count


class UserOfFailed(ResponseModel):
    id: str
    displayName: str | None
    username: str | None


class FailedOfSomebody(Failed):
    userId: str
    passId: str
    user: UserOfFailed
    errorContext: ErrorContextOfOperators | None


class Counts(ResponseModel):
    failed: Count
    stuck: Count
    cancelled: Count


class FailedInShort(ResponseModel):
    id: str
    status: str
    errorMessage: str | None
    createdAt: datetime


class FailedByUser(Counts):
    userId: str
    userDisplayName: str
    userEmail: Annotated[str, Field(description="`N/A` where it is not known.")]
    count: Count
    generations: list[FailedInShort]


class AdminFailureReport(Ok):
    total: Count
    summary: Counts
    byUser: list[FailedByUser]
    generations: list[FailedOfSomebody]
    nextCursor: str | None


class FailedOfKind(ResponseModel):
    count: Count
    generations: list[Failed]


class CustomerFailureReport(Ok):
    failed: FailedOfKind
    stuck: FailedOfKind
    cancelled: FailedOfKind
    total: Count
    nextCursor: str | None


class OwnerOfCleaned(ResponseModel):
    userId: str
    userEmail: Annotated[str, Field(description="`unknown` where it is not known.")]
    count: Count


class Heuristic(ResponseModel):
    minAgeMinutes: float
    heartbeatStaleMinutes: float
    webhookGraceMinutes: float


class CleanedUp(Ok):
    message: str
    cleaned: Count
    scanned: Count
    skippedReasons: Annotated[dict[str, Count], Field(description="How many were left alone, by why.")]
    generationIds: list[str]
    takenBack: list[str]
    adopted: list[str]
    neverStarted: list[str]
    byUser: list[OwnerOfCleaned]
    heuristic: Heuristic
