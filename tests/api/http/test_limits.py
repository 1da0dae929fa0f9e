"""The gate before a provider: rate, load, circuit, fallback and spend cap, kept by all workers together."""

import asyncio
import json
from typing import Any

import psycopg
import pytest

from safelight.providers.simulated.faults import Faults, Latency
from tests.conftest import Backend, Json, StartBackend
from tests.pipelines.engine.test_failed_generations import ADMIN, TOKEN
from tests.pipelines.engine.test_resume import wait_for
from tests.support.simulated_provider import simulating

BRIEF = {"inputs": {"brief": "a cup"}}
STARTS = frozenset({"start"})
ACCEPTED = "select count(*) from mega_generations where mg_step_type = 'seedream_generate' and mg_payload ? 'operation'"
QUICK = {"worker_poll_seconds": 0.05, "provider_start_timeout_seconds": 2.0, "admin_token": TOKEN}


def limit(dsn: str, limits: Json, **of_engines: Any) -> None:
    """The next version of the registry: limits of the simulated service, and more for each engine."""
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value)"
            " select 'app_config:mma.provider.registry.v3', 'app_config', mg_key, mg_value || %s || jsonb_build_object("
            "   'providers', (select jsonb_agg(one || %s) from jsonb_array_elements(mg_value->'providers') one))"
            " from mega_admin where mg_id = 'app_config:mma.provider.registry.v2'",
            [json.dumps({"version": 3, "adapters": {"simulated": limits}}), json.dumps(of_engines)],
        )


async def order(backend: Backend, count: int) -> list[Json]:
    await backend.grant(count)
    return [await backend.post("/mma/still/create", BRIEF) for _ in range(count)]


async def test_a_provider_is_not_asked_for_more_at_once_than_it_may_be(dsn: str, start: StartBackend):
    async with simulating(dsn, pace=Latency(answer_seconds=0, image_seconds=3600)) as (simulation, settings):
        limit(dsn, {"at_once": 3})
        backend = await start(**settings, **QUICK)
        await start(**settings, **QUICK)  # a second worker
        accepted = await order(backend, 8)
        await until(backend, 3)
        await asyncio.sleep(1.5)
        assert simulation.record.count() == 3
        [row] = (await backend.get("/api/admin/providers", headers=ADMIN))["providers"]
        assert (row["adapter"], row["circuit"], row["under_way"]) == ("simulated", "closed", 3)
        while simulation.record.count() < 8:
            simulation.record.end_all()
            await asyncio.sleep(0.2)
        simulation.record.end_all()
        made = await asyncio.gather(*(backend.finished(one) for one in accepted))
    assert {one["status"] for one in made} == {"done"}


async def until(backend: Backend, accepted: int) -> None:
    await wait_for(backend, f"select ({ACCEPTED}) >= {accepted}")


async def test_starts_come_no_faster_than_the_rate_allows(dsn: str, start: StartBackend):
    async with simulating(dsn) as (simulation, settings):
        limit(dsn, {"starts_per_minute": 60})
        backend = await start(**settings, **QUICK)
        accepted = await order(backend, 10)
        made = await asyncio.gather(*(backend.finished(one) for one in accepted))
    assert {one["status"] for one in made} == {"done"}
    asked_at = sorted(one.accepted_at for starts in simulation.record.by_attempt_key().values() for one in starts)
    assert len(asked_at) == 10
    for first, later in zip(asked_at, asked_at[7:], strict=False):  # a burst of seven, questions among them
        assert later - first > 0.9


async def opened_circuit(backend: Backend) -> dict[str, Any]:
    """The one provider with limits, once its circuit is open; it closes and opens again while the provider fails."""
    async with asyncio.timeout(60):
        while True:
            [row] = (await backend.get("/api/admin/providers", headers=ADMIN))["providers"]
            if row["circuit"] == "open":
                return row
            await asyncio.sleep(0.1)


