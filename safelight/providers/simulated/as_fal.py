"""The simulated service in the wire format of fal's queue (fal.ai/docs), to exercise its adapter."""

import base64
import hashlib
import json
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from safelight.providers.base import Json, Kind
from safelight.providers.simulated.predictions import Prediction, PredictionStatus
from safelight.providers.simulated.server import Simulation, WebhookTarget, file_urls, files_of, nothing

PATH = "/fal"
KEYS_PATH = f"{PATH}/.well-known/jwks.json"
OF_VIDEOS = ("video", "veo")  # in the names of models
STATUSES = {PredictionStatus.STARTING: "IN_QUEUE", PredictionStatus.PROCESSING: "IN_PROGRESS"}
ENDS = {
    PredictionStatus.FAILED: {"error": "Runner failed", "error_type": "runner_server_error"},
    PredictionStatus.CANCELED: {"error": "Cancelled", "error_type": "client_cancelled"},
}


class AsFal:
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._key = Ed25519PrivateKey.generate()

    def routes(self) -> list[Route]:
        of_request = f"{PATH}/{{owner}}/{{name}}/requests/{{id}}"
        return [
            Route(KEYS_PATH, self.keys),
            Route(f"{of_request}/status", self.status),
            Route(f"{of_request}/cancel", self.cancel, methods=["PUT"]),
            Route(of_request, self.result),
            Route(f"{PATH}/{{owner}}/{{name:path}}", self.submit, methods=["POST"]),
        ]

    async def submit(self, request: Request) -> Response:
        webhook = request.query_params["fal_webhook"]
        attempt_key, files = webhook.rpartition("/")[2], files_of(await request.json())

        def accept() -> Json:
            is_video = any(word in request.path_params["name"] for word in OF_VIDEOS)
            kind: Kind = "video" if is_video else "image"
            prediction = self._simulation.accept(attempt_key, kind, WebhookTarget(webhook, self._signed), files)
            return {"request_id": prediction.id, "queue_position": 0}

        return await self._simulation.answer(request, "start", attempt_key, accept)

    async def status(self, request: Request) -> Response:
        return await self._simulation.answer_for(request, "check", _state)

    async def result(self, request: Request) -> Response:
        prediction = self._simulation.record.get(request.path_params["id"])
        if prediction is None or prediction.status is not PredictionStatus.SUCCEEDED:
            return nothing()
        return await self._simulation.answer_for(request, "check", lambda one: _made(one, request))

    async def cancel(self, request: Request) -> Response:
        """A request that has left the queue is only asked to stop, and goes on."""
        prediction = self._simulation.record.get(request.path_params["id"])
        if prediction is None or prediction.status not in STATUSES:
            return JSONResponse(
                {"status": "ALREADY_COMPLETED" if prediction else "NOT_FOUND"}, 400 if prediction else 404
            )

        def stop() -> Json:
            if prediction.status is PredictionStatus.STARTING:
                prediction.cancel()
            return {"status": "CANCELLATION_REQUESTED"}

        return await self._simulation.answer(request, "cancel", prediction.attempt_key, stop, status=202)

    async def keys(self, _: Request) -> Response:
        x = base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return JSONResponse({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "use": "sig", "x": x}]})

    def _signed(self, prediction: Prediction) -> tuple[bytes, dict[str, str]]:
        body = json.dumps({"request_id": prediction.id, "status": "OK"}).encode()
        timestamp = str(int(time.time()))
        message = "\n".join([prediction.id, "rehearsal", timestamp, hashlib.sha256(body).hexdigest()]).encode()
        return body, {
            "X-Fal-Webhook-Request-Id": prediction.id,
            "X-Fal-Webhook-User-Id": "rehearsal",
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": self._key.sign(message).hex(),
        }


def _state(prediction: Prediction) -> Json:
    return {"status": STATUSES.get(prediction.status, "COMPLETED"), **ENDS.get(prediction.status, {})}


def _made(prediction: Prediction, request: Request) -> Json:
    files = [{"url": url} for url in file_urls(prediction, request)]
    return {"video": files[0]} if prediction.kind == "video" else {"images": files, "seed": 7}
