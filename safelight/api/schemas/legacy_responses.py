"""Answers of the legacy routes."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from safelight.api.schemas import examples, fields
from safelight.api.schemas.responses import CostsOfModes, CreditsCharged, Ok, ResponseModel, Stored, WithRequestId
from safelight.domain.runtime_config import LeafType

MergeSource = Literal["preset+user", "user_only", "preset_only", "none"]
NONE = Field(examples=[None])

# --- what was made --------------------------------------------------------------------------------------------------


class GptError(ResponseModel):
    status: Annotated[Any, WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "null"}]})]
    message: fields.Text


class StyleProfile(ResponseModel):
    keywords: list[str]
    description: str


class PresetMeta(ResponseModel):
    """Without `minaVisionEnabled`: whether the preset alone shaped it."""

    source: Literal["preset_only", "none"] = Field(examples=["none"])
    likesCount: fields.Count = Field(examples=[0])
    presetKey: Annotated[str | None, NONE]


class MergedMeta(PresetMeta):
    mergeSource: MergeSource


class TasteUnknownMeta(MergedMeta):
    source: Literal["none"] = "none"
    reason: Literal["not_enough_likes"] = "not_enough_likes"
    minLikesForFirstProfile: fields.Count


class TasteReadMeta(ResponseModel):
    source: Literal["recomputed"] = "recomputed"
    likesCount: fields.Count
    likesCountAtProfile: fields.Count
    updatedAt: fields.Time
    refreshStep: fields.Count
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
    prompt: fields.StoredText = Field(examples=[examples.PROMPT])
    generationId: fields.Uuid
    sessionId: fields.SessionUuid
    passId: fields.PassId
    credits: CreditsCharged


class StillMade(Made):
    imageUrl: fields.Uri
    imageUrls: list[fields.Uri]
    gpt: GptOfStill


class VideoMade(Made):
    videoUrl: str = Field(json_schema_extra={"format": "uri"}, examples=[examples.VIDEO_URL])
    gpt: GptWithStyle


class Suggestion(WithRequestId):
    suggestion: str = Field(examples=["Push in slowly while steam rises from the cup."])
    passId: fields.PassId
    gpt: Gpt


# --- what customers say and see -------------------------------------------------------------------------------------


class LikePayload(ResponseModel):
    customerId: fields.CustomerId
    resultType: Literal["image", "motion"]
    platform: fields.Platform
    sessionId: fields.SessionId | None
    generationId: fields.GenerationId | None


class Likes(ResponseModel):
    likesForCustomer: fields.Count | None = Field(description="Comments included; null of nobody.", examples=[3])


class Liked(WithRequestId):
    message: str = Field(examples=["Thank you, noted."])
    payload: LikePayload
    totals: Likes
    passId: fields.PassId | None
    feedbackId: fields.Uuid


class Row(Stored):
    """A row of `mega_generations`, its columns by their own names."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"patternProperties": {"^mg_": {}}, "additionalProperties": False}
    )

    mg_id: str = Field(examples=[f"generation:{examples.GENERATION}"])
    mg_created_at: fields.Time


class Item(Row):
    """The row, and what of it clients know by other names."""

    id: str = Field(examples=[f"generation:{examples.GENERATION}"])
    passId: fields.PassId | None
    sessionId: fields.SessionId | None
    platform: fields.Platform | None
    createdAt: fields.Time


class SessionItem(Item):
    title: str | None = Field(examples=["Mina session"])


class GenerationItem(Item):
    generationId: fields.GenerationId | None
    type: str | None = Field(examples=["image"])
    mode: str | None = Field(examples=["still"])
    prompt: fields.Prompt | None
    outputUrl: str | None = Field(examples=[examples.STILL_URL])
    status: str | None = Field(examples=["done"])
    meta: fields.StoredObject = Field(examples=[{"cost": 1}])


class FeedbackItem(Item):
    resultType: str | None = Field(examples=["image"])
    prompt: fields.Prompt | None
    comment: fields.Text | None
    imageUrl: str | None = Field(examples=[examples.STILL_URL])
    videoUrl: Annotated[str | None, NONE]


class CreditHistory(ResponseModel):
    balance: fields.Credits
    expiresAt: Annotated[fields.Time | None, NONE]
    history: list[Row] = Field(description="The ledger, newest first.")


