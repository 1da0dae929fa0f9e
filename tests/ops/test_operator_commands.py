"""Lists on a terminal and in a pipe, retries, and the ledger: an operator's work at the command line."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from safelight.cli import application, output
from safelight.domain.errors.base import InsufficientCredits, InvalidInput, NotFound
from tests.conftest import Backend, Json, StartBackend
from tests.pipelines.engine.test_failed_generations import COMMAND, environment, safelight

HOSTILE = "tab\there, line\nthere, back\\slash, \x1b[2J"


@pytest.fixture
async def idle(start: StartBackend, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Takes orders while no worker is there; the commands work with it."""
    backend: Backend = await start(worker=False)
    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", backend.dsn)
    monkeypatch.setenv("SAFELIGHT_HOME", str(backend.app.home))
    await backend.grant(5)
    return backend


async def run(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, application, list(words))


async def refused(*words: str) -> str:
    done = await run(*words)
    assert isinstance(done.exception, InvalidInput | NotFound | InsufficientCredits), done.output
    return str(done.exception)


def table(done: Result) -> list[Json]:
    """The rows of tab-separated values, each by the names in the first line."""
    assert done.exit_code == 0, done.output
    names, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [dict(zip(names, row, strict=True)) for row in rows]


def by_hand(backend: Backend, status: str, generation_id: str) -> None:
    backend.sql(
        f"begin; set local session_replication_role = replica; update mega_generations set mg_mma_status = '{status}',"
        f" mg_error = 'It did not work.' where mg_id = 'generation:{generation_id}'; delete from procrastinate_jobs where"
        f" queueing_lock = '{generation_id}'; commit"
    )


async def ordered(backend: Backend, **more: Any) -> str:
    body = {"inputs": {"brief": "a cup"}, **more}
    return str((await backend.post("/mma/still/create", body))["generation_id"])


async def failed(backend: Backend, **more: Any) -> str:
    generation_id = await ordered(backend, **more)
    by_hand(backend, "error", generation_id)
    return generation_id


# --- lists -----------------------------------------------------------------------------------------------------------


async def test_a_pipe_gets_a_line_of_names_and_a_line_for_each_failure(start: StartBackend, idle: Backend):
    await start(local_fault="seedream_generate:rejected")
    made = await idle.finished(await idle.create())
    [row] = table(await run("failures"))
    assert (row["generation"], row["status"], row["pass_id"]) == (made["generation_id"], "failed", idle.pass_id)
    assert (row["code"], row["step"]) == (made["error"]["code"], "seedream_generate")
    assert row["cause"] == idle.ops_rows(made["generation_id"])[0]["mg_detail"]["message"]


async def test_what_is_stuck_says_why_and_that_no_worker_is_alive(idle: Backend):
    generation_id = await ordered(idle)
    idle.sql("update procrastinate_jobs set status = 'doing'")
    idle.sql(
        "update mega_generations set mg_created_at = now() - interval '1 hour', mg_lease_no = 1 where mg_record_type = 'generation'"
    )
    [row] = table(await run("stuck"))
    assert (row["generation"], row["code"]) == (generation_id, "worker-lost")
    assert row["cause"] == "its worker stopped answering; no worker is alive: start safelight worker"


@pytest.mark.parametrize("command", ["failures", "generations list", "generations logs ID", "generations show ID"])
async def test_texts_in_a_pipe_have_no_tab_and_no_newline_of_their_own(idle: Backend, command: str):
    generation_id = await failed(idle)
    idle.sql("alter table mega_generations disable trigger user")
    idle.sql("alter table image_generation_logs disable trigger user")
    idle.sql("update mega_generations set mg_error = %s where mg_generation_id = %s", HOSTILE, generation_id)
    idle.sql("update image_generation_logs set message = %s", HOSTILE)
    done = await run(*command.replace("ID", generation_id).split())
    assert done.exit_code == 0, done.output
    if "show" not in command:
        assert len(table(done)) == 1
        assert r"tab\there, line\nthere, back\\slash, \x1b[2J" in done.stdout


