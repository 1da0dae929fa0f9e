"""Commands that list failed and stuck generations: `failures`, `stuck`."""

from typing import Annotated

import typer

from safelight.api.routes.failures import report
from safelight.cli import operator_views, output
from safelight.cli.shared import AsJson, command_list, read_database
from safelight.config import Settings
from safelight.db.connection.database import Connection
from safelight.db.generations.queue_status import QueueStatus
from safelight.db.operations import failures
from safelight.db.operations.failures import Kind, Question
from safelight.pipelines.engine.reaper import stuck_thresholds
from safelight.reports import failures as reports
from safelight.reports import queue
from safelight.reports.failures import FailureReport

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
    patience = stuck_thresholds(Settings().worker_heartbeat_seconds)

    async def read(conn: Connection) -> tuple[FailureReport, QueueStatus]:
        status = await queue.read(conn, patience.dead_after_seconds)
        return await reports.for_operators(conn, question, patience), status

    found, status = read_database(read)
    if as_json:
        output.print_json(report(found).model_dump())
        return
    operator_views.show_failures(found, is_worker_alive=status.workers_alive > 0)