async def test_a_provider_that_does_not_answer_is_left_alone_and_then_tried_with_one_start(
    dsn: str, start: StartBackend
):
    async with simulating(dsn, unavailable=1.0, faulty=STARTS) as (simulation, settings):
        limit(dsn, {"failures_max": 3, "shut_seconds": 10, "probe_seconds": 5})
        backend = await start(**settings, **QUICK)
        accepted = await order(backend, 4)
        row = await opened_circuit(backend)
        assert row["last_failure"].split(":")[0] == "ProviderUnavailable"
        simulation.faults = Faults()
        made = await asyncio.gather(*(backend.finished(one) for one in accepted))
        assert {one["status"] for one in made} <= {"done", "error"}
        again = await order(backend, 1)
        assert (await backend.finished(again[0]))["status"] == "done"
        [row] = (await backend.get("/api/admin/providers", headers=ADMIN))["providers"]
    assert (row["circuit"], row["failures"]) == ("closed", 0)


async def test_while_the_circuit_is_open_the_fallback_serves(dsn: str, start: StartBackend):
    """Pictures and questions alike, without waiting for the circuit to close."""
    async with simulating(dsn, unavailable=1.0, faulty=STARTS) as (_, settings):
        fallback = {"adapter": "local", "model": "darkroom-still-1"}
        limit(dsn, {"failures_max": 2, "shut_seconds": 600}, fallback=fallback)
        backend = await start(**settings, **QUICK)
        [accepted] = await order(backend, 1)
        made = await backend.finished(accepted)
    assert made["status"] == "done"
    steps = {one["mg_step_type"]: one["mg_payload"] for one in backend.steps(made["generation_id"])}
    assert steps["seedream_generate"]["input"]["adapter"] == "local"
    assert [one["outcome"] for one in steps["seedream_generate"]["starts"]] == ["refused", "refused", "accepted"]
    [row] = backend.sql("select mg_provider from mega_generations where mg_step_type = 'postscan_output_still'")
    assert row["mg_provider"] == "local"


async def test_each_start_has_its_cost_and_a_day_its_cap(dsn: str, start: StartBackend):
    async with simulating(dsn) as (simulation, settings):
        limit(dsn, {"daily_usd_max": 0.1}, usd=0.03)
        backend = await start(**settings, **QUICK)
        accepted = await order(backend, 5)
        await until(backend, 3)
        await asyncio.sleep(1)
        assert simulation.record.count() == 3
        [row] = (await backend.get("/api/admin/providers", headers=ADMIN))["providers"]
        assert float(row["spent_today_usd"]) == pytest.approx(0.09)
        paid = backend.sql(
            "select mg_payload #>> '{starts,0,usd}' as usd from mega_generations"
            " where mg_step_type = 'seedream_generate' and mg_payload ? 'operation'"
        )
        assert [one["usd"] for one in paid] == ["0.03"] * 3
        backend.sql(
            "update mega_generations set mg_deadline_at = now()"
            " where mg_record_type = 'generation' and mg_mma_status not in ('done', 'error')"
        )
        backend.sql("update procrastinate_jobs set scheduled_at = null where status = 'todo'")
        made = await asyncio.gather(*(backend.finished(one) for one in accepted))
    ended = sorted((one["status"], (one["error"] or {}).get("code")) for one in made)
    assert ended == [("done", None)] * 3 + [("error", "SEEDREAM_SPEND_CAP")] * 2
    assert backend.balance() == backend.ledger_sum() == 2


async def test_the_cap_holds_whoever_asks_at_once(dsn: str, start: StartBackend):
    backend = await start(worker=False)
    admit = "select reason from safelight.admit_start('x', 6000, 100, 5, 60, 0.01, 0.25)"

    async def ask() -> str | None:
        async with await psycopg.AsyncConnection.connect(backend.dsn, autocommit=True) as conn:
            row = await (await conn.execute(admit)).fetchone()
            return row[0] if row else "none"

    answers = await asyncio.gather(*(ask() for _ in range(60)))
    assert sorted(answers, key=str) == [None] * 25 + ["daily_cap"] * 35


async def test_limits_that_cannot_be_used_are_named(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        limit(dsn, {"starts_a_minute": 60})
        backend = await start(**settings, **QUICK)
        [accepted] = await order(backend, 1)
        assert (await backend.finished(accepted))["status"] == "error"
    [row] = backend.ops_rows(accepted["generation_id"])
    assert (
        "app_config:mma.provider.registry.v3: the limits of 'simulated' cannot be used" in row["mg_detail"]["message"]
    )
