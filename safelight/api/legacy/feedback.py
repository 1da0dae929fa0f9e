"""`/feedback/like`: likes, and what people say about a result (docs/contract/legacy.md)."""

from typing import Literal

from fastapi import APIRouter

from safelight.api.auth.principals import IdentifiedByBody
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup, limited_route
from safelight.api.http.request_ids import request_id
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas.aliases import Flag, Long, Short, WebUrl, aliased
from safelight.api.schemas.fields import Json
from safelight.api.schemas.legacy_responses import Liked, LikePayload, Likes
from safelight.api.schemas.requests import IdentityBody
from safelight.db.connection.database import Connection
from safelight.db.generations import generations
from safelight.db.money import customers
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.domain.identities import ActingCustomer
from safelight.pipelines.accept import ANSWER_SECONDS_MAX

ANONYMOUS = "anonymous"
MESSAGE = "Thank you, noted."

router = APIRouter(route_class=limited_route(RateLimitGroup.WRITES), tags=["legacy"])


class FeedbackLikeBody(IdentityBody):
    """An empty comment is a like, any other is feedback."""

    result_type: Literal["image", "motion"] = aliased("resultType", "What it is about.", default="image")
    platform: Short = aliased("", "Where it is shown.", default="tiktok", example="tiktok")
    prompt: Long = aliased("", "The result's prompt; may be left out where `generationId` is known.", default="")
    comment: Long = aliased("", "What is said about it.", default="")
    image_url: WebUrl | None = aliased("imageUrl", "The still.")
    video_url: WebUrl | None = aliased("videoUrl", "The video.")
    session_id: Short | None = aliased("sessionId", "The session.")
    generation_id: Short | None = aliased("generationId", "The generation it is about.")
    liked: Flag = aliased("", "false takes a like back.", default=True)


@router.post(
    "/feedback/like",
    summary="Like a result, or say something about it",
    responses=error_responses(404, described={400: "MISSING_PROMPT, or a field is wrong."}),
)
async def like(services: FromApp, once: OnceForKey, body: FeedbackLikeBody, customer: IdentifiedByBody) -> Liked:
    """Pictures and videos that are not ours yet are copied first: what is liked must still be there tomorrow."""
    pass_id = customer.pass_id if customer else None
    services.rates.check_customer(RateLimitGroup.WRITES, customer)
    async with services.db.connection() as conn:
        prompt = await _prompt(conn, body, pass_id)
    feedback_id = once.id_for(customer)  # one for all tries
    return await once.outside(customer, Liked, lambda: _liked(services, body, customer, prompt, feedback_id))


async def _liked(
    services: Services, body: FeedbackLikeBody, customer: ActingCustomer | None, prompt: str, feedback_id: str
) -> Liked:
    pass_id = customer.pass_id if customer else None
    row = {
        "feedback_id": feedback_id,
        "pass_id": pass_id,
        "session_id": body.session_id,
        "generation_id": body.generation_id,
        "platform": body.platform.lower(),
        "result_type": body.result_type,
        "prompt": prompt,
        "comment": body.comment,
        "image_url": await _permanent(services, body.image_url, "likes-images", pass_id),
        "video_url": await _permanent(services, body.video_url, "likes-videos", pass_id),
        "meta": {"event_type": "feedback.like", "liked": body.liked, "request_id": request_id()},
    }
    likes = await services.db.retry_transient(lambda conn: _store(conn, customer, row), seconds=ANSWER_SECONDS_MAX)
    return Liked(
        message=MESSAGE,
        payload=LikePayload(
            customerId=pass_id or ANONYMOUS,
            resultType=body.result_type,
            platform=body.platform.lower(),
            sessionId=body.session_id,
            generationId=body.generation_id,
        ),
        totals=Likes(likesForCustomer=likes),
        passId=pass_id,
        feedbackId=feedback_id,
    )


async def _prompt(conn: Connection, body: FeedbackLikeBody, pass_id: str | None) -> str:
    """Return the stated prompt, else the one of the customer's own generation.

    Raises:
        NotFound: the generation is not theirs.
        InvalidInput: nothing says what it is about.
    """
    row = await generations.get(conn, body.generation_id) if body.generation_id else None
    if body.generation_id and (row is None or row.pass_id != pass_id):
        raise NotFound(f"You have no generation {body.generation_id!r}.")
    if not body.prompt and row is None:
        raise InvalidInput("prompt: what the result was made with is needed.", code="MISSING_PROMPT")
    return body.prompt or str((row and row.prompt) or "")


async def _permanent(services: Services, url: str | None, folder: str, pass_id: str | None) -> str | None:
    """The URL as it is where it is one of ours; else that of our own copy."""
    if url is None or services.assets.key_of(url):
        return url
    stored = await services.remote_files.copy(url, kind=folder, customer=pass_id)
    return stored.url


async def _store(conn: Connection, customer: ActingCustomer | None, row: Json) -> int | None:
    """Returns how much feedback the customer has given; None of a visitor without an id, who has no row."""
    async with conn.transaction():
        if customer:
            await customers.ensure(conn, customer.pass_id, welcome=customer.welcome)
        await generations.insert_feedback(conn, row)
        return await generations.count_feedback(conn, customer.pass_id) if customer else None
