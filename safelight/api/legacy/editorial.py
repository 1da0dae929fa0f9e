"""`/editorial/generate`: a still by a brief, answered when the picture exists (docs/contract/legacy.md)."""

from fastapi import APIRouter

from safelight.api.http.error_responses import STILL_MAKING_MEANS, error_responses
from safelight.api.http.rate_limits import RateLimitGroup, limited_route
from safelight.api.legacy import orders
from safelight.api.legacy.orders import LegacyBody
from safelight.api.routes.ordering import Orders
from safelight.api.schemas.aliases import Long, aliased
from safelight.api.schemas.legacy_responses import GptOfStill, StillMade
from safelight.db.generations.generations import GenerationRow
from safelight.domain.errors.base import InvalidInput
from safelight.domain.orders import Flow, aspect_ratio_of_platform

RATIO_OF_OTHER_PLATFORMS = "2:3"
MESSAGE = "Your picture is ready."

router = APIRouter(route_class=limited_route(RateLimitGroup.WRITES), tags=["legacy"])


class EditorialBody(LegacyBody):
    """A brief, a product photo, or both."""

    brief: Long = aliased("", "What the picture should be.", default="", example="A calm morning on a stone table")
    images_max: int = aliased("maxImages", "How many pictures are wanted; one is made.", default=1, ge=0, le=100)


@router.post(
    "/editorial/generate",
    summary="Make a still, and wait for it",
    responses={
        **error_responses(402),
        400: {"description": "MISSING_INPUT, or a field is wrong."},
        503: {"description": STILL_MAKING_MEANS},
    },
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
    gpt = GptOfStill(**style, imageTexts=_captions(row), userMessage=orders.last_line(row))
    return StillMade(**orders.result_of(row, MESSAGE), imageUrl=url, imageUrls=[url], gpt=gpt)


def _captions(row: GenerationRow) -> list[str]:
    """Return the words for each picture that was looked at."""
    scans = row.variables["scans"]
    captions = [scans["product_crt"], scans["logo_crt"], *scans["inspiration_crt"], scans["output_still_crt"]]
    return [text for text in captions if text]
