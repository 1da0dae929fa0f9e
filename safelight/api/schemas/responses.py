"""What the routes answer, for the OpenAPI document: every key with its type.

Only the document is made of these models. Routes answer with plain dictionaries, which are not checked again as they go
out; the tests hold every answer they see against the document (tests/support/openapi.py).
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import MISSING, BaseModel, ConfigDict, Field

from safelight.domain.job_log import Level
from safelight.domain.statuses import TERMINAL, Status

Json = dict[str, Any]

Uri = Annotated[str, Field(json_schema_extra={"format": "uri"})]
UriReference = Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
Count = Annotated[int, Field(ge=0)]
Mode = Literal["still", "video"]
FinalStatus = Annotated[Status, Field(json_schema_extra={"enum": sorted(TERMINAL)})]


class ResponseModel(BaseModel):
    """An object with exactly these keys."""

    model_config = ConfigDict(extra="forbid")


class Ok(ResponseModel):
    """It is done, and there is nothing to say about it."""

    ok: Literal[True]


class WithRequestId(Ok):
    """An answer that names its request, as the log lines and the ops plane do."""

    requestId: str


class FrontPage(Ok):
    service: Literal["safelight"]
    version: str
    links: Annotated[dict[str, str], Field(description="What one looks for first: name and path.")]


# --- generations ----------------------------------------------------------------------------------------------------


class CreditsCharged(ResponseModel):
    """The balance after the charge, and what was charged."""

    balance: int
    cost: Count


class Bill(ResponseModel):
    cost: Count
    mode: Mode


class WithWarnings(WithRequestId):
    """An answer that says what of the body was not used."""

    warnings: Annotated[
        list[str], Field(description="Each field of the body that is not known, and what is not done as stated.")
    ]


class Accepted(WithWarnings):
    """An order that was accepted and charged."""

    generation_id: UUID
    status: Literal[Status.QUEUED]
    sse_url: Annotated[
        UriReference, Field(description="Where it can be followed live. Use it as it is: a user's holds a signature.")
    ]
    generationId: UUID
    passId: str
    parent_generation_id: str | None
    credits_cost: Count
    credits: CreditsCharged
    billing: Bill


class Outputs(ResponseModel):
    """Width and height are those the result is shown with; only a video has `seconds`. Results of older versions have
    none of the three."""

    seedream_image_url: Uri | None
    kling_video_url: Uri | None
    width: int | MISSING = MISSING
    height: int | MISSING = MISSING
    seconds: float | MISSING = MISSING


class ErrorContext(BaseModel):
    """Why a generation has no result, as far as its owner may read it. Generations of an older backend may say less,
    and have keys of their own."""

    model_config = ConfigDict(extra="allow")

    code: str | MISSING | None = MISSING
    message: str | MISSING | None = MISSING
    step: str | MISSING | None = MISSING
    provider: str | MISSING | None = MISSING
    type: str | MISSING = MISSING
    timestamp: datetime | MISSING = MISSING
    category: str | MISSING = MISSING
    httpStatus: int | MISSING = MISSING
    isRetryable: bool | MISSING = MISSING


class CreditsOfGeneration(ResponseModel):
    balance: Annotated[int | None, Field(description="Null where its customer has no row any more.")]
    cost: Annotated[Count | None, Field(description="Null where an older backend made it.")]


class Generation(Ok):
    """An output is there only when the status is `done`. What was asked for, the prompts and the credits are shown to
    the owner and to operators; for others `mma_vars` is empty, and `prompt`, `credits` and `parent_generation_id` are
    null."""

    generation_id: str
    status: Status
    state: Annotated[Status, Field(description="The same as `status`.")]
    status_text: Annotated[str, Field(description="The status for a person who waits.")]
    mode: Mode | None
    mma_vars: Annotated[Json, Field(description="The canonical variable map: all that is known of it so far.")]
    outputs: Outputs
    prompt: Annotated[str | None, Field(description="What the engine was asked.")]
    error: ErrorContext | None
    credits: CreditsOfGeneration | None
    parent_generation_id: str | None
    warnings: Annotated[
        list[str],
        Field(description="What was not used, changed, or came otherwise than ordered. Shown to the owner."),
    ]
    stand_in: Annotated[
        bool, Field(description="Whether the result was made by the offline stand-in, not by a vendor's model.")
    ]
    created_at: datetime
    updated_at: datetime


class BalanceOrNone(ResponseModel):
    balance: int | None


class Cancelling(WithWarnings):
    """What became of the wish to stop it."""

    generation_id: str
    status: Status
    cancelled: bool
    too_late: Annotated[bool | None, Field(description="Null while that is not known yet.")]
    refunded_credits: Count
    credits: BalanceOrNone


class Preferences(BaseModel):
    """What the customer likes and never wants to see."""

    model_config = ConfigDict(extra="allow")

    hard_blocks: list[str] | MISSING = MISSING
    tag_weights: dict[str, float] | MISSING = MISSING
    updated_at: datetime | MISSING = MISSING
    source: str | MISSING = MISSING


class EventStored(WithWarnings):
    status: Literal["ok"]
    event_id: str
    eventId: str
    passId: str
    preferences: Preferences | None


# --- the live log, by event -----------------------------------------------------------------------------------------


class ScanLine(ResponseModel):
    """One line of the job log."""

    index: Count
    text: str
    level: Level
    step: str | None


class StatusNow(ResponseModel):
    """The status, whenever it changes."""

    status: Status


class Ended(ResponseModel):
    """The last event: how it ended."""

    status: FinalStatus
    error: ErrorContext | MISSING = MISSING


class Reset(ResponseModel):
    """The id that was asked for is beyond the last line: all lines follow, from the first."""

    last_seq: Count


EVENTS: dict[str, type[ResponseModel]] = {"scan_line": ScanLine, "status": StatusNow, "done": Ended, "reset": Reset}


# --- customers ------------------------------------------------------------------------------------------------------


class User(ResponseModel):
    id: UUID
    email: str | None


class SignedIn(WithRequestId):
    user: User
    isAdmin: bool
    passId: str


class Visitor(WithRequestId):
    """Nobody is signed in."""

    user: None
    isAdmin: Literal[False]
    passId: Annotated[str, Field(description="The stated one, or a new one.")]


class VisitorForNow(Visitor):
    """Tokens cannot be checked just now: go on as a visitor."""

    degraded: Literal[True]
    degradedReason: str


Me = SignedIn | Visitor | VisitorForNow


class LoggedIn(WithRequestId):
    loggedIn: Literal[True]
    passId: str
    email: str | None
    isNewUser: bool


class NotLoggedIn(WithRequestId):
    loggedIn: Literal[False]


class NotLoggedInForNow(NotLoggedIn):
    """It cannot be found out just now."""

    degraded: Literal[True]


Login = LoggedIn | NotLoggedIn | NotLoggedInForNow


class Session(ResponseModel):
    id: UUID
    customerId: Annotated[str, Field(description="A pass id, or `anonymous`.")]
    platform: str
    title: str
    createdAt: datetime


class SessionBegun(WithRequestId):
    session: Session
    sessionId: UUID
    passId: str | None


class CostsOfModes(ResponseModel):
    imageCost: Count
    motionCost: Count


class Balance(WithRequestId):
    customerId: Annotated[str, Field(description="A pass id, or `anonymous`.")]
    balance: Count
    historyLength: Annotated[Count, Field(description="How many entries the ledger has of them.")]
    meta: CostsOfModes
    source: Literal["mega"]
    passId: str | None
    expiresAt: Annotated[datetime | None, Field(description="When the next credits expire.")]


class CreditsAdded(WithRequestId):
    customerId: str
    newBalance: Count
    source: Literal["mega"]
    passId: str


class OrderSeen(WithRequestId):
    orderId: str


class OrderCredited(OrderSeen):
    customerId: str
    passId: str
    credited: Annotated[int, Field(ge=1)]
    balance: Count
    expiresAt: datetime | None


class OrderWithoutCredits(OrderSeen):
    credited: Literal[0]
    reason: Literal["NOT_PAID", "TEST_ORDER", "CANCELLED", "NO_MATCHING_PRODUCT"]


class OrderRefunded(OrderSeen):
    """`missing` credits were spent before they could be taken back."""

    credited: Literal[0]
    takenBack: Count
    missing: Count
    reason: Literal["REFUNDED"]


class OrderKnown(OrderSeen):
    """It was credited before."""

    alreadyProcessed: Literal[True]


ShopOrder = OrderCredited | OrderWithoutCredits | OrderRefunded | OrderKnown


class Deleted(WithRequestId):
    """It is deleted; `deletedCount` is 0 if it was deleted before."""

    deleted: Literal[True]
    deletedCount: Count


# --- files ----------------------------------------------------------------------------------------------------------


class StoredFile(Ok):
    key: str
    url: Uri
    contentType: str
    bytes: Count


class StoredPublic(StoredFile):
    """`url` and `publicUrl` are the same."""

    publicUrl: Uri


class StoredPrivate(StoredFile):
    """`url` passes for so many seconds."""

    publicUrl: None
    expiresIn: Count


class Ticket(Ok):
    """A URL to PUT the file to, for so many seconds, and those at which it will be."""

    key: str
    uploadUrl: Uri
    publicUrl: Uri
    url: Uri
    expiresIn: Count


Upload = StoredPublic | StoredPrivate | Ticket


class OwnCopy(Ok):
    key: str
    url: Uri
    publicUrl: Uri


class Written(OwnCopy):
    bytes: Count


class SignedUrl(WithRequestId):
    key: str
    url: Uri
    expiresIn: Count
    expiresAt: datetime


# --- operations -----------------------------------------------------------------------------------------------------
