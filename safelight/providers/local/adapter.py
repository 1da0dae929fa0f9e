"""The provider interfaces over the offline darkroom."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from safelight.domain.errors import AssetUnreadable, ProviderRejected
from safelight.providers.base import (
    Answer,
    ImageRequest,
    Operation,
    OutputFile,
    Pending,
    ReferenceImage,
    Succeeded,
    TextRequest,
    VideoRequest,
)
from safelight.providers.local import film, still, words
from safelight.providers.local.faults import Fault
from safelight.providers.local.picture import Picture, Rendered, StillOrder, VideoOrder

ReadImage = Callable[[str], Awaitable[bytes]]
Json = dict[str, Any]

PROMPT_CHARS_MAX = 10_000


class LocalTextModel:
    name = "local"

    def __init__(self, read_image: ReadImage, fault: Fault | None = None) -> None:
        self._read = read_image
        self._fault = fault

    async def complete(self, request: TextRequest) -> Answer:
        if self._fault:
            self._fault.strike(request.step_type)
        pictures = [Picture(image.role, image.url, await _content(self._read, image)) for image in request.images]
        data = await asyncio.to_thread(words.answer, request.context_key, request.user, tuple(pictures))
        if self._fault and self._fault.spoils_answer(request.step_type):
            data = {"unexpected": "shape"}
        return Answer(data, json.dumps(data, ensure_ascii=False))


class _Darkroom:
    """What stills and videos share: the handle holds the whole request, and `check` develops it."""

    name = "local"

    def __init__(self, read_image: ReadImage, fault: Fault | None = None, wait_seconds: float = 0.0) -> None:
        self._read = read_image
        self._fault = fault
        self._wait_seconds = wait_seconds

    async def start(self, request: ImageRequest | VideoRequest) -> Operation:
        if self._fault:
            self._fault.strike(request.step_type)
        if not request.prompt.strip() or len(request.prompt) > PROMPT_CHARS_MAX:
            raise ProviderRejected(f"local: a prompt has 1 to {PROMPT_CHARS_MAX} characters", code="EMPTY_PROMPT")
        handle = {
            "model": request.model,
            "prompt": request.prompt,
            "images": [{"role": image.role, "url": image.url} for image in request.images],
            "settings": dict(request.settings),
            "seed": request.seed,
            "started_at": time.time(),
        }
        return Operation(handle, self._wait_seconds)

    async def check(self, operation: Operation) -> Pending | Succeeded:
        handle = operation.handle
        remaining = handle["started_at"] + self._wait_seconds - time.time()
        if remaining > 0:
            return Pending(remaining)
        rendered = await self._develop(handle)
        output = OutputFile(rendered.media_type, content=rendered.content)
        response = {"model": handle["model"], "width": rendered.width, "height": rendered.height}
        return Succeeded((output,), response, rendered.warnings)

    async def cancel(self, operation: Operation) -> None:
        """Nothing runs between start and check, so there is nothing to stop."""

    async def _develop(self, handle: Json) -> Rendered:
        raise NotImplementedError

    async def _pictures(self, handle: Json) -> list[Picture]:
        return [Picture(image["role"], image["url"], await self._read(image["url"])) for image in handle["images"]]


class LocalImageProvider(_Darkroom):
    async def _develop(self, handle: Json) -> Rendered:
        pictures = await self._pictures(handle)
        sources = {
            url: content
            for picture in pictures
            if picture.role == "parent_output"
            for url in still.source_urls(picture.content)
            if (content := await self._read_if_there(url)) is not None
        }
        order = StillOrder(handle["prompt"], handle["settings"], handle["seed"], tuple(pictures), sources)
        return await asyncio.to_thread(still.compose, order)

    async def _read_if_there(self, url: str) -> bytes | None:
        """A tweak can do without the pictures its parent was made from: it then works on the parent itself."""
        try:
            return await self._read(url)
        except AssetUnreadable:
            return None


class LocalVideoProvider(_Darkroom):
    async def _develop(self, handle: Json) -> Rendered:
        frames = {picture.role: picture.content for picture in await self._pictures(handle)}
        if "start_frame" not in frames:
            raise ProviderRejected("local: a video needs a start_frame", code="MISSING_START_IMAGE_FOR_VIDEO")
        order = VideoOrder(
            handle["prompt"],
            handle["settings"],
            handle["seed"],
            frames["start_frame"],
            frames.get("end_frame"),
        )
        return await asyncio.to_thread(film.film, order)


async def _content(read: ReadImage, image: ReferenceImage) -> bytes:
    return image.content if image.content is not None else await read(image.url)
