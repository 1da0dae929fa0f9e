"""A paid start whose answer was lost is looked up, never made twice without our knowing."""

import asyncio
import signal
from typing import Any

import httpx2

from safelight.providers.simulated.faults import Faults, Latency
from tests.conftest import WAIT_SECONDS, Backend, StartBackend
from tests.pipelines.engine.test_resume import wait_for, worker_process
from tests.support.simulated_provider import simulating

Json = dict[str, Any]

STARTS = frozenset({"start"})
SOON_BELIEVED = {"provider_start_timeout_seconds": 2.0}  # that the provider knows of no start
ASKED = "select count(*) from mega_generations where mg_payload #>> '{starts,0,outcome}' = 'asked'"
LOST = "select count(*) from mega_generations where mg_payload #>> '{starts,0,outcome}' = 'unknown'"
SLOW = Latency(answer_seconds=0, image_seconds=300, video_seconds=300)


def generating_step(backend: Backend, generation_id: str) -> Json:
    [step] = [one for one in backend.steps(generation_id) if one["mg_step_type"] == "seedream_generate"]
    return dict(step["mg_payload"])


async def made(start: StartBackend, settings: Json) -> tuple[Backend, Json]:
    backend = await start(**settings)
    await backend.grant(1)
    return backend, await backend.finished(await backend.create())


async def test_a_start_whose_answer_was_lost_is_found_and_used(dsn: str, start: StartBackend):
    async with simulating(dsn, closed_after=1.0, faulty=STARTS) as (simulation, settings):
        backend, still = await made(start, settings)
    assert still["status"] == "done"
    [(key, accepted)] = simulation.record.by_attempt_key().items()
    assert len(accepted) == 1
    step = generating_step(backend, still["generation_id"])
    assert [(one["attempt_key"], one["outcome"]) for one in step["starts"]] == [(key, "accepted")]
    assert "possible_double_spend" not in step
    assert backend.ops_rows(still["generation_id"]) == []


async def test_a_start_that_never_arrived_is_made_again(dsn: str, start: StartBackend):
    async with simulating(dsn, closed_before=1.0, faulty=STARTS) as (simulation, settings):
        backend = await start(**settings | SOON_BELIEVED)
        await backend.grant(1)
        accepted = await backend.create()
        await wait_for(backend, LOST)
        simulation.faults = Faults()
        still = await backend.finished(accepted)
    assert still["status"] == "done"
    outcomes = [one["outcome"] for one in generating_step(backend, still["generation_id"])["starts"]]
    assert outcomes == ["not_accepted", "accepted"]
    assert [len(accepted) for accepted in simulation.record.by_attempt_key().values()] == [1]


async def test_a_start_that_arrives_late_is_waited_for(dsn: str, start: StartBackend):
    """The provider knows nothing of it when it is asked first, and then it does: it is not made again."""
    async with simulating(dsn, closed_before=1.0, faulty=STARTS) as (simulation, settings):
        backend = await start(**settings, provider_start_timeout_seconds=20.0)
        await backend.grant(1)
        accepted = await backend.create()
        await wait_for(backend, LOST)
        simulation.faults = Faults()
        body = {"kind": "image", "attempt_key": f"{accepted['generation_id']}:3:1", "request": {}}
        async with httpx2.AsyncClient() as late:
            answer = await late.post(f"{settings['simulated_url']}/predictions", json=body)
        assert answer.status_code == 201
        still = await backend.finished(accepted)
    assert still["status"] == "done"
    assert [len(one) for one in simulation.record.by_attempt_key().values()] == [1]
    assert [one["outcome"] for one in generating_step(backend, still["generation_id"])["starts"]] == ["accepted"]
    assert backend.ops_rows(still["generation_id"]) == []


async def test_a_worker_that_was_held_up_after_it_noted_a_start_does_not_ask(dsn: str, start: StartBackend):
    """By then another worker may believe that it never arrived."""
    async with simulating(dsn) as (simulation, settings):
        backend = await start(**settings | SOON_BELIEVED)
        backend.sql(
            "create function hold_up() returns trigger language plpgsql as $$ begin"
            " perform pg_sleep(2.5); return new; end $$"
        )
        backend.sql(
            "create trigger hold_up before insert or update on mega_generations for each row"
            " when (new.mg_payload #>> '{starts,0,outcome}' = 'asked') execute function hold_up()"
        )
        await backend.grant(1)
        still = await backend.finished(await backend.create())
    assert still["status"] == "done"
    assert list(simulation.record.by_attempt_key()) == [f"{still['generation_id']}:3:2"]
    outcomes = [one["outcome"] for one in generating_step(backend, still["generation_id"])["starts"]]
    assert outcomes == ["not_accepted", "accepted"]


