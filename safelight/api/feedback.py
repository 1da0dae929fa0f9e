"""`/feedback/like`: likes, and what people say about a result (contract section 1.4 #9)."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request

from safelight.api import legacy_examples
from safelight.api.bodies import IdentityBody
from safelight.api.errors import request_id
from safelight.api.folding import Flag, Long, Short, Spelt, Url
from safelight.api.identity import PassIdHeader, caller, stated_pass_id
from safelight.api.rates import Kind, check_pass, limited_route
from safelight.api.refusals import may_be
from safelight.api.services import FromApp, Services
from safelight.db import customers, feedback, generations
from safelight.db.database import Connection
from safelight.domain.errors import InvalidInput, NotFound
from safelight.domain.ids import new_id
from safelight.pipelines.accept import ANSWER_SECONDS_MAX
from safelight.storage.assets import UPLOAD_BYTES_MAX

Json = dict[str, Any]

ANONYMOUS = "anonymous"
MESSAGE = "Thank you, noted."

router = APIRouter(route_class=limited_route(Kind.ORDERS), tags=["legacy"])


class FeedbackLikeBody(IdentityBody):
    """An empty comment is a like, any other is feedback."""

    result_type: Annotated[Literal["image", "motion"], Spelt("resultType", "What it is about.")] = "image"
    platform: Annotated[Short, Spelt("", "Where it is shown.", example="tiktok")] = "tiktok"
    prompt: Annotated[Long, Spelt("", "The result's prompt; may be left out where `generationId` is known.")] = ""
    comment: Annotated[Long, Spelt("", "What is said about it.")] = ""
    image_url: Annotated[Url | None, Spelt("imageUrl", "The still.")] = None
    video_url: Annotated[Url | None, Spelt("videoUrl", "The video.")] = None
    session_id: Annotated[Short | None, Spelt("sessionId", "The session.")] = None
    generation_id: Annotated[Short | None, Spelt("generationId", "The generation it is about.")] = None
    liked: Annotated[Flag, Spelt("", "false takes a like back.")] = True


@router.post(
    "/feedback/like",
    summary="Like a result, or say something about it",
    responses={
        200: legacy_examples.LIKED,
        **may_be(401, 404, 413, 429, 503),
        400: {"description": "MISSING_PROMPT, or a field is wrong."},
        500: {"description": "FEEDBACK_ERROR; NO_DB."},
    },
)
async def like(
    request: Request, services: FromApp, body: FeedbackLikeBody, pass_id_header: PassIdHeader = None
) -> Json:
    """Pictures and videos that are not ours yet are copied first: what is liked must still be there tomorrow."""
    async with services.db.connection() as conn:
        pass_id = await stated_pass_id(conn, pass_id=body.pass_id, customer_key=body.customer_id, header=pass_id_header)
        caller().must_not_be_nobody(pass_id)
        request.state.pass_id = pass_id
        if pass_id:
            check_pass(request, Kind.ORDERS, pass_id)
        prompt = await _prompt(conn, body, pass_id)
    feedback_id = new_id()  # one for all tries
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
        "meta": {"event_type": "feedback.like", "liked": body.liked, "request_id": request_id(request)},
    }
    likes = await services.db.insist(lambda conn: _store(conn, services, row), seconds=ANSWER_SECONDS_MAX)
    return {
        "ok": True,
        "message": MESSAGE,
        "requestId": request_id(request),
        "payload": {
            "customerId": pass_id or ANONYMOUS,
            "resultType": body.result_type,
            "platform": row["platform"],
            "sessionId": body.session_id,
            "generationId": body.generation_id,
        },
        "totals": {"likesForCustomer": likes},
        "passId": pass_id,
        "feedbackId": feedback_id,
    }


async def _prompt(conn: Connection, body: FeedbackLikeBody, pass_id: str | None) -> str:
    """What was said, else what the customer's own generation was made with.

    Raises:
        NotFound: the generation is not theirs.
        InvalidInput: nothing says what it is about.
    """
    row = await generations.get(conn, body.generation_id) if body.generation_id else None
    if body.generation_id and (row is None or row["mg_pass_id"] != pass_id):
        raise NotFound(f"You have no generation {body.generation_id!r}.")
    if not body.prompt and row is None:
        raise InvalidInput("prompt: what the result was made with is needed.", code="MISSING_PROMPT")
    return body.prompt or str((row and row["mg_prompt"]) or "")


async def _permanent(services: Services, url: str | None, folder: str, pass_id: str | None) -> str | None:
    """The URL as it is where it is one of ours; else that of our own copy."""
    if url is None or services.assets.key_of(url):
        return url
    content = await services.fetcher.fetch(url, bytes_max=UPLOAD_BYTES_MAX)
    name = url.split("?", 1)[0].rsplit("/", 1)[-1]
    stored = await services.assets.put_upload(content, kind=folder, customer=pass_id, name=name)
    return stored.url


async def _store(conn: Connection, services: Services, row: Json) -> int | None:
    """Returns how much feedback the customer has given; None of a visitor without an id, who has no row."""
    async with conn.transaction():
        if row["pass_id"]:
            await customers.ensure(conn, row["pass_id"], free_credits=services.free_credits)
        await feedback.insert(conn, row)
        return await feedback.count(conn, row["pass_id"]) if row["pass_id"] else None
