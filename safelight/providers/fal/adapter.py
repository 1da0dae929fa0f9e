"""The provider interfaces over fal's queue (fal.ai/docs/documentation/model-apis/inference/queue, read 2026-11-21)."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx2
from pydantic import BaseModel, StringConstraints

from safelight.domain.errors.base import LookupUnsupported, ProviderContractBroken
from safelight.domain.untrusted.json import parse_json, text_of
from safelight.providers.base import Adapter, CancelResult, GenerationRequest, Operation, Pending, Succeeded
from safelight.providers.errors import Call, VendorError, map_error, retry_after
from safelight.providers.http_client import READ_SECONDS, RemoteProvider, VendorClient, WebhookUrl
from safelight.providers.outputs import succeeded
from safelight.providers.parameters import Models, build_input

NAME = "fal"
MODELS = Models(Path(__file__).with_name("models"))

_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class _Queued(BaseModel):
    request_id: _Id


class _Status(BaseModel):
    status: str
    error: Any = None
    error_type: str | None = None


class FalProvider(RemoteProvider):
    """The handle is the request's id and the app it was sent to."""

    name = NAME

    async def check(self, operation: Operation) -> Pending | Succeeded:
        state = await self._status("check", operation)
        match state.status:
            case "IN_QUEUE" | "IN_PROGRESS":
                return Pending(self._check_after_seconds)
            case "COMPLETED" if state.error or state.error_type:
                raise map_error(
                    VendorError(NAME, "result", 0, str(state.error or ""), frozenset(filter(None, [state.error_type])))
                )
            case "COMPLETED":
                return await self._result(operation)
            case status:
                raise ProviderContractBroken(f"fal status {status!r}")

    async def cancel(self, operation: Operation) -> CancelResult:
        """A queued request is removed from the queue. A running one is only asked to stop; it may go on and cost."""
        before = await self._status("cancel", operation)
        if before.status == "COMPLETED":
            return CancelResult.TOO_LATE
        answer = await self._client.call(
            "cancel", _Status, "PUT", f"{_path(operation)}/cancel", accept_statuses=(400, 404)
        )
        match answer.status:
            case "OK":
                return CancelResult.STOPPED
            case "CANCELLATION_REQUESTED":
                return CancelResult.STOPPED if before.status == "IN_QUEUE" else CancelResult.UNSUPPORTED
            case "ALREADY_COMPLETED" | "NOT_FOUND":
                return CancelResult.TOO_LATE
            case status:
                raise ProviderContractBroken(f"fal status {status!r} after cancelling")

    async def look_up(self, attempt_key: str, noted_at: datetime) -> Operation | None:
        """fal does not store our keys, and its queue has no list of requests to search."""
        raise LookupUnsupported("fal: a start cannot be looked up")

    async def start(self, request: GenerationRequest) -> Operation:
        fitted = build_input(MODELS.named(request.model), request)
        query = {"fal_webhook": self._webhook_url(request.attempt_key)} if self._webhook_url else None
        path = f"/{request.model}"
        queued = await self._client.call("start", _Queued, "POST", path, params=query, json=fitted.input)
        handle = {"app": _app(request.model), "request_id": queued.request_id}
        return Operation(handle, self._check_after_seconds, fitted.warnings)

    async def _status(self, call: Call, operation: Operation) -> _Status:
        return await self._client.call(call, _Status, "GET", f"{_path(operation)}/status")

    async def _result(self, operation: Operation) -> Succeeded:
        result = await self._client.call("result", object, "GET", _path(operation))
        response = {"request_id": operation.handle["request_id"]}
        if isinstance(result, dict) and "seed" in result:
            response["seed"] = result["seed"]
        return succeeded(result, self.kind, NAME, response, tuple(operation.warnings))


def _app(model: str) -> str:
    """The app of a model, under which its requests are found: owner and name, without the rest of the path."""
    return "/".join(model.split("/")[:2])


def _path(operation: Operation) -> str:
    return f"/{operation.handle['app']}/requests/{operation.handle['request_id']}"


def parse_error(call: Call, response: httpx2.Response) -> VendorError:
    """An error answer of fal: `detail` is a list of typed errors (of a model), or a text beside `error_type` (of the
    queue), which also stands in a header."""
    codes = {response.headers.get("X-Fal-Error-Type", "")}
    text = text_of(response.content)
    try:
        body = parse_json(text)
    except ValueError:
        body = {}
    if isinstance(body, dict):
        codes.add(str(body.get("error_type") or ""))
        text = str(body.get("detail") or text)
        listed = body.get("detail")
        errors = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
        codes |= {str(error.get("type", "")) for error in errors}
    named = frozenset(codes - {""})
    return VendorError(NAME, call, response.status_code, text, named, retry_after(response.headers))


def fal_adapter(
    url: str,
    key: str,
    webhook_url: WebhookUrl | None,
    *,
    check_after_seconds: float,
    read_seconds: float = READ_SECONDS,
) -> Adapter:
    client = VendorClient(NAME, url, {"Authorization": f"Key {key}"}, parse_error, read_seconds=read_seconds)
    return FalProvider.adapter(client, webhook_url, check_after_seconds)
