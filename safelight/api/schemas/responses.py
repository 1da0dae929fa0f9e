"""Answers of the routes: each is a model that its route returns, that mypy checks, and that FastAPI describes.

An example stands at its field, and the document makes the example of a whole answer of them (`document.py`). Values
that are stored as JSON are passed on as they are (`Stored`, `StoredText`): rows of an older backend may hold others.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import MISSING, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from safelight import __version__
from safelight.api.schemas.examples import (
    FILE_KEY,
    FILE_URL,
    GENERATION,
    PASS,
    PROMPT,
    REQUEST,
    SESSION,
    STILL_URL,
    USER,
)

Json = dict[str, Any]

Text = Annotated[str, Field(examples=["…"])]
Uri = Annotated[str, Field(json_schema_extra={"format": "uri"}, examples=[STILL_URL])]
FileUri = Annotated[str, Field(json_schema_extra={"format": "uri"}, examples=[FILE_URL])]
SignedUri = Annotated[
    str, Field(json_schema_extra={"format": "uri"}, examples=[f"{FILE_URL}?expires=1766134800&signature=0d0f5a3e"])
]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=[GENERATION])]
SessionUuid = Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=[SESSION])]
GenerationId = Annotated[str, Field(examples=[GENERATION])]
SessionId = Annotated[str, Field(examples=[SESSION])]
PassId = Annotated[str, Field(examples=[PASS])]
RequestId = Annotated[str, Field(examples=[REQUEST])]
Email = Annotated[str, Field(examples=["ada@example.com"])]
Platform = Annotated[str, Field(examples=["tiktok"])]
Key = Annotated[str, Field(examples=[FILE_KEY])]
Time = Annotated[datetime, Field(examples=["2025-12-19T08:00:00Z"])]
Count = Annotated[int, Field(ge=0, examples=[1])]
Credits = Annotated[int, Field(examples=[13])]
Seconds = Annotated[int, Field(ge=0, examples=[3600])]
Prompt = Annotated[str, Field(examples=[PROMPT])]
Mode = Literal["still", "video", "image_job"]
CustomerId = Annotated[str, Field(description="A pass id, or `anonymous`.", examples=[PASS])]

StoredText = Annotated[Any, WithJsonSchema({"type": "string"})]
StoredTextOrNull = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}]})]
StoredTime = Annotated[
    Any, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-12-19T08:00:00Z"]})
]
StoredTexts = Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "string"}})]
StoredWhole = Annotated[Any, WithJsonSchema({"type": "integer"})]
StoredUriOrNull = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]})]
StoredNumber = Annotated[Any, WithJsonSchema({"type": "number"})]
StoredObject = Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": True})]


class ResponseModel(BaseModel):
    """An object with exactly these keys. Only keys whose value may be MISSING are left out."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, json_schema_serialization_defaults_required=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Keys that may be MISSING are not required, and no default is told: it is a constant of the code."""
        schema = handler(core)
        own = handler.resolve_ref_schema(schema)
        missing = {name for name, field in cls.model_fields.items() if field.default is MISSING}
        if missing:
            own["required"] = [name for name in own.get("required", ()) if name not in missing]
        for field in own.get("properties", {}).values():
            field.pop("default", None)
        return schema


class Stored(ResponseModel):
    """An object that is stored as JSON, and passed on as it is: it may hold other keys."""

    model_config = ConfigDict(extra="allow")


class Ok(ResponseModel):
    """It is done, and there is nothing to say about it."""

    ok: Literal[True] = True


class WithRequestId(Ok):
    """An answer that names its request, as the log lines and the ops plane do."""

    requestId: RequestId


class FrontPage(Ok):
    service: Literal["safelight"] = "safelight"
    version: Annotated[str, Field(examples=[__version__])]
    links: Annotated[
        dict[str, str],
        Field(description="What one looks for first: name and path.", examples=[{"docs": "/docs"}]),
    ]


class WithWarnings(WithRequestId):
    """An answer that says what of the body was not used."""

    warnings: Annotated[
        list[str],
        Field(
            description="Each field of the body that is not known, and what is not done as stated.",
            examples=[[]],
        ),
    ]


class CreditsCharged(ResponseModel):
    """The balance after the charge, and what was charged."""

    balance: Credits
    cost: Count


# --- customers ------------------------------------------------------------------------------------------------------


class User(ResponseModel):
    id: Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=[USER])]
    email: Email | None


class SignedIn(WithRequestId):
    user: User
    isAdmin: bool
    passId: PassId


