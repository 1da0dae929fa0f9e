"""Customers who order over HTTP as clients do: with an idempotency key, asking again until they have an answer."""

import asyncio
import base64
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from safelight.domain.errors.base import SafelightError
from safelight.testing.chaos.observer import LOOK_SECONDS, Watch

Json = dict[str, Any]
Order = tuple[str, Json]

UNFINISHED_MAX = 150
ASK_AGAIN_SECONDS = 0.5
SUGGESTIONS_SHARE = 0.1
CANCEL_WITHIN_SECONDS = 10.0  # of the answer to the order; half of all customers do it at once
BRIEFS = ("on pale stone, soft window light", "dark wood, one hard light from the right", "floating over deep green")
WISHES = ("darker background", "warmer light and a bit closer", "no reflections")
MOVEMENTS = ("slowly closer", "once around it", "the light wanders from left to right")


@dataclass(slots=True)
class SimulatedCustomer:
    """`accepted` holds the generations that were promised: an answer of 200 is a promise. A `cancel_share` of them is
    cancelled later; `cancelled` holds what each of these was told."""

    client: httpx2.AsyncClient
    watch: Watch
    rng: random.Random
    pass_id: str
    picture_url: str
    cancel_share: float = 0.0
    accepted: list[str] = field(default_factory=list)
    cancelled: dict[str, Json] = field(default_factory=dict)

    async def order(self, wanted: int) -> None:
        """Order until that many are accepted, never with more than UNFINISHED_MAX under way."""
        async with asyncio.TaskGroup() as cancelling:
            while len(self.accepted) < wanted:
                if sum(not self.watch.is_final(one) for one in self.accepted) >= UNFINISHED_MAX:
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                path, body = self._next_order()
                answer = await post(self.client, path, body, key=f"{self.pass_id}:{len(self.accepted)}")
                self.accepted.append(answer["generation_id"])
                if self.rng.random() < self.cancel_share:
                    cancelling.create_task(self._cancel(answer["generation_id"]))

    async def _cancel(self, generation_id: str) -> None:
        await asyncio.sleep(self.rng.choice((0.0, self.rng.uniform(0, CANCEL_WITHIN_SECONDS))))
        path, body = f"/mma/generations/{generation_id}/cancel", {"passId": self.pass_id}
        self.cancelled[generation_id] = await post(self.client, path, body, key=None)

    def _next_order(self) -> Order:
        """Half of all are new stills; tweaks and videos begin with something that is done."""
        shares = {self._still: 0.5, self._still_tweak: 0.2, self._video: 0.2, self._video_tweak: 0.1}
        [make] = self.rng.choices(list(shares), list(shares.values()))
        path, body = make() or self._still()
        return path, {"passId": self.pass_id, **body}

    def _still(self) -> Order:
        inputs = {"brief": self.rng.choice(BRIEFS), "aspect_ratio": "1:1"}
        return "/mma/still/create", {"assets": {"product_image_url": self.picture_url}, "inputs": inputs}

    def _still_tweak(self) -> Order | None:
        feedback = {"still_feedback": self.rng.choice(WISHES)}
        return self._of_parent("still", lambda parent: (f"/mma/still/{parent}/tweak", {"feedback": feedback}))

    def _video(self) -> Order | None:
        inputs = {
            "motion_user_brief": self.rng.choice(MOVEMENTS),
            "suggest_only": self.rng.random() < SUGGESTIONS_SHARE,
        }
        return self._of_parent(
            "still", lambda parent: ("/mma/video/animate", {"parent_generation_id": parent, "inputs": inputs})
        )

    def _video_tweak(self) -> Order | None:
        feedback = {"motion_feedback": self.rng.choice(MOVEMENTS)}
        return self._of_parent("video", lambda parent: (f"/mma/video/{parent}/tweak", {"feedback": feedback}))

    def _of_parent(self, mode: str, order: Callable[[str], Order]) -> Order | None:
        done = self.watch.done(self.pass_id, mode)
        return order(self.rng.choice(done)) if done else None


async def upload(client: httpx2.AsyncClient, pass_id: str, picture: bytes) -> str:
    data_url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    body = {"passId": pass_id, "dataUrl": data_url, "kind": "product", "filename": "product.jpg"}
    return str((await post(client, "/api/r2/upload-signed", body, key=None))["publicUrl"])


async def post(client: httpx2.AsyncClient, path: str, body: Json, *, key: str | None) -> Json:
    """The answer, however often it takes: the key makes asking again safe."""
    headers = {"Idempotency-Key": key} if key else {}
    while True:
        try:
            answer = await client.post(path, json=body, headers=headers)
        except httpx2.TransportError:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            continue
        if answer.status_code == 200:
            return dict(answer.json())
        if answer.status_code < 500:
            raise SafelightError(f"{path} answered {answer.status_code}: {answer.text[:300]}")
        await asyncio.sleep(ASK_AGAIN_SECONDS)
