"""Turns a normalized body into an order: what is missing is taken over from the parent, what is wrong is refused."""

import uuid
from dataclasses import dataclass

from safelight.api.schemas.requests import CreateBody
from safelight.db.connection.database import Connection
from safelight.db.generations import generations
from safelight.db.generations.generations import GenerationRow
from safelight.domain.errors.base import InvalidInput, NotFound, RemoteFileRefused
from safelight.domain.flows import ENGINE_BY_MODE, Flow
from safelight.domain.ids import is_uuid, new_id
from safelight.domain.orders import (
    ASPECT_RATIOS,
    Assets,
    BaseVideoOrder,
    Order,
    Parent,
    StillCreate,
    StillTweak,
    VideoTweak,
    read_order,
)
from safelight.storage.addresses import mended_url
from safelight.storage.assets import AssetStore
from safelight.storage.keys import RESULTS, generation_of_result, is_valid_key

DURATION_SECONDS_MIN = 1.0
DURATION_SECONDS_MAX = 10.0
KLING_MODES = ("standard", "pro")
TITLES = {"still": "Image session", "video": "Video session"}


@dataclass(frozen=True, slots=True)
class OrderBuilder:
    """The order of one request. `path_generation_id` names the parent where the route's path does."""

    conn: Connection
    asset_store: AssetStore
    flow: Flow
    body: CreateBody
    pass_id: str
    path_generation_id: str | None

    async def order(self) -> Order:
        """Raises:
        InvalidInput: a field is wrong or missing; the message names it.
        NotFound: there is no such parent generation of this customer.
        """
        flow, body, assets = self.flow, self.body, self._assets()
        parent = await self._parent() or await self._maker_of(assets)
        platform = (body.platform or body.inputs.platform or (parent and parent.platform) or "web").lower()
        stated = {
            "flow": flow,
            "pass_id": self.pass_id,
            "session_id": await own_session_id(
                self.conn, body.stated_session_id or (parent.session_id if parent else None), self.pass_id
            ),
            "platform": platform,
            "title": body.title or body.history.session_title or (parent and parent.title) or TITLES[flow.mode],
            "assets": assets,
            "parent": parent,
            "brief": body.inputs.brief,
            "style": body.inputs.style,
            "motion_brief": body.inputs.motion_user_brief,
            "movement_style": body.inputs.movement_style or (parent and parent.movement_style) or "",
            "type_for_me": body.type_for_me,
            "suggest_only": body.inputs.suggest_only and flow is Flow.VIDEO_ANIMATE,
            "aspect_ratio": _aspect_ratio(body.inputs.aspect_ratio),
            "duration_seconds": _duration(body.inputs.duration),
            "kling_mode": body.inputs.kling_mode if body.inputs.kling_mode in KLING_MODES else None,
            "negative_prompt": body.inputs.negative_prompt,
            "feedback": _feedback(flow, body),
            "vision_intelligence": body.vision,
            "style_history_csv": body.history.style_history_csv,
            "preset_prompt": body.prompts.clean_prompt if flow.mode == "still" else body.prompts.motion_prompt,
            "settings": {"seedream": body.settings.seedream, "kling": body.settings.kling},
            "informational": body.inputs.informational,
            "attempts_max": body.settings.attempts_max,
            "warnings": tuple(_warnings(flow, body, parent)),
        }
        order = read_order(stated)
        _must_be_possible(order)
        return order

    async def _parent(self) -> Parent | None:
        flow, parent_id = self.flow, self.path_generation_id or self.body.parent_generation_id
        if not parent_id:
            if flow.is_tweak:
                raise InvalidInput(
                    "parent_generation_id: a tweak needs the id of the generation to change.",
                    code="MISSING_GENERATION_ID",
                )
            return None
        row = await generations.get(self.conn, parent_id)
        is_theirs = row is not None and row.pass_id == self.pass_id and row.deleted_at is None
        if row is None or not is_theirs or row.mode is None:
            raise NotFound(f"There is no generation {parent_id!r}.", code="PARENT_GENERATION_NOT_FOUND")
        if flow.is_tweak and row.mode != flow.mode:
            raise InvalidInput(f"parent_generation_id: {parent_id} is no {flow.mode}.", code="WRONG_PARENT_MODE")
        if flow.is_tweak and not row.output_url:
            raise InvalidInput(
                f"parent_generation_id: {parent_id} has no result to change (it is {row.status}).",
                code="PARENT_NOT_READY",
            )
        return _parent_of(row, takes_settings=flow.is_tweak)

    async def _maker_of(self, assets: Assets) -> Parent | None:
        """The customer's own generation whose result is the first of these pictures that is one: clients that go on
        from a result often name its URL alone."""
        stated = (assets.start, assets.product, assets.end, assets.style_hero, *assets.inspirations, assets.logo)
        for url in filter(None, stated):
            row = await self._made(url)
            if row is not None and row.pass_id == self.pass_id and _has_result(row):
                return _parent_of(row, takes_settings=False)
        return None

    async def _made(self, url: str) -> GenerationRow | None:
        """The generation that made the file of ours at this URL, whoever's it is."""
        key = self.asset_store.key_of(url)
        if key is None:
            return None
        if key.startswith(f"{RESULTS}/"):
            return await generations.get(self.conn, generation_of_result(key))
        return await generations.of_url(self.conn, url, self.pass_id)

    def _assets(self) -> Assets:
        stated, inputs = self.body.assets, self.body.inputs
        start = inputs.start_image_url or stated.start_image_url
        if self.flow is Flow.VIDEO_ANIMATE and not start and not self.body.parent_generation_id:
            start = stated.product_image_url
        inspirations = (
            self._url(f"assets.inspiration_image_urls.{number}", url)
            for number, url in enumerate(stated.inspiration_image_urls)
        )
        return Assets(
            product=self._url("assets.product_image_url", stated.product_image_url),
            logo=self._url("assets.logo_image_url", stated.logo_image_url),
            inspirations=tuple(filter(None, inspirations)),
            style_hero=self._url("assets.style_hero_image_url", stated.style_hero_image_url),
            start=self._url("assets.start_image_url", start),
            end=self._url("assets.end_image_url", inputs.end_image_url or stated.end_image_url),
        )

    def _url(self, field: str, reference: str | None) -> str | None:
        """A reference is a URL, or a key of our own storage."""
        if not reference:
            return None
        key, is_url = reference.lstrip("/"), ":" in reference.partition("/")[0] or reference.startswith("//")
        if not is_url and is_valid_key(key):
            return self.asset_store.url_of(key)
        try:
            return mended_url(reference)
        except RemoteFileRefused as error:
            raise InvalidInput(f"{field}: {error}", code="INVALID_URL") from error


