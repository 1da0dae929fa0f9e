"""OpenAI's Responses API as a small real server, scripted.

Shapes from the published reference, read on 2026-11-21: the Responses API (developers.openai.com/api/reference,
resources/responses), the guides on background mode, structured outputs, the image generation tool and error codes
(developers.openai.com/api/docs/guides), and the types of the official SDK, version 3.54.0. Only these shapes are known
here; nothing was recorded from the service.
"""

import asyncio
import base64
import io
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from safelight import serve
from safelight.providers.simulated.server import HANG_UP, HangUpProtocol
from tests.fakes.registry import serve_with

Json = dict[str, Any]
Call = Literal["create", "retrieve", "cancel"]

KEY = "sk-fake"


@dataclass
class Scripted:
    """The answer to the next call, instead of a good one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hangs_up: bool = False
    is_silent: bool = False
    happens_anyway: bool = False  # the work is done; only the answer is lost


# --- what the reference says about errors (guide "Error codes", 2026-11-21) --------------------------------------------


def problem(status: int, code: str | None, message: str = "no", type: str = "invalid_request_error", **headers: str):
    body = {"error": {"message": message, "type": type, "param": None, "code": code}}
    return Scripted(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


INVALID_KEY = problem(401, "invalid_api_key", f"Incorrect API key provided: {KEY}.")
REGION = problem(403, "unsupported_country_region_territory", type="request_forbidden")
RATE_LIMIT = problem(429, "rate_limit_exceeded", "Rate limit reached", type="requests", retry_after="1")
RATE_LIMIT_IN_WORDS = problem(
    429, "rate_limit_exceeded", "Rate limit reached. Please try again in 40ms.", type="tokens"
)
QUOTA = problem(429, "insufficient_quota", "You exceeded your current quota.", type="insufficient_quota")
SERVER_ERROR = problem(500, None, "The server had an error.", type="server_error")
OVERLOADED = problem(503, None, "Overloaded. Please try again.", type="service_unavailable_error")
BAD_GATEWAY = Scripted(502, "<html>bad gateway</html>")
GATEWAY_TIMEOUT = Scripted(504, "<html>gateway time-out</html>")
BAD_REQUEST = problem(400, "unknown_parameter")
POLICY = problem(
    400, "moderation_blocked", "Your request was rejected by the safety system.", type="image_generation_user_error"
)
WRONG_SHAPE = Scripted(200, {"surprise": True})
NO_JSON = Scripted(200, "<html>hello</html>")
HANG_UP_NOW = Scripted(hangs_up=True)
SILENCE = Scripted(is_silent=True)
LOST_ANSWER = Scripted(hangs_up=True, happens_anyway=True)


# --- responses (reference "The response object", guide "Structured outputs", 2026-11-21) -------------------------------


def response(status: str, output: list[Json] | None = None, **more: Any) -> Json:
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1795000000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": output or [],
        "usage": None,
    } | more


def message(*parts: Json) -> Json:
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": list(parts)}


def says(text: str) -> Json:
    return message({"type": "output_text", "text": text, "annotations": []})


def failed(code: str) -> Json:
    return response("failed", error={"code": code, "message": "no"})


REFUSAL = response("completed", [message({"type": "refusal", "refusal": "I'm sorry, I can't help with that."})])
CUT_OFF = response("incomplete", [says('{"crt": "a c')], incomplete_details={"reason": "max_output_tokens"})
FILTERED = response("incomplete", incomplete_details={"reason": "content_filter"})
USAGE = {
    "input_tokens": 812,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 64,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 876,
}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "content": None}


def image_call(result: str | None, **more: Any) -> Json:
    """Guide "Image generation", 2026-11-21. Its status may say `generating` in a response that is completed."""
    return {
        "type": "image_generation_call",
        "id": "ig_1",
        "status": "generating",
        "background": "opaque",
        "output_format": "png",
        "quality": "high",
        "size": "1024x1024",
        "revised_prompt": "a cup, revised",
        "result": result,
    } | more


def picture() -> str:
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


class OpenAIFake:
    """`script` holds what the next calls of a kind get; after it, all goes well. A response in the background is in
    progress for `looks` looks, and then becomes what `ends` gives."""

    def __init__(self) -> None:
        self.script: dict[Call, deque[Scripted]] = {"create": deque(), "retrieve": deque(), "cancel": deque()}
        self.latency_seconds = 0.0
        self.looks = 1
        self.is_ready_when_cancelled = False
        self.ends: Callable[[], Json] = lambda: response("completed", [REASONING, image_call(picture())])
        self.asked: list[Json] = []
        self.authorizations: set[str] = set()
        self.responses: dict[str, Json] = {}
        self._ids = itertools.count(1)
        self._looked: dict[str, int] = {}
        self.app = Starlette(
            routes=[
                Route("/v1/responses", self.create, methods=["POST"]),
                Route("/v1/responses/{id}", self.retrieve),
                Route("/v1/responses/{id}/cancel", self.cancel, methods=["POST"]),
            ]
        )

    def will(self, call: Call, *scripted: Scripted | Json) -> None:
        self.script[call].extend(Scripted(body=one) if isinstance(one, dict) else one for one in scripted)

    def pictures_asked(self, number: int = 0) -> list[str]:
        """The picture URLs of one request, in order."""
        content = self.asked[number]["input"][0]["content"]
        return [part["image_url"] for part in content if part["type"] == "input_image"]

    def background(self) -> list[Json]:
        return [body for body in self.asked if body.get("background")]

    async def create(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        return await self._answer(
            request, "create", lambda: self._started(body) if body.get("background") else _said(body)
        )

    async def retrieve(self, request: Request) -> Response:
        return await self._answer(request, "retrieve", lambda: self._looked_at(request.path_params["id"]))

    async def cancel(self, request: Request) -> Response:
        response_id = request.path_params["id"]
        if self.is_ready_when_cancelled:
            self._become(response_id, self.ends())
            self.script["cancel"].append(problem(400, None, "Cannot cancel a completed response."))
        return await self._answer(request, "cancel", lambda: self._become(response_id, response("cancelled")))

    # --- what they share -----------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, call: Call, make: Callable[[], Json]) -> Response:
        self.authorizations.add(request.headers.get("authorization", ""))
        await asyncio.sleep(self.latency_seconds)
        scripted = self.script[call].popleft() if self.script[call] else None
        if scripted is None:
            return JSONResponse(make())
        if scripted.happens_anyway:
            make()
        if scripted.hangs_up:
            request.scope["extensions"][HANG_UP]["now"]()
        if scripted.hangs_up or scripted.is_silent:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            return Response()
        if isinstance(scripted.body, str):
            return Response(scripted.body, scripted.status, scripted.headers, media_type="text/html")
        return JSONResponse(scripted.body, scripted.status, scripted.headers)

    def _started(self, body: Json) -> Json:
        response_id = f"resp_{next(self._ids)}"
        self._looked[response_id] = 0
        return self._become(response_id, response("queued", background=True, metadata=body.get("metadata")))

    def _looked_at(self, response_id: str) -> Json:
        self._looked[response_id] += 1
        is_over = self.responses[response_id]["status"] not in ("queued", "in_progress")
        if is_over:
            return self.responses[response_id]
        ended = self._looked[response_id] > self.looks
        return self._become(response_id, self.ends() if ended else response("in_progress"))

    def _become(self, response_id: str, what: Json) -> Json:
        self.responses[response_id] = what | {"id": response_id}
        return self.responses[response_id]


def _said(body: Json) -> Json:
    """A good answer: a sentence for each property that the schema names."""
    properties = body["text"]["format"]["schema"]["properties"]
    data = ", ".join(f'"{name}": "A white cup on pale stone, for {name}."' for name in properties)
    return response("completed", [REASONING, says(f"{{{data}}}")], id="resp_text", usage=USAGE)


@asynccontextmanager
async def openai_serving(dsn: str | None, **models: str) -> AsyncIterator[tuple[OpenAIFake, Json]]:
    """The fake, and the settings that let a backend reach it. `models` says which engines it serves in the database, with
    which model, and no others."""
    fake = OpenAIFake()
    listening = serve.listen("127.0.0.1", 0)
    served = {engine: {"adapter": "openai", "model": model} for engine, model in models.items()}
    if dsn:
        await serve_with(dsn, {"gpt": {}, "seedream": {}} | served)
    async with serve.answering(fake.app, listening, HangUpProtocol):
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        yield fake, {"openai_url": url, "openai_api_key": KEY}
