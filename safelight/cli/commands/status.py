"""The command `status`: the state of workers and queues."""

import typer

from safelight.cli import operator_views
from safelight.cli.shared import AsJson, command_list, read_database
from safelight.config import Settings
from safelight.pipelines.engine.reaper import stuck_thresholds
from safelight.reports import queue

commands = command_list()


@commands.command("status")
def show_status(as_json: AsJson = False) -> None:
    """Show workers and queues. Exits with 1 if generations wait for a worker and none is alive."""
    patience = stuck_thresholds(Settings().worker_heartbeat_seconds)
    status = read_database(lambda conn: queue.read(conn, patience.dead_after_seconds))
    operator_views.show_status(status, as_json=as_json)
    raise typer.Exit(1 if status.is_stalled else 0)
