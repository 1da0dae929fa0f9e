"""The data directory of the embedded server: made by initdb, checked before each start, closed to other accounts."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from safelight.db.embedded.account import ServerAccount
from safelight.db.embedded.errors import DatabaseDown
from safelight.private_files import FOLDER_MODE

VERSION = "18"
SUPERUSER = "postgres"
FIRST_OID_OF_USERS = 16384  # PostgreSQL numbers below it what initdb makes
INITDB_SECONDS_MAX = 120.0
OWN_FOLDER = Path("/proc/self/cwd")  # of whichever process uses the path
_OF_INITDB = re.compile(r"PG_VERSION|base|global|pg_\w+(\.conf)?|postgresql(\.auto)?\.conf|postmaster\.pid")
_OF_OURS = re.compile(r"log(\.1)?|\.handle_pids\.json|\.s\.PGSQL\.\d+(\.lock)?|safelight-\w+")

_HBA = """# Written by safelight at each start. The accounts that pg_ident.conf names may connect, through the socket.
local all all peer map=safelight
local replication all peer map=safelight
"""
_IDENT = "# Written by safelight at each start.\n"


def prepare(data: Path, account: ServerAccount, initdb: Path, users: Iterable[str], lock: int) -> None:
    """Make the directory if there is none, and check it. `lock` is held by initdb too, should it survive us.

    Raises:
        DatabaseDown: it holds what this server cannot use; nothing in it was changed.
    """
    if not data.exists():
        data.mkdir(mode=FOLDER_MODE)
        account.give(data)
    _must_belong_to(data, account)
    if not is_complete(data):
        _clear(data)
        _initialise(data, account, initdb, lock)
    _must_have_our_version(data)
    data.chmod(FOLDER_MODE)
    write_access(data, account, users)


def path_for(account: ServerAccount, data: Path) -> Path:
    """By this path a program that begins in the directory finds it, even if it may not enter the folders above."""
    return data if account.is_ours or not OWN_FOLDER.exists() else OWN_FOLDER


def write_access(data: Path, account: ServerAccount, users: Iterable[str]) -> bool:
    """Say who may connect. Returns whether that was another rule before."""
    rules = "".join(f'safelight "{name}" all\n' for name in users)
    return any(
        [_replace(data / "pg_hba.conf", _HBA, account), _replace(data / "pg_ident.conf", _IDENT + rules, account)]
    )


def _replace(path: Path, text: str, account: ServerAccount) -> bool:
    if path.is_file() and not path.is_symlink() and path.read_text(errors="replace") == text:
        return False
    descriptor, fresh = tempfile.mkstemp(prefix="safelight-", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    account.give(Path(fresh))
    Path(fresh).replace(path)
    return True


def _must_belong_to(data: Path, account: ServerAccount) -> None:
    owner = data.stat().st_uid
    if owner == account.uid:
        return
    if any(data.iterdir()) or data.is_symlink():
        raise DatabaseDown(
            f"{data} must belong to {account.name}, which runs the server: chown -R {account.name} {data}"
        )
    account.give(data)


def is_complete(data: Path) -> bool:
    """A server has run on it, or it holds what no initdb makes. It is never initialised again."""
    return (data / "postmaster.opts").exists() or _holds_data(data)


def _holds_data(data: Path) -> bool:
    return any((data / "pg_tblspc").glob("*")) or any(
        int(number[0]) >= FIRST_OID_OF_USERS
        for path in (*(data / "base").glob("*"), *(data / "base").glob("*/*"))
        if (number := re.match(r"\d+", path.name))
    )


def _clear(data: Path) -> None:
    """Remove what an initdb that was killed left behind."""
    found = list(data.iterdir())
    foreign = [path.name for path in found if not (_OF_INITDB.fullmatch(path.name) or _OF_OURS.fullmatch(path.name))]
    if foreign:
        raise DatabaseDown(f"{data} is for the embedded database, and holds {sorted(foreign)[0]}: move that elsewhere")
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _initialise(data: Path, account: ServerAccount, initdb: Path, lock: int) -> None:
    options = ("-U", SUPERUSER, "--encoding=utf8", "--auth-local=peer", "--auth-host=reject")
    try:
        subprocess.run(  # noqa: S603 - our own command
            [initdb, "-D", path_for(account, data), *options],
            cwd=data,
            check=True,
            capture_output=True,
            text=True,
            timeout=INITDB_SECONDS_MAX,
            pass_fds=(lock,),
            **account.as_child(),
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(str(error.stderr).split())
        raise DatabaseDown(f"the embedded database could not be made in {data}: {said}") from error
    except subprocess.TimeoutExpired as error:
        raise DatabaseDown(
            f"the embedded database was not made within {INITDB_SECONDS_MAX:.0f} s; try again"
        ) from error


def _must_have_our_version(data: Path) -> None:
    file = data / "PG_VERSION"
    found = file.read_text(errors="replace").strip() if file.is_file() else ""
    if found == VERSION:
        return
    if found.isdigit():
        raise DatabaseDown(
            f"{data} was made by PostgreSQL {found}, and this version of safelight has {VERSION}: dump it with the"
            f" version of safelight that made it, and restore the dump here (see docs/operating.md)"
        )
    raise DatabaseDown(
        f"{file} is damaged: if the data is PostgreSQL {VERSION}'s, write {VERSION} into it; else restore a backup"
    )
