"""A result that is stored is delivered and paid, whatever goes wrong after it; nobody gets both the file and the refund."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from safelight.db.connection.notifications import Notifier
from safelight.domain.errors.base import AssetUnreadable
from safelight.media import decode
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.snooze import Snooze
from safelight.pipelines.worker import Worker
from tests.api.routes.test_failures import SMALL_VIDEO, fail_at
from tests.conftest import COFFEE, Backend, StartBackend
from tests.pipelines.engine.test_resume import wait_for
from tests.support.s3_servers import s3_server
from tests.support.simulated_provider import simulating

Json = dict[str, Any]
Order = Callable[[Backend, str], Awaitable[Json]]

LAST_LOOK_BEGUN = (
    "select count(*) from mega_generations where mg_step_type = 'postscan_output_still' and mg_generation_id = %s"
)
RESULT_STORED = (
    "select count(*) from mega_generations where mg_step_type = 'seedream_generate' and mg_status = 'succeeded'"
    " and mg_generation_id = %s"
)
STANDARD = "No description could be made of this result."


def results(backend: Backend, generation_id: str) -> list[Path]:
    return sorted((backend.app.home / "assets" / "mma").glob(f"*/{generation_id}*/*"))


def urls(made: Json) -> list[str]:
    return [url for name, url in made["outputs"].items() if name.endswith("_url") and url]


async def check(backend: Backend, made: Json) -> None:
    """Done, paid, readable, and nothing for the doctor."""
    assert (made["status"], made["error"]) == ("done", None)
    [url] = urls(made)
    assert (await backend.client.get(url)).status_code == 200
    assert made["mma_vars"]["scans"]["output_still_crt"]
    async with backend.app.database() as db:
        assert (await backend.app.doctor(db).check(files=10)).violations == ()


def check_last_look(backend: Backend, generation_id: str, error: str) -> None:
    """It ended with a stand-in; the ops plane says why, and the customer is not bothered with it."""
    *_, step = backend.steps(generation_id)
    payload = step["mg_payload"]
    assert step["mg_step_type"].startswith("postscan_")
    assert (step["mg_status"], payload["error"], payload["degraded"]["type"]) == ("succeeded", None, error)
    assert payload["output"]["crt"].startswith(STANDARD)
    [warned] = [row for row in backend.ops_rows(generation_id) if row["mg_detail"].get("delivered")]
    assert (warned["mg_record_type"], warned["mg_detail"]["step_type"]) == ("warn", step["mg_step_type"])
    assert warned["mg_detail"]["error_code"] == payload["degraded"]["error_code"]
    row = backend.sql("select mg_error, mg_meta from mega_generations where mg_id = %s", f"generation:{generation_id}")
    assert (row[0]["mg_error"], row[0]["mg_meta"].get("error")) == (None, None)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("refused", "ContentRefused"),
        ("timeout", "ProviderTimeout"),
        ("unavailable", "ProviderUnavailable"),
        ("rejected", "ProviderRejected"),
        ("bad_shape", "ProviderContractBroken"),
        ("bad_json", "SchemaMismatch"),
    ],
)
async def test_a_last_look_that_fails_is_a_warning(start: StartBackend, kind: str, error: str):
    backend = await start(local_fault=f"postscan_output_still:{kind}")
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    await check(backend, made)
    check_last_look(backend, made["generation_id"], error)
    assert backend.balance() == backend.ledger_sum() == 0


@pytest.mark.parametrize(
    "step_type", ["postscan_output_still_feedback", "postscan_output_video", "postscan_output_video_feedback"]
)
async def test_a_last_look_of_any_flow_may_fail(start: StartBackend, step_type: str):
    backend, made = await fail_at(start, step_type, "refused")
    await check(backend, made)
    check_last_look(backend, made["generation_id"], "ContentRefused")
    assert backend.balance() == backend.ledger_sum()


async def test_a_last_look_that_is_not_set_up_is_a_warning(backend: Backend):
    await backend.grant(1)
    backend.sql(
        "do $$ begin perform safelight.amend_history('a test', 'a test');"
        " delete from mega_admin where mg_record_type = 'app_config' and mg_key = 'mma.ctx.gpt_scanner'; end $$"
    )
    body = {"inputs": {"brief": "a cup", "aspect_ratio": "1:1"}, "settings": {"seedream": {"size": "1K"}}}
    made = await backend.finished(await backend.post("/mma/still/create", body))
    await check(backend, made)
    check_last_look(backend, made["generation_id"], "ConfigError")
    assert backend.balance() == 0


async def test_a_frame_that_cannot_be_read_is_a_warning(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> bytes:
        raise AssetUnreadable("no frame")

    monkeypatch.setattr(decode, "frame_at", broken)
    await backend.grant(5)
    body = {"assets": {"start_image_url": await backend.upload()}, "inputs": SMALL_VIDEO}
    made = await backend.finished(await backend.post("/mma/video/animate", body))
    await check(backend, made)
    check_last_look(backend, made["generation_id"], "AssetUnreadable")
    assert backend.balance() == 0


async def test_a_mistake_of_ours_after_the_result_is_a_warning(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    def mistaken(*_: object) -> bytes:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(decode, "frame_at", mistaken)
    await backend.grant(5)
    body = {"assets": {"start_image_url": await backend.upload()}, "inputs": SMALL_VIDEO}
    made = await backend.finished(await backend.post("/mma/video/animate", body))
    await check(backend, made)
    check_last_look(backend, made["generation_id"], "SafelightError")


async def test_a_storage_that_goes_away_after_the_result_does_not_hold_it_back(dsn: str, start: StartBackend):
    """The offline adapter reads the picture that it looks at from the storage."""
    async with s3_server() as (storage, settings):
        backend = await start(retry_base_seconds=0.4, local_fault="postscan_output_still:unavailable:1", **settings)
        await backend.grant(1)
        accepted = await backend.create()
        await wait_for(backend, RESULT_STORED, accepted["generation_id"])
        storage.is_down = True
        made = await backend.finished(accepted)
        storage.is_down = False
        assert (made["status"], backend.balance()) == ("done", 0)
        answer = await backend.client.get(made["outputs"]["seedream_image_url"], follow_redirects=True)
    assert answer.status_code == 200


@asynccontextmanager
async def last_look_held_up(start: StartBackend) -> AsyncIterator[tuple[Backend, Json]]:
    """A still whose result is stored; its last look has failed, and is tried again after several seconds."""
    backend = await start(local_fault="postscan_output_still:unavailable", retry_base_seconds=3)
    await backend.grant(1)
    accepted = await backend.create()
    await wait_for(backend, LAST_LOOK_BEGUN, accepted["generation_id"])
    yield backend, accepted


async def test_once_the_result_is_stored_it_is_too_late_to_cancel(start: StartBackend):
    async with last_look_held_up(start) as (backend, accepted):
        path = f"/mma/generations/{accepted['generation_id']}/cancel"
        answers = [await backend.post(path, {}) for _ in range(3)]
        made = await backend.finished(accepted)
    for answer in answers:
        assert (answer["cancelled"], answer["too_late"], answer["refunded_credits"]) == (False, True, 0)
    assert answers[0]["status"] == "postscan"
    await check(backend, made)
    assert backend.balance() == backend.ledger_sum() == 0


async def test_a_request_that_was_noted_before_does_not_win_afterwards(start: StartBackend):
    """As an older version notes it; also where another worker takes the generation over."""
    async with last_look_held_up(start) as (backend, accepted):
        await backend.stop_working()
        backend.sql("update mega_generations set mg_cancel_requested_at = now() where mg_record_type = 'generation'")
        backend.sql("update procrastinate_jobs set scheduled_at = null")
        successor = await start(public_url=backend.app.settings.base_url)
        made = await successor.finished(accepted)
    await check(backend, made)
    assert backend.balance() == backend.ledger_sum() == 0


@pytest.mark.parametrize("change", ["deadline passed", "five workers lost", "no last look was begun"])
async def test_what_gives_a_run_up_delivers_its_result(start: StartBackend, change: str):
    async with last_look_held_up(start) as (backend, accepted):
        await backend.stop_working()
    step = f"mma_step:{accepted['generation_id']}:4"
    if change == "deadline passed":
        backend.sql(
            "update mega_generations set mg_deadline_at = now() - interval '1 hour' where mg_deadline_at is not null"
        )
    elif change == "five workers lost":
        backend.sql("update mega_generations set mg_takeovers = 5 where mg_record_type = 'generation'")
    else:
        backend.sql("delete from mega_generations where mg_id = %s", step)
    backend.sql("update procrastinate_jobs set scheduled_at = null")
    fault = "postscan_output_still:refused" if change == "no last look was begun" else "postscan_output_still:timeout"
    successor = await start(public_url=backend.app.settings.base_url, local_fault=fault)
    made = await successor.finished(accepted)
    await check(successor, made)
    error = {"deadline passed": "ProviderTimeout", "five workers lost": "WorkerLost"}.get(change, "ContentRefused")
    check_last_look(successor, accepted["generation_id"], error)
    assert backend.balance() == backend.ledger_sum() == 0


async def test_nobody_can_find_a_result_before_it_is_delivered(start: StartBackend):
    async with last_look_held_up(start) as (backend, accepted):
        generation_id, mine = accepted["generation_id"], {"X-Mina-Pass-Id": backend.pass_id}
        [file] = results(backend, generation_id)
        told = [
            (await backend.client.get(path, headers=mine)).text
            for path in (
                f"/mma/generations/{generation_id}",
                f"/history/pass/{backend.pass_id}",
                "/api/generations/failed",
            )
        ]
        told.append(
            (
                await backend.client.post(f"/mma/generations/{generation_id}/cancel", json={"passId": backend.pass_id})
            ).text
        )
        told += [str(line) for line in backend.sql("select * from image_generation_logs")]
        told += [str(row) for row in backend.sql("select * from mega_generations where mg_record_type = 'generation'")]
        assert not [
            text for text in told if "assets/mma" in text or "mma/still/" in text.replace("/mma/still/create", "")
        ]
        name = file.relative_to(backend.app.home / "assets")
        guesses = [f"mma/still/{generation_id}{rest}" for rest in (".png", ".jpg", "-1.png", "/1.png", "-/1.png")]
        for guess in (*guesses, f"mma/still/{generation_id}-{'0' * 32}/{file.name}"):
            for path in (f"/assets/{guess}", f"/thumbnails/256/{guess}"):
                assert (
                    await backend.client.head(path) if "assets" in path else await backend.client.get(path)
                ).status_code == 404
        made = await backend.finished(accepted)
    assert made["outputs"]["seedream_image_url"].endswith(f"/assets/{name}")


# --- what a run has stored that ends without a result ---------------------------------------------------------------


async def test_what_was_stored_before_a_cancel_is_deleted(start: StartBackend):
    """The worker stored the result and died before the step ended; the provider can still be told to stop."""
    backend = await start(local_latency_seconds=60)
    await backend.grant(1)
    accepted = await backend.create()
    begun = (
        "select count(*) from mega_generations where mg_step_type = 'seedream_generate' and mg_payload ? 'operation'"
    )
    await wait_for(backend, begun)
    assets = backend.app.assets()
    key = f"{assets.names.result_folder('still', accepted['generation_id'])}/1.png"
    await assets.put(key, COFFEE.read_bytes(), "image/png")
    small = await backend.client.get(f"/thumbnails/256/{key}", follow_redirects=True)
    assert small.status_code == 200
    answer = await backend.post(f"/mma/generations/{accepted['generation_id']}/cancel", {})
    assert answer["cancelled"] is True
    async with asyncio.timeout(20):
        while list((backend.app.home / "assets").glob(f"**/*{accepted['generation_id']}*")):
            await asyncio.sleep(0.05)
    assert (await backend.client.get(f"/assets/{key}")).status_code == 404
    async with backend.app.database() as db:
        assert (await backend.app.doctor(db).check(files=10)).violations == ()


# --- a customer cancels at any statement ------------------------------------------------------------------------------

_counted: contextvars.ContextVar["Strikes | None"] = contextvars.ContextVar("counted", default=None)
STATEMENTS_MAX = 80


class Strikes:
    """Does something at the worker's statement with this number, from 1."""

    def __init__(self, number: int, act: Callable[[], Awaitable[None]]) -> None:
        self._left, self._act = number, act
        self.has_struck = False

    async def note(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.has_struck = True
            await self._act()


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    execute = psycopg.AsyncCursor.execute

    async def counted(self: Any, *arguments: Any, **more: Any) -> Any:
        strikes = _counted.get()
        if strikes:
            await strikes.note()
        return await execute(self, *arguments, **more)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", counted)


async def order_still(backend: Backend, picture: str) -> Json:
    body = {"inputs": {"brief": "a cup", "aspect_ratio": "1:1"}, "settings": {"seedream": {"size": "1K"}}}
    return await backend.post("/mma/still/create", body)


async def order_video(backend: Backend, picture: str) -> Json:
    return await backend.post("/mma/video/animate", {"assets": {"start_image_url": picture}, "inputs": SMALL_VIDEO})


async def run_to_the_end(worker: Worker, backend: Backend, generation_id: str, strikes: Strikes) -> None:
    token = _counted.set(strikes)
    final = "select mg_mma_status in ('done', 'error', 'cancelled') from mega_generations where mg_id = %s"
    try:
        while not await asyncio.to_thread(backend.value, final, f"generation:{generation_id}"):
            try:
                await worker.run(generation_id)
            except Snooze as snooze:
                await asyncio.sleep(min(snooze.seconds, 0.02))
    finally:
        _counted.reset(token)


@pytest.mark.usefixtures("counting")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("order", [order_still, order_video])
async def test_a_customer_may_cancel_at_any_statement(dsn: str, start: StartBackend, order: Order):
    """Whatever they are told is true, and they have the file or the credits, never both and never neither."""
    async with simulating(dsn) as (_, settings):
        idle = await start(worker=False, **settings)
        await idle.grant(5 * STATEMENTS_MAX)
        picture, statuses = await idle.upload(), []
        async with idle.app.database(4) as db:
            worker = Worker(idle.app.context(db), Notifier(db), RetryPolicy(0.02))
            for number in range(1, STATEMENTS_MAX):
                statuses.append(await cancelled_at(number, worker, idle, await order(idle, picture)))
                if statuses[-1] is None:
                    break
        assert set(statuses) == {"cancelled", "done", None}
        assert len(statuses) > 12
        async with idle.app.database() as db:
            assert (await idle.app.doctor(db).check(files=STATEMENTS_MAX)).violations == ()
    assert idle.balance() == idle.ledger_sum()


async def cancelled_at(number: int, worker: Worker, backend: Backend, accepted: Json) -> str | None:
    """The generation's status at its end; None where it had fewer statements."""
    generation_id, before = accepted["generation_id"], backend.balance()
    asked: list[asyncio.Task[Json]] = []

    async def cancel() -> None:
        """Until the request is noted, or waits for a lock that the worker holds."""
        request = backend.post(f"/mma/generations/{generation_id}/cancel", {})
        asked.append(asyncio.create_task(request, context=contextvars.Context()))
        noted = "select mg_cancel_requested_at is not null from mega_generations where mg_id = %s"
        for _ in range(10):
            if asked[0].done() or await asyncio.to_thread(backend.value, noted, f"generation:{generation_id}"):
                return
            await asyncio.sleep(0.01)

    strikes = Strikes(number, cancel)
    await run_to_the_end(worker, backend, generation_id, strikes)
    if not strikes.has_struck:
        return None
    answer = await asked[0]
    made = await backend.get(f"/mma/generations/{generation_id}")
    is_cancelled = made["status"] == "cancelled"
    cost = accepted["credits_cost"]
    assert made["status"] in ("done", "cancelled")
    assert answer["too_late"] is not is_cancelled
    assert backend.balance() == before + (cost if is_cancelled else 0)
    assert bool(urls(made)) is not is_cancelled
    assert bool(results(backend, generation_id)) is not is_cancelled
    return str(made["status"])
