"""A generation that keeps killing its worker fails, refunded, whatever kind of step it does so in."""

import asyncio
import signal

import pytest

from safelight.pipelines.engine.step import TAKEOVERS_MAX
from tests.conftest import Backend, Json, StartBackend
from tests.pipelines.engine.test_resume import worker_process
from tests.support.simulated_provider import Holding, simulating

OF_GENERATION = "where mg_record_type = 'generation' and mg_generation_id = %s"
PLACES = {
    "a scan": ("POST /answers", 0, "scan_product"),
    "a reader": ("POST /answers", 1, "gpt_reader"),
    "a start": ("POST /predictions", 0, "seedream_generate"),
    "a check": ("GET /predictions/", 0, "seedream_generate"),
    "the copy": ("GET /files/", 0, "seedream_generate"),
}
POST_SCAN = {"the post-scan": ("POST /answers", 2, "postscan_output_still")}


async def killed(backend: Backend, holding: Holding, environment: dict[str, str]) -> None:
    """A worker dies while it waits for the answer that is held back."""
    worker = worker_process(backend, SAFELIGHT_WORKER_HEARTBEAT_SECONDS="0.3", **environment)
    try:
        async with asyncio.timeout(60):
            await holding.is_holding.wait()
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()


async def taken_over(dsn: str, start: StartBackend, place: str, takeovers: int, **more: float) -> tuple[Backend, Json]:
    """The generation after a worker died at this place, which had been taken over so often there before."""
    begins, after, _ = (PLACES | POST_SCAN)[place]
    holding = Holding(begins, after)
    async with simulating(dsn, holding=holding) as (_, settings):
        backend = await start(**settings, worker=False, provider_start_timeout_seconds=1.0)
        await backend.grant(1)
        accepted = await backend.create()
        environment = {f"SAFELIGHT_{name.upper()}": value for name, value in settings.items()}
        await killed(backend, holding, environment | {"SAFELIGHT_PROVIDER_START_TIMEOUT_SECONDS": "1"})
        backend.sql(
            f"update mega_generations set mg_takeovers = %s {OF_GENERATION}", takeovers, accepted["generation_id"]
        )
        holding.released.set()
        await start(**settings, worker_heartbeat_seconds=0.3, provider_start_timeout_seconds=1.0)
        return backend, await backend.finished(accepted)


@pytest.mark.parametrize("place", PLACES)
async def test_a_step_that_kills_its_worker_is_given_up(dsn: str, start: StartBackend, place: str):
    backend, ended = await taken_over(dsn, start, place, TAKEOVERS_MAX - 1)
    assert (ended["status"], ended["error"]["code"]) == ("error", "WORKER_LOST")
    *_, step = backend.steps(ended["generation_id"])
    assert (step["mg_step_type"], step["mg_payload"]["error"]["type"]) == (PLACES[place][2], "WorkerLost")
    assert backend.balance() == backend.ledger_sum() == 1


async def test_a_post_scan_that_kills_its_worker_is_given_up_and_the_result_is_delivered(dsn: str, start: StartBackend):
    backend, ended = await taken_over(dsn, start, "the post-scan", TAKEOVERS_MAX - 1)
    assert ended["status"] == "done"
    assert ended["outputs"]["seedream_image_url"]
    assert backend.balance() == backend.ledger_sum() == 0


async def test_a_step_that_lost_fewer_workers_goes_on_and_the_next_one_begins_anew(dsn: str, start: StartBackend):
    backend, ended = await taken_over(dsn, start, "a reader", TAKEOVERS_MAX - 2)
    assert ended["status"] == "done"
    assert backend.value(f"select mg_takeovers from mega_generations {OF_GENERATION}", ended["generation_id"]) == 0
