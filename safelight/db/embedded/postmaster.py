"""The processes of one PostgreSQL cluster: how to find and to stop them.

Run as a script it stops a server that no process uses any more. It needs nothing but the standard library.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

PS = "/bin/ps"
SHELL = "/bin/sh"
PROCESSES = Path("/proc")
ORDERLY_SECONDS = 60.0
AT_ONCE_SECONDS = 10.0
KILLED_SECONDS = 5.0
LOOK_SECONDS = 0.02
LEAVING_SECONDS = 1.0  # a process that ends in order stops the server itself


@dataclass(frozen=True, slots=True)
class Member:
    pid: int
    is_postmaster: bool


def members(name: str, data: Path) -> list[Member]:
    """All processes of the cluster, the postmaster first. An older version gave its servers no name; of those, only
    the postmaster is found."""
    found = [Member(pid, _is_postmaster(line, name, data)) for pid, line in _processes() if _belongs(line, name, data)]
    return sorted(found, key=lambda member: (not member.is_postmaster, member.pid))


def find(name: str, data: Path) -> int | None:
    return next((member.pid for member in members(name, data) if member.is_postmaster), None)


def is_running(pid: int, name: str, data: Path) -> bool:
    """False if the process is gone, or if another one has its number now."""
    return _belongs(_command_line(pid), name, data)


def is_paused(pid: int) -> bool:
    """True if a signal has stopped the process; always False on systems that have no /proc."""
    try:
        return (PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def stop(name: str, data: Path, first: signal.Signals = signal.SIGINT) -> None:
    """Stop the server, less politely each time that it takes too long, and then whatever its postmaster left behind."""
    pid = find(name, data)
    signals = ((first, ORDERLY_SECONDS), (signal.SIGQUIT, AT_ONCE_SECONDS), (signal.SIGKILL, KILLED_SECONDS))
    for number, seconds in signals if pid else ():
        if _end([Member(pid or 0, is_postmaster=True)], number, seconds, name, data):
            break
    end_survivors(name, data)


def end_survivors(name: str, data: Path) -> None:
    """End the processes that are left when a postmaster was killed; one that is busy does not notice by itself."""
    for number, seconds in ((signal.SIGQUIT, AT_ONCE_SECONDS), (signal.SIGKILL, KILLED_SECONDS)):
        if _end(members(name, data), number, seconds, name, data):
            break


def _end(ending: Sequence[Member], number: signal.Signals, seconds: float, name: str, data: Path) -> bool:
    for member in ending:
        for sent in (number, signal.SIGCONT):  # a paused process acts on its signals only when it goes on
            try:
                os.kill(member.pid, sent)
            except ProcessLookupError:
                break
    until = time.monotonic() + seconds
    while any(is_running(member.pid, name, data) for member in ending):
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _belongs(line: str, name: str, data: Path) -> bool:
    return _is_postmaster(line, name, data) or (line.startswith("postgres: ") and f" {name}: " in line)


def _is_postmaster(line: str, name: str, data: Path) -> bool:
    program = line.partition(" -D ")[0]
    is_older = " cluster_name=" not in line and f" -D {data} " in line
    return program.endswith("/postgres") and (f" cluster_name={name} " in line or is_older)


def _processes() -> list[tuple[int, str]]:
    if PROCESSES.exists():
        return [(int(each.name), _command_line(int(each.name))) for each in PROCESSES.iterdir() if each.name.isdigit()]
    listed = subprocess.run([PS, "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True)  # noqa: S603
    rows = (row.split(maxsplit=1) for row in listed.stdout.splitlines())
    return [(int(row[0]), f"{row[1]} ") for row in rows if len(row) > 1]


def _command_line(pid: int) -> str:
    """The arguments, each followed by a space; empty if the process is gone."""
    if not PROCESSES.exists():
        listed = subprocess.run(  # noqa: S603 - a number
            [PS, "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return f"{listed.stdout.strip()} "
    try:
        return (PROCESSES / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape")
    except OSError:
        return ""


def waiting(pipe: Path, users: Path, name: str, data: Path) -> list[str]:
    """The command that waits for the end of all users, each of which keeps `pipe` open, and then runs this script. The
    shell waits, because it is small."""
    python = [sys.executable, "-I", "-S", __file__, str(pipe), str(users), name, str(data)]
    return [SHELL, "-c", 'read _ < "$0"; exec "$@"', str(pipe), *python]


def stop_if_unused(pipe: Path, users: Path, name: str, data: Path) -> None:
    """Stop the server unless a process holds the lock that its users share; then wait once more."""
    time.sleep(LEAVING_SECONDS)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(users.open())
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:  # the home was removed: nobody can use its server
            pass
        except BlockingIOError:
            os.execv(SHELL, waiting(pipe, users, name, data))  # noqa: S606 - as we came
        stop(name, data)


if __name__ == "__main__":
    stop_if_unused(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
