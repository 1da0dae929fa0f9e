"""A worker may die at any statement: what it left is taken up, and ends as if nothing had happened."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.conftest import Backend, StartBackend
from tests.support import killed_worker
from tests.support.commands import forked_processes
from tests.support.scope import LONG
from tests.support.simulated_provider import simulating

Json = dict[str, Any]

STATEMENTS_MAX = 120
ALL_FINAL = (
    "select bool_and(mg_mma_status in ('done', 'error')) from mega_generations where mg_record_type = 'generation'"
)


async def order_still(backend: Backend, picture: str) -> Json:
    return await backend.create(product=picture)


async def order_video(backend: Backend, picture: str) -> Json:
    body = {"assets": {"start_image_url": picture}, "inputs": {"motion_user_brief": "slowly closer"}}
    return await backend.post("/mma/video/animate", body)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("order", "moment", "first"),
    [
        (order_still, "before", 1),
        (order_video, "after", 1),
        pytest.param(order_still, "before", 2, marks=LONG),
        pytest.param(order_still, "after", 2, marks=LONG),  # which is nearly before the next one
        pytest.param(order_video, "after", 2, marks=LONG),
        pytest.param(order_video, "before", 2, marks=LONG),
    ],
)
async def test_a_worker_may_die_at_any_statement(
    dsn: str, start: StartBackend, order: Callable[[Backend, str], Awaitable[Json]], moment: str, first: int
):
    """At every other one, from the first or from the second."""
    async with simulating(dsn) as (simulation, settings):
        settings |= {"provider_start_timeout_seconds": "2"}  # that a start is not on its way is believed soon
        backend = await start(worker=False, **settings)
        await backend.grant(5 * STATEMENTS_MAX)
        picture = await backend.upload()
        # Heartbeats would be statements at no place of the run's own; whoever dies stays unnoticed until the end.
        environment = settings | {
            "database_url": dsn,
            "home": str(backend.app.home),
            "public_url": backend.app.settings.base_url,
            "worker_heartbeat_seconds": 60,
            "worker_poll_seconds": 0.05,
            "log_level": "ERROR",
        }
        processes = forked_processes()
        killed = 0
        for number in range(first, STATEMENTS_MAX, 2):
            accepted = await order(backend, picture)
            arguments = (environment, accepted["generation_id"], number, moment)
            process = processes.Process(target=killed_worker.work, args=arguments)
            process.start()
            await asyncio.to_thread(process.join)
            assert process.exitcode in (0, -signal.SIGKILL)
            if process.exitcode == 0:
                break
            killed += 1
            backend.sql("update procrastinate_jobs set scheduled_at = now() + interval '1 hour' where status = 'todo'")
        assert 15 < killed < STATEMENTS_MAX // 2 - 1
        backend.sql("update procrastinate_jobs set scheduled_at = null where status = 'todo'")
        await start(**settings, worker_heartbeat_seconds=0.3)
        async with asyncio.timeout(120):
            while not backend.value(ALL_FINAL):
                await asyncio.sleep(0.1)
        await check(backend, simulation.record.by_attempt_key(), killed + 1)


async def check(backend: Backend, accepted_starts: dict[str, list[Any]], generations: int) -> None:
    statuses = backend.sql("select mg_mma_status as status from mega_generations where mg_record_type = 'generation'")
    assert [row["status"] for row in statuses] == ["done"] * generations
    assert [len(starts) for starts in accepted_starts.values()] == [1] * generations
    assert len({key.split(":")[0] for key in accepted_starts}) == generations
    async with backend.app.database() as db:
        findings = await backend.app.on(db).doctor.check(files=generations)
    assert findings.violations == ()
