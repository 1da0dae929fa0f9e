"""The embedded database comes back when it dies, and ends with the last who uses it."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from safelight.db import embedded
from safelight.db.embedded import DatabaseDown, account, postmaster, supervisor
from safelight.db.embedded.supervisor import Restarted, Supervisor
from tests.support.commands import Started
from tests.support.embedded_homes import (
    IS_ROOT,
    USE_AND_WAIT,
    WAIT_SECONDS,
    connect,
    kept,
    pid_of,
    safelight,
    until,
)

# --- what was left behind ---------------------------------------------------------------------------------------------


def with_first_line(text: str) -> Callable[[str], str]:
    return lambda content: text + content[content.index("\n") :]


PID_FILES = {
    "empty": lambda _: "",
    "garbage": lambda _: "\0\xff not a number\n",
    "cut short": lambda content: content[:5],
    "without an end": lambda content: content.splitlines()[0],
    "the number of a process of ours": with_first_line(str(os.getpid())),
    "the number of the parent of all": with_first_line("1"),
    "the number of nobody": with_first_line("4194000"),
    "a number that is none": with_first_line("-1"),
}


@pytest.mark.parametrize("change", PID_FILES.values(), ids=PID_FILES)
def test_a_lock_file_that_a_killed_server_left_does_not_stop_the_next(home: Path, change: Callable[[str], str]):
    kept(home)
    file, pid = home / "postgres" / "postmaster.pid", pid_of(home)
    content = file.read_text()
    os.kill(pid, signal.SIGKILL)
    until(lambda: embedded.status(home).pid is None)
    file.write_text(change(content), encoding="latin-1")
    assert kept(home) == 7
    assert pid_of(home) != pid


def test_a_lock_file_that_was_spoilt_while_the_server_runs_does_not_make_a_second_one(home: Path):
    kept(home)
    pid = pid_of(home)
    (home / "postgres" / "postmaster.pid").write_text("")
    assert kept(home) == 7
    assert pid_of(home) != pid
    until(lambda: not Path(f"/proc/{pid}").exists() or postmaster.find(f"gone-{pid}", home) is None)


def test_a_stale_lock_of_the_socket_does_not_stop_the_next(home: Path):
    kept(home)
    os.kill(pid_of(home), signal.SIGKILL)
    until(lambda: embedded.status(home).pid is None)
    for name in (".s.PGSQL.5432.lock", "postmaster.pid"):
        (home / "postgres" / name).write_text(f"{os.getpid()}\n{home}/postgres\n1\n5432\n{home}/postgres\n\n")
    assert kept(home) == 7


@pytest.mark.parametrize("who", ["backend", "checkpointer", "autovacuum launcher"])
def test_processes_that_outlive_their_postmaster_are_ended(home: Path, who: str):
    """Paused, they do not notice that it is gone, and they hold its memory."""
    with connect(home) as conn:
        query = (
            "select pid from pg_stat_activity where backend_type = %s or (%s = 'backend' and pid = pg_backend_pid())"
        )
        survivor = int(conn.execute(query, [who, who]).fetchone()[0])
        os.kill(survivor, signal.SIGSTOP)
        os.kill(pid_of(home), signal.SIGKILL)
        assert kept(home) == 7
        until(lambda: not postmaster.is_running(survivor, embedded.server_of(home).name, home / "postgres"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_somebody_stops_is_started_again(home: Path, number: signal.Signals):
    """Told so politely, it waits for its connections to end, and takes no new ones meanwhile."""
    with connect(home):
        os.kill(pid_of(home), number)
        assert kept(home) == 7


def test_a_server_that_is_paused_is_told_to_go_on(home: Path):
    kept(home)
    os.kill(pid_of(home), signal.SIGSTOP)
    assert kept(home) == 7


def test_a_socket_that_was_removed_is_made_again(home: Path):
    kept(home)
    (home / "postgres" / ".s.PGSQL.5432").unlink()
    assert kept(home) == 7


# --- its users --------------------------------------------------------------------------------------------------------


def using(home: Path) -> subprocess.Popen[str]:
    """A process that uses the server of the home, and says so."""
    user = subprocess.Popen([sys.executable, "-c", USE_AND_WAIT, str(home)], stdout=subprocess.PIPE, text=True)
    assert user.stdout
    assert user.stdout.readline().startswith("postgresql://")
    user.stdout.close()
    return user


def end(user: subprocess.Popen[str], number: signal.Signals) -> None:
    user.send_signal(number)
    user.wait()


def test_the_server_ends_after_its_users_in_whichever_way_they_do(place: Path):
    first, second = using(place), using(place)
    pid = pid_of(place)
    end(first, signal.SIGKILL)
    ended = safelight(place, "db", "stop")
    assert (ended.returncode, "in use" in ended.stderr) == (1, True)
    assert pid_of(place) == pid
    end(second, signal.SIGKILL)
    until(lambda: embedded.status(place).pid is None)
    assert json.loads(safelight(place, "db", "status", "--json").stdout)["state"] == "stopped"
    third = using(place)
    end(third, signal.SIGTERM)
    joined = using(place)  # while the server is about to be stopped
    assert pid_of(place)
    end(joined, signal.SIGINT)
    until(lambda: embedded.status(place).pid is None)


def test_a_server_that_was_left_behind_is_stopped_by_a_command(place: Path):
    user = using(place)
    running = safelight(place, "db", "status", "--json")
    told = json.loads(running.stdout)
    assert (running.returncode, told["state"], told["is_in_use"]) == (0, "ready", True)
    assert safelight(place, "db", "url").stdout.strip() == told["url"]
    end(user, signal.SIGKILL)
    assert safelight(place, "db", "stop").returncode == 0
    assert embedded.status(place).pid is None
    assert safelight(place, "db", "stop").returncode == 0
    assert safelight(place, "db", "url").returncode == 1
    assert safelight(place, "db", "stop", SAFELIGHT_DATABASE_URL="postgresql://elsewhere/db").returncode == 1


def test_a_home_that_is_removed_takes_its_server_along(place: Path):
    user = using(place / "home")
    pid, server = pid_of(place / "home"), embedded.server_of(place / "home")
    name = server.name
    shutil.rmtree(place / "home")
    end(user, signal.SIGKILL)
    until(lambda: not postmaster.is_running(pid, name, server.data))


def test_servers_of_a_home_and_of_its_copy_and_of_the_next_at_its_place_are_kept_apart(place: Path):
    first, copy = place / "home", place / "copy"
    embedded.start(first)
    embedded.halt(first)
    shutil.copytree(first, copy, ignore=shutil.ignore_patterns("pipe"))
    if IS_ROOT:
        owner = account.account_for(first, first / "postgres")
        for path in (copy / "postgres", *(copy / "postgres").rglob("*")):
            os.chown(path, owner.uid, owner.gid)
    names = {embedded.server_of(home).name for home in (first, copy) if embedded.start(home)}
    assert pid_of(first) != pid_of(copy)
    embedded.stop(copy)
    assert embedded.status(first).url
    user, old = using(first), embedded.server_of(first).data.stat().st_ino
    embedded.stop(first)
    shutil.rmtree(first)
    end(user, signal.SIGKILL)
    with connect(first) as conn:
        names.add(embedded.server_of(first).name)
        time.sleep(postmaster.LEAVING_SECONDS + 1)  # whoever waited for the user of the one before has looked by now
        assert conn.execute("select 1").fetchone() == (1,)
    assert len(names) == 3, old
    embedded.stop(first)


# --- the supervisor ---------------------------------------------------------------------------------------------------


async def supervised(home: Path, harm: Callable[[], object]) -> Restarted:
    """Do the harm, and return the report of the server that is back."""
    reports: list[Restarted] = []
    stop = asyncio.Event()
    running = asyncio.create_task(Supervisor(embedded.server_of(home), reports.append).run(stop))
    harm()
    async with asyncio.timeout(WAIT_SECONDS):
        while not reports:
            await asyncio.sleep(0.05)
    stop.set()
    await running
    return reports[0]


HARM = {
    "killed": lambda home: os.kill(pid_of(home), signal.SIGKILL),
    "stopped in order": lambda home: os.kill(pid_of(home), signal.SIGINT),
    "told to end when its users do": lambda home: os.kill(pid_of(home), signal.SIGTERM),
    "paused": lambda home: os.kill(pid_of(home), signal.SIGSTOP),
    "without a socket": lambda home: (home / "postgres" / ".s.PGSQL.5432").unlink(),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
async def test_a_server_that_is_harmed_is_brought_back(home: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable):
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.05)
    with connect(home):
        assert (await supervised(home, lambda: harm(home))).tries == 1
    assert kept(home) == 7


async def test_a_server_whose_backend_is_killed_recovers_by_itself(home: Path):
    with connect(home) as conn:
        pid = pid_of(home)
        os.kill(conn.info.backend_pid, signal.SIGKILL)
    until(lambda: embedded.status(home).url)
    assert kept(home) == 7
    assert pid_of(home) == pid


async def test_a_server_that_does_not_come_back_is_given_up(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "TRIES_MAX", 3)
    monkeypatch.setattr(supervisor, "PAUSE_SECONDS_MAX", 0.01)
    connect(place).close()
    os.kill(pid_of(place), signal.SIGKILL)
    (place / "postgres" / "PG_VERSION").write_text("99\n")
    with pytest.raises(DatabaseDown, match="3 starts"):
        await Supervisor(embedded.server_of(place), lambda _: None).run(asyncio.Event())
    shutil.rmtree(place / "postgres")
    with pytest.raises(DatabaseDown, match="3 starts"):  # and a new one, empty, is not made in its place
        await Supervisor(embedded.server_of(place), lambda _: None).run(asyncio.Event())
    assert not (place / "postgres").exists()
    embedded.stop(place)


def test_up_lives_through_the_death_of_its_database_and_says_so(place: Path):
    environment = os.environ | {"SAFELIGHT_HOME": str(place), "SAFELIGHT_PORT": "0", "COLUMNS": "300"}
    log = place / "up.log"
    up = Started("up", environment=environment, log=log)
    try:
        until(lambda: log.exists() and "Admin" in log.read_text())
        base = re.findall(r"^API +(\S+)", log.read_text(), re.M)[0]
        os.kill(pid_of(place), signal.SIGKILL)
        until(lambda: "The embedded database runs again" in log.read_text())
        until(lambda: health(base)["supabase"])
        with connect(place) as conn:
            query = "select mg_record_type from mega_admin where mg_detail->>'error_code' = 'DATABASE_RESTARTED'"
            until(lambda: conn.execute(query).fetchone() == ("warn",))
        embedded.stop(place)
    finally:
        up.terminate()
        assert up.wait() == 0
    assert embedded.status(place).pid is None


def health(base: str) -> dict:
    with urllib.request.urlopen(f"{base}/health", timeout=30) as answer:
        return dict(json.load(answer))
