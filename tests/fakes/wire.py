"""The common part of the fakes: scripted answers, latency, broken connections, result files, webhooks."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from safelight import serve
from safelight.providers.simulated import results
from safelight.providers.simulated.server import HANG_UP, HangUpProtocol

Json = dict[str, Any]
FileFault = Literal["cut", "expired", "no_picture"]


class Break(StrEnum):
    """A connection that ends, or never answers: before the request had any effect, or after."""

    CLOSED_BEFORE = "closed_before"
    CLOSED_AFTER = "closed_after"
    SILENT_AFTER = "silent_after"


@dataclass(frozen=True)
class Scripted:
    """An answer instead of the usual one. With `after`, what was asked for is done all the same."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False


@dataclass
class Work:
    """One thing the service was asked to make."""

    id: str
    kind: str
    model: str
    input: Json
    webhook: str | None
    ends_at: float
    created_at: float = field(default_factory=time.time)
    cancelled: bool = False
    error: Any = None

    @property
    def has_ended(self) -> bool:
        return time.time() >= self.ends_at


@dataclass
class Announcing:
    """The webhook of an ended operation. `early`: at once, before the start is answered."""

    times: int = 1
    early: bool = False
    late_seconds: float = 0.0
    though_cancelled: bool = False


class Wire:
    """A scripted vendor. `script(call, answer)` is for the next such call only, or for all with `always`."""

    def __init__(self, *, work_seconds: float = 0.0) -> None:
        self.address = ""
        self.work_seconds = work_seconds
        self.latency_seconds = 0.0
        self.fails_with: Any = None
        self.makes_at_most = 100
        self.file_faults: deque[FileFault] = deque()
        self.faults_of_files: dict[str, FileFault] = {}  # by the number of a file, from 2; the first has none
        self.announcing = Announcing()
        self.works: dict[str, Work] = {}
        self.calls: list[tuple[str, str]] = []
        self.authorizations: set[str] = set()
        self.webhook_answers: list[int] = []
        self._scripted: dict[str, deque[Scripted | Break]] = defaultdict(deque)
        self._always: dict[str, Scripted | Break] = {}
        self._firsts: dict[str, Scripted | Break | FileFault] = {}
        self._asked: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def script(self, call: str, *answers: Scripted | Break) -> None:
        self._scripted[call].extend(answers)

    def always(self, call: str, answer: Scripted | Break) -> None:
        self._always[call] = answer

    def first(self, call: str, answer: Scripted | Break | FileFault) -> None:
        """For the first such call about each thing: the generation that a start's webhook names, a work's id."""
        self._firsts[call] = answer

    def at_peace(self) -> None:
        self._always.clear()
        self._scripted.clear()

    def routes(self) -> list[Route]:
        raise NotImplementedError

    def webhook_of(self, work: Work) -> tuple[bytes, dict[str, str]]:
        """Body and headers, signed as the vendor does."""
        raise NotImplementedError

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        listening = serve.listen("127.0.0.1", 0)
        self.address = f"127.0.0.1:{listening.getsockname()[1]}"
        app = Starlette(routes=[*self.routes(), Route("/files/{id}.{extension}", self.file)])
        async with serve.answering(app, listening, HangUpProtocol):
            try:
                yield
            finally:
                for task in list(self._tasks):
                    task.cancel()

    async def file(self, request: Request) -> Response:
        name = request.path_params["id"]
        work = self.works.get(name.partition("_")[0])
        if work is None:
            return Response("there is no such file", 404)
        content = results.image(name) if work.kind == "image" else results.film(name)
        media_type = "image/jpeg" if work.kind == "image" else "video/mp4"
        fault = self.file_faults.popleft() if self.file_faults else self._first_of("file", work.id)
        fault = fault or self.faults_of_files.get(name.partition("_")[2])
        match fault:
            case "expired":
                return Response("this file has expired", 404)
            case "no_picture":
                return Response("<html>sorry</html>", media_type=media_type)
            case "cut":
                return _cut(request, content, media_type)
        return Response(content, media_type=media_type)

    def file_url(self, work: Work) -> str:
        return f"{self.url}/files/{work.id}.{'jpg' if work.kind == 'image' else 'mp4'}"

    def file_urls(self, work: Work) -> list[str]:
        """A URL for each picture that was asked for; `makes_at_most` of them."""
        count = min(work.input.get("num_images", 1), self.makes_at_most)
        url = self.file_url(work)
        return [url, *(url.replace(work.id, f"{work.id}_{number}") for number in range(2, count + 1))]

    def begin(self, id: str, kind: str, model: str, input: Json, webhook: str | None) -> Work:
        work = Work(id, kind, model, input, webhook, time.time() + self.work_seconds, error=self.fails_with)
        self.works[id] = work
        if webhook and not self.announcing.early:
            self._later(self._announce(work))
        return work

    async def answer(self, request: Request, call: str, usual: Any, about: str = "") -> Response:
        """`usual` makes the usual answer, unless the script says otherwise."""
        self.calls.append((call, f"{request.method} {request.url.path}"))
        self.authorizations.add(request.headers.get("authorization", ""))
        await asyncio.sleep(self.latency_seconds)
        scripted = self._scripted[call].popleft() if self._scripted[call] else self._always.get(call)
        scripted = scripted or self._first_of(call, about)
        match scripted:
            case Break.CLOSED_BEFORE:
                return await _hang_up(request)
            case Scripted(after=False):
                return _answer(scripted)
        status, body = usual()
        if call == "start" and self.announcing.early:
            await self._announce(list(self.works.values())[-1])
        match scripted:
            case Break.CLOSED_AFTER:
                return await _hang_up(request)
            case Break.SILENT_AFTER:
                return await _stay_silent(request)
            case Scripted():
                return _answer(scripted)
        return JSONResponse(body, status)

    def _first_of(self, call: str, about: str) -> Any:
        if (call, about) in self._asked:
            return None
        self._asked.add((call, about))
        return self._firsts.get(call)

    async def _announce(self, work: Work) -> None:
        await asyncio.sleep(max(0.0, work.ends_at - time.time()) + self.announcing.late_seconds)
        if work.cancelled and not self.announcing.though_cancelled:
            return
        body, headers = self.webhook_of(work)
        async with httpx2.AsyncClient(timeout=10, trust_env=False) as client:
            for _ in range(self.announcing.times):
                try:
                    answer = await client.post(work.webhook or "", content=body, headers=headers)
                except httpx2.TransportError:
                    continue  # whether anybody heard does not matter to the vendor
                self.webhook_answers.append(answer.status_code)

    def _later(self, doing: Any) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def generation_of(webhook: str | None) -> str:
    """Its address ends with an attempt key, which begins with the generation's id."""
    return (webhook or "").rpartition("/")[2].partition(":")[0]


def _answer(scripted: Scripted) -> Response:
    if isinstance(scripted.body, str):
        return Response(scripted.body, scripted.status, scripted.headers)
    return JSONResponse(scripted.body, scripted.status, scripted.headers)


def _cut(request: Request, content: bytes, media_type: str) -> Response:
    async def half() -> AsyncIterator[bytes]:
        yield content[: len(content) // 2]
        request.scope["extensions"][HANG_UP]["now"]()

    return StreamingResponse(half(), headers={"content-length": str(len(content))}, media_type=media_type)


async def _hang_up(request: Request) -> Response:
    request.scope["extensions"][HANG_UP]["now"]()
    return await _stay_silent(request)


async def _stay_silent(request: Request) -> Response:
    async with asyncio.timeout(60):
        while (await request.receive())["type"] != "http.disconnect":
            pass
    return Response()
