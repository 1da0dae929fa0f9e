"""Cancelling by a customer and by an operator, deadlines, and generations that no worker began in time."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from safelight.domain.ids import new_id
from safelight.pipelines.engine.reaper import Reaped
from safelight.providers.simulated.faults import Latency
from tests.conftest import Backend, StartBackend
from tests.pipelines.engine.test_resume import reap, slow_step_begun, wait_for
from tests.support.simulated_provider import simulating

Json = dict[str, Any]

STORED = (
    "select count(*) from mega_generations where mg_step_type = 'seedream_generate' and mg_payload ? 'operation'"
    " and mg_generation_id = %s"
)


async def waiting(start: StartBackend, **settings: Any) -> tuple[Backend, Json]:
    """A still that the provider is at work on."""
    backend = await start(**{"local_latency_seconds": 60, **settings})
    await backend.grant(1)
    accepted = await backend.create()
    await wait_for(backend, STORED, accepted["generation_id"])
    return backend, accepted


async def cancel(backend: Backend, generation_id: str, **more: Any) -> Json:
    return await backend.post(f"/mma/generations/{generation_id}/cancel", {}, **more)


async def test_a_customer_stops_what_the_provider_is_at_work_on(start: StartBackend):
    backend, accepted = await waiting(start)
    answer = await cancel(backend, accepted["generation_id"])
    assert (answer["status"], answer["cancelled"], answer["too_late"]) == ("cancelled", True, False)
    assert (answer["refunded_credits"], answer["credits"]) == (1, {"balance": 1})
    assert backend.balance() == backend.ledger_sum() == 1
    made = await backend.finished(accepted)
    assert (made["status"], made["error"]["code"]) == ("cancelled", "CANCELLED")
    assert made["outputs"]["seedream_image_url"] is None
    *_, step = backend.steps(accepted["generation_id"])
    assert step["mg_payload"]["stopping"]["answer"] == "stopped"
    assert step["mg_payload"]["error"]["type"] == "Cancelled"
    [row] = backend.ops_rows(accepted["generation_id"])
    assert (row["mg_record_type"], row["mg_detail"]["error_code"]) == ("warn", "MMA_CANCELLED")
    [line] = [line for line in made["mma_vars"]["userMessages"]["scan_lines"] if "Stopped" in line["text"]]
    assert line["text"] == "Stopped, as you asked. Your credits were returned."


async def test_cancelling_again_changes_nothing(start: StartBackend):
    backend, accepted = await waiting(start)
    first, second = await asyncio.gather(*(cancel(backend, accepted["generation_id"]) for _ in range(2)))
    third = await cancel(backend, accepted["generation_id"])
    assert [one["cancelled"] for one in (first, second, third)] == [True] * 3
    assert backend.balance() == backend.ledger_sum() == 1
    assert len(backend.ops_rows(accepted["generation_id"])) == 1


async def test_a_step_under_way_is_the_last(start: StartBackend):
    backend = await start()
    await backend.grant(1)
    accepted = await backend.create(settings={"seedream": {"size": "4K"}})
    await slow_step_begun(backend)
    answer = await cancel(backend, accepted["generation_id"])
    made = await backend.finished(accepted)
    if answer["too_late"]:
        assert made["status"] == "done"
    else:
        assert made["status"] == "cancelled"
        *_, last = backend.steps(accepted["generation_id"])
        assert last["mg_payload"]["error"]["type"] == "Cancelled"
    assert backend.balance() == backend.ledger_sum() == (0 if answer["too_late"] else 1)


async def test_a_wish_to_cancel_is_heard_at_the_next_write(dsn: str, start: StartBackend):
    """The run is in the middle of its first question, and does not come to the paid step."""
    async with simulating(dsn, pace=Latency(answer_seconds=2, image_seconds=0, video_seconds=0)) as (
        simulation,
        settings,
    ):
        backend = await start(**settings)
        await backend.grant(1)
        accepted = await backend.create()
        await wait_for(backend, "select count(*) from mega_generations where mg_step_type = 'scan_product'")
        answer = await cancel(backend, accepted["generation_id"])
    assert answer["cancelled"] is True
    assert simulation.record.by_attempt_key() == {}
    assert "seedream_generate" not in backend.step_types(accepted["generation_id"])
    assert backend.balance() == backend.ledger_sum() == 1


async def test_a_queued_generation_is_stopped_before_its_first_step(start: StartBackend):
    idle = await start(worker=False)
    await idle.grant(1)
    accepted = await idle.create()
    asking = asyncio.create_task(cancel(idle, accepted["generation_id"]))
    await wait_for(idle, "select count(*) from mega_generations where mg_cancel_requested_at is not null")
    await start()
    answer = await asking
    assert (answer["cancelled"], answer["refunded_credits"]) == (True, 1)
    assert [step["mg_payload"]["error"]["type"] for step in idle.steps(accepted["generation_id"])] == ["Cancelled"]


async def test_a_finished_generation_is_too_late_to_stop(backend: Backend):
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    answer = await cancel(backend, made["generation_id"])
    assert (answer["status"], answer["cancelled"], answer["too_late"]) == ("done", False, True)
    assert (answer["refunded_credits"], backend.balance()) == (0, 0)


async def test_what_the_provider_has_made_already_is_delivered_and_not_refunded(dsn: str, start: StartBackend):
    async with simulating(dsn, check_every_seconds=5) as (_, settings):
        backend = await start(**settings)
        await backend.grant(1)
        accepted = await backend.create()
        await wait_for(backend, STORED, accepted["generation_id"])
        answer = await cancel(backend, accepted["generation_id"])
        made = await backend.finished(accepted)
    assert (answer["cancelled"], answer["refunded_credits"]) == (False, 0)
    assert (made["status"], made["error"]) == ("done", None)
    [step] = [one for one in backend.steps(made["generation_id"]) if one["mg_step_type"] == "seedream_generate"]
    assert step["mg_payload"]["stopping"]["answer"] == "too_late"
    assert backend.balance() == backend.ledger_sum() == 0
    assert backend.ops_rows() == []


@pytest.mark.parametrize("who", ["another", "nobody"])
async def test_only_the_owner_may_cancel(start: StartBackend, who: str):
    backend, accepted = await waiting(start)
    body = {"passId": f"pass:user:{new_id()}"} if who == "another" else {}
    answer = await backend.client.post(f"/mma/generations/{accepted['generation_id']}/cancel", json=body)
    assert answer.status_code == 404
    assert backend.value("select count(*) from mega_generations where mg_cancel_requested_at is not null") == 0


async def test_an_operator_cancels_from_the_command_line(start: StartBackend):
    backend, accepted = await waiting(start)
    command = [str(Path(sys.executable).with_name("safelight")), "generations", "cancel", accepted["generation_id"]]
    environment = os.environ | {"SAFELIGHT_DATABASE_URL": backend.dsn, "SAFELIGHT_LOG_LEVEL": "ERROR"}
    result = await asyncio.to_thread(
        subprocess.run, [*command, "--json"], env=environment, capture_output=True, check=True
    )
    assert json.loads(result.stdout) == {
        "status": "cancelled", "too_late": False, "refunded_credits": 1, "balance": 1,
    }  # fmt: skip
    by = "select mg_cancel_requested_by from mega_generations where mg_id = %s"
    assert backend.value(by, f"generation:{accepted['generation_id']}") == "operator"


# --- deadlines --------------------------------------------------------------------------------------------------------


def limit_models(backend: Backend, seconds: float) -> None:
    """The next version of the registry, with a deadline for every model."""
    backend.sql(
        "insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value)"
        " select 'app_config:mma.provider.registry.v2', 'app_config', mg_key, jsonb_set("
        "   mg_value || '{\"version\": 2}', '{providers}',"
        "   (select jsonb_agg(one || jsonb_build_object('deadline_seconds', %s::float))"
        "    from jsonb_array_elements(mg_value->'providers') one))"
        " from mega_admin where mg_id = 'app_config:mma.provider.registry.v1'",
        seconds,
    )


async def test_a_provider_that_goes_on_for_ever_is_stopped_at_its_deadline(start: StartBackend):
    backend = await start(local_latency_seconds=600)
    limit_models(backend, 0.5)
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    assert (made["status"], made["error"]["code"]) == ("error", "SEEDREAM_DEADLINE")
    *_, step = backend.steps(made["generation_id"])
    assert step["mg_payload"]["error"]["type"] == "DeadlineExceeded"
    assert step["mg_payload"]["stopping"]["answer"] == "stopped"
    [row] = backend.ops_rows(made["generation_id"])
    assert (row["mg_detail"]["emoji"], row["mg_detail"]["category"]) == ("⏱️", "TIMEOUT")
    assert backend.balance() == backend.ledger_sum() == 1


async def test_what_no_worker_began_in_time_is_refunded_as_never_started(start: StartBackend):
    busy = await start(worker=False, queue_timeout_seconds=0.2)
    await busy.grant(1)
    accepted = await busy.create()
    await asyncio.sleep(0.3)
    await start(worker_heartbeat_seconds=0.3)
    made = await busy.finished(accepted)
    assert (made["status"], made["error"]["code"]) == ("error", "NEVER_STARTED")
    [step] = busy.steps(accepted["generation_id"])
    assert step["mg_payload"]["error"]["type"] == "QueueTimeout"
    assert [row["mg_detail"]["error_code"] for row in busy.ops_rows(accepted["generation_id"])] == ["MMA_NEVER_STARTED"]
    assert busy.balance() == busy.ledger_sum() == 1


async def test_a_reaper_ends_by_itself_what_nobody_began(start: StartBackend):
    idle = await start(worker=False, queue_timeout_seconds=0.2)
    await idle.grant(1)
    accepted = await idle.create()
    await asyncio.sleep(0.3)
    async with idle.app.database() as db:
        assert await reap(idle, db) == Reaped([], [], [accepted["generation_id"]])
    made = await idle.generation(accepted["generation_id"])
    assert (made["status"], made["error"]["code"]) == ("error", "NEVER_STARTED")
    assert idle.balance() == idle.ledger_sum() == 1


async def test_the_reaper_ends_what_a_full_worker_cannot_begin(start: StartBackend):
    """The only place is taken; what waits past its deadline ends all the same."""
    backend = await start(worker_concurrency=1, worker_heartbeat_seconds=0.3, queue_timeout_seconds=0.2)
    await backend.grant(8)
    accepted = [await backend.create(settings={"seedream": {"size": "4K"}}) for _ in range(8)]
    made = await asyncio.gather(*(backend.finished(one) for one in accepted))
    codes = {(one["error"] or {}).get("code") for one in made}
    assert codes <= {None, "NEVER_STARTED"} and "NEVER_STARTED" in codes
    assert backend.balance() == backend.ledger_sum() == sum(one["status"] == "error" for one in made)


async def test_what_nobody_began_is_cancelled_and_refunded_without_a_worker(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(7)
    still = await backend.create()
    video = await backend.post(
        "/mma/video/animate",
        {"assets": {"start_image_url": await backend.upload()}, "inputs": {"motion_user_brief": "x"}},
    )
    imported = await backend.post("/mma/still/create", {"assets": {"product_image_url": "https://example.com/a.png"}})
    for accepted, cost in ((still, 1), (video, 5), (imported, 1)):
        answer = await cancel(backend, accepted["generation_id"])
        assert (answer["status"], answer["cancelled"], answer["refunded_credits"]) == ("cancelled", True, cost)
        again = await cancel(backend, accepted["generation_id"])
        assert (again["cancelled"], again["too_late"]) == (True, False)
        [row] = backend.ops_rows(accepted["generation_id"])
        assert (row["mg_record_type"], row["mg_detail"]["error_code"]) == ("warn", "MMA_CANCELLED")
    assert backend.balance() == backend.ledger_sum() == 7
    async with backend.app.database() as db:
        assert (await backend.app.on(db).doctor.check()).violations == ()


async def test_a_worker_that_comes_later_leaves_a_cancelled_order_alone(dsn: str, start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    await cancel(backend, accepted["generation_id"])
    working = await start()
    await wait_for(working, "select count(*) = 0 from procrastinate_jobs where status in ('todo', 'doing')")
    assert backend.step_types(accepted["generation_id"]) == ["pipeline"]
    assert backend.balance() == 1


async def test_a_hundred_cancels_at_once_refund_once(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    answers = await asyncio.gather(*(cancel(backend, accepted["generation_id"]) for _ in range(20)))
    assert {answer["status"] for answer in answers} == {"cancelled"}
    assert backend.balance() == backend.ledger_sum() == 1
