"""Answers of the legacy routes."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from safelight.api.schemas.examples import GENERATION, PROMPT, STILL_URL, VIDEO_URL
from safelight.api.schemas.responses import (
    CostsOfModes,
    Count,
    Credits,
    CreditsCharged,
    CustomerId,
    Email,
    GenerationId,
    Json,
    Ok,
    PassId,
    Platform,
    Prompt,
    ResponseModel,
    SessionId,
    SessionUuid,
    Stored,
    StoredObject,
    StoredText,
    Text,
    Time,
    Uri,
    Uuid,
    WithRequestId,
)
from safelight.domain.runtime_config import LeafType

MergeSource = Literal["preset+user", "user_only", "preset_only", "none"]
NONE = Field(examples=[None])

# --- what was made --------------------------------------------------------------------------------------------------


class GptError(ResponseModel):
    status: Annotated[Any, WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "null"}]})]
    message: Text


class StyleProfile(ResponseModel):
    keywords: list[str]
    description: str


class PresetMeta(ResponseModel):
    """Without `minaVisionEnabled`: whether the preset alone shaped it."""

    source: Literal["preset_only", "none"] = Field(examples=["none"])
    likesCount: Count = Field(examples=[0])
    presetKey: Annotated[str | None, NONE]


class MergedMeta(PresetMeta):
    mergeSource: MergeSource


class TasteUnknownMeta(MergedMeta):
    source: Literal["none"] = "none"
    reason: Literal["not_enough_likes"] = "not_enough_likes"
    minLikesForFirstProfile: Count


class TasteReadMeta(ResponseModel):
    source: Literal["recomputed"] = "recomputed"
    likesCount: Count
    likesCountAtProfile: Count
    updatedAt: Time
    refreshStep: Count
    presetKey: str | None
    mergeSource: MergeSource


StyleMeta = PresetMeta | TasteUnknownMeta | TasteReadMeta


class Gpt(ResponseModel):
    usedFallback: bool = False
    error: Annotated[GptError | None, NONE] = None


class GptWithStyle(Gpt):
    styleProfile: Annotated[StyleProfile | None, NONE]
    styleProfileMeta: StyleMeta
    userMessage: str = Field(description="The last friendly line.", examples=["Your picture is ready."])


class GptOfStill(GptWithStyle):
    imageTexts: list[str] = Field(description="What was seen in each picture.", examples=[["A white cup"]])


class Made(WithRequestId):
    message: str = Field(examples=["Your picture is ready."])
    prompt: StoredText = Field(examples=[PROMPT])
    generationId: Uuid
    sessionId: SessionUuid
    passId: PassId
    credits: CreditsCharged


class StillMade(Made):
    imageUrl: Uri
    imageUrls: list[Uri]
    gpt: GptOfStill


class VideoMade(Made):
    videoUrl: str = Field(json_schema_extra={"format": "uri"}, examples=[VIDEO_URL])
    gpt: GptWithStyle


class Suggestion(WithRequestId):
    suggestion: str = Field(examples=["Push in slowly while steam rises from the cup."])
    passId: PassId
    gpt: Gpt


# --- what customers say and see -------------------------------------------------------------------------------------


class LikePayload(ResponseModel):
    customerId: CustomerId
    resultType: Literal["image", "motion"]
    platform: Platform
    sessionId: SessionId | None
    generationId: GenerationId | None


class Likes(ResponseModel):
    likesForCustomer: Count | None = Field(description="Comments included; null of nobody.", examples=[3])


class Liked(WithRequestId):
    message: str = Field(examples=["Thank you, noted."])
    payload: LikePayload
    totals: Likes
    passId: PassId | None
    feedbackId: Uuid


class Row(Stored):
    """A row of `mega_generations`, its columns by their own names."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"patternProperties": {"^mg_": {}}, "additionalProperties": False}
    )

    mg_id: str = Field(examples=[f"generation:{GENERATION}"])
    mg_created_at: Time


class Item(Row):
    """The row, and what of it clients know by other names."""

    id: str = Field(examples=[f"generation:{GENERATION}"])
    passId: PassId | None
    sessionId: SessionId | None
    platform: Platform | None
    createdAt: Time


class SessionItem(Item):
    title: str | None = Field(examples=["Mina session"])


class GenerationItem(Item):
    generationId: GenerationId | None
    type: str | None = Field(examples=["image"])
    mode: str | None = Field(examples=["still"])
    prompt: Prompt | None
    outputUrl: str | None = Field(examples=[STILL_URL])
    status: str | None = Field(examples=["done"])
    meta: StoredObject = Field(examples=[{"cost": 1}])