class Visitor(WithRequestId):
    """Nobody is signed in."""

    user: None = None
    isAdmin: Literal[False] = False
    passId: Annotated[PassId, Field(description="The stated one, or a new one.")]


class VisitorForNow(Visitor):
    """Tokens cannot be checked just now: go on as a visitor."""

    degraded: Literal[True] = True
    degradedReason: str


Me = SignedIn | Visitor | VisitorForNow


class LoggedIn(WithRequestId):
    loggedIn: Literal[True] = True
    passId: PassId
    email: Email | None
    isNewUser: bool


class NotLoggedIn(WithRequestId):
    loggedIn: Literal[False] = False


class NotLoggedInForNow(NotLoggedIn):
    """It cannot be found out just now."""

    degraded: Literal[True] = True


Login = LoggedIn | NotLoggedIn | NotLoggedInForNow


class Session(ResponseModel):
    id: SessionUuid
    customerId: CustomerId
    platform: Platform
    title: Annotated[str, Field(examples=["Mina session"])]
    createdAt: Time


class SessionBegun(WithRequestId):
    session: Session
    sessionId: SessionUuid
    passId: PassId | None


class CostsOfModes(ResponseModel):
    imageCost: Count
    motionCost: Annotated[Count, Field(examples=[5])]


class Balance(WithRequestId):
    customerId: CustomerId
    balance: Annotated[Count, Field(examples=[13])]
    historyLength: Annotated[Count, Field(description="How many entries the ledger has of them.")]
    meta: CostsOfModes
    source: Literal["mega"] = "mega"
    passId: PassId | None
    expiresAt: Annotated[datetime | None, Field(description="When the next credits expire.", examples=[None])]


class CreditsAdded(WithRequestId):
    customerId: PassId
    newBalance: Annotated[Count, Field(examples=[33])]
    source: Literal["mega"] = "mega"
    passId: PassId


class OrderSeen(WithRequestId):
    orderId: Annotated[str, Field(examples=["5678901234567"])]


class OrderCredited(OrderSeen):
    customerId: PassId
    passId: PassId
    credited: Annotated[int, Field(ge=1, examples=[50])]
    balance: Annotated[Count, Field(examples=[50])]
    expiresAt: Time | None


class OrderWithoutCredits(OrderSeen):
    credited: Literal[0] = 0
    reason: Literal["NOT_PAID", "TEST_ORDER", "CANCELLED", "NO_MATCHING_PRODUCT"]


class OrderRefunded(OrderSeen):
    """`missing` credits were spent before they could be taken back."""

    credited: Literal[0] = 0
    takenBack: Count
    missing: Count
    reason: Literal["REFUNDED"] = "REFUNDED"


class OrderKnown(OrderSeen):
    """It was credited before."""

    alreadyProcessed: Literal[True] = True


ShopOrderAnswer = OrderCredited | OrderWithoutCredits | OrderRefunded | OrderKnown


class Deleted(WithRequestId):
    """It is deleted; `deletedCount` is 0 if it was deleted before."""

    deleted: Literal[True] = True
    deletedCount: Count


# --- files ----------------------------------------------------------------------------------------------------------


class KeptFile(Ok):
    """A file of ours without its URLs: one that is signed is made anew for each answer."""

    key: Key
    contentType: Annotated[str, Field(examples=["image/jpeg"])]
    bytes: Annotated[Count, Field(examples=[79975])]


class StoredPublic(KeptFile):
    """`url` and `publicUrl` are the same."""

    url: FileUri
    publicUrl: FileUri


class StoredPrivate(KeptFile):
    """`url` passes for so many seconds."""

    url: SignedUri
    publicUrl: None = None
    expiresIn: Seconds


class KeptKey(ResponseModel):
    """The key that a file will have: the same one for all tries of a request."""

    key: Key


class Ticket(Ok):
    """A URL to PUT the file to, for so many seconds, and those at which it will be."""

    key: Key
    uploadUrl: SignedUri
    publicUrl: FileUri
    url: FileUri
    expiresIn: Seconds


Upload = StoredPublic | StoredPrivate | Ticket


class OwnCopy(Ok):
    key: Key
    url: FileUri
    publicUrl: FileUri


class Written(OwnCopy):
    bytes: Annotated[Count, Field(examples=[79975])]


class SignedUrl(WithRequestId):
    key: Key
    url: SignedUri
    expiresIn: Seconds
    expiresAt: Time
