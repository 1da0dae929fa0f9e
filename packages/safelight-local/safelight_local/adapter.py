"""The provider interfaces over the offline renderer."""

import asyncio
import json
from datetime import datetime
from typing import Any, ClassVar

from safelight.domain.errors.base import ProviderRejected, SafelightError
from safelight.media.decode import DECODE_BYTES_MAX
from safelight.media.decoding_pool import MediaPool
from safelight.providers import base
from safelight.providers.base import Adapter, AdapterContext, CancelResult, GenerationRequest, Json, Operation
from safelight.providers.fault_injection import Fault, inject
from safelight_local import film, still, words
from safelight_local.picture import Picture, Rendered, StillOrder, VideoOrder

PROMPT_CHARS_MAX = 10_000
IMAGES_MAX = 20
REQUESTS_AT_ONCE = 2
# Measured at the largest size that is drawn.
RENDER_BYTES = 300 * 1024 * 1024
LOOK_BYTES = 64 * 1024 * 1024
FILMED_ROLES = ("start_frame", "end_frame")
REFERENCE_ROLE = "reference"  # of a model run: the product of a still, the first frame of a film
TEXT_MOTION_MODEL = "darkroom-text-motion-1"  # draws the first frame of a film that has none
RESULTS_MAX = 6
# Settings of other adapters' models, with the value that asks for nothing.
ASKS_FOR_NOTHING: Json = {
    "enhance_prompt": False,
    "sequential_image_generation": "disabled",
    "max_images": 1,
    "quality": "medium",
}


class Desk:
    """Limits the renderer's memory: how many requests hold their pictures at once, and the pool that does the work."""

    def __init__(self, pool: MediaPool | None = None) -> None:
        self.pool = pool or MediaPool(DECODE_BYTES_MAX)
        self.place = asyncio.Semaphore(REQUESTS_AT_ONCE)


class _Local:
    name = "local"

    def __init__(
        self,
        read_image: base.ReadImage,
        fault: Fault | None = None,
        wait_seconds: float = 0.0,
        desk: Desk | None = None,
    ) -> None:
        self._read = read_image
        self._fault = fault
        self._wait_seconds = wait_seconds
        self._desk = desk or Desk()


class LocalTextModel(_Local):
    async def complete(self, request: base.TextRequest) -> base.TextAnswer:
        inject(self._fault, request.step_type)
        if self._fault and self._fault.corrupts_answer(request.step_type):
            return base.TextAnswer({"unexpected": "shape"}, '{"unexpected": "shape"}')
        async with self._desk.place:
            pictures = tuple([Picture(image.role, image.url, await self._content(image)) for image in request.images])
            data = await self._desk.pool.run(
                LOOK_BYTES, lambda: words.answer(request.context_key, request.user, pictures)
            )
        return base.TextAnswer(data, json.dumps(data, ensure_ascii=False))

    async def _content(self, image: base.ReferenceImage) -> bytes:
        return image.content if image.content is not None else await self._read(image.url)


class _LocalRenderer(_Local):
    """The base of the still and video providers: the handle holds the whole request, and `check` renders it."""

    settings_used: ClassVar[frozenset[str]]
    reference_role: ClassVar[str]  # the part that the reference of a model run plays

    async def start(self, request: GenerationRequest) -> Operation:
        inject(self._fault, request.step_type)
        _refuse_unusable(request)
        handle = {
            "step_type": request.step_type,
            "model": request.model,
            "prompt": request.prompt,
            "images": [{"role": self._role(image), "url": image.url} for image in request.images],
            "settings": dict(request.settings),
            "told": [name for name in request.settings if request.is_told_of(name)],
            "seed": request.seed,
        }
        return Operation(handle, self._wait_seconds)

    def _role(self, image: base.ReferenceImage) -> str:
        return self.reference_role if image.role == REFERENCE_ROLE else image.role

    async def check(self, operation: Operation) -> base.Pending | base.Succeeded:
        handle = operation.handle
        remaining = self._wait_seconds - operation.under_way_seconds
        if remaining > 0:
            return base.Pending(remaining)
        async with self._desk.place:
            results = [await self._render(handle | {"seed": handle["seed"] + at}) for at in range(_count(handle))]
        outputs = tuple(base.OutputFile(one.media_type, content=one.content) for one in results)
        first = results[0]
        response = {"model": handle["model"], "width": first.width, "height": first.height}
        return base.Succeeded(outputs, response, (*first.warnings, *self._unused(handle)))

    async def cancel(self, operation: Operation) -> CancelResult:
        """Nothing runs between start and check, so whatever was begun is as good as stopped."""
        return CancelResult.STOPPED

    async def look_up(self, attempt_key: str, noted_at: datetime) -> Operation | None:
        """A start leaves nothing behind but its handle."""
        return None

    def _unused(self, handle: Json) -> list[str]:
        settings = handle["settings"]
        asked: Any = handle.get("told", settings)
        told = set(asked) - set(self.settings_used)
        return [
            f"local: setting {name!r} is not known"
            for name, value in settings.items()
            if name in told and value != ASKS_FOR_NOTHING.get(name)
        ]

    async def _render(self, handle: Json) -> Rendered:
        raise NotImplementedError

    async def _pictures(self, handle: Json) -> tuple[Picture, ...]:
        images = handle["images"]
        return tuple([Picture(image["role"], image["url"], await self._read(image["url"])) for image in images])


