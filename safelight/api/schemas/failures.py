"""Answers about failed, cancelled and stuck generations, for operators and for their owners."""

from typing import Annotated, Literal

from pydantic import MISSING, Field

from safelight.api.schemas import fields
from safelight.api.schemas.generation_responses import ErrorContext
from safelight.api.schemas.responses import Ok, ResponseModel, Stored

Minutes = Annotated[float, Field(examples=[0.25])]
NoId = Annotated[list[str], Field(examples=[[]])]


class Project(ResponseModel):
    id: fields.PassId
    name: str = Field(examples=["All work"])


class SessionOfFailed(ResponseModel):
    id: fields.SessionId | None
    name: str | None = Field(examples=["Mina session"])
    project: Project | None


class ErrorContextOfUser(ErrorContext):
    userId: fields.PassId


class ErrorContextOfOperators(ErrorContextOfUser):
    stack: str | None = Field(description="From the ops plane.", examples=["Traceback (most recent call last): …"])


class Parameters(Stored):
    """The order as it was accepted; where it failed or was cancelled, also why."""

    error: fields.StoredTextOrNull = Field(default=MISSING, examples=["The picture service took too long to answer."])
    errorContext: ErrorContextOfUser | MISSING = MISSING


class Failed(ResponseModel):
    """A generation that failed, was cancelled or is stuck."""

    id: fields.GenerationId
    sessionId: fields.SessionId | None
    modelId: str | None = Field(examples=["seedream"])
    prompt: fields.Prompt | None
    status: Literal["queued", "processing", "failed", "cancelled"] = Field(examples=["failed"])
    parameters: Parameters
    createdAt: fields.StoredTime
    session: SessionOfFailed
    errorMessage: str | None = Field(examples=["The picture service took too long to answer."])
    isStuck: bool
    stuckReason: Literal["past-deadline", "worker-lost", "no-job"] | None = Field(examples=[None])
    ageMinutes: fields.Count = Field(examples=[12])


class UserOfFailed(ResponseModel):
    id: fields.PassId
    displayName: str | None = Field(examples=["Ada"])
    username: fields.PassId | None


class FailedOfSomebody(Failed):
    userId: fields.PassId
    passId: fields.PassId
    user: UserOfFailed
    errorContext: ErrorContextOfOperators | None


class Counts(ResponseModel):
    failed: fields.Count
    stuck: fields.Count = Field(examples=[0])
    cancelled: fields.Count = Field(examples=[0])


class FailedInShort(ResponseModel):
    id: fields.GenerationId
    status: str = Field(examples=["failed"])
    errorMessage: str | None = Field(examples=["The picture service took too long to answer."])
    createdAt: fields.StoredTime


class FailedByUser(Counts):
    userId: fields.PassId
    userDisplayName: str = Field(examples=["Ada"])
    userEmail: fields.Email = Field(description="`N/A` where it is not known.")
    count: fields.Count
    generations: list[FailedInShort]


class AdminFailureReport(Ok):
    """Newest first. The counts are of all that was asked for, `generations` is one page of it."""

    total: fields.Count
    summary: Counts
    byUser: list[FailedByUser]
    generations: list[FailedOfSomebody]
    nextCursor: str | None = Field(examples=[None])


class FailedOfKind(ResponseModel):
    count: fields.Count
    generations: list[Failed]


class CustomerFailureReport(Ok):
    """Newest first; what is stuck shows however old it is."""

    failed: FailedOfKind
    stuck: FailedOfKind = Field(examples=[{"count": 0, "generations": []}])
    cancelled: FailedOfKind = Field(examples=[{"count": 0, "generations": []}])
    total: fields.Count
    nextCursor: str | None = Field(examples=[None])


class OwnerOfCleaned(ResponseModel):
    userId: fields.PassId
    userEmail: str = Field(description="`unknown` where it is not known.", examples=["unknown"])
    count: fields.Count


class Heuristic(ResponseModel):
    minAgeMinutes: Minutes
    heartbeatStaleMinutes: Minutes
    webhookGraceMinutes: Minutes


class CleanedUp(Ok):
    """The generations that were queued again, and why the others were left alone."""

    message: str = Field(examples=["1 stuck generation(s) were queued again."])
    cleaned: fields.Count
    scanned: fields.Count = Field(examples=[3])
    skippedReasons: dict[str, fields.Count] = Field(
        description="How many were left alone, by why.", examples=[{"running": 1, "waiting": 1}]
    )
    generationIds: list[fields.GenerationId]
    takenBack: list[fields.GenerationId]
    adopted: NoId
    neverStarted: NoId
    byUser: list[OwnerOfCleaned]
    heuristic: Heuristic