@pytest.mark.parametrize(("command", "shown"), [("failures", "3 of 5 shown"), ("stuck", "0 of 0 shown")])
async def test_a_list_says_how_much_of_what_there_is_it_shows(idle: Backend, command: str, shown: str):
    for _ in range(5):
        await failed(idle)
    done = await run(command, "--limit", "3")
    assert shown in done.stderr and "shown" not in done.stdout


async def test_the_ledger_says_how_much_of_it_is_shown(idle: Backend):
    await ordered(idle)
    done = await run("credits", "ledger", idle.pass_id, "--limit", "1")
    assert (len(table(done)), done.stderr.strip()) == (1, "1 of 2 shown; balance 4")


def on_terminal(backend: Backend, columns: int, *words: str) -> str:
    """The command's output on a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    names = {name: value for name, value in environment(backend).items() if name != "COLUMNS"} | {"TERM": "xterm"}
    process = subprocess.Popen([COMMAND, *words], env=names, stdout=theirs, stderr=subprocess.DEVNULL, stdin=theirs)
    os.close(theirs)
    printed = b""
    while chunk := _read(ours):
        printed += chunk
    os.close(ours)
    assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.decode())


def _read(file: int) -> bytes:
    try:
        return os.read(file, 65536)
    except OSError:  # the other end is closed
        return b""


async def with_failures(backend: Backend) -> tuple[str, str]:
    """A generation that failed, and one that is stuck."""
    generation_id, waiting = await failed(backend), await ordered(backend)
    backend.sql("delete from procrastinate_jobs")
    backend.sql(
        "update mega_generations set mg_created_at = now() - interval '1 hour' where mg_id = 'generation:' || %s",
        waiting,
    )
    return generation_id, waiting


async def test_ids_are_whole_on_a_narrow_terminal(idle: Backend):
    generation_id, _ = await with_failures(idle)
    printed = await asyncio.to_thread(on_terminal, idle, 40, "generations", "list")
    assert generation_id in printed and idle.pass_id in printed


@pytest.mark.parametrize(
    ("command", "columns"), [("failures", 30), ("generations list", 79), ("credits ledger PASS", 80), ("stuck", 20)]
)
async def test_ids_are_whole_at_any_width(idle: Backend, monkeypatch: pytest.MonkeyPatch, command: str, columns: int):
    generation_id, waiting = await with_failures(idle)
    monkeypatch.setattr(output.console, "_force_terminal", True)
    monkeypatch.setattr(output.console, "_width", columns)
    printed = (await run(*command.replace("PASS", idle.pass_id).split())).stdout
    wanted = {"stuck": [waiting, idle.pass_id], "credits ledger PASS": [generation_id]}
    for id in wanted.get(command, [generation_id, idle.pass_id]):
        assert id in printed


# --- retries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "cost"), [((), 1), (("--free",), 0)])
async def test_a_retry_is_a_new_generation_for_the_same_order(
    idle: Backend, start: StartBackend, words: tuple[str, ...], cost: int
):
    first = await failed(idle, title="Cups", idempotency_key="click-1")
    before = idle.balance()
    done = await run("generations", "retry", first, *words, "--json")
    assert done.exit_code == 0, done.output
    [new] = idle.sql("select * from mega_generations where mg_meta->>'retry_of' = %s", first)
    [old] = idle.sql("select * from mega_generations where mg_id = 'generation:' || %s", first)
    assert new["mg_payload"]["order"] == old["mg_payload"]["order"]
    assert (new["mg_title"], new["mg_pass_id"], new["mg_mma_status"]) == ("Cups", idle.pass_id, "queued")
    assert (before - idle.balance(), idle.ledger_sum()) == (cost, idle.balance())
    await start()
    accepted = {"generation_id": new["mg_generation_id"], "sse_url": f"/mma/stream/{new['mg_generation_id']}"}
    assert (await idle.finished(accepted))["status"] == "done"
    shown = await run("generations", "show", first)
    assert f"{new['mg_generation_id']} (done)" in shown.stdout


async def test_what_has_a_result_or_goes_on_is_not_retried(idle: Backend):
    running, done, suggested = [await ordered(idle) for _ in range(3)]
    by_hand(idle, "done", done)
    by_hand(idle, "suggested", suggested)
    assert "is queued" in await refused("generations", "retry", running)
    assert "is done" in await refused("generations", "retry", done)
    assert "is suggested" in await refused("generations", "retry", suggested)
    assert "there is no generation" in await refused("generations", "retry", "nobody")
    assert idle.value("select count(*) from mega_generations where mg_meta ? 'retry_of'") == 0


async def test_a_retry_that_goes_on_is_named_and_one_that_failed_may_be_followed_by_another(idle: Backend):
    first = await failed(idle)
    second = table_id(await run("generations", "retry", first))
    assert f"was retried as {second}, which is queued" in await refused("generations", "retry", first)
    by_hand(idle, "error", second)
    third = table_id(await run("generations", "retry", first))
    assert len({first, second, third}) == 3


async def test_two_operators_at_the_same_moment_make_one_retry(idle: Backend):
    first = await failed(idle)
    before = idle.balance()
    done = await asyncio.gather(*(asyncio.to_thread(safelight, idle, "generations", "retry", first) for _ in range(2)))
    assert 0 in {one.returncode for one in done}
    assert idle.value("select count(*) from mega_generations where mg_meta->>'retry_of' = %s", first) == 1
    assert before - idle.balance() == 1


async def test_a_customer_without_credits_is_retried_for_free_alone(idle: Backend):
    first = await failed(idle)
    idle.sql("update mega_customers set mg_credits = 0")
    assert "credit" in await refused("generations", "retry", first)
    assert (await run("generations", "retry", first, "--free")).exit_code == 0


async def test_a_picture_that_could_not_be_had_is_asked_for_again(idle: Backend):
    url = "https://pictures.example/cup.jpg?token=abcdefabcdef0123456789"
    first = await failed(idle, assets={"product_image_url": url})
    second = table_id(await run("generations", "retry", first))
    pictures = (
        "select mg_payload #> '{imports,pictures,0}' as picture from mega_generations where mg_generation_id = %s"
    )
    [[old], [new]] = [
        [row["picture"] for row in idle.sql(pictures + " and mg_record_type = 'generation'", id)]
        for id in (first, second)
    ]
    sealer = idle.app.resources.sealer
    assert sealer.unseal(new["sealed"]) == sealer.unseal(old["sealed"]) == url
    assert idle.value("select queue_name from procrastinate_jobs where queueing_lock = %s", second) == "inputs"


def table_id(done: Result) -> str:
    assert done.exit_code == 0, done.output
    return str(done.stdout.split()[0])


# --- credits ---------------------------------------------------------------------------------------------------------


async def test_the_ledger_tells_each_entry_with_its_balance(idle: Backend):
    generation_id = await ordered(idle)
    assert (await run("credits", "grant", idle.pass_id, "7", "--reason", "sorry for ticket 4711")).exit_code == 0
    rows = table(await run("credits", "ledger", idle.pass_id))
    assert [(row["delta"], row["balance"]) for row in rows] == [("+7", "11"), ("-1", "4"), ("+5", "5")]
    assert [row["reason"] for row in rows] == ["sorry for ticket 4711", "mma_still", "manual-topup"]
    assert (rows[1]["generation"], rows[1]["reference"]) == (generation_id, f"mma_charge:mma:{generation_id}")


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "two\nlines"])
async def test_a_reason_is_a_line_of_text(idle: Backend, reason: str):
    assert "--reason: 1 to 200 printable characters" in await refused(
        "credits", "grant", "pass:user:1", "1", "--reason", reason
    )
    assert idle.sql("select 1 as one from mega_customers where mg_pass_id = 'pass:user:1'") == []


async def test_a_customer_who_is_not_there_has_no_ledger(idle: Backend):
    assert "there is no customer" in await refused("credits", "ledger", "pass:user:nobody")
