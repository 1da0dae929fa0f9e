"""The folder of the server's socket: the data directory, or a short private folder where that path is too long."""

import os
import stat
import sys
import tempfile
from pathlib import Path

from safelight.db.embedded.account import ServerAccount
from safelight.db.embedded.errors import DatabaseDown
from safelight.private_files import FOLDER_MODE, write_private

SOCKET = ".s.PGSQL.5432"
PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103
PREFIX = "safelight-"
LAST_RESORT = "/tmp"  # noqa: S108 - for a folder with a random name, and closed to others


def socket_folder(data: Path, note: Path, account: ServerAccount) -> Path:
    """`note` is the file of the home that remembers a short folder, so that each process of the home finds it again."""
    if is_possible(data):
        return data
    known = Path(note.read_text()) if note.is_file() else None
    if known and not os.path.lexists(known):  # the system tidied it away; clients know it by this name
        known.mkdir(mode=FOLDER_MODE)
        account.give(known)
    if known and _is_private(known, account):
        return known
    fresh = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_short_parent()))
    account.give(fresh)
    write_private(note, str(fresh))
    return fresh


def is_possible(folder: Path) -> bool:
    """A comma ends an address in a DSN, and cannot be written otherwise."""
    return len(os.fsencode(folder / SOCKET)) <= PATH_BYTES_MAX and "," not in str(folder)


def _is_private(folder: Path, account: ServerAccount) -> bool:
    """It is what we made: no link, of the server's account, and closed to all others."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    is_closed = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == FOLDER_MODE
    return is_closed and found.st_uid == account.uid and is_possible(folder)


def _short_parent() -> str:
    for parent in (tempfile.gettempdir(), LAST_RESORT):
        if is_possible(Path(parent) / f"{PREFIX}12345678"):
            return parent
    raise DatabaseDown(f"no path is short enough for a socket: neither TMPDIR nor {LAST_RESORT}")
