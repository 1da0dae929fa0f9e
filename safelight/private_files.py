"""Files and folders that only their owner may read, independent of the umask and of their earlier mode."""

import os
import pwd
import stat
from pathlib import Path

from safelight.domain.errors.base import ConfigError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_KEPT_IN_HOME = ("secret", "admin-token", "ops-spool", "private-assets", "run")
_OF_THE_SYSTEM = frozenset(
    map(Path, ("/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/usr", "/var", "/var/lib"))
)


def open_home(home: Path) -> None:
    """Create the home folder, or make an existing one private. A folder that also holds other things keeps its mode;
    our files in it are made private all the same.

    Raises:
        ConfigError: there is something else in its place, or it cannot be made.
    """
    try:
        if not home.exists():
            make_private_folder(home)
        if os.access(home, os.W_OK):
            if not _is_shared(home):
                make_private(home)
            for name in _KEPT_IN_HOME:
                make_private_tree(home / name)
    except OSError as error:
        raise ConfigError(f"SAFELIGHT_HOME: {home} cannot be used: {error.strerror}; choose another folder") from error


def make_private_folder(path: Path) -> None:
    """Create the folder and its missing parents; an existing folder is made private if it is ours."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        give_to_owner_of_folder(folder)
    make_private(path)


def make_private(path: Path) -> None:
    """Remove the rights of others from a file or folder of ours. Links, and files of other accounts, are left alone."""
    if not path.exists() or path.is_symlink():
        return
    found = path.stat()
    if _is_open_to_others(found):
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)


def make_private_tree(path: Path) -> None:
    """As `make_private`, for a whole tree. A folder that is private already is not entered."""
    if path.is_dir() and not path.is_symlink() and _is_open_to_others(path.stat()):
        for each in path.rglob("*"):
            make_private(each)
    make_private(path)


def write_private(path: Path, text: str) -> None:
    """Write the whole file; other accounts cannot read it at any moment."""
    with open(path, "w", opener=open_private, encoding="utf-8") as file:
        file.write(text)


def open_private(path: str | Path, flags: int) -> int:
    """An `opener` for `open`: a new file is private, and an existing one becomes private if it is ours."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    found = os.fstat(descriptor)
    if _is_open_to_others(found):
        os.fchmod(descriptor, FILE_MODE)
    if found.st_uid == os.geteuid() == 0:
        os.fchown(descriptor, Path(path).absolute().parent.stat().st_uid, -1)
    return descriptor


def give_to_owner_of_folder(path: Path) -> None:
    """If root creates the file, give it to the owner of its folder."""
    if os.geteuid() == 0:
        os.chown(path, path.absolute().parent.stat().st_uid, -1, follow_symlinks=False)


def _is_open_to_others(found: os.stat_result) -> bool:
    return bool(found.st_mode & _OTHERS) and found.st_uid == os.geteuid()


def _is_shared(home: Path) -> bool:
    """True for a folder of the system, a login folder or a parent of one, a folder that anybody may write to, or one
    that holds files of other accounts. The data folder of the server, which has an account of its own, does not
    count."""
    found = home.stat()
    if home in _OF_THE_SYSTEM or found.st_mode & stat.S_ISVTX or _is_above_login(home, found.st_uid):
        return True
    return any(path.lstat().st_uid != found.st_uid for path in home.iterdir() if path.name != "postgres")


def _is_above_login(home: Path, uid: int) -> bool:
    try:
        return Path(pwd.getpwuid(uid).pw_dir).is_relative_to(home)
    except KeyError:
        return False
