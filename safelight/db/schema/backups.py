"""Dumps of a database, made and read by PostgreSQL's own tools. Those of the embedded server come with safelight and
serve every server that is not newer than they are; for a newer one, those of the machine are looked for."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from safelight.db.connection.sessions import Row, connected_now
from safelight.db.embedded.binaries import installed
from safelight.domain.errors.base import InvalidInput, SafelightError
from safelight.extras import MissingExtra
from safelight.private_files import open_private

DUMP_HEAD = b"PGDMP"
LOCK_WAIT = "10s"
HEADER_LINES = 40
TRANSACTION_TIMEOUT_SINCE = 17
ROLES = ("anon", "authenticated", "service_role")  # what our grants name; a dump holds no roles
_ELSEWHERE = (Path("/usr/lib/postgresql"), Path("/usr/pgsql"), Path("/opt/homebrew/opt"))
_VERSION = re.compile(r"(\d+)(?:\.\d+)?")


class ToolFailed(SafelightError):
    """A tool of PostgreSQL is missing or ended with an error; the message is its own last line."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The folder of pg_dump, pg_restore and psql of one version."""

    folder: Path
    major: int
    is_bundled: bool

    def __str__(self) -> str:
        return f"the tools of PostgreSQL {self.major} {'that come with safelight' if self.is_bundled else 'here'}"


def server_major(dsn: str) -> int:
    with connected_now(dsn, autocommit=True) as conn:
        return conn.info.server_version // 10_000


def tools_for(major: int) -> Tools:
    """Those that come with safelight, else the newest of this machine.

    Raises:
        ToolFailed: all that are here are older than the server.
    """
    found = sorted(_tools(), key=lambda tools: (tools.is_bundled, tools.major), reverse=True)
    for tools in found:
        if tools.major >= major:
            return tools
    newest = f"the newest here are of {max(tools.major for tools in found)}" if found else "there are none here"
    raise ToolFailed(
        f"the server is PostgreSQL {major}; its dumps need pg_dump and pg_restore of {major} or newer, and {newest}:"
        f" install postgresql-client-{major}"
    )


def _tools() -> Iterator[Tools]:
    with suppress(MissingExtra):
        yield from _in(installed() / "bin", is_bundled=True)
    on_path = shutil.which("pg_dump")
    folders = [folder for root in _ELSEWHERE for folder in sorted(root.glob("*/bin"))]
    for folder in folders + ([Path(on_path).parent] if on_path else []):
        yield from _in(folder, is_bundled=False)


def _in(folder: Path, *, is_bundled: bool) -> Iterator[Tools]:
    if all((folder / name).exists() for name in ("pg_dump", "pg_restore", "psql")):
        said = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=False)  # noqa: S603
        if found := _VERSION.search(said.stdout):
            yield Tools(folder, int(found[1]), is_bundled)


def dump(dsn: str, file: Path, tools: Tools) -> None:
    """Write the whole database to a file that only its owner reads; it is there whole or not at all.

    Raises:
        InvalidInput: the file is there already, or cannot be written.
        ToolFailed: pg_dump did.
    """
    if file.exists():
        raise InvalidInput(f"{file} is there already; name another file")
    part = file.with_name(f".{file.name}.part")
    try:
        os.close(open_private(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        _run([tools.folder / "pg_dump", "-Fc", f"--lock-wait-timeout={LOCK_WAIT}", "-f", part], dsn)
        part.rename(file)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def restore(dsn: str, file: Path, tools: Tools) -> None:
    """Fill an empty database from a dump, in one transaction.

    Raises:
        InvalidInput: the file is no dump, or the database is not empty.
        ToolFailed: a tool did; nothing was written.
    """
    with file.open("rb") as opened:
        if opened.read(len(DUMP_HEAD)) != DUMP_HEAD:
            raise InvalidInput(f"{file} is no dump of `safelight db dump` (or of pg_dump -Fc)")
    _check_empty(dsn)
    reader: list[str | Path] = [tools.folder / "pg_restore", "--no-owner", "-f", "-", file]
    writer, environment = _command([tools.folder / "psql", "-qX1", "-v", "ON_ERROR_STOP=1", "-o", os.devnull], dsn)
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(reader, stdout=pipe, stderr=pipe) as reading,  # noqa: S603 - PostgreSQL's own tools
        subprocess.Popen(writer, stdin=pipe, stderr=pipe, env=environment) as writing,  # noqa: S603
    ):
        _pass_on(reading, writing, server_major(dsn))


def _pass_on(reading: subprocess.Popen[bytes], writing: subprocess.Popen[bytes], major: int) -> None:
    """The writer's transaction is committed when its input ends: only if the reader came to the end of the dump."""
    assert reading.stdout
    assert reading.stderr
    assert writing.stdin
    with suppress(BrokenPipeError):  # the writer ended early; its last line says why
        _copy(reading.stdout, writing.stdin, major)
        writing.stdin.flush()
    reading.stdout.close()
    if reading.wait() and writing.poll() is None:
        writing.kill()
        raise ToolFailed(_last_line(reading.stderr.read()))
    _, said = writing.communicate()
    if writing.returncode:
        raise ToolFailed(_last_line(said))


def _check_empty(dsn: str) -> None:
    with connected_now(dsn, autocommit=True) as conn:
        row = conn.execute("select to_regclass('public.mega_generations') is null as is_empty").fetchone()
        if not (row and row["is_empty"]):
            raise InvalidInput(
                "the database has data already; restore into an empty one, such as that of a new SAFELIGHT_HOME"
            )
        _make_roles(conn)


def _make_roles(conn: psycopg.Connection[Row]) -> None:
    there = {row["rolname"] for row in conn.execute("select rolname from pg_roles").fetchall()}
    try:
        for role in set(ROLES) - there:
            conn.execute(sql.SQL("create role {} nologin noinherit").format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ToolFailed(f"the roles {', '.join(ROLES)} are needed, and may not be made by this account") from error


def _copy(script: IO[bytes], writer: IO[bytes], major: int) -> None:
    """Newer tools begin with a setting that older servers do not know."""
    unknown = b"SET transaction_timeout = 0;\n" if major < TRANSACTION_TIMEOUT_SINCE else b""
    for _ in range(HEADER_LINES):
        line = script.readline()
        if line != unknown:
            writer.write(line)
    shutil.copyfileobj(script, writer)


def _run(command: list[str | Path], dsn: str) -> None:
    arguments, environment = _command(command, dsn)
    done = subprocess.run(arguments, capture_output=True, env=environment, check=False)  # noqa: S603 - PostgreSQL's own
    if done.returncode:
        raise ToolFailed(f"{Path(command[0]).name}: {_last_line(done.stderr)}")


def _command(command: list[str | Path], dsn: str) -> tuple[list[str | Path], dict[str, str]]:
    """The password goes by the environment: arguments are shown to every account of the machine."""
    address: dict[str, Any] = dict(conninfo_to_dict(dsn))
    password = str(address.pop("password", "") or "")
    return [*command, "-d", make_conninfo(**address)], {"PGPASSWORD": password} if password else {}


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return next(
        (line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "it said nothing"
    )
