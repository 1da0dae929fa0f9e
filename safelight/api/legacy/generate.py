"""`/editorial/generate`, `/motion/suggest` and `/motion/generate`: a still, a movement and a video, answered when they
exist (docs/contract/legacy.md)."""

from fastapi import APIRouter

from safelight.api.http.error_responses import error_responses
from safelight.api.http.rate_limits import RateLimitGroup, limited_route
from safelight.api.legacy import orders
from safelight.api.legacy.orders import STYLE_CHARS_MAX, LegacyBody
from safelight.api.routes.ordering import Orders
from safelight.api.schemas.aliases import Long, Short, Url, aliased
from safelight.api.schemas.examples import SAMPLE_URL
from safelight.api.schemas.fields import Json
from safelight.api.schemas.legacy_responses import (
    Gpt,
    GptError,
    GptOfStill,
    GptWithStyle,
    StillMade,
    Suggestion,
    VideoMade,
)
from safelight.domain.errors.base import InvalidInput
from safelight.domain.flows import Flow
from safelight.domain.orders import aspect_ratio_of_platform
from safelight.domain.statuses import Status

RATIO_OF_OTHER_PLATFORMS = "2:3"
STILL_MESSAGE = "Your picture is ready."
MOTION_STYLES_MAX = 20
VIDEO_MESSAGE = "Your video is ready."
STOCK_SUGGESTION = "A slow, steady push in while the light moves gently across the scene."

router = APIRouter(route_class=limited_route(RateLimitGroup.WRITES), tags=["legacy"])


class EditorialBody(LegacyBody):
    """A brief, a product photo, or both."""

    brief: Long = aliased("", "What the picture should be.", default="", example="A calm morning on a stone table")
    images_max: int = aliased("maxImages", "How many pictures are wanted; one is made.", default=1, ge=0, le=100)


@router.post(
    "/editorial/generate",
    summary="Make a still, and wait for it",
    responses=error_responses(402, described={400: "MISSING_INPUT, or a field is wrong."}),
)
async def editorial_generate(body: EditorialBody, ordering: Orders) -> StillMade:
    """Runs the same pipeline as `/mma/still/create`. Asked again with the same idempotency key, also at another
    process, it gives the same picture, once charged."""
    if not (body.brief or body.product_image_url):
        raise InvalidInput("brief or productImageUrl: one of the two is needed.", code="MISSING_INPUT")
    platform = body.platform.lower()
    ratio = body.known_ratio or aspect_ratio_of_platform(platform) or RATIO_OF_OTHER_PLATFORMS
    create = body.create_body(
        assets={}, inputs={"userBrief": body.brief, "aspect_ratio": ratio, "maxImages": body.images_max}
    )
    row = await orders.make(ordering, Flow.STILL_CREATE, create)
    url = orders.result_url(row)
    style = await orders.style_of(ordering.services, body, row)
    scans = row.variables["scans"]
    seen = (scans["product_crt"], scans["logo_crt"], *scans["inspiration_crt"], scans["output_still_crt"])
    gpt = GptOfStill(**style, imageTexts=list(filter(None, seen)), userMessage=orders.last_line(row))
    return StillMade(**orders.result_of(row, STILL_MESSAGE), imageUrl=url, imageUrls=[url], gpt=gpt)


class MotionBody(LegacyBody):
    """A frame to begin with, and how it should move."""

    motion_description: Long = aliased("motionDescription|text|motionBrief", "How it should move.", default="")
    motion_styles: list[Short] = aliased(
        "motionStyles|motionStyleKeys|movementStyle",
        "Movements to join.",
        default=[],
        joined=True,
        example=["fix_camera"],
        max_length=MOTION_STYLES_MAX,
    )

    @property
    def movement_style(self) -> str:
        return ", ".join(filter(None, self.motion_styles))[:STYLE_CHARS_MAX]

    @property
    def inputs(self) -> Json:
        words = {"motion_user_brief": self.motion_description, "movement_style": self.movement_style}
        return words | {"aspect_ratio": self.known_ratio}


class MotionSuggestBody(MotionBody):
    reference_image_url: Url | None = aliased("referenceImageUrl", "The still to set in motion.", example=SAMPLE_URL)


class MotionGenerateBody(MotionBody):
    last_image_url: Url | None = aliased("lastImageUrl", "The frame the video begins with.", example=SAMPLE_URL)
    duration_seconds: float | None = aliased("durationSeconds", "Clamped to 1…10.", example=5, allow_inf_nan=False)


@router.post(
    "/motion/suggest",
    summary="Suggest a movement for a still, free",
    responses=error_responses(described={400: "MISSING_REFERENCE_IMAGE, or a field is wrong."}),
)
async def motion_suggest(body: MotionSuggestBody, ordering: Orders) -> Suggestion:
    """If no suggestion can be made, the answer is the person's own draft, and `gpt` says so."""
    if not body.reference_image_url:
        raise InvalidInput("referenceImageUrl: the still to set in motion is needed.", code="MISSING_REFERENCE_IMAGE")
    create = body.create_body(
        assets={"start_image_url": body.reference_image_url}, inputs=body.inputs | {"suggest_only": True}
    )
    row = await orders.make(ordering, Flow.VIDEO_ANIMATE, create)
    error = None
    if row.status != Status.SUGGESTED:
        status = (row.meta.get("error") or {}).get("httpStatus")
        error = GptError(status=status, message=orders.failure_of(row))
    return Suggestion(
        suggestion=(body.motion_description or STOCK_SUGGESTION) if error else row.prompt or "",
        passId=row.pass_id,
        gpt=Gpt(usedFallback=error is not None, error=error),
    )


@router.post(
    "/motion/generate",
    summary="Make a video of a still, and wait for it",
    responses=error_responses(
        402, described={400: "MISSING_LAST_IMAGE, MISSING_MOTION_DESCRIPTION, or a field is wrong."}
    ),
)
async def motion_generate(body: MotionGenerateBody, ordering: Orders) -> VideoMade:
    """Runs the same pipeline as `/mma/video/animate`; an idempotency key works as at `/editorial/generate`."""
    if not body.last_image_url:
        raise InvalidInput("lastImageUrl: the frame to begin with is needed.", code="MISSING_LAST_IMAGE")
    if not body.motion_description:
        raise InvalidInput("motionDescription: how it should move is needed.", code="MISSING_MOTION_DESCRIPTION")
    create = body.create_body(
        assets={"start_image_url": body.last_image_url}, inputs=body.inputs | {"duration": body.duration_seconds}
    )
    row = await orders.make(ordering, Flow.VIDEO_ANIMATE, create)
    url = orders.result_url(row)
    gpt = GptWithStyle(**await orders.style_of(ordering.services, body, row), userMessage=orders.last_line(row))
    return VideoMade(**orders.result_of(row, VIDEO_MESSAGE), videoUrl=url, gpt=gpt)
