"""Every action of an operator at the command line is one `admin_audit` row; what changes nothing is none."""

import asyncio
import os
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from safelight.cli import application
from tests.conftest import Backend, StartBackend
from tests.ops.test_backfill import FEW, Move, old_tables

Json = dict[str, Any]

# Commands without an effect that an operator would be asked about, and why.
NO_DEEDS = {
    "up": "serves", "api": "serves", "worker": "serves",
    "migrate": "is on record in supabase_migrations.schema_migrations",
    "demo": "is a customer of its own, whose credits are in the ledger",
    "db dump": "reads", "db restore": "fills a database that is empty, its records too",
    "db url": "reads", "db status": "reads", "db stop": "stops a server, whose database it does not touch",
    "generations list": "reads", "generations show": "reads", "generations receipt": "reads", "generations logs": "reads",
    "credits ledger": "reads", "status": "reads",
    "failures": "reads", "stuck": "reads", "providers": "reads", "assets verify": "reads", "recipes": "reads",
    "bench fairness": "has a database of its own", "bench engine": "has a database of its own", "bench doctor": "has a database of its own",
    "bench waiting": "has a database of its own", "bench store": "has a database of its own",
    "chaos": "has a database of its own",
}  # fmt: skip
DEEDS = {
    "credits grant",
    "generations cancel",
    "generations retry",
    "doctor",
    "assets expire",
    "assets sweep",
    "backfill",
}


def names(command: Any, place: tuple[str, ...] = ()) -> set[str]:
    if not hasattr(command, "commands"):
        return {" ".join(place)}
    return set().union(*(names(one, (*place, name)) for name, one in command.commands.items()))


def test_every_command_is_known_to_change_something_or_not():
    assert names(get_command(application)) == DEEDS | NO_DEEDS.keys(), "say whether it is a deed; if so, try it below"


@pytest.fixture
async def idle(start: StartBackend, monkeypatch: pytest.MonkeyPatch) -> Backend:
    backend = await start(worker=False)
    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", backend.dsn)
    monkeypatch.setenv("SAFELIGHT_HOME", str(backend.app.home))
    return backend


async def did(backend: Backend, *words: str) -> list[tuple[str, str | None, Json, Json]]:
    """(action, target, before, after) of what the command left in the audit."""
    known = [row["mg_id"] for row in audit_rows(backend)]
    done = await asyncio.to_thread(CliRunner().invoke, application, list(words))
    assert done.exit_code == 0, done.output + str(done.exception)
    rows = [row for row in audit_rows(backend) if row["mg_id"] not in known]
    for row in rows:
        assert (row["mg_detail"]["actor"], row["mg_method"]) == ("command line", "CLI")
        assert row["mg_route"].startswith(f"safelight {words[0]}")
    told = ("target", "before", "after")
    return [(row["mg_action"], *(row["mg_detail"][name] for name in told)) for row in rows]


def audit_rows(backend: Backend) -> list[Json]:
    return backend.sql(
        "select * from mega_admin where mg_record_type = 'admin_audit' and mg_source_system = 'safelight'"
        " and mg_action <> 'history.amend'"
    )


async def test_credits_that_are_given(idle: Backend):
    assert await did(idle, "credits", "grant", "pass:user:7", "3") == [
        ("credits.grant", "pass:user:7", {"credits": 0}, {"credits": 3, "asked": 3, "reason": "manual-topup"})
    ]


async def test_why_credits_are_given(idle: Backend):
    [(_, target, _, after)] = await did(idle, "credits", "grant", "pass:user:7", "3", "--reason", "ticket 4711")
    assert (target, after["reason"]) == ("pass:user:7", "ticket 4711")


async def test_a_generation_that_is_retried(idle: Backend):
    await idle.grant(2)
    generation_id = (await idle.create())["generation_id"]
    by_hand(idle, f"update mega_generations set mg_mma_status = 'error' where mg_id = 'generation:{generation_id}'")
    [(action, target, before, after)] = await did(idle, "generations", "retry", generation_id)
    assert (action, target, before, after["credits"]) == ("generations.retry", generation_id, {}, 1)
    assert after["generation_id"] != generation_id


async def test_a_generation_that_is_cancelled(idle: Backend, start: StartBackend):
    await idle.grant(1)
    generation_id = (await idle.create())["generation_id"]
    await start()  # who stops it
    [(action, target, _, after)] = await did(idle, "generations", "cancel", generation_id)
    assert (action, target, after) == ("generations.cancel", generation_id, {"asked": True})


async def test_what_the_doctor_mends(idle: Backend):
    await idle.grant(1)
    generation_id = (await idle.create())["generation_id"]
    by_hand(idle, f"update mega_generations set mg_mma_status = 'error' where mg_id = 'generation:{generation_id}'")
    [(action, target, before, after)] = await did(idle, "doctor", "--fix")
    assert (action, target) == ("doctor.fix", None)
    assert before["refund_missing"] == {"count": 1, "examples": [generation_id]}
    assert (after["failures"], after["credits"]) == (1, 1)
    assert idle.balance() == 1
    assert await did(idle, "doctor") == []


@pytest.mark.parametrize(("command", "name"), [("expire", "temp/cup.jpg"), ("sweep", f"mma/still/{'0' * 36}.png")])
async def test_files_that_are_deleted(idle: Backend, command: str, name: str):
    file = idle.app.home / "assets" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"cup")
    os.utime(file, (0, 0))
    assert await did(idle, "assets", command) == []
    assert file.exists()
    deleted = {"files": 1, "bytes": 3, "keys": [name]}
    assert await did(idle, "assets", command, "--hours", "2", "--delete") == [
        (f"assets.{command}", None, {"older_than_hours": 2.0}, deleted)
    ]
    assert not file.exists()


async def test_rows_that_come_over(idle: Backend):
    old_tables(idle.dsn, FEW)
    assert await did(idle, "backfill", "--dry-run") == []
    [(action, target, _, after)] = await did(idle, "backfill")
    assert action == "backfill"
    amended = idle.sql("select mg_detail->>'actor' as actor from mega_admin where mg_action = 'history.amend'")
    assert {row["actor"] for row in amended} == {"backfill"}  # opening entries that were settled anew
    assert str(target).endswith(":legacy")
    assert after["written"]["mega_generations"] == idle.value("select count(*) from legacy.mega_generations")
    assert await did(idle, "backfill") == []
    assert await did(idle, "backfill", "--check") == []


def by_hand(backend: Backend, statement: str) -> None:
    Move(backend.dsn, backend.app.home).sql(f"set session_replication_role = replica; {statement}")
