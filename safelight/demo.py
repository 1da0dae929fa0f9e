"""The whole story on a real picture, by HTTP as a client would: a still, three tweaks, a video, one tweak of it, a
like, a download. Its end is six media files and a ledger of exactly −14 credits."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from safelight.domain.errors.base import SafelightError

Json = dict[str, Any]
Tell = Callable[["Event"], None]

REQUEST_SECONDS = 60.0
STORY_CREDITS = 14
BRIEF = "A calm morning still life on pale stone, warm sand-coloured background, soft window light from the left"
STYLE = "editorial still life"
TWEAKS = (
    "darker background, no reflections",
    "warmer light and a bit closer",
    "deep green background, softer shadow",
)
VIDEO_TWEAK = "slower, and let it loop"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to show while the story runs: a chapter begins, a line arrives, a chapter ends."""

    kind: str
    chapter: str
    text: str
    seconds: float
    level: str = "info"
    step: str = ""


@dataclass(frozen=True, slots=True)
class DemoResult:
    chapter: str
    generation_id: str
    seconds: float
    credits: int
    file: str
    bytes: int


@dataclass(slots=True)
class DemoReport:
    pass_id: str
    made: list[DemoResult] = field(default_factory=list)
    credits_charged: int = 0
    balance: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Story:
    """`folder` gets the downloads; `tell` is called with each event."""

    client: httpx2.AsyncClient
    pass_id: str
    folder: Path
    tell: Tell
    file_numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def run(self, product: Path, logo: Path | None) -> DemoReport:
        started = time.monotonic()
        report, balance_before = DemoReport(self.pass_id), await self._balance()
        assets = {"product_image_url": await self._upload(product, "product")}
        if logo:
            assets["logo_image_url"] = await self._upload(logo, "logo")
        await self._tell_story(report, assets)
        last = report.made[-1]
        await self._event("like", last)
        await self._event("download", last)
        report.balance = await self._balance()
        report.credits_charged = report.balance - balance_before
        report.seconds = time.monotonic() - started
        return report

    async def _balance(self) -> int:
        balance: int = (await self._get(f"/history/pass/{self.pass_id}"))["credits"]["balance"]
        return balance

    async def _tell_story(self, report: DemoReport, assets: Json) -> None:
        inputs = {"brief": BRIEF, "style": STYLE, "aspect_ratio": "4:5"}
        still = await self._generation("Still", "/mma/still/create", {"assets": assets, "inputs": inputs})
        report.made.append(still)
        for number, feedback in enumerate(TWEAKS, 1):
            body = {"feedback": {"still_feedback": feedback}}
            still = await self._generation(f"Tweak {number}", f"/mma/still/{still.generation_id}/tweak", body)
            report.made.append(still)
        wish: Json = {"parent_generation_id": still.generation_id, "inputs": {"type_for_me": True}}
        video = await self._generation("Video", "/mma/video/animate", wish)
        report.made.append(video)
        body = {"feedback": {"motion_feedback": VIDEO_TWEAK}}
        report.made.append(await self._generation("Video tweak", f"/mma/video/{video.generation_id}/tweak", body))

    async def _generation(self, chapter: str, path: str, body: Json) -> DemoResult:
        started = time.monotonic()
        self.tell(Event("begins", chapter, _headline(body), 0.0))
        accepted = await self._post(path, body)
        await self._follow(chapter, accepted["sse_url"], started)
        generation = await self._get(f"/mma/generations/{accepted['generation_id']}")
        if generation["status"] != "done":
            reason = (generation["error"] or {}).get("message", "it says no reason")
            raise SafelightError(f"{chapter} ended as {generation['status']}: {reason}")
        file = await self._download(chapter, next(filter(None, generation["outputs"].values())))
        seconds = time.monotonic() - started
        self.tell(Event("ends", chapter, str(file), seconds))
        return DemoResult(
            chapter,
            accepted["generation_id"],
            round(seconds, 2),
            accepted["credits_cost"],
            str(file),
            file.stat().st_size,
        )

    async def _follow(self, chapter: str, url: str, started: float) -> None:
        async with self.client.sse(url) as events:
            async for event in events:
                if event.event == "scan_line":
                    line: Json = json.loads(event.data)
                    self.tell(
                        Event("line", chapter, line["text"], time.monotonic() - started, line["level"], line["step"])
                    )

    async def _download(self, chapter: str, url: str) -> Path:
        answer = await self.client.get(url)
        answer.raise_for_status()
        number = next(self.file_numbers)
        name = chapter.lower().replace(" ", "-")
        path = self.folder / f"{number}-{name}{Path(httpx2.URL(url).path).suffix}"
        await asyncio.to_thread(path.write_bytes, answer.content)
        return path

    async def _upload(self, path: Path, kind: str) -> str:
        content = await asyncio.to_thread(path.read_bytes)
        data_url = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
        body = {"dataUrl": data_url, "kind": kind, "filename": path.name}
        return str((await self._post("/api/r2/upload-signed", body))["publicUrl"])

    async def _event(self, event_type: str, made: DemoResult) -> None:
        payload = {"result_type": "motion", "tags": ["calm morning"]}
        await self._post(
            "/mma/events", {"event_type": event_type, "generation_id": made.generation_id, "payload": payload}
        )

    async def _post(self, path: str, body: Json) -> Json:
        return await self._answer(self.client.post(path, json={"passId": self.pass_id, **body}))

    async def _get(self, path: str) -> Json:
        return await self._answer(self.client.get(path, headers={"X-Mina-Pass-Id": self.pass_id}))

    async def _answer(self, sent: Awaitable[httpx2.Response]) -> Json:
        answer = await sent
        body: Json = answer.json()
        if answer.is_error:
            raise SafelightError(f"{answer.request.url.path}: {answer.status_code} {body.get('message')}")
        return body


def _headline(body: Json) -> str:
    feedback = body.get("feedback", {})
    inputs = body.get("inputs", {})
    said = feedback.get("still_feedback") or feedback.get("motion_feedback") or inputs.get("brief")
    return str(said or "type for me")
