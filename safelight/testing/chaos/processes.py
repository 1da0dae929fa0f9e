"""The processes of an experiment: one API and its workers. Whatever is signalled here was started here."""

import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from safelight.config import Settings

API = "api"
END_SECONDS_MAX = 10.0


@dataclass(slots=True)
class Process:
    """`name` is that of its place, and a worker's role in the database: who replaces it takes it over."""

    name: str
    running: subprocess.Popen[bytes]
    is_paused: bool = False


def start_process(command: str, settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    """Run a command of ours, which appends what it prints to the log. Ctrl-C in a terminal does not reach it."""
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "safelight", command],
            env=settings.as_environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


class Fleet:
    """`folder` gets what the processes print: one file a place, with all its lives."""

    def __init__(self, settings: Settings, folder: Path, workers: int) -> None:
        self.worker_names = [f"worker-{number}" for number in range(1, workers + 1)]
        self._settings = settings
        self._folder = folder
        self._processes: list[Process] = []
        self.ended_by_themselves = 0
        folder.mkdir(parents=True)

    def start_all(self) -> None:
        for name in (API, *self.worker_names):
            self._start(name)

    def _start(self, name: str) -> None:
        command = "api" if name == API else "worker"
        self._processes.append(
            Process(name, start_process(command, self._settings_of(name), self._folder / f"{name}.log"))
        )

    def _settings_of(self, name: str) -> Settings:
        if name == API:
            return self._settings
        return self._settings.model_copy(
            update={"database_url": make_conninfo(self._settings.database_url or "", user=name)}
        )

    def pick_worker(self, rng: random.Random) -> Process | None:
        """One that runs; None where all are paused."""
        workers = [one for one in self._processes if one.name != API and not one.is_paused]
        return workers[int(rng.random() * len(workers))] if workers else None

    @property
    def is_one_paused(self) -> bool:
        return any(one.is_paused for one in self._processes)

    def kill(self, process: Process) -> None:
        """Kill it, and let another one take its place."""
        process.running.kill()
        process.running.wait()
        self._processes.remove(process)
        self._start(process.name)

    def pause(self, process: Process) -> None:
        process.is_paused = True
        process.running.send_signal(signal.SIGSTOP)

    def resume(self, process: Process) -> None:
        process.is_paused = False
        process.running.send_signal(signal.SIGCONT)

    def replace_ended(self) -> None:
        """A process that ended by itself is started anew, as an operating system's supervisor would."""
        for process in [one for one in self._processes if one.running.poll() is not None]:
            self._processes.remove(process)
            self.ended_by_themselves += 1
            self._start(process.name)

    def close(self) -> None:
        """All is counted or given up: nothing is left that a graceful end could save."""
        for process in self._processes:
            process.running.kill()
        for process in self._processes:
            process.running.wait(END_SECONDS_MAX)
        self._processes.clear()