class FeedbackItem(Item):
    resultType: str | None = Field(examples=["image"])
    prompt: Prompt | None
    comment: Text | None
    imageUrl: str | None = Field(examples=[STILL_URL])
    videoUrl: Annotated[str | None, NONE]


class CreditHistory(ResponseModel):
    balance: Credits
    expiresAt: Annotated[Time | None, NONE]
    history: list[Row] = Field(description="The ledger, newest first.")


class Page(ResponseModel):
    limit: Count = Field(examples=[200])
    cursor: Time | None = Field(description="As it was stated.", examples=[None])
    nextCursor: Annotated[Time | None, NONE]
    hasMore: bool
    returned: Count = Field(examples=[3])


class History(WithRequestId):
    """Newest first; every item under its camelCase and its raw names."""

    passId: PassId | None
    customerId: CustomerId
    passIdsChecked: list[PassId]
    credits: CreditHistory
    page: Page
    sessions: list[SessionItem]
    generations: list[GenerationItem]
    feedbacks: list[FeedbackItem]


class TotalUsers(Ok):
    totalUsers: Count = Field(examples=[1234])
    source: Literal["mega_customers", "no-supabase"] = Field(description="`no-supabase`: the database is away.")


class AutoTopUps(ResponseModel):
    """Automatic top-ups of a customer."""

    customerId: PassId
    enabled: bool = Field(examples=[True])
    monthlyLimitPacks: Count = Field(examples=[3])
    passId: PassId


class AutoTopUpsKept(AutoTopUps):
    source: Literal["mega_customers.meta"] = "mega_customers.meta"


class AutoTopUpsUnknown(ResponseModel):
    """The database is away."""

    customerId: PassId
    enabled: Literal[False] = False
    monthlyLimitPacks: Literal[0] = 0
    source: Literal["no-db"] = "no-db"


# --- operators ------------------------------------------------------------------------------------------------------


class Summary(Ok):
    totalCustomers: Count = Field(examples=[120])
    totalCredits: int = Field(examples=[1450])
    autoTopupOn: Count = Field(examples=[7])
    source: Literal["mega_customers"] = "mega_customers"


class Customer(ResponseModel):
    shopify_customer_id: str | None = Field(examples=["8812345"])
    email: Email | None
    credits: Credits
    last_active: Time | None
    created_at: Time
    updated_at: Time
    disabled: bool


class Customers(ResponseModel):
    customers: list[Customer]
    source: Literal["supabase"] = "supabase"


class RowsOfTables(ResponseModel):
    mega_customers: Count = Field(examples=[120])
    mega_generations: Count = Field(examples=[4310])


class Parity(Ok):
    summary: RowsOfTables


class Adjusted(WithRequestId):
    customerId: PassId
    passId: PassId
    balance: Count = Field(examples=[23])
    creditsBefore: Count = Field(examples=[13])
    creditsAfter: Count = Field(examples=[23])
    expiresAt: Annotated[Time | None, NONE]
    source: Literal["mega_customers"] = "mega_customers"


class ModelsOfEngines(ResponseModel):
    seedream: str | None = Field(examples=["darkroom-still-1"])
    kling: str | None = Field(examples=["darkroom-motion-1"])
    gpt: str | None = Field(examples=["darkroom-eyes-1"])


class RuntimeTree(ResponseModel):
    """The settings that operators may change while everything runs; each leaf is in `schema` of the GET."""

    models: ModelsOfEngines
    credits: CostsOfModes
    replicate: dict[str, Json] = Field(
        description="Settings of each engine.", examples=[{"seedream": {"size": "2K"}, "kling": {"mode": "pro"}}]
    )
    gpt: dict[str, Json] = Field(description="Settings of each task.", examples=[{"editorial": {"temperature": 0.8}}])


class Effective(Ok):
    effective: RuntimeTree


class Unset(Effective):
    override: Json = Field(examples=[{}])


class RuntimeMeta(ResponseModel):
    updatedAt: Time | None
    updatedBy: str | None = Field(examples=["admin"])
    ttlMs: Count = Field(description="Within so many milliseconds every process goes by a change.", examples=[5000])


class Leaf(ResponseModel):
    path: str = Field(examples=["credits.imageCost"])
    type: LeafType = Field(examples=["integer"])
    description: str = Field(examples=["Credits charged for a still."])


class Runtime(Effective):
    defaults: RuntimeTree
    override: Json = Field(examples=[{"credits": {"imageCost": 2}}])
    meta: RuntimeMeta
    leaves: list[Leaf] = Field(serialization_alias="schema")
