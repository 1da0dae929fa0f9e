"""One home's server: started, joined, left and stopped. Whoever decides about it holds the home's lock meanwhile."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from safelight.db.embedded import cluster, locks, postmaster
from safelight.db.embedded.account import ServerAccount, account_for, names_of_users
from safelight.db.embedded.binaries import programs
from safelight.db.embedded.errors import DatabaseDown
from safelight.db.embedded.sockets import SOCKET, socket_folder
from safelight.private_files import FILE_MODE, give_to_owner_of_folder, make_private_folder, write_private

DATABASE_NAME = "safelight"
START_SECONDS_MAX = 120.0
SURVIVORS_SECONDS = 15.0
LAST_TO_LEAVE_SECONDS = 0.05
LOOK_SECONDS = 0.01
LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_END_BYTES = 8192
TOKEN_BYTES = 8
READY, STARTING = "ready", "starting"
PAUSED = "it was paused"


class Server:
    """`home` must exist. `folder` holds the locks of its processes: who decides, who uses the server, what runs it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "run"
        self.data = (home / "postgres").resolve()
        self._using: list[int] = []
        self._pid: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    # --- what its users do -----------------------------------------------------------------------------------------

    def join(self) -> None:
        """Start the server, or join it where it runs already, and keep it until `leave` or the end of this process."""
        make_private_folder(self.folder)
        with self.deciding() as lock:
            if not (self.folder / "token").exists():
                write_private(self.folder / "token", secrets.token_hex(TOKEN_BYTES))
            if not self._using:
                self._using = [locks.share(self.folder / "users"), _kept_open(self.folder / "pipe")]
            self.ensure_running(lock)
            self._watch()

    def leave(self) -> None:
        """The last one to leave stops the server."""
        using, self._using = self._using, []
        if using and self.data.exists() and self.folder.exists():
            with self.deciding():
                _close(using)
                if self._is_unused():
                    self._stop(signal.SIGINT)
        else:  # if the home is gone, whoever waits for the end of all users stops the server
            _close(using)

    def halt(self) -> None:
        """Stop the server now, whoever uses it."""
        with self.deciding():
            self._stop(signal.SIGINT)

    def halt_if_unused(self) -> bool:
        """Stop the server unless a process uses it. Returns whether none does."""
        with self.deciding():
            is_unused = self._is_unused()
            if is_unused:
                self._stop(signal.SIGINT)
            return is_unused

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """`fast` ends all connections and shuts down in order; `immediate` is a crash that the start recovers from."""
        with self.deciding() as lock:
            self._stop(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            self.ensure_running(lock)

    def heal(self) -> bool:
        """Make the server run again, on the data it had. Returns False if it runs: another process was faster."""
        with self.deciding() as lock:
            if not cluster.is_complete(self.data):
                raise DatabaseDown(f"{self.data} has been removed; restore it from a backup, or start anew")
            return self.ensure_running(lock)

    def trouble(self) -> str | None:
        """The reason why the server must be healed, if it must. A server that is paused is told to go on."""
        pid = self.pid()
        if pid is None:
            return "it had ended"
        if postmaster.is_paused(pid):
            os.kill(pid, signal.SIGCONT)
            return PAUSED
        if self.state() not in (READY, STARTING):
            return "it was told to stop"
        return None if (self.socket_folder() / SOCKET).exists() else "its socket was gone"

    @contextmanager
    def deciding(self) -> Iterator[int]:
        """Inside this context no other process of the home starts, stops or changes the server."""
        with locks.held(self.folder / "lock") as lock:
            yield lock

    # --- how it is -------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name in the titles of the server's processes. The home's own token keeps it apart from one that is made
        after this home was removed, and the folder's number from a copy."""
        token = self.folder / "token"
        return f"safelight-{token.read_text() if token.exists() else ''}-{self.data.stat().st_ino:x}"

    @property
    def log(self) -> Path:
        return self.data / "log"

    def pid(self) -> int | None:
        """The pid of its postmaster, if that runs."""
        if not self.data.exists():
            return None
        if self._pid is None or not postmaster.is_running(self._pid, self.name, self.data):
            self._pid = postmaster.find(self.name, self.data)
        return self._pid

    def state(self) -> str:
        """The word that PostgreSQL keeps in its lock file: starting, ready, stopping; empty where it says nothing."""
        return self._noted(7).strip()

    def _noted(self, number: int) -> str:
        """This line of PostgreSQL's lock file, counted from 0; empty if there is none."""
        try:
            return (self.data / "postmaster.pid").read_text(errors="replace").splitlines()[number]
        except (OSError, IndexError):
            return ""

    def is_in_use(self) -> bool:
        with self.deciding():
            return not self._is_unused()

    def socket_folder(self) -> Path:
        """The folder of the socket of the server that runs, which may be one that an older version started."""
        told = self._noted(4)
        return Path(told) if told and told != str(cluster.OWN_FOLDER) else self.data

    def url(self) -> str:
        folder = quote(os.fsencode(self.socket_folder()), safe="/")
        return f"postgresql://{cluster.SUPERUSER}@/{DATABASE_NAME}?host={folder}"

    # --- how it runs -----------------------------------------------------------------------------------------------

    def ensure_running(self, lock: int) -> bool:
        """The caller holds `lock`. Returns whether the server had to be started."""
        account = account_for(self.home, self.data)
        if self.data.exists() and self._is_ready():
            if cluster.write_access(self.data, account, names_of_users(self.home, account)):
                self._reload()
            return False
        binaries = programs(account)
        cluster.prepare(self.data, account, binaries / "initdb", names_of_users(self.home, account), lock)
        self.launch()
        return True

    def _reload(self) -> None:
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGHUP)

    def launch(self, *options: str) -> None:
        """Run the server on data that is prepared, and wait until it is ready."""
        account = account_for(self.home, self.data)
        sockets = socket_folder(self.data, self.folder / "socket", account)
        running, log = self._sole_right_to_run(sockets), self._open_log(account)
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                [programs(account) / "postgres", *self._arguments(account, sockets), *options],
                cwd=self.data,
                env={},  # what is secret in ours is not for the server's account
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal is for us
                pass_fds=(running,),
                **account.as_child(),
            )
        finally:
            os.close(running)
            os.close(log)
        self._wait_until_ready(self._child)

    def _arguments(self, account: ServerAccount, sockets: Path) -> list[str]:
        data = cluster.path_for(account, self.data)
        folder = str(data if sockets == self.data else sockets).replace('"', '""')
        named = ("-c", f"cluster_name={self.name}", "-c", f"safelight.home={self.home}")
        return ["-D", str(data), "-h", "", "-k", f'"{folder}"', *named]

    def _wait_until_ready(self, child: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS_MAX
        while self.state() != READY:
            if child.poll() is not None:
                raise DatabaseDown(f"the embedded database did not start: {self._last_words()}; see {self.log}")
            if time.monotonic() > until:
                raise DatabaseDown(f"the embedded database is still starting; see {self.log}, and try again")
            time.sleep(LOOK_SECONDS)

    def _is_ready(self) -> bool:
        """False if a start is needed; a server that is neither ready nor about to be is stopped first."""
        until = time.monotonic() + START_SECONDS_MAX
        while pid := self.pid():
            if postmaster.is_paused(pid):
                os.kill(pid, signal.SIGCONT)
            if self.state() == READY and (self.socket_folder() / SOCKET).exists():
                return True
            if self.state() != STARTING or time.monotonic() > until:
                self._stop(signal.SIGINT)
                return False
            time.sleep(LOOK_SECONDS)
        return False

    def _sole_right_to_run(self, sockets: Path) -> int:
        """Take the lock that the server's processes hold as long as one of them lives. Files that a server left behind
        do not stop the new one: the process number in them may be another process's by now."""
        postmaster.end_survivors(self.name, self.data)
        running = locks.seize(self.folder / "server", SURVIVORS_SECONDS)
        if running is None:
            raise DatabaseDown(f"a server that cannot be seen from here uses {self.data}: stop it, or its container")
        for stale in (self.data / "postmaster.pid", sockets / SOCKET, sockets / f"{SOCKET}.lock"):
            stale.unlink(missing_ok=True)
        return running

    def _stop(self, first: signal.Signals) -> None:
        if self.data.exists():
            postmaster.stop(self.name, self.data, first)
        if self._child:
            self._child.poll()

    def _is_unused(self) -> bool:
        """A watcher that stops the server holds the lock alone for as long as that takes; users share it."""
        users = self.folder / "users"
        alone = locks.seize(users, LAST_TO_LEAVE_SECONDS)
        if alone is None:
            os.close(locks.share(users))
            alone = locks.seize(users, LAST_TO_LEAVE_SECONDS)
        if alone is not None:
            os.close(alone)
        return alone is not None

    def _watch(self) -> None:
        """Let a small process wait for the end of all users, unless one does already."""
        watching = locks.seize(self.folder / "watcher")
        if watching is None:
            return
        pipe, users = self.folder / "pipe", self.folder / "users"
        self._watcher = subprocess.Popen(  # noqa: S603 - our own command
            postmaster.waiting(pipe, users, self.name, self.data),
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(watching,),
        )
        os.close(watching)

    def _open_log(self, account: ServerAccount) -> int:
        """Open the server's log to append to it. A log that has become long is put aside, and the one before it is
        deleted."""
        if self.log.is_file() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_name("log.1"))
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
        os.fchmod(log, FILE_MODE)
        if not account.is_ours:
            os.fchown(log, account.uid, account.gid)
        return log

    def _last_words(self) -> str:
        """The last line of the log that says why the server ended."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LOG_END_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if "FATAL" in line or "PANIC" in line), "it said nothing")


def _kept_open(pipe: Path) -> int:
    """A pipe that nobody writes to: whoever reads from it learns when the last process that keeps it open has ended."""
    with suppress(FileExistsError):
        os.mkfifo(pipe, FILE_MODE)
        give_to_owner_of_folder(pipe)
    return os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
