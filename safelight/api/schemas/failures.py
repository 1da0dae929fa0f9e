"""Answers about failed, cancelled and stuck generations, for operators and for their owners."""

from typing import Annotated, Literal

from pydantic import MISSING, Field

from safelight.api.schemas.generation_responses import ErrorContext
from safelight.api.schemas.responses import (
    Count,
    Email,
    GenerationId,
    Ok,
    PassId,
    Prompt,
    ResponseModel,
    SessionId,
    Stored,
    StoredTextOrNull,
    StoredTime,
)

Minutes = Annotated[float, Field(examples=[0.25])]
NoId = Annotated[list[str], Field(examples=[[]])]


class Project(ResponseModel):
    id: PassId
    name: Annotated[str, Field(examples=["All work"])]


class SessionOfFailed(ResponseModel):
    id: SessionId | None
    name: Annotated[str | None, Field(examples=["Mina session"])]
    project: Project | None


class ErrorContextOfUser(ErrorContext):
    userId: PassId


class ErrorContextOfOperators(ErrorContextOfUser):
    stack: Annotated[
        str | None, Field(description="From the ops plane.", examples=["Traceback (most recent call last): …"])
    ]


class Parameters(Stored):
    """The order as it was accepted; where it failed or was cancelled, also why."""

    error: Annotated[StoredTextOrNull, Field(examples=["The picture service took too long to answer."])] = MISSING
    errorContext: ErrorContextOfUser | MISSING = MISSING


class Failed(ResponseModel):
    """A generation that failed, was cancelled or is stuck."""

    id: GenerationId
    sessionId: SessionId | None
    modelId: Annotated[str | None, Field(examples=["seedream"])]
    prompt: Prompt | None
    status: Annotated[Literal["queued", "processing", "failed", "cancelled"], Field(examples=["failed"])]
    parameters: Parameters
    createdAt: StoredTime
    session: SessionOfFailed
    errorMessage: Annotated[str | None, Field(examples=["The picture service took too long to answer."])]
    isStuck: bool
    stuckReason: Annotated[Literal["past-deadline", "worker-lost", "no-job"] | None, Field(examples=[None])]
    ageMinutes: Annotated[Count, Field(examples=[12])]


class UserOfFailed(ResponseModel):
    id: PassId
    displayName: Annotated[str | None, Field(examples=["Ada"])]
    username: PassId | None


class FailedOfSomebody(Failed):
    userId: PassId
    passId: PassId
    user: UserOfFailed
    errorContext: ErrorContextOfOperators | None


class Counts(ResponseModel):
    failed: Count
    stuck: Annotated[Count, Field(examples=[0])]
    cancelled: Annotated[Count, Field(examples=[0])]


class FailedInShort(ResponseModel):
    id: GenerationId
    status: Annotated[str, Field(examples=["failed"])]
    errorMessage: Annotated[str | None, Field(examples=["The picture service took too long to answer."])]
    createdAt: StoredTime


class FailedByUser(Counts):
    userId: PassId
    userDisplayName: Annotated[str, Field(examples=["Ada"])]
    userEmail: Annotated[Email, Field(description="`N/A` where it is not known.")]
    count: Count
    generations: list[FailedInShort]


class AdminFailureReport(Ok):
    """Newest first. The counts are of all that was asked for, `generations` is one page of it."""

    total: Count
    summary: Counts
    byUser: list[FailedByUser]
    generations: list[FailedOfSomebody]
    nextCursor: Annotated[str | None, Field(examples=[None])]


class FailedOfKind(ResponseModel):
    count: Count
    generations: list[Failed]


class CustomerFailureReport(Ok):
    """Newest first; what is stuck shows however old it is."""

    failed: FailedOfKind
    stuck: Annotated[FailedOfKind, Field(examples=[{"count": 0, "generations": []}])]
    cancelled: Annotated[FailedOfKind, Field(examples=[{"count": 0, "generations": []}])]
    total: Count
    nextCursor: Annotated[str | None, Field(examples=[None])]


class OwnerOfCleaned(ResponseModel):
    userId: PassId
    userEmail: Annotated[str, Field(description="`unknown` where it is not known.", examples=["unknown"])]
    count: Count


class Heuristic(ResponseModel):
    minAgeMinutes: Minutes
    heartbeatStaleMinutes: Minutes
    webhookGraceMinutes: Minutes


class CleanedUp(Ok):
    """The generations that were queued again, and why the others were left alone."""

    message: Annotated[str, Field(examples=["1 stuck generation(s) were queued again."])]
    cleaned: Count
    scanned: Annotated[Count, Field(examples=[3])]
    skippedReasons: Annotated[
        dict[str, Count],
        Field(description="How many were left alone, by why.", examples=[{"running": 1, "waiting": 1}]),
    ]
    generationIds: list[GenerationId]
    takenBack: list[GenerationId]
    adopted: NoId
    neverStarted: NoId
    byUser: list[OwnerOfCleaned]
    heuristic: Heuristic
