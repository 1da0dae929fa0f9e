"""Restarts of the embedded database, as the ops plane keeps them."""

import os
import sys
from pathlib import Path

from safelight.db.embedded.supervisor import Restarted
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.categories import Category
from safelight.domain.ids import new_id


def restart_row(restarted: Restarted) -> OpsError:
    return OpsError(
        category=Category.API_ERROR,
        level="warn",
        code="DATABASE_RESTARTED",
        message=f"The embedded database runs again after {restarted.seconds:.1f} s: {restarted.reason}",
        request_id=f"process_{os.getpid()}_{new_id()}",
        route="process",
        method=Path(sys.argv[0]).name,
        http_status=500,
        action="database.restarted",
        extra={"tries": restarted.tries},
    )
