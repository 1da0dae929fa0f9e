"""Commands of safelight in processes of their own that start quickly: they are forked from a server that has imported what
most commands need.

Starting the interpreter and importing the package takes more than a second of processor time, in tests most of what a
command takes. That a command starts from nothing is tested where that is the matter: in the tests of the demo, the
README, the installation, the embedded database and the machines."""

import atexit
import ctypes
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired

from tests.support.drafts import drafts

SECONDS_MAX = 120.0
# Not the command line itself: what it prints on is made when it is imported, with the environment of the command.
PRELOADED = [
    "tests.support.killed_worker",
    "tests.support.parallel_flow",
    "tests.support.drafts",
    "safelight.ops.doctor",
    "safelight.serve",
    "safelight_local.adapter",
    "rich.console",
    "typer",
]


def forked_processes() -> "multiprocessing.context.ForkServerContext":
    """The context of processes that begin with PRELOADED. There is one server for each pytest process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def run_safelight(
    *arguments: str, environment: Mapping[str, str], timeout: float = SECONDS_MAX
) -> CompletedProcess[str]:
    """Run `safelight` with these arguments in exactly this environment.

    Raises:
        TimeoutExpired: it did not end in time, and was killed.
    """
    with tempfile.TemporaryDirectory() as name:
        output, errors = Path(name) / "stdout", Path(name) / "stderr"
        process = forked_processes().Process(target=_main, args=(arguments, dict(environment), output, errors))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutExpired(["safelight", *arguments], timeout, output.read_bytes(), errors.read_bytes())
        code, texts = process.exitcode, (output.read_text(), errors.read_text())
    return CompletedProcess(["safelight", *arguments], code, *texts)


class Started:
    """A `safelight` that runs beside the test, with the methods of a `subprocess.Popen`. What it says is kept in the file
    `log`, if there is one. `network` is the name of the namespace in which its network is."""

    def __init__(
        self, *arguments: str, environment: Mapping[str, str], log: Path | None = None, network: str | None = None
    ) -> None:
        said = log or Path(os.devnull)
        options = (arguments, dict(environment), said, said, network)
        self._process = forked_processes().Process(target=_main, args=options)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def send_signal(self, number: int) -> None:
        if self._process.is_alive():
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = SECONDS_MAX) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode


def _main(
    arguments: tuple[str, ...], environment: dict[str, str], output: Path, errors: Path, network: str | None = None
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, output), (2, errors)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
    if network:
        _enter(network)
    sys.argv = ["safelight", *arguments]
    from safelight.cli import main  # noqa: PLC0415 - it looks at the environment, which is another one now

    try:
        with drafts():
            main()
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends a process without them


def _enter(network: str) -> None:
    """Move into a namespace that `ip netns` has made."""
    with Path(f"/run/netns/{network}").open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"the network {network} cannot be entered")