class LocalImageProvider(_LocalRenderer):
    settings_used = frozenset({"size", "aspect_ratio", "seed", "num_images"})
    reference_role = "product"

    async def _render(self, handle: Json) -> Rendered:
        pictures = await self._pictures(handle)
        sources = await self._sources(pictures)
        order = StillOrder(handle["prompt"], handle["settings"], handle["seed"], pictures, sources)
        return await self._desk.pool.run(RENDER_BYTES, lambda: still.compose(order))

    async def _sources(self, pictures: tuple[Picture, ...]) -> dict[str, bytes]:
        """Read the pictures the parent was made from. A tweak can do without: it then works on the parent itself."""
        parents = [picture.content for picture in pictures if picture.role == still.PARENT]
        sources = {}
        for url in (url for parent in parents for url in still.source_urls(parent)):
            try:
                sources[url] = await self._read(url)
            except SafelightError:
                continue
        return sources


class LocalVideoProvider(_LocalRenderer):
    settings_used = frozenset({"mode", "duration", "aspect_ratio", "negative_prompt", "seed"})
    reference_role = "start_frame"

    async def start(self, request: GenerationRequest) -> Operation:
        has_start = any(self._role(image) == "start_frame" for image in request.images)
        if not has_start and request.model != TEXT_MOTION_MODEL:
            raise ProviderRejected("local: a video needs a start_frame", code="MISSING_START_IMAGE_FOR_VIDEO")
        return await super().start(request)

    async def _render(self, handle: Json) -> Rendered:
        filmed = {**handle, "images": [image for image in handle["images"] if image["role"] in FILMED_ROLES]}
        frames = {picture.role: picture.content for picture in await self._pictures(filmed)}
        if "start_frame" not in frames:
            frames["start_frame"] = (await self._drawn_frame(handle)).content
        order = VideoOrder(
            prompt=handle["prompt"],
            settings=handle["settings"],
            seed=handle["seed"],
            start=frames["start_frame"],
            end=frames.get("end_frame"),
            unused_roles=tuple(image["role"] for image in handle["images"] if image["role"] not in FILMED_ROLES),
        )
        return await self._desk.pool.run(RENDER_BYTES, lambda: film.film(order))

    async def _drawn_frame(self, handle: Json) -> Rendered:
        settings = {"size": "1K", "aspect_ratio": handle["settings"].get("aspect_ratio") or "16:9"}
        order = StillOrder(handle["prompt"], settings, handle["seed"], (), {})
        return await self._desk.pool.run(RENDER_BYTES, lambda: still.compose(order))


def _count(handle: Json) -> int:
    """The number of pictures that a model run asks for."""
    return min(max(int(handle["settings"].get("num_images") or 1), 1), RESULTS_MAX)


def _refuse_unusable(request: GenerationRequest) -> None:
    if not request.prompt.strip() or len(request.prompt) > PROMPT_CHARS_MAX:
        raise ProviderRejected(
            f"local: a prompt has 1 to {PROMPT_CHARS_MAX} characters", provider_http_status=400, code="EMPTY_PROMPT"
        )
    if len(request.images) > IMAGES_MAX:
        raise ProviderRejected(f"local: at most {IMAGES_MAX} pictures", provider_http_status=400)


def make_adapter(context: AdapterContext) -> Adapter:
    """The entry point `local` of the group `safelight.adapters`."""
    shared = context.read_image, context.fault, context.latency_seconds, Desk(context.media_pool)
    return Adapter(LocalTextModel(*shared), LocalImageProvider(*shared), LocalVideoProvider(*shared))
