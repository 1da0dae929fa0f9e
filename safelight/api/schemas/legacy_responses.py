"""What the legacy routes answer, for the OpenAPI document."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from safelight.api.schemas.responses import (
    CostsOfModes,
    Count,
    CreditsCharged,
    Json,
    Ok,
    ResponseModel,
    Uri,
    WithRequestId,
)

# --- what was made --------------------------------------------------------------------------------------------------


class GptError(ResponseModel):
    status: int | None
    message: str


class StyleProfile(ResponseModel):
    keywords: list[str]
    description: str


class PresetMeta(ResponseModel):
    """Without `minaVisionEnabled`: whether the preset alone shaped it."""

    source: Literal["preset_only", "none"]
    likesCount: Count
    presetKey: str | None


class MergedMeta(PresetMeta):
    mergeSource: Literal["preset+user", "user_only", "preset_only", "none"]


class TasteUnknownMeta(MergedMeta):
    source: Literal["none"]
    reason: Literal["not_enough_likes"]
    minLikesForFirstProfile: Count


class TasteReadMeta(ResponseModel):
    source: Literal["recomputed"]
    likesCount: Count
    likesCountAtProfile: Count
    updatedAt: datetime
    refreshStep: Count
    presetKey: str | None
    mergeSource: Literal["preset+user", "user_only", "preset_only", "none"]


class Gpt(ResponseModel):
    usedFallback: bool
    error: GptError | None


class GptWithStyle(Gpt):
    styleProfile: StyleProfile | None
    styleProfileMeta: PresetMeta | TasteUnknownMeta | TasteReadMeta
    userMessage: Annotated[str, Field(description="The last friendly line.")]


class GptOfStill(GptWithStyle):
    imageTexts: Annotated[list[str], Field(description="What was seen in each picture.")]


class Made(WithRequestId):
    message: str
    prompt: str
    generationId: UUID
    sessionId: UUID
    passId: str
    credits: CreditsCharged


class StillMade(Made):
    imageUrl: Uri
    imageUrls: list[Uri]
    gpt: GptOfStill


class VideoMade(Made):
    videoUrl: Uri
    gpt: GptWithStyle


class Suggestion(WithRequestId):
    suggestion: str
    passId: str
    gpt: Gpt


# --- what customers say and see -------------------------------------------------------------------------------------


class LikePayload(ResponseModel):
    customerId: Annotated[str, Field(description="A pass id, or `anonymous`.")]
    resultType: Literal["image", "motion"]
    platform: str
    sessionId: str | None
    generationId: str | None


class Likes(ResponseModel):
    likesForCustomer: Annotated[Count | None, Field(description="Comments included; null of nobody.")]


class Liked(WithRequestId):
    message: str
    payload: LikePayload
    totals: Likes
    passId: str | None
    feedbackId: UUID


class Row(BaseModel):
    """A row of `mega_generations`, its columns by their own names."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"patternProperties": {"^mg_": {}}, "additionalProperties": False}
    )

    mg_id: str
    mg_created_at: datetime


class Item(Row):
    """The row, and what of it clients know by other names."""

    id: str
    passId: str | None
    sessionId: str | None
    platform: str | None
    createdAt: datetime


class SessionItem(Item):
    title: str | None


class GenerationItem(Item):
    generationId: str | None
    type: str | None
    mode: str | None
    prompt: str | None
    outputUrl: str | None
    status: str | None
    meta: Json


class FeedbackItem(Item):
    resultType: str | None
    prompt: str | None
    comment: str | None
    imageUrl: str | None
    videoUrl: str | None


class CreditHistory(ResponseModel):
    balance: int
    expiresAt: datetime | None
    history: Annotated[list[Row], Field(description="The ledger, newest first.")]


class Page(ResponseModel):
    limit: Count
    cursor: Annotated[str | None, Field(description="As it was stated.")]
    nextCursor: datetime | None
    hasMore: bool
    returned: Count


class History(WithRequestId):
    passId: str | None
    customerId: Annotated[str, Field(description="A pass id, or `anonymous`.")]
    passIdsChecked: list[str]
    credits: CreditHistory
    page: Page
    sessions: list[SessionItem]
    generations: list[GenerationItem]
    feedbacks: list[FeedbackItem]


class TotalUsers(Ok):
    totalUsers: Count
    source: Annotated[
        Literal["mega_customers", "no-supabase"], Field(description="`no-supabase`: the database is away.")
    ]


class AutoTopUps(ResponseModel):
    """Automatic top-ups of a customer."""

    customerId: str
    enabled: bool
    monthlyLimitPacks: Count
    passId: str


class AutoTopUpsKept(AutoTopUps):
    source: Literal["mega_customers.meta"]


class AutoTopUpsUnknown(ResponseModel):
    """The database is away."""

    customerId: str
    enabled: Literal[False]
    monthlyLimitPacks: Literal[0]
    source: Literal["no-db"]


# --- operators ------------------------------------------------------------------------------------------------------


class Summary(Ok):
    totalCustomers: Count
    totalCredits: int
    autoTopupOn: Count
    source: Literal["mega_customers"]


class Customer(ResponseModel):
    shopify_customer_id: str | None
    email: str | None
    credits: int
    last_active: datetime | None
    created_at: datetime
    updated_at: datetime
    disabled: bool


class Customers(ResponseModel):
    customers: list[Customer]
    source: Literal["supabase"]


class RowsOfTables(ResponseModel):
    mega_customers: Count
    mega_generations: Count


class Parity(Ok):
    summary: RowsOfTables


class Adjusted(WithRequestId):
    customerId: str
    passId: str
    balance: Count
    creditsBefore: Count
    creditsAfter: Count
    expiresAt: datetime | None
    source: Literal["mega_customers"]


class ModelsOfEngines(ResponseModel):
    seedream: str | None
    kling: str | None
    gpt: str | None


class RuntimeTree(ResponseModel):
    """The settings that operators may change while everything runs; each leaf is in `schema` of the GET."""

    models: ModelsOfEngines
    credits: CostsOfModes
    replicate: Annotated[dict[str, Json], Field(description="Settings of each engine.")]
    gpt: Annotated[dict[str, Json], Field(description="Settings of each task.")]


class Effective(Ok):
    effective: RuntimeTree


class Unset(Effective):
    override: Json


class RuntimeMeta(ResponseModel):
    updatedAt: datetime | None
    updatedBy: str | None
    ttlMs: Annotated[Count, Field(description="Within so many milliseconds every process goes by a change.")]


class Leaf(ResponseModel):
    path: str
    type: Literal["string", "boolean", "integer", "number"]
    description: str


class Runtime(Effective):
    defaults: RuntimeTree
    override: Json
    meta: RuntimeMeta
    leaves: Annotated[list[Leaf], Field(alias="schema")]