def _has_result(row: GenerationRow) -> bool:
    return bool(row.deleted_at is None and row.mode is not None and row.output_url)


def _parent_of(row: GenerationRow, *, takes_settings: bool) -> Parent:
    known, mode = row.variables, row.mode
    if mode is None:
        raise InvalidInput(f"generation {row.generation_id!r} is neither a still nor a video, and cannot be a parent.")
    scans, assets, inputs = known.get("scans", {}), known.get("assets", {}), known.get("inputs", {})
    return Parent(
        generation_id=row.generation_id,
        mode=mode,
        output_url=row.output_url,
        prompt=row.prompt,
        output_crt=scans.get("output_still_crt"),
        still_crt=scans.get("still_crt"),
        start_url=assets.get("start_image_url"),
        end_url=assets.get("end_image_url"),
        aspect_ratio=inputs.get("aspect_ratio") or None,
        session_id=row.session_id,
        platform=row.platform,
        title=row.title,
        movement_style=inputs.get("movement_style") or None,
        engine_settings=known.get("settings", {}).get(ENGINE_BY_MODE[mode], {}) if takes_settings else {},
    )


def _must_be_possible(order: Order) -> None:
    if isinstance(order, StillCreate) and not (order.brief or order.assets.product or order.preset_prompt):
        raise InvalidInput(
            "inputs.brief or assets.product_image_url: a still needs a brief or a product photo.",
            code="MISSING_INPUT",
        )
    if isinstance(order, StillTweak | VideoTweak) and not order.feedback:
        where = "feedback.still_feedback" if order.flow.mode == "still" else "feedback.motion_feedback"
        raise InvalidInput(f"{where}: a tweak needs to know what to change.", code="MISSING_FEEDBACK")
    if isinstance(order, BaseVideoOrder) and not order.start_url:
        raise InvalidInput(
            "assets.start_image_url or parent_generation_id: a video needs a frame to begin with.",
            code="MISSING_START_IMAGE",
        )


def _feedback(flow: Flow, body: CreateBody) -> str:
    """Feedback counts on tweaks only: some clients send the brief as feedback when they create."""
    if not flow.is_tweak:
        return ""
    return body.still_feedback if flow.mode == "still" else body.motion_feedback


def _aspect_ratio(stated: str | None) -> str | None:
    if stated is None or stated == "auto":
        return None
    if stated not in ASPECT_RATIOS:
        raise InvalidInput(f"inputs.aspect_ratio: {stated!r} is none of {', '.join(ASPECT_RATIOS)}.")
    return stated


def _warnings(flow: Flow, body: CreateBody, parent: Parent | None) -> list[str]:
    """Return a warning for each part of the request that is not done as it was stated."""
    stated, warnings = body.inputs.duration, []
    if flow.mode == "video" and stated is not None and stated != _duration(stated):
        warnings.append(
            f"A video of {stated:g} s was asked for; one of {_duration(stated):g} s is made:"
            f" {DURATION_SECONDS_MIN:g} to {DURATION_SECONDS_MAX:g} s are possible."
        )
    known = {parent.output_url, parent.start_url, parent.end_url} if parent else set()
    return warnings + [text for url, text in body.ignored_media.items() if url not in known]


def _duration(stated: float | None) -> float | None:
    return None if stated is None else min(max(stated, DURATION_SECONDS_MIN), DURATION_SECONDS_MAX)


async def own_session_id(conn: Connection, stated: str | None, pass_id: str | None) -> str:
    """As `clean_session_id`; a session that is somebody else's is not joined."""
    session_id = clean_session_id(stated)
    owner = await generations.owner_of_session(conn, session_id)
    return session_id if owner in (None, pass_id) else new_id()


def clean_session_id(stated: str | None) -> str:
    """A well-formed uuid is taken as it is, with or without `sess_` before it; anything else begins a new session."""
    bare = (stated or "").removeprefix("sess_")
    return str(uuid.UUID(bare)) if is_uuid(bare) else new_id()
