"""The file descriptors of this process: their limit, and accepting connections when there is none left."""

import errno
import math
import os
import resource
import socket
import time
from collections.abc import Callable
from typing import Any

from safelight import telemetry

FILES_MAX = 65_536  # a higher limit is not used
FILES_RESERVED = 256  # for everything except clients' connections
NOTICE_SECONDS = 60.0
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)

Clock = Callable[[], float]


def raise_file_limit() -> int:
    """Raise the limit of open files as far as allowed, up to FILES_MAX. Returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft if soft != resource.RLIM_INFINITY else FILES_MAX


def room_for_connections() -> int:
    files = raise_file_limit()
    return files - min(FILES_RESERVED, files // 2)


class ListeningSocket(socket.socket):
    """A listening socket that accepts connections even if the process has no file descriptor left: with a spare one it
    accepts and closes them. Otherwise they would stay in the queue, and the event loop would spin."""

    def __init__(self, fileno: int, clock: Clock = time.monotonic) -> None:
        super().__init__(fileno=fileno)
        self._clock = clock
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)
        self._notice_at = -math.inf

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in OUT_OF_FILES or self._spare is None:
                raise
            self._close_next()
            raise BlockingIOError(errno.EAGAIN, "closed for want of files") from error

    def close(self) -> None:
        super().close()
        self._free_spare()

    def _close_next(self) -> None:
        self._free_spare()
        try:
            super().accept()[0].close()
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY)
            self._notify()

    def _free_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _notify(self) -> None:
        if self._clock() >= self._notice_at:
            self._notice_at = self._clock() + NOTICE_SECONDS
            telemetry.warning(telemetry.Tag.API, "Out of file descriptors: new connections are closed at once")
