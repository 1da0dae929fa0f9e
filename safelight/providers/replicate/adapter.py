"""The provider interfaces over Replicate's predictions (replicate.com/docs/reference/http, read 2026-11-21)."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx2
from pydantic import BaseModel, StringConstraints

from safelight.domain.errors.base import LookupUnsupported, ProviderContractBroken
from safelight.domain.untrusted.json import text_of
from safelight.providers.base import Adapter, CancelResult, GenerationRequest, Json, Operation, Pending, Succeeded
from safelight.providers.errors import Call, VendorError, map_error, retry_after
from safelight.providers.http_client import READ_SECONDS, RemoteProvider, VendorClient, WebhookUrl
from safelight.providers.outputs import succeeded
from safelight.providers.parameters import Models, build_input

NAME = "replicate"
PAGES_LOOKED_THROUGH_MAX = 10  # of 100 predictions each
CLOCKS_APART = timedelta(minutes=5)  # the largest difference between the database's clock and Replicate's
LOG_CHARS_READ = 2000  # of a prediction that succeeded without an output
MODELS = Models(Path(__file__).with_name("models"))

_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class _Prediction(BaseModel):
    id: _Id
    status: str
    output: Any = None
    error: Any = None
    logs: Any = None
    webhook: str | None = None


class _Page(BaseModel):
    results: list[_Prediction]
    next: str | None = None


class ReplicateProvider(RemoteProvider):
    """The handle is the prediction's id."""

    name = NAME

    async def check(self, operation: Operation) -> Pending | Succeeded:
        prediction = await self._get("check", operation)
        match prediction.status:
            case "starting" | "processing":
                return Pending(self._check_after_seconds)
            case "succeeded":
                response, warnings = {"prediction_id": prediction.id}, tuple(operation.warnings)
                return succeeded(_told(prediction), self.kind, NAME, response, warnings)
            case "failed" | "canceled" | "aborted" as status:
                raise map_error(VendorError(NAME, "result", 0, str(prediction.error or status), frozenset({status})))
            case status:
                raise ProviderContractBroken(f"replicate status {status!r}")

    async def cancel(self, operation: Operation) -> CancelResult:
        """The answer to a cancellation has no documented shape, so the prediction is read afterwards. If it still runs
        then, it is being stopped."""
        await self._client.call("cancel", object, "POST", f"/predictions/{operation.handle['id']}/cancel")
        prediction = await self._get("cancel", operation)
        return CancelResult.TOO_LATE if prediction.status in ("succeeded", "failed") else CancelResult.STOPPED

    async def look_up(self, attempt_key: str, noted_at: datetime) -> Operation | None:
        """Find the prediction by its webhook, which names the attempt. Its absence is certain only if every prediction
        since the start shows a webhook. Inputs cannot be compared instead, since two generations may have the same.
        Raises LookupUnsupported if no webhook is configured, Replicate does not show webhooks, or there are too many
        predictions."""
        if self._webhook_url is None:
            raise LookupUnsupported("replicate: a start can be looked up only by its webhook, and none is configured")
        wanted = self._webhook_url(attempt_key)
        query: Json = {"created_after": (noted_at - CLOCKS_APART).isoformat()}
        for _ in range(PAGES_LOOKED_THROUGH_MAX):
            page = await self._client.call("find", _Page, "GET", "/predictions", params=query)
            for prediction in page.results:
                if prediction.webhook == wanted:
                    return self._operation(prediction)
            if not all(prediction.webhook for prediction in page.results):
                raise LookupUnsupported("replicate: it does not show which webhook its predictions have")
            if page.next is None:
                return None
            query = dict(httpx2.URL(page.next).params)
        raise LookupUnsupported(f"replicate: more than {PAGES_LOOKED_THROUGH_MAX} pages of predictions since the start")

    async def start(self, request: GenerationRequest) -> Operation:
        name, _, version = request.model.partition(":")
        fitted = build_input(MODELS.named(name), request)
        body: Json = {"input": fitted.input}
        if self._webhook_url:
            body |= {"webhook": self._webhook_url(request.attempt_key), "webhook_events_filter": ["completed"]}
        path = f"/models/{name}/predictions"
        if version:
            body, path = body | {"version": request.model}, "/predictions"
        return self._operation(await self._client.call("start", _Prediction, "POST", path, json=body), fitted.warnings)

    async def _get(self, call: Call, operation: Operation) -> _Prediction:
        return await self._client.call(call, _Prediction, "GET", f"/predictions/{operation.handle['id']}")

    def _operation(self, prediction: _Prediction, warnings: tuple[str, ...] = ()) -> Operation:
        return Operation({"id": prediction.id}, self._check_after_seconds, warnings)


def _told(prediction: _Prediction) -> Any:
    """The output; if it is empty, the error and the log, which may tell the reason."""
    if prediction.output:
        return prediction.output
    return {"error": prediction.error, "logs": str(prediction.logs or "")[-LOG_CHARS_READ:]}


def parse_error(call: Call, response: httpx2.Response) -> VendorError:
    """An error answer of Replicate: `{title, detail, status}`, or any answer of a proxy in front of it."""
    text = text_of(response.content)
    if found := re.search(r'"detail"\s*:\s*"((?:[^"\\]|\\.)*)"', text):
        text = found[1]
    return VendorError(NAME, call, response.status_code, text, retry_after_seconds=retry_after(response.headers))


def replicate_adapter(
    url: str,
    token: str,
    webhook_url: WebhookUrl | None,
    *,
    check_after_seconds: float,
    read_seconds: float = READ_SECONDS,
) -> Adapter:
    client = VendorClient(NAME, url, {"Authorization": f"Bearer {token}"}, parse_error, read_seconds=read_seconds)
    return ReplicateProvider.adapter(client, webhook_url, check_after_seconds)
