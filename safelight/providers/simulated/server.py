"""The simulated service over HTTP: predictions with latency, answers of a text model, result files, webhooks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from safelight.providers.base import Json, Kind
from safelight.providers.simulated import results
from safelight.providers.simulated.faults import CallFault, Faults, Latency, SeededRandom
from safelight.providers.simulated.predictions import Prediction, PredictionStatus, Record

RETRY_AFTER_SECONDS = 1
SILENT_SECONDS_MAX = 120.0
WEBHOOK_SECONDS = 5.0
HANG_UP = "simulated.hang_up"
FILES_MAX = 6


class HangUpProtocol(HttpToolsProtocol):
    """HTTP protocol whose routes can close the connection without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {HANG_UP: {"now": self.transport.abort}}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StartBody(_Strict):
    kind: Kind
    attempt_key: str = Field(min_length=1, max_length=300)
    request: Json


class AskBody(_Strict):
    step_type: str = Field(min_length=1, max_length=100)
    answer_schema: Json
    request: Json


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """The address, body and headers of the webhook at the end of a prediction."""

    url: str
    signed: Callable[[Prediction], tuple[bytes, dict[str, str]]] = lambda _: (b"", {})


CALLS = frozenset({"start", "ask", "find", "check", "cancel"})


class Simulation:
    """One service. `webhook_url` returns the address of the webhook for an attempt key; only the calls in `faulty` have
    faults; without `look_up` the service cannot find a prediction by its attempt key; `formats` make routes over the
    simulation in the wire format of a vendor."""

    def __init__(
        self,
        seed: int,
        faults: Faults,
        pace: Latency,
        webhook_url: Callable[[str], str] | None = None,
        *,
        faulty: frozenset[str] = CALLS,
        looks_up: bool = True,
        formats: Sequence[Callable[["Simulation"], Iterable[Route]]] = (),
    ) -> None:
        self._faulty = faulty
        self._looks_up = looks_up
        self.record = Record()
        self.faults = faults
        self._pace = pace
        self._dice = SeededRandom(seed)
        self._webhook_url = webhook_url
        self._webhooks: set[asyncio.Task[None]] = set()
        self.app = Starlette(
            routes=[
                Route("/predictions", self.start, methods=["POST"]),
                Route("/predictions", self.find),
                Route("/predictions/{id}", self.check),
                Route("/predictions/{id}/cancel", self.cancel, methods=["POST"]),
                Route("/answers", self.ask, methods=["POST"]),
                Route("/files/{id}.{extension}", self.file),
                Route("/record", self.show_record),
                *(route for routes_of in formats for route in routes_of(self)),
            ],
            exception_handlers={ValidationError: _refuse_body},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with httpx2.AsyncClient(timeout=WEBHOOK_SECONDS, trust_env=False) as self._client:
            yield
            for task in list(self._webhooks):
                task.cancel()
            await asyncio.gather(*self._webhooks, return_exceptions=True)

    async def announced(self) -> None:
        """Wait until all current webhooks are sent."""
        await asyncio.gather(*self._webhooks)

    # --- routes ------------------------------------------------------------------------------------------------------

    async def start(self, request: Request) -> Response:
        body = StartBody.model_validate_json(await request.body())
        told = WebhookTarget(self._webhook_url(body.attempt_key)) if self._webhook_url else None
        files = files_of(body.request.get("settings"))
        accept = lambda: _shown(self.accept(body.attempt_key, body.kind, told, files), request)  # noqa: E731
        return await self.answer(request, "start", body.attempt_key, accept, status=201)

    async def ask(self, request: Request) -> Response:
        body = AskBody.model_validate_json(await request.body())
        return await self.answer(request, "ask", body.step_type, lambda: {"data": results.answer(body.answer_schema)})

    async def find(self, request: Request) -> Response:
        if not self._looks_up:
            return _problem(501, "predictions cannot be looked up")
        attempt_key = request.query_params.get("attempt_key", "")
        found = lambda: {"results": [_shown(one, request) for one in self.record.of_attempt(attempt_key)]}  # noqa: E731
        return await self.answer(request, "find", attempt_key, found)

    async def check(self, request: Request) -> Response:
        return await self.answer_for(request, "check", lambda prediction: _shown(prediction, request))

    async def cancel(self, request: Request) -> Response:
        return await self.answer_for(request, "cancel", lambda prediction: _shown(prediction.cancel(), request))

    async def file(self, request: Request) -> Response:
        name: str = request.path_params["id"]
        prediction = self.record.get(name.partition("-")[0])
        if prediction is None or prediction.status is not PredictionStatus.SUCCEEDED:
            return nothing()
        if prediction.kind == "image":
            return Response(results.image(name), media_type="image/jpeg")
        return Response(results.film(name), media_type="video/mp4")

    async def show_record(self, _: Request) -> Response:
        """All predictions, without faults."""
        return JSONResponse(self.record.as_json())

    # --- what they share ---------------------------------------------------------------------------------------------

    async def answer_for(self, request: Request, what: str, make: Callable[[Prediction], Json]) -> Response:
        """As `answer`, about the prediction that the path names."""
        prediction = self.record.get(request.path_params["id"])
        if prediction is None:
            return nothing()
        return await self.answer(request, what, prediction.attempt_key, lambda: make(prediction))

    async def answer(
        self, request: Request, what: str, about: str, make: Callable[[], Json], *, status: int = 200
    ) -> Response:
        """The result of `make`, after a latency, unless a fault is drawn before or after it."""
        fault = self.faults.of_call(self._dice.draw(what, about)) if what in self._faulty else None
        await asyncio.sleep(self._dice.seconds(f"{what} latency", about, self._pace.answer_seconds))
        instead = await self._instead(request, what, about, fault)
        if instead is not None:
            return instead
        made = make()
        match fault:
            case CallFault.CLOSED_AFTER:
                return await _hang_up(request)
            case CallFault.SILENT_AFTER:
                return await _stay_silent(request)
            case CallFault.WRONG_SHAPE:
                return JSONResponse({"surprise": sorted(made)}, status)
        return JSONResponse(made, status)

    async def _instead(self, request: Request, what: str, about: str, fault: CallFault | None) -> Response | None:
        match fault:
            case CallFault.RATE_LIMITED:
                return _problem(429, "too many requests", {"Retry-After": str(RETRY_AFTER_SECONDS)})
            case CallFault.UNAVAILABLE:
                return _problem(500 if self._dice.draw("500 or 503", about) < 0.5 else 503, "not now")
            case CallFault.REFUSED if what in ("start", "ask"):
                return _problem(422, "against our content rules")
            case CallFault.CLOSED_BEFORE:
                return await _hang_up(request)
            case CallFault.SILENT_BEFORE:
                return await _stay_silent(request)
        return None

    def accept(self, key: str, kind: Kind, told: WebhookTarget | None, files: int = 1) -> Prediction:
        dice, pace = self._dice, self._pace
        median = pace.image_seconds if kind == "image" else pace.video_seconds
        seconds = dice.seconds("work", key, median)
        if dice.draw("hangs", key) < self.faults.hangs:
            seconds = pace.hang_seconds
        will_fail = dice.draw("fails", key) < self.faults.fails
        prediction = self.record.accept(key, kind, seconds=seconds, will_fail=will_fail, files=files)
        if told:
            task = asyncio.create_task(self._announce(prediction, told))
            self._webhooks.add(task)
            task.add_done_callback(self._webhooks.discard)
        return prediction

    async def _announce(self, prediction: Prediction, told: WebhookTarget) -> None:
        """Send the webhook once, twice or never; its answer is ignored."""
        await asyncio.sleep(prediction.ends_at - time.time())
        if prediction.cancelled_at is not None:
            return
        lost = self._dice.draw("webhook lost", prediction.attempt_key) < self.faults.webhook_lost
        doubled = self._dice.draw("webhook doubled", prediction.attempt_key) < self.faults.webhook_doubled
        for _ in range(0 if lost else 1 + doubled):
            prediction.webhooks_sent += 1
            body, headers = told.signed(prediction)
            try:
                await self._client.post(told.url, content=body, headers=headers)
            except httpx2.TransportError:
                continue


def _shown(prediction: Prediction, request: Request) -> Json:
    ready = prediction.status is PredictionStatus.SUCCEEDED
    return {
        "id": prediction.id,
        "status": prediction.status,
        "output": file_urls(prediction, request) if ready else [],
    }


def file_urls(prediction: Prediction, request: Request) -> list[str]:
    names = [prediction.id, *(f"{prediction.id}-{number}" for number in range(2, prediction.files + 1))]
    return [f"{request.base_url}files/{name}.{'jpg' if prediction.kind == 'image' else 'mp4'}" for name in names]


def files_of(settings: Any) -> int:
    """The number of pictures that a request asks for."""
    stated = settings.get("num_images") if isinstance(settings, dict) else None
    return min(max(stated, 1), FILES_MAX) if isinstance(stated, int) else 1


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)


def nothing() -> Response:
    return _problem(404, "there is no such prediction")


async def _refuse_body(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    return _problem(400, "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()))


async def _hang_up(request: Request) -> Response:
    request.scope["extensions"][HANG_UP]["now"]()
    return await _stay_silent(request)


async def _stay_silent(request: Request) -> Response:
    """Send nothing until the client gives up."""
    async with asyncio.timeout(SILENT_SECONDS_MAX):
        while (await request.receive())["type"] != "http.disconnect":
            pass
    return Response()
