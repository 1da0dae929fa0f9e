"""Replicate's wire format.

Shapes: replicate.com/docs/reference/http (predictions.create/get/list/cancel), …/docs/topics/predictions/lifecycle and
…/rate-limits, …/docs/topics/webhooks/verify-webhook, and the types of github.com/replicate/replicate-javascript
(a prediction may show its `webhook`); read 2026-11-21.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.wire import Json, Wire, Work, generation_of

TOKEN = "r8_of-a-test"
SECRET = "whsec_" + base64.b64encode(b"a secret of a test, of 32 bytes.").decode()

# The texts are quoted from public issues; the shape of the bodies is that of the reference.
THROTTLED: Json = {"detail": "Request was throttled. Your rate limit resets in ~7s."}
UNAUTHENTICATED: Json = {
    "title": "Unauthenticated",
    "detail": "You did not pass a valid authentication token",
    "status": 401,
}
UNPAID: Json = {
    "title": "Insufficient credit",
    "detail": "You have insufficient credit to run this model.",
    "status": 402,
}
GONE: Json = {"detail": "The requested resource could not be found.", "status": 404}
INVALID: Json = {
    "title": "Input validation failed",
    "detail": "- input.size: must be one of the following",
    "status": 422,
}
SENSITIVE = "The input or output was flagged as sensitive. Please try again with different inputs. (E005) (uIJ6l3ruRD)"

Output = Literal["string", "list", "object", "nothing", "several"]


class Replicate(Wire):
    """`shows_webhooks`: whether predictions show the webhook they were given."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.output: Output = "list"
        self.shows_webhooks = True
        self.page_size = 100

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models/{owner}/{name}/predictions", self.create, methods=["POST"]),
            Route("/v1/predictions", self.create, methods=["POST"]),
            Route("/v1/predictions", self.list),
            Route("/v1/predictions/{id}", self.get),
            Route("/v1/predictions/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        body = await request.json()
        model = "{owner}/{name}".format(**request.path_params) if request.path_params else body["version"]
        kind = "video" if "start_image" in body["input"] else "image"

        def accept() -> tuple[int, Json]:
            id = secrets.token_hex(13)
            return 201, self._shown(self.begin(id, kind, model, body["input"], body.get("webhook")))

        return await self.answer(request, "start", accept, generation_of(body.get("webhook")))

    async def get(self, request: Request) -> Response:
        work = self.works.get(request.path_params["id"])
        if work is None:
            return JSONResponse(GONE, 404)
        return await self.answer(request, "check", lambda: (200, self._shown(work)), work.id)

    async def list(self, request: Request) -> Response:
        after = datetime.fromisoformat(request.query_params["created_after"]).timestamp()
        skipped = int(request.query_params.get("cursor", 0))
        found = [work for work in reversed(self.works.values()) if work.created_at >= after][skipped:]
        more = len(found) > self.page_size
        next_url = request.url.include_query_params(cursor=skipped + self.page_size) if more else None
        shown = [self._shown(work) for work in found[: self.page_size]]
        page = {"next": next_url and str(next_url), "previous": None, "results": shown}
        return await self.answer(request, "find", lambda: (200, page))

    async def cancel(self, request: Request) -> Response:
        work = self.works[request.path_params["id"]]

        def stop() -> tuple[int, Json]:
            work.cancelled = work.cancelled or not work.has_ended
            return 200, self._shown(work)

        return await self.answer(request, "cancel", stop)

    def webhook_of(self, work: Work) -> tuple[bytes, dict[str, str]]:
        return signed(json.dumps(self._shown(work)).encode(), id=f"msg_{work.id}")

    def _shown(self, work: Work) -> Json:
        status = self._status(work)
        own = f"{self.url}/v1/predictions/{work.id}"
        shown: Json = {
            "id": work.id,
            "model": work.model,
            "version": "hidden",
            "input": work.input,
            "logs": "",
            "output": self._output(work) if status == "succeeded" else None,
            "data_removed": False,
            "error": work.error if status == "failed" else None,
            "source": "api",
            "status": status,
            "created_at": datetime.fromtimestamp(work.created_at, UTC).isoformat(),
            "urls": {"get": own, "cancel": f"{own}/cancel"},
        }
        return shown | ({"webhook": work.webhook} if self.shows_webhooks and work.webhook else {})

    def _status(self, work: Work) -> str:
        if work.cancelled:
            return "canceled"
        if not work.has_ended:
            return "processing"
        return "failed" if work.error else "succeeded"

    def _output(self, work: Work) -> Any:
        url = self.file_url(work)
        shapes: dict[Output, Any] = {"string": url, "list": [url], "object": {"video": url}, "nothing": []}
        shapes["several"] = [url, f"{self.url}/files/gone.jpg", url]
        return shapes[self.output]


def signed(
    body: bytes, *, id: str = "msg_1", at: float | None = None, secret: str = SECRET
) -> tuple[bytes, dict[str, str]]:
    """A webhook as Standard Webhooks has it: HMAC-SHA256 over `id.timestamp.body`."""
    timestamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return body, {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature}
