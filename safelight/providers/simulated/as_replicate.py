"""The simulated service in Replicate's wire format (replicate.com/docs/reference/http), to exercise its
adapter."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from datetime import datetime

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.providers.base import Json, Kind
from safelight.providers.simulated.predictions import Prediction, PredictionStatus
from safelight.providers.simulated.server import Simulation, WebhookTarget, file_urls

PATH = "/replicate/v1"
PAGE = 100


class ReplicateStartBody(BaseModel):
    input: Json
    webhook: str


class AsReplicate:
    def __init__(self, simulation: Simulation, secret: str) -> None:
        """`secret` signs the webhooks (whsec_ and base64)."""
        self._simulation = simulation
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._webhooks: dict[str, str] = {}

    def routes(self) -> list[Route]:
        return [
            Route(f"{PATH}/models/{{owner}}/{{name}}/predictions", self.start, methods=["POST"]),
            Route(f"{PATH}/predictions", self.list),
            Route(f"{PATH}/predictions/{{id}}", self.check),
            Route(f"{PATH}/predictions/{{id}}/cancel", self.cancel, methods=["POST"]),
        ]

    async def start(self, request: Request) -> Response:
        body = ReplicateStartBody.model_validate_json(await request.body())
        attempt_key = body.webhook.rpartition("/")[2]

        def accept() -> Json:
            told = WebhookTarget(body.webhook, self._signed)
            kind: Kind = "video" if "start_image" in body.input else "image"
            prediction = self._simulation.accept(attempt_key, kind, told)
            self._webhooks[prediction.id] = body.webhook
            return self._shown(prediction, request)

        return await self._simulation.answer(request, "start", attempt_key, accept, status=201)

    async def list(self, request: Request) -> Response:
        after = datetime.fromisoformat(request.query_params["created_after"]).timestamp()
        skipped = int(request.query_params.get("cursor", 0))

        def page() -> Json:
            found = self._simulation.record.since(after)[skipped:]
            following = str(request.url.include_query_params(cursor=skipped + PAGE)) if len(found) > PAGE else None
            return {"results": [self._shown(one, request) for one in found[:PAGE]], "next": following, "previous": None}

        return await self._simulation.answer(request, "find", "predictions", page)

    async def check(self, request: Request) -> Response:
        return await self._simulation.answer_for(request, "check", lambda one: self._shown(one, request))

    async def cancel(self, request: Request) -> Response:
        return await self._simulation.answer_for(request, "cancel", lambda one: self._shown(one.cancel(), request))

    def _shown(self, prediction: Prediction, request: Request) -> Json:
        status = prediction.status
        return {
            "id": prediction.id,
            "status": status,
            "output": file_urls(prediction, request) if status is PredictionStatus.SUCCEEDED else None,
            "error": "Prediction failed" if status is PredictionStatus.FAILED else None,
            "webhook": self._webhooks[prediction.id],
        }

    def _signed(self, prediction: Prediction) -> tuple[bytes, dict[str, str]]:
        """Headers signed as Standard Webhooks define: HMAC-SHA256 over `id.timestamp.body`."""
        body = json.dumps({"id": prediction.id, "status": prediction.status}).encode()
        message_id, timestamp = f"msg_{secrets.token_hex(8)}", str(int(time.time()))
        digest = hmac.new(self._key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(digest).decode()}"
        return body, {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
