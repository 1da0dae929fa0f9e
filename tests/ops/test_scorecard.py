"""A scorecard that is green proves something only if it turns red: each thing that must be zero, broken on purpose."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from safelight.db.operations import scorecard as tables
from safelight.providers.simulated.predictions import Record
from safelight.testing.chaos import scorecard
from safelight.testing.chaos.processes import Fleet
from tests.conftest import WAIT_SECONDS, Backend, StartBackend


@pytest.fixture
async def done(backend: Backend) -> str:
    """The id of a generation that is done."""
    await backend.grant(3)
    made = await backend.finished(await backend.create())
    assert made["status"] == "done"
    return str(made["generation_id"])


async def ledger_errors(backend: Backend) -> list[str]:
    async with backend.app.database() as db, db.connection() as conn:
        return await tables.ledger_errors(conn)


async def unreadable_outputs(backend: Backend) -> list[str]:
    async with backend.app.database() as db, db.connection() as conn:
        return await scorecard.unreadable_outputs(conn, backend.app.resources.assets)


async def test_what_is_right_is_not_named(backend: Backend, done: str):
    assert await ledger_errors(backend) == []
    assert await unreadable_outputs(backend) == []


BEHIND_THE_GUARDS = "set session_replication_role = replica; select safelight.amend_history('a test', 'a test'); "

LEDGER_DAMAGE = [
    ("update mega_customers set mg_credits = mg_credits + 1", "the balance is 3, the ledger says 2"),
    ("delete from mega_generations where mg_ref_type = 'mma_charge'", "(done): charged 0 of 1, given back 0 of 0"),
    (
        "update mega_generations set mg_mma_status = 'error' where mg_record_type = 'generation'",
        "(error): charged 1 of 1, given back 0 of 1",
    ),
    (
        "update mega_generations set mg_ref_type = 'mma_refund', mg_delta = 1 where mg_ref_type = 'mma_charge'",
        "(done): charged 0 of 1, given back 1 of 0",
    ),
    (
        "delete from mega_generations where mg_record_type = 'generation'",
        "(unknown): charged 1 of 0, given back 0 of 0",
    ),
]


@pytest.mark.parametrize(("damage", "named"), LEDGER_DAMAGE)
async def test_damage_to_the_ledger_is_named(backend: Backend, done: str, damage: str, named: str):
    backend.sql(BEHIND_THE_GUARDS + damage)
    problems = await ledger_errors(backend)
    assert any(named in problem for problem in problems), problems


async def test_a_result_that_is_gone_or_another_one_is_named(backend: Backend, done: str):
    key = backend.value("select mg_output_key from mega_generations where mg_record_type = 'generation'")
    path = backend.app.resources.assets.path_of(key)
    assert path is not None
    path.write_bytes(path.read_bytes() + b"of another prediction")
    assert await unreadable_outputs(backend) == [done]
    path.unlink()
    assert await unreadable_outputs(backend) == [done]


async def test_what_a_worker_process_holds_is_known_by_its_name(start: StartBackend, tmp_path: Path):
    """Without it no take-over would be measured, and none would look slow."""
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create(settings={"seedream": {"size": "4K"}})
    fleet = Fleet(backend.app.settings.model_copy(update={"port": 0}), tmp_path / "logs", workers=1)
    try:
        async with backend.app.database() as db, db.connection() as conn:
            await tables.name_workers(conn, fleet.worker_names)
            fleet.start_all()
            async with asyncio.timeout(WAIT_SECONDS):
                while not (held := await tables.held_by(conn, "worker-1")):
                    await asyncio.sleep(0.05)
    finally:
        fleet.close()
    assert list(held) == [accepted["generation_id"]]


def record_of(generation_id: str, *attempts: str) -> Record:
    record = Record()
    for attempt in attempts:
        record.accept(f"{generation_id}:seedream_generate{attempt}", "image", seconds=60, will_fail=False)
    return record


async def payments(backend: Backend, record: Record) -> Any:
    async with backend.app.database() as db, db.connection() as conn:
        return await scorecard.double_payments(conn, record.by_attempt_key())


ON_RECORD = {
    "by the step": "update mega_generations set mg_payload = mg_payload || '{\"possible_double_spend\": {}}'"
    " where mg_step_type = 'seedream_generate' and mg_generation_id = '{done}'",
    "by an ops row": "insert into mega_admin (mg_id, mg_record_type, mg_detail) select 'warn:1', 'warn',"
    " jsonb_build_object('generation_id', id, 'possible_double_spend',"
    " jsonb_build_object('attempt_key', id || ':seedream_generate:2')) from (select '{done}') given (id)",
}


@pytest.mark.parametrize("attempts", [("", ""), (":1", ":2")], ids=["same key", "a key for each start"])
@pytest.mark.parametrize("on_record", ON_RECORD)
async def test_two_starts_of_one_step_are_a_double_payment(
    backend: Backend, done: str, attempts: tuple[str, str], on_record: str
):
    record = record_of(done, *attempts)
    assert await payments(backend, record) == ([f"{done} step seedream_generate"], [])
    backend.sql(BEHIND_THE_GUARDS + ON_RECORD[on_record].replace("{done}", done))
    assert await payments(backend, record) == ([], [f"{done} step seedream_generate"])


async def test_one_start_and_one_that_was_cancelled_are_one_payment(backend: Backend, done: str):
    record = record_of(done, ":1", ":2")
    record.of_attempt(f"{done}:seedream_generate:1")[0].cancel()
    assert await payments(backend, record) == ([], [])
