"""The provider interfaces over the simulated service."""

import json
from datetime import datetime
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from safelight.domain.errors.base import (
    ContentRefused,
    LookupUnsupported,
    OutcomeUnknown,
    ProviderContractBroken,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from safelight.providers.base import (
    Adapter,
    CancelResult,
    GenerationRequest,
    Operation,
    OutputFile,
    Pending,
    ReferenceImage,
    Succeeded,
    TextAnswer,
    TextRequest,
)
from safelight.providers.simulated.predictions import Kind
from safelight.redaction import excerpt

Json = dict[str, Any]
Shape = TypeVar("Shape", bound=BaseModel)

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
CONNECTIONS_MAX = 100
CHECK_AFTER_SECONDS = 1.0
MEDIA_TYPES: dict[Kind, str] = {"image": "image/jpeg", "video": "video/mp4"}

_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class _SimulatedPrediction(BaseModel):
    id: str
    status: str
    output: list[str] = []


class _PredictionList(BaseModel):
    results: list[_SimulatedPrediction]


class _Answered(BaseModel):
    data: Json


class SimulatedService:
    """One keep-alive client for a process. Errors of the service are mapped to our error tree here."""

    def __init__(self, url: str, *, read_seconds: float = READ_SECONDS) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url,
            timeout=httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def call(self, shape: type[Shape], method: str, path: str, **more: Any) -> Shape:
        """Send a request; the answer must have this shape, and other fields of it are ignored."""
        try:
            response = await self._client.request(method, path, **more)
        except _NEVER_SENT as error:
            raise ProviderUnavailable(f"simulated: {error!r}") from error
        except httpx2.TimeoutException as error:
            raise ProviderTimeout(f"simulated: {error!r}") from error
        except httpx2.RequestError as error:
            raise _Interrupted(f"simulated: {error!r}") from error
        _refuse_problem(response)
        try:
            return shape.model_validate_json(response.content)
        except ValidationError as error:
            raise ProviderContractBroken(
                f"simulated {method} {path}: {excerpt(response.text, 200)!r}", provider_http_status=response.status_code
            ) from error

    async def start(self, body: Json) -> _SimulatedPrediction:
        """Raises OutcomeUnknown if the request was sent and its answer is missing or not understood."""
        try:
            return await self.call(_SimulatedPrediction, "POST", "/predictions", json=body)
        except (ProviderTimeout, _Interrupted, ProviderContractBroken) as error:
            raise OutcomeUnknown(str(error), provider_http_status=error.provider_http_status) from error


class _Interrupted(ProviderUnavailable):
    """The connection broke after the request was sent."""


class SimulatedTextModel:
    name = "simulated"

    def __init__(self, service: SimulatedService) -> None:
        self._service = service

    async def complete(self, request: TextRequest) -> TextAnswer:
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
        answered = await self._service.call(_Answered, "POST", "/answers", json=body)
        return TextAnswer(answered.data, json.dumps(answered.data, ensure_ascii=False))


class _SimulatedPredictions:
    """Common part of stills and videos. The handle is the prediction's id."""

    name = "simulated"
    kind: Kind

    def __init__(self, service: SimulatedService) -> None:
        self._service = service

    async def check(self, operation: Operation) -> Pending | Succeeded:
        prediction = await self._service.call(_SimulatedPrediction, "GET", f"/predictions/{operation.handle['id']}")
        match prediction.status:
            case "starting" | "processing":
                return Pending(CHECK_AFTER_SECONDS)
            case "succeeded":
                files = tuple(OutputFile(MEDIA_TYPES[self.kind], url=url) for url in prediction.output)
                return Succeeded(files, {"prediction_id": prediction.id})
            case "failed" | "canceled" as status:
                raise ProviderError(f"simulated: prediction {prediction.id} {status}")
            case status:
                raise ProviderContractBroken(f"simulated status {status!r}")

    async def cancel(self, operation: Operation) -> CancelResult:
        path = f"/predictions/{operation.handle['id']}/cancel"
        prediction = await self._service.call(_SimulatedPrediction, "POST", path)
        match prediction.status:
            case "canceled":
                return CancelResult.STOPPED
            case "succeeded" | "failed":
                return CancelResult.TOO_LATE
            case status:
                raise ProviderContractBroken(f"simulated status {status!r} after cancelling")

    async def look_up(self, attempt_key: str, noted_at: datetime) -> Operation | None:
        found = await self._service.call(_PredictionList, "GET", "/predictions", params={"attempt_key": attempt_key})
        return _operation(found.results[0]) if found.results else None

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
        return _operation(await self._service.start(body))


class SimulatedImageProvider(_SimulatedPredictions):
    kind = "image"


class SimulatedVideoProvider(_SimulatedPredictions):
    kind = "video"


def _operation(prediction: _SimulatedPrediction) -> Operation:
    return Operation({"id": prediction.id}, CHECK_AFTER_SECONDS)


def _named(images: tuple[ReferenceImage, ...]) -> list[Json]:
    return [{"role": image.role, "url": image.url} for image in images]


def _refuse_problem(response: httpx2.Response) -> None:
    status, message = response.status_code, f"simulated: {response.status_code} {excerpt(response.text, 200)!r}"
    match status:
        case 200 | 201:
            return
        case 429:
            raise ProviderRateLimited(message, provider_http_status=status, retry_after_seconds=_retry_after(response))
        case 422:
            raise ContentRefused(message, provider_http_status=status)
        case 501:
            raise LookupUnsupported(message, provider_http_status=status)
        case _ if 400 <= status < 500:
            raise ProviderRejected(message, provider_http_status=status)
        case _ if 500 <= status < 600:
            raise ProviderUnavailable(message, provider_http_status=status)
        case _:
            raise ProviderContractBroken(message, provider_http_status=status)


def _retry_after(response: httpx2.Response) -> float | None:
    stated = response.headers.get("Retry-After", "")
    return float(stated) if stated.isdigit() else None


def simulated_adapter(url: str) -> Adapter:
    service = SimulatedService(url)
    return Adapter(SimulatedTextModel(service), SimulatedImageProvider(service), SimulatedVideoProvider(service))
