"""Input pictures on other people's servers: fetched once, outside the workers, paid for first, and bounded."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest

from safelight.domain.ids import new_id
from safelight.pipelines.engine.step import TAKEOVERS_MAX
from tests.conftest import Backend, Json, StartBackend
from tests.pipelines.engine.test_resume import worker_process
from tests.support.strangers import Strangers, strangers

QUICK: Json = {"input_fetch_seconds": 0.6, "worker_shutdown_seconds": 0.1}
PATIENT: Json = {"input_fetch_seconds": 100, "worker_shutdown_seconds": 0.1}
MOTION = {"motionDescription": "push in slowly"}
SECRET = "3f1c9ad0b7e84c55a1d2"


@pytest.fixture
async def outside() -> AsyncIterator[Strangers]:
    async with strangers() as found:
        yield found


async def order(backend: Backend, *urls: str, pass_id: str | None = None, status: int = 200, **more: Any) -> Json:
    """A still of a product and inspirations."""
    product, *inspirations = (*urls, None)[: max(1, len(urls))]
    body = {
        "passId": pass_id or backend.pass_id,
        "assets": {"product_image_url": product, "inspiration_image_urls": inspirations},
        "inputs": {"brief": "on stone", "aspect_ratio": "1:1"},
        "settings": {"seedream": {"size": "1K"}},
    }
    answer = await backend.client.post("/mma/still/create", json=body, **more)
    assert answer.status_code == status, answer.text
    return dict(answer.json()) | {"headers": answer.headers}


def payload(backend: Backend, generation_id: str) -> Json:
    return dict(
        backend.value("select mg_payload from mega_generations where mg_id = %s", f"generation:{generation_id}")
    )


UNREACHABLE = (
    "silent/1", "dripping/1", "dripping_head/1", "redirecting/1", "redirecting_to_slow/1", "redirecting_inside/1",
    "page/1", "too_large/1", "cut_off/1", "gone/1", "broken/1",
)  # fmt: skip
REFUSED = ("http://10.0.0.1/a.png", "http://169.254.169.254/latest", "http://[::1]:8000/a.png", "http://no.invalid/a")


async def test_a_picture_that_cannot_be_had_ends_the_order_at_once_and_refunded(
    start: StartBackend, outside: Strangers
):
    backend = await start(fetch_allow_hosts=outside.address, input_fetches_per_customer=20, **QUICK)
    urls = [*map(outside.url, UNREACHABLE), *REFUSED]
    await backend.grant(len(urls))
    photo = await backend.upload()
    accepted = [await order(backend, photo, url) for url in urls]
    failed = await asyncio.gather(*(backend.finished(one) for one in accepted))
    for url, one in zip(urls, failed, strict=True):
        error, text = one["error"], str(one)
        assert (one["status"], error["code"], error["httpStatus"]) == ("error", "ASSET_UNREACHABLE", 400), (url, error)
        assert error["message"].startswith("assets.inspiration_image_urls.0: ")
        assert "isRetryable" in error and not error["isRetryable"]
        hints = ("10.0.0.1", "public address", "Content-Length", "no address", "404", "seconds")
        assert not any(hint in error["message"] for hint in hints), text
        [row] = backend.ops_rows(one["generation_id"])
        assert row["mg_detail"]["error_code"] == "MMA_ASSET_UNREACHABLE"
    assert backend.balance() == backend.ledger_sum() == len(urls)
    assert {path: count for path, count in outside.asked.items() if path in UNREACHABLE and count != 1} == {}


async def test_pictures_that_never_arrive_hold_up_nobody_else(start: StartBackend, outside: Strangers):
    backend = await start(
        fetch_allow_hosts=outside.address, worker_concurrency=1, input_fetches_per_customer=2, **PATIENT
    )
    slow, other, third = (f"pass:user:{new_id()}" for _ in range(3))
    await backend.grant(100, slow)
    for number in range(100):
        await order(backend, outside.url(f"{('silent', 'dripping')[number % 2]}/{number}"), pass_id=slow)
    await backend.grant(1, other)
    await backend.grant(1, third)
    plain, foreign = await order(backend, pass_id=other), await order(backend, outside.url("good/1"), pass_id=third)
    made = await asyncio.gather(backend.finished(plain), backend.finished(foreign))
    assert [one["status"] for one in made] == ["done", "done"]
    assert outside.most <= 2 + 1


async def test_a_picture_is_fetched_once_and_is_ours_from_then_on(start: StartBackend, outside: Strangers):
    backend = await start(fetch_allow_hosts=outside.address, **PATIENT)
    await backend.grant(3)
    url = outside.url("late/cup.jpg")
    accepted = await order(backend, url, url, headers={"Idempotency-Key": "one"})
    again = await order(backend, url, url, headers={"Idempotency-Key": "one"})
    await wait_for_asked(outside, "late/cup.jpg")
    before = payload(backend, accepted["generation_id"])
    assert [one["field"] for one in before["imports"]["pictures"]] == [
        "assets.product_image_url",
        "assets.inspiration_image_urls.0",
    ]
    outside.may_answer.set()
    done = await backend.finished(accepted)
    assert (done["status"], again["generation_id"]) == ("done", accepted["generation_id"])
    outside.may_answer.clear()
    after = payload(backend, accepted["generation_id"])
    assert "imports" not in after and [one["url"] for one in after["imported"]] == [url, url]
    assets = done["mma_vars"]["assets"]
    assert assets["product_image_url"] == assets["inspiration_image_urls"][0] == after["order"]["assets"]["product"]
    assert "/private-assets/" in assets["product_image_url"]
    scan = backend.steps(accepted["generation_id"])[0]
    assert scan["mg_payload"]["input"]["image_url"] == assets["product_image_url"]
    lines = [line["text"] for line in done["mma_vars"]["userMessages"]["scan_lines"]]
    assert lines[1] == "Your pictures have arrived."
    film = await backend.post(
        "/mma/video/animate", {"parent_generation_id": accepted["generation_id"], "inputs": {"suggest_only": True}}
    )
    assert (await backend.finished(film))["status"] == "suggested"
    assert outside.asked == {"late/cup.jpg": 1}


async def wait_for_asked(outside: Strangers, path: str) -> None:
    while not outside.asked[path]:
        await asyncio.sleep(0.02)


async def test_who_cannot_pay_has_nothing_fetched(start: StartBackend, outside: Strangers):
    backend = await start(fetch_allow_hosts=outside.address, **QUICK)
    signed = outside.url(f"good/1?X-Amz-Signature={SECRET}")
    refused = await order(backend, outside.url("good/2"), signed, *[outside.url("good/3")] * 6, status=402)
    await backend.post(
        "/mma/video/animate", {"assets": {"start_image_url": signed}, "inputs": {"brief": "x"}}, status=402
    )
    legacy = await backend.client.post(
        "/motion/generate", json={"passId": backend.pass_id, **MOTION, "lastImageUrl": signed}
    )
    assert (refused["error"], legacy.status_code) == ("INSUFFICIENT_CREDITS", 402)
    await backend.grant(1, "pass:user:other")
    assert (await backend.finished(await order(backend, pass_id="pass:user:other")))["status"] == "done"
    assert outside.asked == {}


async def test_the_legacy_routes_say_that_a_picture_cannot_be_had(start: StartBackend, outside: Strangers):
    backend = await start(fetch_allow_hosts=outside.address, **QUICK)
    await backend.grant(6)
    for path, body in (
        ("/editorial/generate", {"prompt": "a cup", "productImageUrl": outside.url("silent/1")}),
        ("/motion/generate", {**MOTION, "lastImageUrl": outside.url("gone/1")}),
        ("/motion/suggest", {"referenceImageUrl": outside.url("page/1")}),
    ):
        answer = await backend.client.post(path, json={"passId": backend.pass_id, **body})
        assert answer.status_code == (200 if path == "/motion/suggest" else 400), (path, answer.text)
        assert "could not be fetched" in answer.text, answer.text  # a suggestion has one that suits any picture
    assert backend.balance() == 6


async def test_a_url_that_lets_one_pass_is_only_ever_stored_sealed(start: StartBackend, outside: Strangers):
    backend = await start(fetch_allow_hosts=outside.address, **PATIENT)
    await backend.grant(2)
    accepted = await order(backend, outside.url(f"late?X-Amz-Signature={SECRET}"))
    await wait_for_asked(outside, f"late?X-Amz-Signature={SECRET}")
    everything = "select string_agg(t::text, '') from mega_generations t"
    assert SECRET not in backend.value(everything)
    assert "sealed" in payload(backend, accepted["generation_id"])["imports"]["pictures"][0]
    outside.may_answer.set()
    assert (await backend.finished(accepted))["status"] == "done"
    assert SECRET not in backend.value(everything) and "sealed" not in backend.value(everything)


async def test_what_another_node_has_sealed_with_another_secret_is_refunded(start: StartBackend, outside: Strangers):
    backend = await start(worker=False, fetch_allow_hosts=outside.address)
    await backend.grant(1)
    accepted = await order(backend, outside.url(f"good?X-Amz-Signature={SECRET}"))
    await start(fetch_allow_hosts=outside.address, secret="another-secret-0123456789abcdefghij")
    failed = await backend.finished(accepted)
    assert (failed["error"]["code"], backend.balance(), outside.asked) == ("ASSET_UNREACHABLE", 1, {})
    assert "SAFELIGHT_SECRET" in backend.ops_rows(accepted["generation_id"])[0]["mg_detail"]["message"]


async def test_an_import_goes_on_elsewhere_when_its_process_dies(start: StartBackend, outside: Strangers):
    backend = await start(worker=False, fetch_allow_hosts=outside.address)
    await backend.grant(1)
    accepted = await order(backend, outside.url("late/1"))
    environment = {"SAFELIGHT_FETCH_ALLOW_HOSTS": outside.address, "SAFELIGHT_INPUT_FETCH_SECONDS": "60"}
    worker = worker_process(backend, SAFELIGHT_WORKER_HEARTBEAT_SECONDS="0.3", **environment)
    await wait_for_asked(outside, "late/1")
    worker.kill()
    worker.wait()
    outside.may_answer.set()
    await start(fetch_allow_hosts=outside.address, worker_heartbeat_seconds=0.3)
    done = await backend.finished(accepted)
    assert (done["status"], outside.asked["late/1"]) == ("done", 2)


async def test_an_import_that_keeps_killing_its_process_is_given_up(start: StartBackend, outside: Strangers):
    backend = await start(worker=False, fetch_allow_hosts=outside.address)
    await backend.grant(1)
    accepted = await order(backend, outside.url("good/1"))
    backend.sql("update mega_generations set mg_takeovers = %s where mg_payload ? 'imports'", TAKEOVERS_MAX)
    await start(fetch_allow_hosts=outside.address)
    failed = await backend.finished(accepted)
    assert (failed["error"]["code"], backend.balance(), outside.asked) == ("WORKER_LOST", 1, {})


async def test_an_order_that_lost_its_job_gets_one_that_imports(start: StartBackend, outside: Strangers):
    backend = await start(worker=False, fetch_allow_hosts=outside.address)
    await backend.grant(1)
    accepted = await order(backend, outside.url("good/1"))
    backend.sql("delete from procrastinate_jobs")
    backend.sql(
        "update mega_generations set mg_created_at = now() - interval '1 minute' where mg_record_type = 'generation'"
    )
    await start(fetch_allow_hosts=outside.address, worker_heartbeat_seconds=0.2)
    assert (await backend.finished(accepted))["status"] == "done"
    assert outside.asked == {"good/1": 1}


async def test_an_order_that_waits_for_others_of_its_customer_is_cancelled_at_once(
    start: StartBackend, outside: Strangers
):
    backend = await start(fetch_allow_hosts=outside.address, input_fetches_per_customer=1, **PATIENT)
    await backend.grant(2)
    await order(backend, outside.url("silent/1"))
    waiting = await order(backend, outside.url("silent/2"))
    await wait_for_asked(outside, "silent/1")
    answer = await backend.post(f"/mma/generations/{waiting['generation_id']}/cancel", {})
    assert (answer["status"], answer["refunded_credits"], outside.asked["silent/2"]) == ("cancelled", 1, 0)


async def test_a_private_picture_that_was_shared_by_url_is_copied(start: StartBackend):
    backend = await start(worker=False)
    shared = (await backend.upload_private())["url"]
    other = "pass:user:another"
    await backend.grant(1, other)
    accepted = await order(backend, shared, pass_id=other)
    signature = shared.rpartition("signature=")[2]
    assert signature not in str(payload(backend, accepted["generation_id"]))
    await start()
    done = await backend.finished(accepted)
    assert done["status"] == "done"
    folder = backend.app.assets().names.owner(other)
    assert f"/private-assets/{folder}/inputs/" in unquote(done["mma_vars"]["assets"]["product_image_url"])


# --- generations in progress -----------------------------------------------------------------------------------------


async def test_a_customer_has_only_so_many_generations_in_progress(start: StartBackend):
    backend = await start(worker=False, generations_in_progress_max=3)
    await backend.grant(10)
    await backend.grant(1, "pass:user:other")
    body = {"passId": backend.pass_id, "inputs": {"brief": "on stone"}, "settings": {"seedream": {"size": "1K"}}}
    answers = await asyncio.gather(*(backend.client.post("/mma/still/create", json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.json()["error"], int(refused.headers["Retry-After"])) == ("TOO_MANY_IN_PROGRESS", 15)
    assert "3 generations in progress" in refused.json()["message"]
    assert backend.balance() == backend.ledger_sum() == 7
    await order(backend, pass_id="pass:user:other")
    await start()
    for answer in answers:
        if answer.status_code == 200:
            await backend.finished(answer.json())
    await order(backend)


async def test_a_repeated_request_is_answered_whatever_is_in_progress(start: StartBackend):
    backend = await start(worker=False, generations_in_progress_max=1)
    await backend.grant(7)
    first = await order(backend, headers={"Idempotency-Key": "one"})
    again = await order(backend, headers={"Idempotency-Key": "one"})
    await order(backend, headers={"Idempotency-Key": "two"}, status=429)
    assert again["generation_id"] == first["generation_id"]
    for path, body in (
        ("/mma/video/animate", {"assets": {"start_image_url": "https://example.com/a.png"}}),
        ("/editorial/generate", {"brief": "a cup"}),
        ("/motion/suggest", {"referenceImageUrl": "https://example.com/a.png"}),
    ):
        answer = await backend.client.post(path, json={"passId": backend.pass_id, **body})
        assert answer.status_code == 429, (path, answer.text)


async def test_nought_is_no_limit_of_generations_in_progress(start: StartBackend):
    backend = await start(worker=False, generations_in_progress_max=0)
    await backend.grant(25)
    for _ in range(25):
        await order(backend)
