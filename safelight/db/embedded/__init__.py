"""The embedded PostgreSQL: a real server whose data lives under the home, reached through a Unix socket.

The processes of one home share the server; it stops when the last of them ends, in whichever way.
"""

import atexit
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from safelight.db.embedded.binaries import installed
from safelight.db.embedded.cluster import SUPERUSER
from safelight.db.embedded.errors import DatabaseDown
from safelight.db.embedded.server import DATABASE_NAME, READY, Server
from safelight.private_files import open_home

__all__ = [
    "DATABASE_NAME",
    "DatabaseDown",
    "Server",
    "ServerStatus",
    "halt",
    "halt_if_unused",
    "server_of",
    "start",
    "status",
    "stop",
]

CONNECT_SECONDS_MAX = 30
TRY_SECONDS_MAX = 5
LOOK_SECONDS = 0.1

# The servers that this process uses, by their homes: it leaves them when it ends.
_servers: dict[Path, Server] = {}


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The state of a home's server; `url` is None if it does not run."""

    state: str
    pid: int | None
    data: Path
    url: str | None
    is_in_use: bool


def start(home: Path) -> str:
    """Start the home's server, or join it where it runs already. Returns the DSN of its database.

    Raises:
        MissingExtra: it is not installed.
        DatabaseDown: it does not run; the message says what to do.
    """
    installed()
    open_home(home)
    server = server_of(home)
    with _our_errors(home), _connected(server) as conn, server.deciding():
        found = conn.execute("select 1 from pg_database where datname = %s", [DATABASE_NAME]).fetchone()
        if not found:
            conn.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE_NAME)))
    return server.url()


def server_of(home: Path) -> Server:
    home = home.resolve()
    if not _servers:
        atexit.register(_leave_all)
    return _servers.setdefault(home, Server(home))


def stop(home: Path) -> None:
    """Leave the home's server; it ends with the last process that uses it."""
    server_of(home).leave()


def halt(home: Path) -> None:
    """Stop the home's server now, whoever uses it."""
    server_of(home).halt()


def halt_if_unused(home: Path) -> bool:
    """Stop the home's server unless a process uses it. Returns whether none does."""
    with _our_errors(home):
        return not _has_run(home) or server_of(home).halt_if_unused()


def status(home: Path) -> ServerStatus:
    with _our_errors(home):
        server = server_of(home)
        pid = server.pid()
        state = server.state() if pid else "stopped"
        is_in_use = _has_run(home) and server.is_in_use()
        return ServerStatus(state, pid, server.data, server.url() if state == READY else None, is_in_use)


def _has_run(home: Path) -> bool:
    return (home / "run").is_dir()


@contextmanager
def _our_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatabaseDown(
            f"the embedded database cannot be used: {error.filename or home}: {error.strerror}; its home,"
            f" SAFELIGHT_HOME, must be a folder of yours that can be written to, on a disk that is not full"
        ) from error


def _connected(server: Server) -> psycopg.Connection[Any]:
    """A connection to the server, which runs then. One that is about to end, is paused or recovers is tried again."""
    give_up = time.monotonic() + CONNECT_SECONDS_MAX
    while True:
        server.join()
        try:
            return psycopg.connect(server.url(), dbname=SUPERUSER, autocommit=True, connect_timeout=TRY_SECONDS_MAX)
        except psycopg.OperationalError:
            if time.monotonic() > give_up:
                raise
        time.sleep(LOOK_SECONDS)


def _leave_all() -> None:
    for server in _servers.values():
        server.leave()
