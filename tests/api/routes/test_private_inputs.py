"""Pictures behind URLs that let one pass: they are made into pictures, and the URLs are kept nowhere."""

import base64
import json
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight import serve
from tests.conftest import COFFEE, Backend, Json, StartBackend

DATA_URL = "data:image/jpeg;base64," + base64.b64encode(COFFEE.read_bytes()).decode()
PASS = "3f1c9ad0b7e84c55a1d2"


@pytest.fixture
async def elsewhere() -> Any:
    """A server that shows a photo to whoever has the signature, once."""
    shown = []

    async def photo(request: Request) -> Response:
        if request.query_params.get("X-Amz-Signature") != PASS or shown:
            return Response(status_code=403)
        shown.append(1)
        return Response(COFFEE.read_bytes(), media_type="image/jpeg")

    listening = serve.listen("127.0.0.1", 0)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    async with serve.answering(Starlette(routes=[Route("/photo.jpg", photo)]), listening):
        yield address


def everything(backend: Backend, generation_id: str) -> str:
    rows = backend.sql("select t::text as row from mega_generations t where mg_generation_id = %s", generation_id)
    return "\n".join(row["row"] for row in rows)


async def private_file(backend: Backend) -> Json:
    return await backend.post("/api/r2/upload-signed", {"dataUrl": DATA_URL, "private": True, "kind": "product"})


async def test_a_private_file_is_made_into_a_still_and_a_video_and_stays_private(backend: Backend):
    await backend.grant(6)
    url = (await private_file(backend))["url"]
    still = await backend.finished(await backend.create(product=url))
    assert still["status"] == "done", still
    address = still["mma_vars"]["assets"]["product_image_url"]
    assert "/private-assets/" in address and "?" not in address
    assert (await backend.client.get(address)).status_code in (400, 403)
    film = await backend.post("/mma/video/animate", {"assets": {"start_image_url": url}, "inputs": {"brief": "x"}})
    assert (await backend.finished(film))["status"] == "done"
    signature = url.rpartition("signature=")[2]
    assert signature not in everything(backend, still["generation_id"]) + everything(backend, film["generation_id"])


async def test_a_photo_behind_a_signature_is_read_once(start: StartBackend, elsewhere: str):
    backend: Backend = await start(fetch_allow_hosts=elsewhere)
    await backend.grant(2)
    url = f"http://{elsewhere}/photo.jpg?X-Amz-Signature={PASS}"
    key = {"headers": {"Idempotency-Key": "once"}}
    accepted = await ordered(backend, url, **key)
    done = await backend.finished(accepted)
    assert done["status"] == "done", done
    assert PASS not in everything(backend, accepted["generation_id"]) + json.dumps(done)
    again = await ordered(backend, url, **key)
    assert again["generation_id"] == accepted["generation_id"], "the URL no longer passes, and is not needed"


async def ordered(backend: Backend, url: str, **more: Any) -> Json:
    body = {"assets": {"product_image_url": url}, "inputs": {"brief": "on stone", "aspect_ratio": "1:1"}}
    return await backend.post("/mma/still/create", body, **more)


async def test_a_photo_that_its_signature_does_not_open_ends_the_order_refunded(start: StartBackend, elsewhere: str):
    backend: Backend = await start(fetch_allow_hosts=elsewhere)
    await backend.grant(1)
    accepted = await ordered(backend, f"http://{elsewhere}/photo.jpg?X-Amz-Signature=wrong-one")
    failed = await backend.finished(accepted)
    assert (failed["status"], failed["error"]["code"]) == ("error", "ASSET_UNREACHABLE")
    assert backend.balance() == backend.ledger_sum() == 1
    assert "wrong-one" not in everything(backend, accepted["generation_id"]) + json.dumps(failed)


async def test_the_private_file_of_somebody_else_is_not_read(backend: Backend):
    address = (await private_file(backend))["url"].partition("?")[0]
    await backend.grant(1, "pass:user:somebody-else")
    body = {"passId": "pass:user:somebody-else", "assets": {"product_image_url": address}, "inputs": {"brief": "x"}}
    answer: httpx2.Response = await backend.client.post("/mma/still/create", json=body)
    done = await backend.finished(answer.json())
    assert done["status"] == "error"
