"""Read models: what a command shows of a thing is what the API shows of it."""

import json
from typing import Any

import pytest

from tests.conftest import Backend, StartBackend
from tests.pipelines.engine.test_failed_generations import ADMIN, TOKEN, safelight


@pytest.fixture
async def quiet(start: StartBackend) -> Backend:
    backend: Backend = await start(worker=False, admin_token=TOKEN)
    await backend.grant(5)
    return backend


def printed(backend: Backend, *words: str) -> Any:
    done = safelight(backend, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_command_and_the_api_show_the_same(quiet: Backend):
    accepted = await quiet.create()
    generation_id = accepted["generation_id"]
    fetched = await quiet.generation(generation_id)
    shown = printed(quiet, "generations", "show", generation_id)
    assert shown["generation"]["mg_mma_status"] == fetched["status"] == "queued"
    assert shown["generation"]["mg_mma_vars"] == fetched["mma_vars"]
    assert shown["generation"]["balance"] == fetched["credits"]["balance"] == quiet.balance()
    assert (shown["steps"], shown["retries"]) == ([], [])

    [line] = printed(quiet, "generations", "logs", generation_id)
    assert list(line) == ["seq", "level", "step", "message", "details", "created_at"]
    [listed] = printed(quiet, "generations", "list")
    assert (listed["mg_generation_id"], listed["flow"]) == (generation_id, "still_create")

    balance = await quiet.get("/credits/balance", params={"passId": quiet.pass_id})
    ledger = printed(quiet, "credits", "ledger", quiet.pass_id)
    assert (ledger["balance"], ledger["total"]) == (balance["balance"], balance["historyLength"])

    quiet.sql("insert into safelight.provider_state (adapter, failures, last_failure) values ('fal', 2, 'it was away')")
    providers = (await quiet.get("/api/admin/providers", headers=ADMIN))["providers"]
    of_command = printed(quiet, "providers")["providers"]
    assert [(one["adapter"], one["circuit"], one["failures"]) for one in of_command] == [("fal", "failing", 2)]
    assert [(one["adapter"], one["circuit"], one["failures"]) for one in providers] == [("fal", "failing", 2)]
    assert of_command[0].keys() == providers[0].keys()
