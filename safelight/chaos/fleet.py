"""The processes of a rehearsal: one API and its workers. Whatever is signalled here was started here."""

import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from safelight.config import Settings

END_SECONDS_MAX = 10.0


@dataclass(slots=True)
class Process:
    """`name` is also the application name of its database connections."""

    name: str
    command: str
    running: subprocess.Popen[bytes]
    is_paused: bool = False


class Fleet:
    """`folder` gets what the processes print, one file each."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._environment = settings.as_environment()
        self._folder = folder
        self._numbers = count(1)
        self._processes: list[Process] = []
        self.ended_by_themselves = 0
        folder.mkdir(parents=True)

    def start(self, command: str) -> None:
        """`command` is `api` or `worker`."""
        name = f"{command}-{next(self._numbers)}"
        with (self._folder / f"{name}.log").open("wb") as output:
            running = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "safelight", command],
                env=self._environment | {"PGAPPNAME": name},
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in a terminal is for us, and we end them
            )
        self._processes.append(Process(name, command, running))

    def pick_worker(self, rng: random.Random) -> Process | None:
        """One that runs; None where all are paused."""
        workers = [one for one in self._processes if one.command == "worker" and not one.is_paused]
        return workers[int(rng.random() * len(workers))] if workers else None

    @property
    def is_one_paused(self) -> bool:
        return any(one.is_paused for one in self._processes)

    def kill(self, process: Process) -> None:
        process.running.kill()
        process.running.wait()
        self._processes.remove(process)

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
            self.start(process.command)

    def close(self) -> None:
        """All is counted or given up: nothing is left that a graceful end could save."""
        for process in self._processes:
            process.running.kill()
        for process in self._processes:
            process.running.wait(END_SECONDS_MAX)
        self._processes.clear()
