"""Common parts of the legacy routes that make something (docs/contract/legacy.md): one body, turned into an order of
the same pipelines, and an answer that waits for the result."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Request
from pydantic import BeforeValidator

from safelight import telemetry
from safelight.api.http.services import Services
from safelight.api.routes.ordering import Ordering
from safelight.api.routes.stream import POLL_SECONDS, SEQ_MAX
from safelight.api.schemas import legacy_responses as answers
from safelight.api.schemas.aliases import Flag, Short, Url, aliased
from safelight.api.schemas.fields import Json
from safelight.api.schemas.requests import INSPIRATIONS_MAX, CreateBody, IdentityBody
from safelight.api.schemas.responses import CreditsCharged
from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.db.generations import generations, job_log
from safelight.db.generations.generations import GenerationRow
from safelight.domain.errors.base import GenerationFailed, GenerationRejected, ResultPending
from safelight.domain.flows import Flow
from safelight.domain.statuses import Status
from safelight.domain.style_presets import STYLE_PRESETS, StylePreset

RATIOS = ("9:16", "3:4", "2:3", "1:1", "3:2", "16:9")
STYLE_CHARS_MAX = 200
LIKES_FOR_TASTE = 1  # the taste is read anew for each still, from the first like on
ANYTHING_ELSE = "This could not be made."


def _http_only(value: Any) -> Any:
    """Clients send other references among these; only addresses on the web count."""
    if not isinstance(value, list):
        return value
    return [url for url in value if isinstance(url, str) and url.strip().lower().startswith(("http://", "https://"))]


WebUrls = Annotated[list[Url], BeforeValidator(_http_only)]


class LegacyBody(IdentityBody):
    """The part of a legacy body that all of them share."""

    session_id: Short | None = aliased("sessionId", "A uuid, with or without `sess_` before it.")
    platform: Short = aliased("", "Where it will be shown.", default="tiktok", example="tiktok")
    tone: Short = aliased("", "A style in a few words.", default="", example="still-life")
    style_preset_key: Short = aliased(
        "stylePresetKey", f"One of {', '.join(STYLE_PRESETS)}; anything else is no preset.", default=""
    )
    vision: Flag = aliased("minaVisionEnabled", "Learn from what this customer liked.", default=False)
    aspect_ratio: Short | None = aliased(
        "aspectRatio|motionAspectRatio", f"One of {', '.join(RATIOS)}; else by platform."
    )
    product_image_url: Url | None = aliased("productImageUrl", "The product's photo.")
    logo_image_url: Url | None = aliased("logoImageUrl", "A logo.")
    style_image_urls: WebUrls = aliased(
        "styleImageUrls", "Pictures whose mood to take up.", default=[], max_length=INSPIRATIONS_MAX
    )
    idempotency_key: Short | None = aliased("idempotencyKey", "As the header `Idempotency-Key`.")

    @property
    def preset(self) -> StylePreset | None:
        return STYLE_PRESETS.get(self.style_preset_key)

    @property
    def known_ratio(self) -> str | None:
        return self.aspect_ratio if self.aspect_ratio in RATIOS else None

    def create_body(self, *, assets: Json, inputs: Json) -> CreateBody:
        """The same order in the words of the MMA routes."""
        keywords = self.preset.keywords if self.preset else ()
        style = ", ".join(filter(None, (self.tone, *keywords)))[:STYLE_CHARS_MAX]
        return CreateBody.model_validate(
            {
                "session_id": self.session_id,
                "idempotency_key": self.idempotency_key,
                "platform": self.platform.lower(),
                "assets": {
                    "product_image_url": self.product_image_url,
                    "logo_image_url": self.logo_image_url,
                    "inspiration_image_urls": self.style_image_urls,
                    **assets,
                },
                "inputs": {"style": style, **inputs},
                "history": {"vision_intelligence": self.vision},
            }
        )


async def make(ordering: Ordering, flow: Flow, create: CreateBody) -> GenerationRow:
    """Accept the order and wait for it. Returns the final generation, whatever became of it. Raises as
    `Ordering.accept` and `wait_until_final` do."""
    _, accepted = await ordering.accept(flow, create)
    return await wait_until_final(ordering.request, ordering.services, accepted.generation_id)


async def wait_until_final(request: Request, services: Services, generation_id: str) -> GenerationRow:
    """The generation's row once it is final. Trouble with the database is waited out.

    Raises:
        ResultPending: it takes longer than a request is held, this process is about to end, or the client is gone.
    """
    give_up = time.monotonic() + services.wait_seconds
    async with services.listener.subscribe(generation_id) as changed:
        while True:
            changed.clear()
            row = await _if_final(services, generation_id)
            if row is not None:
                return row
            left_seconds = give_up - time.monotonic()
            if left_seconds <= 0 or request.app.state.leaving.is_set() or await request.is_disconnected():
                raise ResultPending(generation_id)
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(POLL_SECONDS, left_seconds))


async def _if_final(services: Services, generation_id: str) -> GenerationRow | None:
    """None: not yet, or the database does not say."""
    try:
        async with services.db.connection() as conn:
            now = await job_log.tail(conn, generation_id, SEQ_MAX)
            is_final = now is not None and Status(now.status).is_terminal
            return await generations.get(conn, generation_id) if is_final else None
    except TRANSIENT_ERRORS as error:
        telemetry.warning(
            telemetry.Tag.API,
            f"The database is unavailable; still waiting for {generation_id}: {error}",
            generation_id=generation_id,
        )
        return None


def failure_of(row: GenerationRow) -> str:
    """Return the message for a person whose generation has no result."""
    return str((row.meta.get("error") or {}).get("message") or ANYTHING_ELSE)


def result_url(row: GenerationRow) -> str:
    """Return the URL of the finished result.

    Raises:
        GenerationRejected, GenerationFailed: there is none.
    """
    if row.status != Status.DONE or row.output_url is None:
        error, message = row.meta.get("error") or {}, failure_of(row)
        how = GenerationRejected if 400 <= error.get("httpStatus", 500) < 500 else GenerationFailed
        raise how(f"{row.generation_id}: {message}", code=error.get("code"), safe_message=message)
    return row.output_url


def result_of(row: GenerationRow, message: str) -> Json:
    """Return the fields that the answers of all routes have which wait for a result."""
    return {
        "message": message,
        "prompt": row.prompt,
        "generationId": row.generation_id,
        "sessionId": row.session_id,
        "passId": row.pass_id,
        "credits": CreditsCharged(balance=row.balance or 0, cost=row.meta["cost"]),
    }


def last_line(row: GenerationRow) -> str:
    return row.variables["userMessages"]["final_line"] or ""


async def style_of(services: Services, body: LegacyBody, row: GenerationRow) -> Json:
    """Return the fields that say whose style a result has: the preset's, and with vision the customer's learned one."""
    preset, csv = body.preset, row.variables["history"]["style_history_csv"]
    learned = [word.strip() for word in csv.split(",")] if body.vision and csv else []
    keywords = [*(preset.keywords if preset else ()), *learned]
    texts = [preset.description if preset else "", f"What you liked before: {', '.join(learned)}." if learned else ""]
    profile = answers.StyleProfile(keywords=keywords, description=" ".join(filter(None, texts))) if keywords else None
    return {"styleProfile": profile, "styleProfileMeta": await _profile_meta(services, body, row, bool(learned))}


async def _profile_meta(services: Services, body: LegacyBody, row: GenerationRow, learned: bool) -> answers.StyleMeta:
    preset_key = body.style_preset_key if body.preset else None
    if not body.vision:
        return answers.PresetMeta(source="preset_only" if preset_key else "none", likesCount=0, presetKey=preset_key)
    async with services.db.connection() as conn:
        likes = await generations.count_feedback(conn, row.pass_id)
    merge_source = _merge_source(bool(preset_key), learned)
    if not learned:
        return answers.TasteUnknownMeta(
            likesCount=likes,
            presetKey=preset_key,
            mergeSource=merge_source,
            minLikesForFirstProfile=LIKES_FOR_TASTE,
        )
    return answers.TasteReadMeta(
        likesCount=likes,
        likesCountAtProfile=likes,
        updatedAt=datetime.now(UTC),
        refreshStep=LIKES_FOR_TASTE,
        presetKey=preset_key,
        mergeSource=merge_source,
    )


def _merge_source(has_preset: bool, has_taste: bool) -> answers.MergeSource:
    if has_preset:
        return "preset+user" if has_taste else "preset_only"
    return "user_only" if has_taste else "none"
