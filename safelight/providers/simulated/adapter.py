"""The provider interfaces over the simulated service."""

import json
from dataclasses import replace
from datetime import datetime

import httpx2
from pydantic import BaseModel

from safelight.domain.errors.base import ProviderContractBroken, ProviderError
from safelight.domain.untrusted.json import text_of
from safelight.providers import base
from safelight.providers.base import Adapter, CancelResult, GenerationRequest, Json, Kind, Operation
from safelight.providers.errors import Call, VendorError, retry_after
from safelight.providers.http_client import RemoteProvider, VendorClient

NAME = "simulated"
READ_SECONDS = 10.0
CHECK_AFTER_SECONDS = 1.0
MEDIA_TYPES: dict[Kind, str] = {"image": "image/jpeg", "video": "video/mp4"}


class _SimulatedPrediction(BaseModel):
    id: str
    status: str
    output: list[str] = []

    @property
    def operation(self) -> Operation:
        return Operation({"id": self.id}, CHECK_AFTER_SECONDS)


class _PredictionList(BaseModel):
    results: list[_SimulatedPrediction]


class _Answered(BaseModel):
    data: Json


class SimulatedTextModel:
    name = NAME

    def __init__(self, client: VendorClient) -> None:
        self._client = client

    async def complete(self, request: base.TextRequest) -> base.TextAnswer:
        body = {
            "step_type": request.step_type,
            "answer_schema": dict(request.schema),
            "request": {
                "model": request.model,
                "system": request.system,
                "user": request.user,
                "images": _named(request.images),
            },
        }
        answered = await self._client.call("answer", _Answered, "POST", "/answers", json=body)
        return base.TextAnswer(answered.data, json.dumps(answered.data, ensure_ascii=False))


class SimulatedProvider(RemoteProvider):
    """The handle is the prediction's id."""

    name = NAME

    async def check(self, operation: Operation) -> base.Pending | base.Succeeded:
        path = f"/predictions/{operation.handle['id']}"
        prediction = await self._client.call("check", _SimulatedPrediction, "GET", path)
        match prediction.status:
            case "starting" | "processing":
                return base.Pending(CHECK_AFTER_SECONDS)
            case "succeeded":
                files = tuple(base.OutputFile(MEDIA_TYPES[self.kind], url=url) for url in prediction.output)
                return base.Succeeded(files, {"prediction_id": prediction.id})
            case "failed" | "canceled" as status:
                raise ProviderError(f"simulated: prediction {prediction.id} {status}")
            case status:
                raise ProviderContractBroken(f"simulated status {status!r}")

    async def cancel(self, operation: Operation) -> CancelResult:
        path = f"/predictions/{operation.handle['id']}/cancel"
        prediction = await self._client.call("cancel", _SimulatedPrediction, "POST", path)
        match prediction.status:
            case "canceled":
                return CancelResult.STOPPED
            case "succeeded" | "failed":
                return CancelResult.TOO_LATE
            case status:
                raise ProviderContractBroken(f"simulated status {status!r} after cancelling")

    async def look_up(self, attempt_key: str, noted_at: datetime) -> Operation | None:
        query = {"attempt_key": attempt_key}
        found = await self._client.call("find", _PredictionList, "GET", "/predictions", params=query)
        return found.results[0].operation if found.results else None

    async def start(self, request: GenerationRequest) -> Operation:
        body = {
            "kind": self.kind,
            "attempt_key": request.attempt_key,
            "request": {
                "model": request.model,
                "prompt": request.prompt,
                "images": _named(request.images),
                "settings": dict(request.settings),
                "seed": request.seed,
            },
        }
        return (await self._client.call("start", _SimulatedPrediction, "POST", "/predictions", json=body)).operation


def _named(images: tuple[base.ReferenceImage, ...]) -> list[Json]:
    return [{"role": image.role, "url": image.url} for image in images]


def parse_error(call: Call, response: httpx2.Response) -> VendorError:
    text, pause = text_of(response.content), retry_after(response.headers)
    return VendorError(NAME, call, response.status_code, text, retry_after_seconds=pause)


def simulated_adapter(url: str, *, read_seconds: float = READ_SECONDS) -> Adapter:
    client = VendorClient(NAME, url, {}, parse_error, read_seconds=read_seconds)
    return replace(SimulatedProvider.adapter(client, None, CHECK_AFTER_SECONDS), text=SimulatedTextModel(client))