async def test_a_start_that_is_accepted_when_it_has_been_given_up_is_stopped_and_told(dsn: str, start: StartBackend):
    """While a worker asks, another has taken over, and has believed that this start never arrived."""
    pace = Latency(answer_seconds=1.0, image_seconds=300, video_seconds=300)
    async with simulating(dsn, pace=pace) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(1)
        accepted = await backend.create()
        await wait_for(backend, ASKED)
        backend.sql("update mega_generations set mg_lease_no = mg_lease_no + 1 where mg_record_type = 'generation'")
        backend.sql(
            "update mega_generations set mg_payload = jsonb_set(mg_payload, '{starts,0,outcome}', '\"not_accepted\"')"
            " where mg_payload ? 'starts'"
        )
        await wait_for(backend, "select count(*) from mega_admin where mg_record_type = 'warn'", seconds=20)
    [(key, [prediction])] = simulation.record.by_attempt_key().items()
    assert prediction.cancelled_at is not None
    [warning] = backend.ops_rows(accepted["generation_id"])
    assert warning["mg_detail"]["error_code"] == "MMA_SEEDREAM_POSSIBLE_DOUBLE_START"
    told = warning["mg_detail"]["possible_double_spend"]
    assert (told["attempt_key"], told["stopping"]["answer"]) == (key, "stopped")


async def test_starts_that_never_arrive_end_as_a_time_out_with_a_refund(dsn: str, start: StartBackend):
    async with simulating(dsn, closed_before=1.0, faulty=STARTS) as (simulation, settings):
        backend, still = await made(start, settings | SOON_BELIEVED)
    assert (still["status"], still["error"]["code"]) == ("error", "SEEDREAM_TIMEOUT")
    assert simulation.record.by_attempt_key() == {}
    assert backend.balance() == backend.ledger_sum() == 1


async def test_where_nobody_can_say_one_second_start_is_made_and_recorded(dsn: str, start: StartBackend):
    async with simulating(dsn, closed_after=1.0, faulty=STARTS, looks_up=False) as (simulation, settings):
        backend, still = await made(start, settings)
    assert (still["status"], still["error"]["code"]) == ("error", "SEEDREAM_OUTCOME_UNKNOWN")
    step = generating_step(backend, still["generation_id"])
    keys = [one["attempt_key"] for one in step["starts"]]
    assert sorted(simulation.record.by_attempt_key()) == sorted(keys) and len(keys) == 2
    assert step["possible_double_spend"]["attempt_key"] == keys[0]
    warning, error = backend.ops_rows(still["generation_id"])
    assert warning["mg_record_type"] == "warn"
    assert warning["mg_detail"]["error_code"] == "MMA_SEEDREAM_POSSIBLE_DOUBLE_START"
    assert warning["mg_detail"]["possible_double_spend"]["attempt_key"] == keys[0]
    assert error["mg_detail"]["error_code"] == "MMA_SEEDREAM_OUTCOME_UNKNOWN"
    assert backend.balance() == backend.ledger_sum() == 1


async def test_a_worker_that_dies_while_it_asks_does_not_pay_twice(dsn: str, start: StartBackend):
    async with simulating(dsn, silent_after=1.0, faulty=STARTS) as (simulation, settings):
        backend = await start(**settings, worker=False)
        await backend.grant(1)
        accepted = await backend.create()
        environment = {f"SAFELIGHT_{name.upper()}": value for name, value in settings.items()}
        environment["SAFELIGHT_WORKER_HEARTBEAT_SECONDS"] = "0.3"
        killed = worker_process(backend, **environment)
        async with asyncio.timeout(WAIT_SECONDS):
            while not simulation.record.by_attempt_key():  # accepted, and the answer does not come
                await asyncio.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        await start(**settings, worker_heartbeat_seconds=0.3)
        still = await backend.finished(accepted)
    assert still["status"] == "done"
    assert [len(one) for one in simulation.record.by_attempt_key().values()] == [1]
    step = generating_step(backend, still["generation_id"])
    assert [one["outcome"] for one in step["starts"]] == ["accepted"]


async def test_cancelling_reaches_the_provider(dsn: str, start: StartBackend):
    async with simulating(dsn, pace=SLOW) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(1)
        accepted = await backend.create()
        await wait_for(backend, "select count(*) from mega_generations where mg_payload ? 'operation'")
        answer = await backend.post(f"/mma/generations/{accepted['generation_id']}/cancel", {})
    assert answer["cancelled"] is True
    [[prediction]] = simulation.record.by_attempt_key().values()
    assert prediction.cancelled_at is not None
    assert backend.balance() == backend.ledger_sum() == 1


async def test_a_deadline_stops_the_provider(dsn: str, start: StartBackend):
    async with simulating(dsn, pace=SLOW, deadline_seconds=0.5) as (simulation, settings):
        backend, still = await made(start, settings)
    assert still["error"]["code"] == "SEEDREAM_DEADLINE"
    [[prediction]] = simulation.record.by_attempt_key().values()
    assert prediction.cancelled_at is not None
    assert backend.balance() == backend.ledger_sum() == 1
