"""Secrets that are kept in files of the home: created once, atomically, readable by their owner only."""

import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from safelight import telemetry
from safelight.domain.errors.base import ConfigError
from safelight.private_files import give_to_owner_of_folder, make_private_folder

SECRET_BYTES = 32
FILE_BYTES_MAX = 4096
OWNER_ONLY = 0o600
OF_OTHERS = 0o077


def read_or_create(path: Path) -> str:
    """The text of the file; if there is no file, it is created with a new random secret. Raises ConfigError."""
    try:
        if not os.path.lexists(path):
            _create(path)
        return _read(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror or error}; {remedy(path)}") from error


def remedy(path: Path) -> str:
    return f"restore it from a backup, or delete {path} and start again to have a new one made"


def _create(path: Path) -> None:
    """Create the file. It and its folder are on disk when this returns."""
    if not path.parent.exists():
        make_private_folder(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        give_to_owner_of_folder(fresh)
        with suppress(FileExistsError):  # another process of this home was faster: its secret is used
            path.hardlink_to(fresh)
    finally:
        fresh.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    content = _content(path)
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} has more than {FILE_BYTES_MAX} bytes; {remedy(path)}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text; {remedy(path)}") from error


def _content(path: Path) -> bytes:
    """The content of the file; a pipe or a device is refused, not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{path} is no regular file; {remedy(path)}")
        _keep_to_owner(path, descriptor, mode)
        return os.read(descriptor, FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)


def _keep_to_owner(path: Path, descriptor: int, mode: int) -> None:
    """If other accounts could read the file, remove their rights and log a warning: they may know the secret."""
    if not mode & OF_OTHERS:
        return
    try:
        os.fchmod(descriptor, OWNER_ONLY)
    except PermissionError as error:
        raise ConfigError(
            f"{path} can be read or changed by other users (mode {stat.S_IMODE(mode):o}); `chmod 600 {path}`"
        ) from error
    telemetry.warning(
        telemetry.Tag.API,
        f"{path} could be read or changed by other users (mode {stat.S_IMODE(mode):o}); it is 600 now."
        " If others may have read it, delete it and start again to have a new one made.",
    )
