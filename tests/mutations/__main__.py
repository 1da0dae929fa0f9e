"""Breaks a copy of the working tree in one way at a time, and sees whether the test named for it fails."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.mutations import ROOT, Mutation, listed

CAUGHT_SHARE_MIN = 0.9
# A test that hangs has noticed, too: one function, or all that an entry names.
FUNCTION_SECONDS_MAX = 60
TEST_SECONDS_MAX = 480.0
STOP_SECONDS_MAX = 30.0
REASON_CHARS_MAX = 150
PASSED, FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a test: pytest's exit code, None if it did not end in time."""

    code: int | None
    reason: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--only", type=int, action="append", metavar="N", help="try this one (may be repeated)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try every Nth, from the first")
    asked = parser.parse_args()
    numbered = [
        (number, one)
        for number, one in enumerate(listed(), 1)
        if (not asked.only or number in asked.only) and (number - 1) % asked.every == 0
    ]
    with tempfile.TemporaryDirectory(prefix="mutations") as folder:
        copy_tree(Path(folder))
        caught = sum(try_out(Path(folder), number, one) for number, one in numbered)
    say(f"{caught} of {len(numbered)} caught")
    sys.exit(caught < CAUGHT_SHARE_MIN * len(numbered))


def copy_tree(folder: Path) -> None:
    """The files that git tracks, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def try_out(folder: Path, number: int, mutation: Mutation) -> bool:
    """Return True if the mutation is caught. Its test must pass without it, or its failure says nothing."""
    sound = verdict_on_sound_code(folder, mutation.test)
    if sound.code != PASSED:
        say(f"{number:3} NOT TRIED {mutation.title}\n    {mutation.test} fails without it: {sound.reason}")
        return False
    file, began = folder / mutation.file, time.monotonic()
    source = file.read_text()
    file.write_text(mutation.applied_to(source))
    try:
        verdict = verdict_of(folder, mutation.test)
    finally:
        file.write_text(source)
    is_caught = verdict.code in (FAILED, None)
    word = "caught" if is_caught else "SURVIVED" if verdict.code == PASSED else "NOT TRIED"
    say(f"{number:3} {word:9} {mutation.title} ({time.monotonic() - began:.0f} s)\n    {verdict.reason}")
    return is_caught


@cache
def verdict_on_sound_code(folder: Path, test: str) -> Verdict:
    return verdict_of(folder, test)


def verdict_of(folder: Path, test: str) -> Verdict:
    options = ["-x", "-q", "-p", "no:cacheprovider", "--color=no", f"--timeout={FUNCTION_SECONDS_MAX}"]
    command = [sys.executable, "-m", "pytest", *options, test]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "240"}
    with tempfile.TemporaryFile("w+") as output:
        pytest = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = pytest.wait(TEST_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return Verdict(None, f"no end within {TEST_SECONDS_MAX:.0f} s")
        finally:
            end(pytest)
        output.seek(0)
        return Verdict(code, reason_in(output.read()))


def reason_in(output: str) -> str:
    found = re.search(r"^(?:FAILED|ERROR) tests/.*", output, re.MULTILINE)
    return (found[0] if found else output.strip().rpartition("\n")[2])[:REASON_CHARS_MAX]


def end(pytest: subprocess.Popen[bytes]) -> None:
    """With all it started: a test that fails halfway may leave a worker process."""
    if pytest.poll() is None:
        os.killpg(pytest.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            pytest.wait(STOP_SECONDS_MAX)
    with suppress(ProcessLookupError):
        os.killpg(pytest.pid, signal.SIGKILL)
    pytest.wait()


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


main()
