"""What is answered about failed, cancelled and stuck generations, for the OpenAPI document."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import MISSING, BaseModel, ConfigDict, Field

from safelight.api.answers import Answer, Count, Done, ErrorContext


class Project(Answer):
    id: str
    name: str


class SessionOfFailed(Answer):
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


class Failed(Answer):
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


class UserOfFailed(Answer):
    id: str
    displayName: str | None
    username: str | None


class FailedOfSomebody(Failed):
    userId: str
    passId: str
    user: UserOfFailed
    errorContext: ErrorContextOfOperators | None


class Counts(Answer):
    failed: Count
    stuck: Count
    cancelled: Count


class FailedInShort(Answer):
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


class FailedOfAll(Done):
    total: Count
    summary: Counts
    byUser: list[FailedByUser]
    generations: list[FailedOfSomebody]
    nextCursor: str | None


class FailedOfKind(Answer):
    count: Count
    generations: list[Failed]


class FailedOfOne(Done):
    failed: FailedOfKind
    stuck: FailedOfKind
    cancelled: FailedOfKind
    total: Count
    nextCursor: str | None


class OwnerOfCleaned(Answer):
    userId: str
    userEmail: Annotated[str, Field(description="`unknown` where it is not known.")]
    count: Count


class Heuristic(Answer):
    minAgeMinutes: float
    heartbeatStaleMinutes: float
    webhookGraceMinutes: float


class CleanedUp(Done):
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
