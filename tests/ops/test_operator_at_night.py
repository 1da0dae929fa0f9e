"""Failures that an operator explains and puts right with commands alone, as docs/operating.md tells."""

import asyncio
from collections.abc import Callable

import pytest

from tests.conftest import WAIT_SECONDS, Backend, StartBackend
from tests.ops.test_operator_commands import run, table
from tests.pipelines.engine.test_takeovers import killed
from tests.support.simulated_provider import Holding, simulating

NO_WORKER = "no worker is alive, and 1 generation waits for one"


@pytest.fixture
def at_command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The commands work with this backend, and with these settings."""

    def use(backend: Backend, **settings: str) -> None:
        monkeypatch.setenv("SAFELIGHT_DATABASE_URL", backend.dsn)
        monkeypatch.setenv("SAFELIGHT_HOME", str(backend.app.home))
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.mark.parametrize(
    ("fault", "code", "cause"),
    [
        ("refused", "SEEDREAM_CONTENT_REFUSED", "refused on purpose"),
        ("rejected", "SEEDREAM_REJECTED", "rejected on purpose"),
        ("bad_shape", "CONTRACT_BROKEN", "on purpose"),
    ],
)
async def test_a_provider_that_refuses_is_named_and_the_order_made_again(
    start: StartBackend, at_command_line: Callable[..., None], fault: str, code: str, cause: str
):
    backend = await start(local_fault=f"seedream_generate:{fault}:1")
    at_command_line(backend)
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    generation_id = made["generation_id"]

    [row] = table(await run("failures"))
    assert (row["generation"], row["step"], row["pass_id"]) == (generation_id, "seedream_generate", backend.pass_id)
    assert code in row["code"] and cause in row["cause"]
    [refund, charge, _] = table(await run("credits", "ledger", backend.pass_id))
    assert [(one["reason"], one["delta"], one["generation"]) for one in (charge, refund)] == [
        ("mma_still", "-1", generation_id), ("mma_refund", "+1", generation_id),
    ]  # fmt: skip

    retried = await run("generations", "retry", generation_id)
    assert "queued; 1 credits charged, balance 0" in retried.stdout
    new = retried.stdout.split()[0]
    assert (await backend.finished({"generation_id": new, "sse_url": f"/mma/stream/{new}"}))["status"] == "done"
    assert f"retried as  {new} (done)" in (await run("generations", "show", generation_id)).stdout
    assert (await run("doctor")).exit_code == 0


async def test_a_worker_that_is_killed_is_told_and_what_it_had_goes_on(
    dsn: str, start: StartBackend, at_command_line: Callable[..., None]
):
    holding = Holding("POST /answers", 1)
    async with simulating(dsn, holding=holding) as (_, settings):
        backend = await start(**settings, worker=False, worker_heartbeat_seconds=0.3)
        at_command_line(backend, SAFELIGHT_WORKER_HEARTBEAT_SECONDS="0.3")
        await backend.grant(1)
        accepted = await backend.create()
        await killed(backend, holding, {f"SAFELIGHT_{name.upper()}": value for name, value in settings.items()})
        holding.released.set()
        backend.sql(
            "update mega_generations set mg_created_at = now() - interval '1 minute' where mg_record_type = 'generation'"
        )
        async with asyncio.timeout(WAIT_SECONDS):
            while (told := await run("status")).exit_code != 1:
                await asyncio.sleep(0.1)
        assert NO_WORKER in told.stdout and "abandoned" in told.stdout

        [row] = table(await run("stuck"))
        assert (row["generation"], row["code"]) == (accepted["generation_id"], "worker-lost")
        assert row["cause"].endswith("no worker is alive: start safelight worker")
        found = await run("doctor")
        assert (found.exit_code, NO_WORKER in found.stdout) == (1, True)
        mended = await run("doctor", "--fix")
        assert "1 generations queued again or ended; no worker is alive" in mended.stdout
        assert (mended.exit_code, NO_WORKER in mended.stdout) == (0, True)

        await start(**settings, worker_heartbeat_seconds=0.3)
        assert (await backend.finished(accepted))["status"] == "done"
        told = await run("status")
        assert (told.exit_code, "workers     1 alive" in told.stdout) == (0, True)
        assert backend.balance() == backend.ledger_sum() == 0
