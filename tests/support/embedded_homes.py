"""Homes with an embedded database, and what tests do with them."""

import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from safelight.db import embedded
from tests.support.commands import run_safelight

WAIT_SECONDS = 60
IS_ROOT = os.geteuid() == 0
USE_AND_WAIT = """
import pathlib, signal, sys, time
from safelight.db import embedded
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it, and so would its children
print(embedded.start(pathlib.Path(sys.argv[1])), flush=True)
time.sleep(600)
"""


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
