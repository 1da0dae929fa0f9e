"""Answers of the routes: each is a model that its route returns, that mypy checks, and that FastAPI describes.

An example stands at its field, and the document makes the example of a whole answer of them (`openapi.py`).
"""

from datetime import datetime
from typing import Literal

from pydantic import MISSING, BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from safelight import __version__, telemetry
from safelight.api.schemas import examples, fields


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

    requestId: fields.RequestId = Field(default_factory=lambda: telemetry.known("request_id"), validate_default=True)


class FrontPage(Ok):
    service: Literal["safelight"] = "safelight"
    version: str = Field(examples=[__version__])
    links: dict[str, str] = Field(description="What one looks for first: name and path.", examples=[{"docs": "/docs"}])


class WithWarnings(WithRequestId):
    """An answer that says what of the body was not used."""

    warnings: list[str] = Field(
        description="Each field of the body that is not known, and what is not done as stated.", examples=[[]]
    )


class CreditsCharged(ResponseModel):
    """The balance after the charge, and what was charged."""

    balance: fields.Credits
    cost: fields.Count


# --- customers ------------------------------------------------------------------------------------------------------


class User(ResponseModel):
    id: str = Field(json_schema_extra={"format": "uuid"}, examples=[examples.USER])
    email: fields.Email | None


class SignedIn(WithRequestId):
    user: User
    isAdmin: bool
    passId: fields.PassId


class Visitor(WithRequestId):
    """Nobody is signed in."""

    user: None = None
    isAdmin: Literal[False] = False
    passId: fields.PassId = Field(description="The stated one, or a new one.")


class VisitorForNow(Visitor):
    """Tokens cannot be checked just now: go on as a visitor."""

    degraded: Literal[True] = True
    degradedReason: str


Me = SignedIn | Visitor | VisitorForNow


class LoggedIn(WithRequestId):
    loggedIn: Literal[True] = True
    passId: fields.PassId
    email: fields.Email | None
    isNewUser: bool


class NotLoggedIn(WithRequestId):
    loggedIn: Literal[False] = False


class NotLoggedInForNow(NotLoggedIn):
    """It cannot be found out just now."""

    degraded: Literal[True] = True


Login = LoggedIn | NotLoggedIn | NotLoggedInForNow


class Session(ResponseModel):
    id: fields.SessionUuid
    customerId: fields.CustomerId
    platform: fields.Platform
    title: str = Field(examples=["Mina session"])
    createdAt: fields.Time


class SessionBegun(WithRequestId):
    session: Session
    sessionId: fields.SessionUuid
    passId: fields.PassId | None


class CostsOfModes(ResponseModel):
    imageCost: fields.Count
    motionCost: fields.Count = Field(examples=[5])


class Balance(WithRequestId):
    customerId: fields.CustomerId
    balance: fields.Count = Field(examples=[13])
    historyLength: fields.Count = Field(description="How many entries the ledger has of them.")
    meta: CostsOfModes
    source: Literal["mega"] = "mega"
    passId: fields.PassId | None
    expiresAt: datetime | None = Field(description="When the next credits expire.", examples=[None])


class CreditsAdded(WithRequestId):
    customerId: fields.PassId
    newBalance: fields.Count = Field(examples=[33])
    source: Literal["mega"] = "mega"
    passId: fields.PassId


class OrderSeen(WithRequestId):
    orderId: str = Field(examples=["5678901234567"])


class OrderCredited(OrderSeen):
    customerId: fields.PassId
    passId: fields.PassId
    credited: int = Field(ge=1, examples=[50])
    balance: fields.Count = Field(examples=[50])
    expiresAt: fields.Time | None


class OrderWithoutCredits(OrderSeen):
    credited: Literal[0] = 0
    reason: Literal["NOT_PAID", "TEST_ORDER", "CANCELLED", "NO_MATCHING_PRODUCT"]


class OrderRefunded(OrderSeen):
    """`missing` credits were spent before they could be taken back."""

    credited: Literal[0] = 0
    takenBack: fields.Count
    missing: fields.Count
    reason: Literal["REFUNDED"] = "REFUNDED"


class OrderKnown(OrderSeen):
    """It was credited before."""

    alreadyProcessed: Literal[True] = True


ShopOrderAnswer = OrderCredited | OrderWithoutCredits | OrderRefunded | OrderKnown


class Deleted(WithRequestId):
    """It is deleted; `deletedCount` is 0 if it was deleted before."""

    deleted: Literal[True] = True
    deletedCount: fields.Count


# --- files ----------------------------------------------------------------------------------------------------------


class KeptFile(Ok):
    """A file of ours without its URLs: one that is signed is made anew for each answer."""

    key: fields.Key
    contentType: str = Field(examples=["image/jpeg"])
    bytes: fields.Count = Field(examples=[79975])


class StoredPublic(KeptFile):
    """`url` and `publicUrl` are the same."""

    url: fields.FileUri
    publicUrl: fields.FileUri


class StoredPrivate(KeptFile):
    """`url` passes for so many seconds."""

    url: fields.SignedUri
    publicUrl: None = None
    expiresIn: fields.Seconds


class KeptKey(ResponseModel):
    """The key that a file will have: the same one for all tries of a request."""

    key: fields.Key


class Ticket(Ok):
    """A URL to PUT the file to, for so many seconds, and those at which it will be."""

    key: fields.Key
    uploadUrl: fields.SignedUri
    publicUrl: fields.FileUri
    url: fields.FileUri
    expiresIn: fields.Seconds


Upload = StoredPublic | StoredPrivate | Ticket


class OwnCopy(Ok):
    key: fields.Key
    url: fields.FileUri
    publicUrl: fields.FileUri


class Written(OwnCopy):
    bytes: fields.Count = Field(examples=[79975])


class SignedUrl(WithRequestId):
    key: fields.Key
    url: fields.SignedUri
    expiresIn: fields.Seconds
    expiresAt: fields.Time
