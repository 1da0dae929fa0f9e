"""`as_account.py ACCOUNT FIRST_HOME HOME ARGUMENTS`: `safelight ARGUMENTS` with one home as root, then with another as
the account. It is one process, begun by root, because the interpreter may be where only root can read."""

import os
import pwd
import sys
from pathlib import Path

from safelight.cli import main
from safelight.db import embedded


def run(home: str, arguments: list[str]) -> int:
    os.environ["SAFELIGHT_HOME"] = home
    sys.argv = ["safelight", *arguments]
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stdout.write(ended.code)
        return int(ended.code != 0)
    return 0


def run_as(account: pwd.struct_passwd, home: str, arguments: list[str]) -> int:
    os.chdir("/")
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    return run(home, arguments)


if __name__ == "__main__":
    name, first_home, home, *arguments = sys.argv[1:]
    code = run(first_home, arguments)
    child = os.fork()
    if child == 0:
        try:
            code = run_as(pwd.getpwnam(name), home, arguments)
            embedded.stop(Path(home))
            sys.stdout.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    sys.exit(code or os.waitstatus_to_exitcode(status))
