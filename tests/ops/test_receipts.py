"""Receipts: what a generation was charged and given back, for what, and what its steps cost."""

import os
from typing import Any

from psycopg.types.json import Jsonb

from safelight.db.money import ledger
from safelight.reports import receipt
from tests.conftest import Backend, StartBackend
from tests.support.commands import run_safelight
from tests.support.image_sets import make_set

Json = dict[str, Any]


async def receipt_of(backend: Backend, generation_id: str, *, for_operator: bool = False) -> Any:
    async with backend.app.database() as db, db.connection() as conn:
        return await receipt.find(conn, generation_id, for_operator=for_operator)


async def test_what_was_delivered_was_charged_once(backend: Backend):
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    found = await receipt_of(backend, made["generation_id"])
    assert (found.charged, found.refunded, found.paid) == (1, 0, 1)
    assert (found.positions_ordered, found.positions_delivered, found.price_each) == (1, 1, 1)
    [line] = found.lines
    assert (line.kind, line.credits, line.reason) == ("charge", -1, "1 still")
    assert line.reference == f"mma:{made['generation_id']}"
    assert [step.type for step in found.steps] == backend.step_types(made["generation_id"])
    assert all(step.attempts >= 1 for step in found.steps)


async def test_a_failure_is_refunded_with_the_reason_that_its_customer_was_told(backend: Backend):
    await backend.grant(1)
    bad = {"assets": {"product_image_url": "https://127.0.0.1:1/nothing.jpg"}, "inputs": {"brief": "a cup"}}
    failed = await backend.finished(await backend.post("/mma/still/create", bad))
    assert failed["status"] == "error"
    found = await receipt_of(backend, failed["generation_id"])
    assert [(line.kind, line.credits) for line in found.lines] == [("charge", -1), ("refund", 1)]
    assert found.lines[1].reason.startswith(f"It failed: {failed['error']['code']} ")
    assert (found.paid, found.positions_delivered) == (0, 0)


async def test_a_cancel_is_a_reason_of_its_own(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    await backend.post(f"/mma/generations/{accepted['generation_id']}/cancel", {})
    found = await receipt_of(backend, accepted["generation_id"])
    assert found.paid == 0 and found.lines[1].reason.startswith("It was cancelled")


async def test_a_set_names_its_positions_in_each_round(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(20)
    job = make_set(backend.dsn, backend.pass_id, sources=2, variants=3, missing=2)
    async with backend.app.database() as db, db.transaction() as conn:
        charged = {"pass_id": backend.pass_id, "generation_id": job, "reason": "mma_image_job"}
        await ledger.charge(conn, credits=2, round_no=1, **charged)
    found = await receipt_of(backend, job)
    assert [(line.kind, line.positions) for line in found.lines] == [("charge", 6), ("refund", 2), ("charge", 2)]
    assert found.lines[0].reason == "6 positions"
    assert "2 results were not delivered" in found.lines[1].reason
    assert found.lines[2].reason == "2 positions that were missing"
    assert (found.charged, found.refunded, found.paid) == (8, 2, 6)
    assert (found.positions_delivered, found.positions_ordered) == (4, 6)


async def test_a_customer_reads_no_provider_and_no_cost(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    generation_id = (await backend.create())["generation_id"]
    starts = [
        {"outcome": "accepted", "usd": "0.03"},
        {"outcome": "refused", "usd": "9"},
        {"outcome": "unknown", "usd": "0.05"},
    ]
    backend.sql(
        "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_step_no,"
        " mg_step_type, mg_status, mg_provider, mg_model, mg_payload)"
        " values (%s, 'mma_step', %s, %s, %s, 0, 'seedream_generate', 'processing', 'replicate', 'seedream-4', %s)"
        " returning 1",
        f"mma_step:{generation_id}:0",
        generation_id,
        f"generation:{generation_id}",
        backend.pass_id,
        Jsonb({"starts": starts, "attempts": [{"attempt": 1}, {"attempt": 2}]}),
    )
    customers, operators = [await receipt_of(backend, generation_id, for_operator=both) for both in (False, True)]
    assert customers.provider_usd is customers.possible_usd is None
    [step] = customers.steps
    assert (step.provider, step.model, step.provider_usd, step.possible_usd) == (None,) * 4
    assert step.attempts == 2
    assert (str(operators.provider_usd), str(operators.possible_usd)) == ("0.03", "0.05")
    assert (operators.steps[0].provider, operators.steps[0].model) == ("replicate", "seedream-4")


async def test_there_is_no_receipt_of_nothing(backend: Backend):
    assert await receipt_of(backend, "nothing") is None


async def test_the_command_shows_it(backend: Backend):
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    environment = os.environ | {"SAFELIGHT_DATABASE_URL": backend.dsn, "SAFELIGHT_HOME": str(backend.app.home)}
    shown = run_safelight("generations", "receipt", made["generation_id"], environment=environment)
    assert f"mma:{made['generation_id']}" in shown.stdout and "1 charged, 0 refunded, 1 paid" in shown.stdout
    assert run_safelight("generations", "receipt", "nothing", environment=environment).returncode == 1
