"""fal's wire format: its queue, and webhooks signed with Ed25519.

Shapes: fal.ai/docs/documentation/model-apis/inference/queue and …/webhooks, …/model-apis/errors and …/request-errors,
fal.ai/docs/inference-api/queue/cancel; the text of a locked account is quoted from public issues; read 2026-11-21.
"""

import base64
import hashlib
import json
import time
import uuid
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.wire import Json, Wire, Work, generation_of

KEY = "key-id:of-a-test"

THROTTLED: Json = {"detail": "Too many requests"}
UNAUTHENTICATED: Json = {"detail": "Cannot access application: authentication is required"}
LOCKED: Json = {"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."}
GONE: Json = {"detail": "Application not found"}
INVALID: Json = {"detail": [{"loc": ["body", "prompt"], "msg": "Field required", "type": "missing", "input": {}}]}
REFUSED: Json = {
    "detail": [
        {
            "loc": ["body", "prompt"],
            "msg": "The content could not be processed because it contained material flagged by a content checker.",
            "type": "content_policy_violation",
            "url": "https://docs.fal.ai/errors#content_policy_violation",
        }
    ]
}
TIMED_OUT: Json = {"detail": "Request timed out", "error_type": "request_timeout"}


class Fal(Wire):
    """`begins`: whether work leaves the queue at once, and cannot be taken out of it any more."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.begins = False
        self.key = Ed25519PrivateKey.generate()
        self.key_fetches = 0

    def routes(self) -> list[Route]:
        at = "/{owner}/{name}/requests/{id}"
        return [
            Route("/.well-known/jwks.json", self.keys),
            Route(f"{at}/status", self.status),
            Route(f"{at}/cancel", self.cancel, methods=["PUT"]),
            Route(at, self.result),
            Route("/{owner}/{name:path}", self.submit, methods=["POST"]),
        ]

    async def submit(self, request: Request) -> Response:
        body = await request.json()
        model = "{owner}/{name}".format(**request.path_params)

        def accept() -> tuple[int, Json]:
            kind = "video" if "video" in model or "veo" in model else "image"
            work = self.begin(str(uuid.uuid4()), kind, model, body, request.query_params.get("fal_webhook"))
            own = f"{self.url}/{'/'.join(model.split('/')[:2])}/requests/{work.id}"
            urls = {"response_url": own, "status_url": f"{own}/status", "cancel_url": f"{own}/cancel"}
            return 200, {"request_id": work.id, "gateway_request_id": work.id, "queue_position": 0, **urls}

        return await self.answer(request, "start", accept, generation_of(request.query_params.get("fal_webhook")))

    async def status(self, request: Request) -> Response:
        work = self._work(request)
        if work is None:
            return JSONResponse(GONE, 404)
        state = {"status": self._status(work), "request_id": work.id}
        return await self.answer(request, "check", lambda: (200, state), work.id)

    async def result(self, request: Request) -> Response:
        work = self._work(request)
        if work is None:
            return JSONResponse(GONE, 404)
        return await self.answer(
            request, "result", lambda: (422, work.error) if work.error else (200, self._made(work)), work.id
        )

    async def cancel(self, request: Request) -> Response:
        work = self._work(request)
        if work is None:
            return JSONResponse({"status": "NOT_FOUND"}, 404)

        def stop() -> tuple[int, Json]:
            if self._status(work) == "COMPLETED":
                return 400, {"status": "ALREADY_COMPLETED"}
            work.cancelled = not self.begins
            return 202, {"status": "CANCELLATION_REQUESTED"}

        return await self.answer(request, "cancel", stop)

    async def keys(self, request: Request) -> Response:
        self.key_fetches += 1
        x = base64.urlsafe_b64encode(self.key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        key = {"kty": "OKP", "crv": "Ed25519", "kid": "1", "use": "sig", "x": x}
        return await self.answer(request, "keys", lambda: (200, {"keys": [{"kty": "RSA", "n": "…"}, key]}))

    def webhook_of(self, work: Work) -> tuple[bytes, dict[str, str]]:
        told = (
            {"status": "ERROR", "payload": work.error} if work.error else {"status": "OK", "payload": self._made(work)}
        )
        body = {"request_id": work.id, "gateway_request_id": work.id, "error": None, **told}
        return self.signed(json.dumps(body).encode(), id=work.id)

    def signed(self, body: bytes, *, id: str = "request-1", at: float | None = None) -> tuple[bytes, dict[str, str]]:
        timestamp = str(int(time.time() if at is None else at))
        message = "\n".join([id, "user-1", timestamp, hashlib.sha256(body).hexdigest()]).encode()
        return body, {
            "X-Fal-Webhook-Request-Id": id,
            "X-Fal-Webhook-User-Id": "user-1",
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": self.key.sign(message).hex(),
        }

    def _work(self, request: Request) -> Work | None:
        return self.works.get(request.path_params["id"])

    def _status(self, work: Work) -> str:
        if work.has_ended or work.cancelled:
            return "COMPLETED"
        return "IN_PROGRESS" if self.begins else "IN_QUEUE"

    def _made(self, work: Work) -> Json:
        urls = self.file_urls(work)
        if work.kind == "video":
            return {"video": {"url": urls[0], "content_type": "video/mp4", "file_name": "output.mp4"}}
        images = [{"url": url, "content_type": "image/jpeg", "width": 512, "height": 512} for url in urls]
        return {"images": images, "seed": 7}
