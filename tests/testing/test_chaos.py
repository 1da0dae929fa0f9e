"""A short rehearsal, as a user would run it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import memory_folder
from tests.support.commands import run_safelight
from tests.support.scope import LONG, amount

COMMAND = [str(Path(sys.executable).with_name("safelight")), "chaos"]
GENERATIONS = amount(usual=24, all=300)
MINUTES_MAX = amount(usual=4, all=20)
QUICK = {"SAFELIGHT_WORKER_HEARTBEAT_SECONDS": "1", "SAFELIGHT_WORKER_POLL_SECONDS": "0.2"}


def scaled_rehearsal(test: Callable[..., None]) -> Callable[..., None]:
    """With more generations in the long run; the first test of a rehearsal waits for it."""
    return pytest.mark.scaled(pytest.mark.timeout(60 * MINUTES_MAX + 60)(test))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path that the database's own user may enter."""
    with tempfile.TemporaryDirectory(prefix="sl", dir=memory_folder()) as name:
        yield Path(name)


@pytest.fixture(
    scope="module", params=["simulated", pytest.param("replicate", marks=LONG), pytest.param("fal", marks=LONG)]
)
def card(folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The scorecard of a rehearsal in each wire format."""
    options = f"--generations {GENERATIONS} --minutes-max {MINUTES_MAX} --provider {request.param}"
    options += " --workers 2 --kill-every 3 --restart-db-every 8 --seed 7 --json"
    run = subprocess.run(
        [*COMMAND, *options.split()],
        env=os.environ | QUICK | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60 * MINUTES_MAX + 40,
        check=False,
    )
    assert run.stdout, run.stderr
    assert run.stderr.startswith("seed 7")
    assert list(folder.glob("safelight-chaos-*")) == []
    return dict(json.loads(run.stdout)) | {"exit": run.returncode}


@scaled_rehearsal
def test_every_order_is_accepted_once_and_ends(card: dict[str, Any]):
    assert (card["ordered"], card["accepted"]) == (GENERATIONS, GENERATIONS)
    assert sum(card["statuses"].values()) == GENERATIONS
    assert card["statuses"].keys() <= {"done", "error", "suggested", "cancelled"}
    assert (card["lost"], card["accepted_twice"], card["stuck"]) == ([], [], [])


@scaled_rehearsal
def test_the_ledger_is_right_and_every_result_can_be_read(card: dict[str, Any]):
    assert (card["ledger_errors"], card["unreadable_outputs"]) == ([], [])


@scaled_rehearsal
def test_nobody_gets_both_a_result_and_its_refund(card: dict[str, Any]):
    assert (card["results_beside_refunds"], card["cancelled_in_vain"]) == ([], [])
    assert card["statuses"].get("cancelled", 0) >= 1


@scaled_rehearsal
def test_no_start_is_paid_twice_in_silence(card: dict[str, Any]):
    assert card["silent_double_payments"] == []
    assert (card["clean"], card["exit"]) == (True, 0)


@scaled_rehearsal
def test_workers_were_killed_the_database_restarted_and_all_was_taken_over(card: dict[str, Any]):
    assert card["injected"]["kills"] >= 1
    assert card["injected"]["database_restarts"] >= 1
    assert card["takeovers"]["never"] == 0
    assert (card["takeovers"]["p99_seconds"] or 0) <= 30


def test_ctrl_c_leaves_nothing_running(folder: Path):
    environment = os.environ | QUICK | {"TMPDIR": str(folder)}
    run = subprocess.Popen([*COMMAND, "--generations", "500"], env=environment, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("safelight-chaos-*/assets/mma/still/*/*.jpg")):  # the first results are there
        assert run.poll() is None
        time.sleep(0.05)
    started = psutil.Process(run.pid).children(recursive=True)
    assert len(started) >= 5
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert (run.returncode, said) == (1, "safelight: stopped; nothing is left running\n")
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert list(folder.glob("safelight-chaos-*")) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--generations 0", "--generations"),
        ("--workers 0", "--workers"),
        ("--kill-every -1", "--kill-every"),
        ("--cancel-share 2", "--cancel-share"),
    ],
)
def test_wrong_options_are_named(options: str, named: str):
    run = run_safelight("chaos", *options.split(), environment=os.environ)
    assert run.returncode == 2
    assert named in run.stderr
