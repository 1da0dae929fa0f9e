"""`GET /api/v1/generations/{id}/receipt`, as JSON and as a page."""

import pytest

from safelight.api.auth.identity import HEADER
from safelight.domain.ids import new_id
from tests.api.v1.test_generations import ADMIN, ADMIN_TOKEN, GENERATIONS, V1Client
from tests.conftest import Backend, StartBackend


async def test_the_owner_reads_what_was_charged_and_nothing_of_providers(backend: Backend):
    await backend.grant(1)
    customer = V1Client(backend)
    still = await customer.finished(await customer.order())
    found = await customer.ask("GET", f"{GENERATIONS}/{still['id']}/receipt")
    assert (found["charged"], found["refunded"], found["paid"]) == (1, 0, 1)
    assert [line["reference"] for line in found["lines"]] == [f"mma:{still['id']}"]
    assert found["provider_usd"] is found["possible_usd"] is None
    assert {step["provider"] for step in found["steps"]} == {None}
    assert found["steps_url"] == still["links"]["steps"]


async def test_nobody_else_reads_it_and_operators_see_the_cost(start: StartBackend):
    backend = await start(worker=False, admin_token=ADMIN_TOKEN)
    await backend.grant(1)
    path = f"{GENERATIONS}/{(await V1Client(backend).order())['id']}/receipt"
    await V1Client(backend, {HEADER: f"pass:user:{new_id()}"}).ask("GET", path, status=404)
    await V1Client(backend, {}).ask("GET", path, status=401)
    assert (await V1Client(backend, ADMIN).ask("GET", path))["provider_usd"] == "0"


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b", "$id ${paid} $nothing"]
)
async def test_the_page_holds_texts_as_they_are_and_may_load_nothing(start: StartBackend, name: str):
    backend = await start(worker=False)
    await backend.grant(1)
    customer = V1Client(backend)
    ordered = await customer.order(name=name)
    answer = await customer.raw("GET", f"{GENERATIONS}/{ordered['id']}/receipt", headers={"Accept": "text/html"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text and "<img" not in answer.text
    assert f"mma:{ordered['id']}" in answer.text
