"""What ends a generation from outside its steps is as visible as what goes wrong in them: in both planes, in the
operators' list with its type, in its owner's list, and in the ledger."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from safelight.pipelines.engine.step import TAKEOVERS_MAX
from safelight.providers.simulated.faults import Latency
from tests.api.routes.test_cancel import cancel, limit_models, waiting
from tests.conftest import Backend, StartBackend
from tests.pipelines.engine.test_failed_generations import ADMIN, ALL, OWN, TOKEN
from tests.pipelines.engine.test_resume import wait_for, worker_process
from tests.support.simulated_provider import simulating

ASKING = (
    "select count(*) from mega_generations where mg_record_type = 'mma_step' and mg_payload->'attempts' @> %s::jsonb"
)


async def by_cancel(dsn: str, start: StartBackend) -> tuple[Backend, str]:
    backend, accepted = await waiting(start, admin_token=TOKEN)
    await cancel(backend, accepted["generation_id"])
    return backend, accepted["generation_id"]


async def by_deadline(dsn: str, start: StartBackend) -> tuple[Backend, str]:
    backend = await start(local_latency_seconds=600, admin_token=TOKEN)
    limit_models(backend, 0.5)
    await backend.grant(1)
    accepted = await backend.create()
    await backend.finished(accepted)
    return backend, accepted["generation_id"]


async def by_reaper(dsn: str, start: StartBackend) -> tuple[Backend, str]:
    busy = await start(worker=False, queue_timeout_seconds=0.2)
    await busy.grant(1)
    accepted = await busy.create()
    await asyncio.sleep(0.3)
    backend = await start(worker_heartbeat_seconds=0.3, admin_token=TOKEN)
    backend.pass_id = busy.pass_id
    await busy.finished(accepted)
    return backend, accepted["generation_id"]


async def by_crash(dsn: str, start: StartBackend) -> tuple[Backend, str]:
    """A step that takes down whoever does it, until nobody is asked any more."""
    async with simulating(dsn, pace=Latency(answer_seconds=600)) as (_, settings):
        backend = await start(**settings, worker=False, admin_token=TOKEN)
        await backend.grant(1)
        accepted = await backend.create()
        environment = {f"SAFELIGHT_{name.upper()}": value for name, value in settings.items()}
        for number in range(1, TAKEOVERS_MAX + 1):
            worker = worker_process(backend, SAFELIGHT_WORKER_HEARTBEAT_SECONDS="0.3", **environment)
            try:
                await wait_for(backend, ASKING, f'[{{"attempt": {number}, "ended_at": null}}]', seconds=60)
            finally:
                worker.kill()
                worker.wait()
        await start(**settings, worker_heartbeat_seconds=0.3)
        await backend.finished(accepted)
        return backend, accepted["generation_id"]


WAYS: dict[str, Callable[[str, StartBackend], Awaitable[tuple[Backend, str]]]] = {
    "Cancelled": by_cancel,
    "DeadlineExceeded": by_deadline,
    "QueueTimeout": by_reaper,
    "WorkerLost": by_crash,
}


@pytest.mark.parametrize("kind", WAYS)
async def test_an_end_without_a_result_shows_everywhere(dsn: str, start: StartBackend, kind: str):
    backend, generation_id = await WAYS[kind](dsn, start)
    status = "cancelled" if kind == "Cancelled" else "failed"
    *_, step = backend.steps(generation_id)
    assert step["mg_payload"]["error"]["type"] == kind
    [row] = backend.ops_rows(generation_id)
    code = row["mg_detail"]["error_code"]

    of_all = await backend.get(ALL, headers=ADMIN)
    [item] = of_all["generations"]
    assert (item["id"], item["status"], item["errorContext"]["type"]) == (generation_id, status, kind)
    assert of_all["summary"] == {"failed": 0, "stuck": 0, "cancelled": 0} | {status: 1}
    fetched = await backend.generation(generation_id)
    assert code == f"MMA_{fetched['error']['code']}"

    own = await backend.get(OWN, params={"passId": backend.pass_id})
    listed = [one for group in ("failed", "stuck", "cancelled") for one in own.get(group, {}).get("generations", [])]
    assert [one["parameters"]["errorContext"]["type"] for one in listed] == [kind]
    assert backend.balance() == backend.ledger_sum() == 1
