"""Credits come from operators and welcomes, and are in the ledger to the last one, whatever comes at once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safelight.cli import application
from safelight.db.money import ledger
from tests.conftest import Backend, StartBackend
from tests.support.credit_orders import (
    ADMIN,
    SETTINGS,
    balance,
    days_left,
    entries,
    settled,
)
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(**SETTINGS)


# --- operators ------------------------------------------------------------------------------------------------------


async def test_an_operator_adds_and_takes_credits(idle: Backend):
    body = {"customerId": idle.pass_id, "amount": "20", "reason": "sorry", "source": "support"}
    answer = await idle.post("/credits/add", body, headers=ADMIN)
    assert answer.pop("requestId").startswith("credits_")
    assert answer == {
        "ok": True,
        "customerId": idle.pass_id,
        "newBalance": 20,
        "source": "mega",
        "passId": idle.pass_id,
    }
    taken = await idle.post("/credits/add", {"amount": -5}, headers=ADMIN)
    assert taken["newBalance"] == idle.balance() == 15
    assert entries(idle) == [(20, "sorry", "support", "manual"), (-5, "manual-topup", "api", "manual")]
    assert 29.9 < days_left(await balance(idle)) < 30.1
    assert settled(idle)


async def test_no_more_is_taken_than_is_there(idle: Backend):
    await idle.post("/credits/add", {"amount": 3}, headers=ADMIN)
    assert (await idle.post("/credits/add", {"amount": -10}, headers=ADMIN))["newBalance"] == 0
    assert (await idle.post("/credits/add", {"amount": -10}, headers=ADMIN))["newBalance"] == 0
    assert [delta for delta, *_ in entries(idle)] == [3, -3]
    assert settled(idle)


@pytest.mark.parametrize(
    "amount", [0, "0", 1.5, "1.5", "many", "", None, True, [], {}, "nan", "inf", "1e400", 1_000_001, -1e14]
)
async def test_an_amount_that_is_none_is_refused(idle: Backend, amount: Any):
    answer = await idle.post("/credits/add", {"amount": amount}, headers=ADMIN, status=400)
    assert answer["error"] == "INVALID_AMOUNT"
    assert idle.value("select count(*) from mega_customers") == 0


async def test_nobody_but_operators_adds_credits(start: StartBackend):
    backend = await start(**SETTINGS, **SIGNED_BY_SECRET)
    for headers, status in [({}, 401), (bearer("wrong"), 401), (bearer(token(backend.pass_id[10:])), 403)]:
        await backend.post("/credits/add", {"amount": 5}, headers=headers, status=status)
    assert backend.value("select count(*) from mega_generations where mg_delta > 0") == 0


async def test_whose_credits_must_be_said(idle: Backend):
    answer = await idle.client.post("/credits/add", json={"amount": 5}, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]) == (400, "MISSING_CUSTOMER_ID")


async def test_a_balance_has_an_end(idle: Backend):
    await idle.grant(ledger.BALANCE_MAX - 1)
    await idle.post("/credits/add", {"amount": 2}, headers=ADMIN, status=400)
    assert (await idle.post("/credits/add", {"amount": 1}, headers=ADMIN))["newBalance"] == ledger.BALANCE_MAX
    assert settled(idle)


@pytest.mark.parametrize("amount", ["0", "1.5", "many", "1000001", "inf", "1e400", ""])
def test_the_command_reads_amounts_as_the_routes_do(amount: str):
    done = CliRunner().invoke(application, ["credits", "grant", "pass:user:42", amount])
    assert done.exit_code == 2
    assert "a whole number from 1 to 1000000" in done.output


def test_the_command_grants_and_says_so_in_the_audit(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import psycopg  # noqa: PLC0415

    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", dsn)
    monkeypatch.setenv("SAFELIGHT_HOME", str(tmp_path))
    done = CliRunner().invoke(application, ["credits", "grant", "pass:user:42", "20"])
    assert "+20, balance 20" in done.output
    with psycopg.connect(dsn) as conn:
        [(expires, action, detail)] = conn.execute(
            "select mg_expires_at > now() + interval '29 days', mg_action, mg_detail from mega_admin, mega_customers"
            " where mg_record_type = 'admin_audit'"
        ).fetchall()
    assert (expires, action, detail["actor"]) == (True, "credits.grant", "command line")
    assert (detail["target"], detail["before"], detail["after"]) == (
        "pass:user:42",
        {"credits": 0},
        {"credits": 20, "asked": 20, "reason": "manual-topup"},
    )


# --- automatic top-ups ----------------------------------------------------------------------------------------------


async def test_automatic_top_ups_are_kept(idle: Backend):
    query = {"customerId": idle.pass_id}
    before = await idle.get("/billing/settings", params=query)
    assert before == {
        "customerId": idle.pass_id,
        "enabled": False,
        "monthlyLimitPacks": 0,
        "source": "mega_customers.meta",
        "passId": idle.pass_id,
    }
    saved = await idle.post("/billing/settings", query | {"enabled": True, "monthlyLimitPacks": 3.9})
    assert saved == {"customerId": idle.pass_id, "enabled": True, "monthlyLimitPacks": 3, "passId": idle.pass_id}
    after = await idle.get("/billing/settings", params=query)
    assert (after["enabled"], after["monthlyLimitPacks"]) == (True, 3)
    [row] = idle.sql("select mg_meta from mega_customers")
    assert row["mg_meta"] == {"autoTopup": {"enabled": True, "monthlyLimitPacks": 3}}


@pytest.mark.parametrize(
    ("stated", "packs"),
    [(-4, 0), ("7", 7), ("2.9", 2), ("many", 0), (None, 0), ([], 0), ("inf", 0), ("nan", 0), (1e15, 1_000_000)],
)
async def test_a_limit_is_a_whole_number_from_0_on(idle: Backend, stated: Any, packs: int):
    saved = await idle.post("/billing/settings", {"monthlyLimitPacks": stated, "enabled": "yes"})
    assert (saved["monthlyLimitPacks"], saved["enabled"]) == (packs, True)


async def test_other_facts_about_the_customer_stay(idle: Backend):
    idle.sql("insert into mega_customers (mg_pass_id, mg_meta) values (%s, '{\"a\": 1}')", idle.pass_id)
    await idle.post("/billing/settings", {"enabled": False})
    [row] = idle.sql("select mg_meta from mega_customers")
    assert row["mg_meta"] == {"a": 1, "autoTopup": {"enabled": False, "monthlyLimitPacks": 0}}


async def test_settings_of_nobody_are_refused_in_one_sentence(idle: Backend):
    for answer in (await idle.client.get("/billing/settings"), await idle.client.post("/billing/settings", json={})):
        assert answer.status_code == 400
        assert answer.json() == {"error": "customerId: say whose settings these are."}


# --- parts of the contract that other routes share ------------------------------------------------------------------


@pytest.mark.parametrize("welcome", [0, 3])
async def test_a_new_customer_is_welcomed_once_whichever_route_comes_first(start: StartBackend, welcome: int):
    backend = await start(**SETTINGS, signup_credits=welcome)
    backend.pass_id = (await backend.get("/me"))["passId"]
    calls = [
        backend.client.post("/sessions/start", json={"passId": backend.pass_id}),
        backend.client.get(f"/credits/balance?passId={backend.pass_id}"),
        backend.client.post("/billing/settings", json={"passId": backend.pass_id}),
        backend.client.post("/mma/events", json={"passId": backend.pass_id, "event_type": "like"}),
    ]
    await asyncio.gather(*calls)
    assert [reason for _, reason, *_ in entries(backend)] == (["welcome"] if welcome else [])
    assert backend.balance() == welcome
    assert settled(backend)
