"""Debian's PgBouncer in front of a database, in one of its modes."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
START_SECONDS_MAX = 20


@contextmanager
def pgbouncer(dsn: str, mode: str, *, more: str = "") -> Iterator[str]:
    """The DSN that leads through a PgBouncer in this mode to the database of `dsn`, on a server with sockets."""
    assert PGBOUNCER
    server, port = conninfo_to_dict(dsn), _free_port()
    with tempfile.TemporaryDirectory(prefix="pgb") as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host={server['host']} user={server['user']}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n{more}\n"
        )
        as_account = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen([*as_account, PGBOUNCER, str(config)], stdout=log, stderr=log)
        try:
            through = f"postgresql://{server['user']}@127.0.0.1:{port}/{server['dbname']}"
            _wait_until_it_answers(through, folder / "log")
            yield through
        finally:
            running.terminate()
            running.wait()


def _wait_until_it_answers(dsn: str, log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            return psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < give_up, log.read_text()
        time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