class Page(ResponseModel):
    limit: fields.Count = Field(examples=[200])
    cursor: fields.Time | None = Field(description="As it was stated.", examples=[None])
    nextCursor: Annotated[fields.Time | None, NONE]
    hasMore: bool
    returned: fields.Count = Field(examples=[3])


class History(WithRequestId):
    """Newest first; every item under its camelCase and its raw names."""

    passId: fields.PassId | None
    customerId: fields.CustomerId
    passIdsChecked: list[fields.PassId]
    credits: CreditHistory
    page: Page
    sessions: list[SessionItem]
    generations: list[GenerationItem]
    feedbacks: list[FeedbackItem]


class TotalUsers(Ok):
    totalUsers: fields.Count = Field(examples=[1234])
    source: Literal["mega_customers", "no-supabase"] = Field(description="`no-supabase`: the database is away.")


class AutoTopUps(ResponseModel):
    """Automatic top-ups of a customer."""

    customerId: fields.PassId
    enabled: bool = Field(examples=[True])
    monthlyLimitPacks: fields.Count = Field(examples=[3])
    passId: fields.PassId


class AutoTopUpsKept(AutoTopUps):
    source: Literal["mega_customers.meta"] = "mega_customers.meta"


class AutoTopUpsUnknown(ResponseModel):
    """The database is away."""

    customerId: fields.PassId
    enabled: Literal[False] = False
    monthlyLimitPacks: Literal[0] = 0
    source: Literal["no-db"] = "no-db"


# --- operators ------------------------------------------------------------------------------------------------------


class Summary(Ok):
    totalCustomers: fields.Count = Field(examples=[120])
    totalCredits: int = Field(examples=[1450])
    autoTopupOn: fields.Count = Field(examples=[7])
    source: Literal["mega_customers"] = "mega_customers"


class Customer(ResponseModel):
    shopify_customer_id: str | None = Field(examples=["8812345"])
    email: fields.Email | None
    credits: fields.Credits
    last_active: fields.Time | None
    created_at: fields.Time
    updated_at: fields.Time
    disabled: bool


class Customers(ResponseModel):
    customers: list[Customer]
    source: Literal["supabase"] = "supabase"


class RowsOfTables(ResponseModel):
    mega_customers: fields.Count = Field(examples=[120])
    mega_generations: fields.Count = Field(examples=[4310])


class Parity(Ok):
    summary: RowsOfTables


class Adjusted(WithRequestId):
    customerId: fields.PassId
    passId: fields.PassId
    balance: fields.Count = Field(examples=[23])
    creditsBefore: fields.Count = Field(examples=[13])
    creditsAfter: fields.Count = Field(examples=[23])
    expiresAt: Annotated[fields.Time | None, NONE]
    source: Literal["mega_customers"] = "mega_customers"


class ModelsOfEngines(ResponseModel):
    seedream: str | None = Field(examples=["darkroom-still-1"])
    kling: str | None = Field(examples=["darkroom-motion-1"])
    gpt: str | None = Field(examples=["darkroom-eyes-1"])


class RuntimeTree(ResponseModel):
    """The settings that operators may change while everything runs; each leaf is in `schema` of the GET."""

    models: ModelsOfEngines
    credits: CostsOfModes
    replicate: dict[str, fields.Json] = Field(
        description="Settings of each engine.", examples=[{"seedream": {"size": "2K"}, "kling": {"mode": "pro"}}]
    )
    gpt: dict[str, fields.Json] = Field(
        description="Settings of each task.", examples=[{"editorial": {"temperature": 0.8}}]
    )


class Effective(Ok):
    effective: RuntimeTree


class Unset(Effective):
    override: fields.Json = Field(examples=[{}])


class RuntimeMeta(ResponseModel):
    updatedAt: fields.Time | None
    updatedBy: str | None = Field(examples=["admin"])
    ttlMs: fields.Count = Field(
        description="Within so many milliseconds every process goes by a change.", examples=[5000]
    )


class Leaf(ResponseModel):
    path: str = Field(examples=["credits.imageCost"])
    type: LeafType = Field(examples=["integer"])
    description: str = Field(examples=["Credits charged for a still."])


class Runtime(Effective):
    defaults: RuntimeTree
    override: fields.Json = Field(examples=[{"credits": {"imageCost": 2}}])
    meta: RuntimeMeta
    leaves: list[Leaf] = Field(serialization_alias="schema")
