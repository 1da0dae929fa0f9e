"""The Unix account that runs the server: PostgreSQL refuses to run as root, so root lends it to another account."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.db.embedded.errors import DatabaseDown

SERVER_ACCOUNT = "pgserver"


@dataclass(frozen=True, slots=True)
class ServerAccount:
    uid: int
    gid: int
    name: str

    @property
    def is_ours(self) -> bool:
        return self.uid == os.geteuid()

    def as_child(self) -> dict[str, Any]:
        """The arguments of `subprocess` that make a child run under the account."""
        return {} if self.is_ours else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        if not self.is_ours:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def account_for(home: Path, data: Path) -> ServerAccount:
    """The account that owns the data; for new data, that of the home. Where that is root, an account of its own.

    Raises:
        DatabaseDown: the data belongs to an account that cannot run the server.
    """
    ours = os.geteuid()
    owner = data.stat().st_uid if data.exists() else home.stat().st_uid
    if ours == 0:
        return _server_account() if owner == 0 else _named(owner)
    if data.exists() and owner != ours:
        raise DatabaseDown(f"{data} belongs to {_name_or_number(owner)}: start safelight as that account or as root")
    return _named(ours)


def names_of_users(home: Path, account: ServerAccount) -> list[str]:
    """The accounts that may connect: root, the owner of the home and the server's account."""
    uids = dict.fromkeys((0, home.stat().st_uid, account.uid))
    return [name for name in map(_name_or_number, uids) if not name.isdigit()]


def _server_account() -> ServerAccount:
    for _ in range(2):
        try:
            return _account(pwd.getpwnam(SERVER_ACCOUNT))
        except KeyError:
            _add_server_account()
    raise DatabaseDown(
        f"root cannot run PostgreSQL, and the account {SERVER_ACCOUNT} could not be made: make it yourself"
    )


def _add_server_account() -> None:
    """Add the account. If two processes do it at once, one of them fails, and finds the account that the other made."""
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVER_ACCOUNT]
    try:
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603
    except OSError as error:
        raise DatabaseDown(
            f"root cannot run PostgreSQL and useradd is not there ({error.strerror}): add the account"
            f" {SERVER_ACCOUNT}, or start safelight as another account"
        ) from error


def _named(uid: int) -> ServerAccount:
    try:
        return _account(pwd.getpwuid(uid))
    except KeyError as error:
        raise DatabaseDown(
            f"PostgreSQL needs an account with a name, and the user id {uid} has none: add one"
        ) from error


def _account(entry: pwd.struct_passwd) -> ServerAccount:
    return ServerAccount(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _name_or_number(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
