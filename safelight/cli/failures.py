"""Commands that list failed and stuck generations: `failures`, `stuck`."""

from typing import Annotated, Any

import typer

from safelight import terminal
from safelight.api.routes.failures import report
from safelight.cli import operator_views
from safelight.cli.shared import AsJson, command_list, read_database
from safelight.config import Settings
from safelight.db.operations import failures
from safelight.db.operations.failures import Kind, Question
from safelight.ops.queue_watch import read_status
from safelight.pipelines.engine.reaper import patience_with

commands = command_list()

OfUser = Annotated[str | None, typer.Option("--user", help="Only of this user: a user id or a pass id.")]
Most = Annotated[int, typer.Option("--limit", min=1, max=failures.LIMIT_MAX, help="Number of generations.")]


@commands.command("failures")
def list_failures(
    status: Annotated[Kind, typer.Option(help="Kind of generations.")] = Kind.ALL,
    user: OfUser = None,
    hours: Annotated[int, typer.Option(min=1, max=failures.HOURS_MAX, help="Age in hours, at most.")] = (
        failures.HOURS_DEFAULT
    ),
    limit: Most = failures.LIMIT_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """List failed, cancelled and stuck generations, newest first. Stuck ones are listed whatever their age."""
    _show_failures(Question(status, hours, limit, user_id=user), as_json=as_json)


@commands.command("stuck")
def list_stuck(user: OfUser = None, limit: Most = failures.LIMIT_DEFAULT, as_json: AsJson = False) -> None:
    """List generations without a live worker or a queued job, or past their deadline."""
    _show_failures(Question(Kind.STUCK, limit=limit, user_id=user), as_json=as_json)


def _show_failures(question: Question, *, as_json: bool) -> None:
    patience = patience_with(Settings().worker_heartbeat_seconds)

    async def read(conn: Any) -> Any:
        found = await failures.read(conn, question, patience)
        ids = [row["id"] for row in found.generations]
        causes = await failures.causes(conn, ids)
        status = await read_status(conn, patience.dead_after_seconds)
        return report(found, await failures.stacks(conn, ids)), causes, status.workers_alive > 0

    found, causes, is_worker_alive = read_database(read)
    if as_json:
        terminal.print_json(found)
        return
    operator_views.show_failures(found, causes, is_worker_alive=is_worker_alive)
