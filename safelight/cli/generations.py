"""Commands for the database and for generations."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from safelight import telemetry, terminal
from safelight.app import App
from safelight.cli import backups
from safelight.cli.shared import AsJson, group, open_app, read_database
from safelight.db import embedded
from safelight.db.operations import audit
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.domain.statuses import Status
from safelight.ops.retry import GenerationRetry
from safelight.pipelines import cancel as cancellation
from safelight.pipelines.accept import Accepted
from safelight.pipelines.engine.queue import Queue
from safelight.reports import generation

GENERATIONS_SHOWN_MAX = 500

Found = TypeVar("Found")

commands = typer.Typer()
db_commands = group("The database.")
generations_commands = group("Generations and what happened in them.")
db_commands.command("dump")(backups.db_dump)
db_commands.command("restore")(backups.db_restore)
commands.add_typer(db_commands, name="db")
commands.add_typer(generations_commands, name="generations")


@db_commands.command("url")
def db_url() -> None:
    """Print the DSN of the running database, e.g. for `psql "$(safelight db url)"`."""
    app = open_app()
    dsn = app.settings.database_url or embedded.running_dsn(app.home)
    if dsn is None:
        raise NotFound("the embedded database is not running; start it with `safelight up`")
    print(dsn)  # noqa: T201 - the answer itself


@db_commands.command("status")
def db_status(as_json: AsJson = False) -> None:
    """Show the state of the embedded database. Exits with 1 if it does not run."""
    status = embedded.status(_embedded_home())
    terminal.show_database(status, as_json=as_json)
    raise typer.Exit(0 if status.url else 1)


@db_commands.command("stop")
def db_stop() -> None:
    """Stop the embedded database, e.g. one that a killed process left running."""
    home = _embedded_home()
    if not embedded.halt_if_unused(home):
        raise InvalidInput("the embedded database is in use: stop `safelight up` and other commands of this home first")
    terminal.console.print("the embedded database is stopped")


def _embedded_home() -> Path:
    app = open_app()
    if app.settings.database_url:
        raise InvalidInput("SAFELIGHT_DATABASE_URL is set: safelight does not manage that database")
    return app.home


@generations_commands.command("list")
def list_generations(
    pass_id: Annotated[str | None, typer.Option(help="Only of this customer.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those in this status, e.g. error.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=GENERATIONS_SHOWN_MAX)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest generations."""
    rows = read_database(lambda conn: generation.newest(conn, pass_id=pass_id, status=status, most=limit))
    if as_json:
        terminal.print_json([row.columns for row in rows])
        return
    terminal.show_generations(rows)


@generations_commands.command("show")
def show(generation_id: str, as_json: AsJson = False) -> None:
    """Show one generation, and each step with its time and outcome."""
    if as_json:
        stored = read_database(lambda conn: generation.stored(conn, generation_id))
        terminal.print_json(_required(stored, generation_id))
        return
    details = read_database(lambda conn: generation.details(conn, generation_id))
    terminal.show_generation(_required(details, generation_id))


@generations_commands.command("logs")
def logs(generation_id: str, as_json: AsJson = False) -> None:
    """Show the job log of a generation: the lines its customer saw."""
    lines = _required(read_database(lambda conn: generation.lines(conn, generation_id)), generation_id)
    if as_json:
        terminal.print_json([asdict(line) for line in lines])
        return
    terminal.show_lines(lines)


def _required(found: Found | None, generation_id: str) -> Found:
    if found is None:
        raise NotFound(f"there is no generation {generation_id!r}")
    return found


@generations_commands.command("cancel")
def cancel(generation_id: str, as_json: AsJson = False) -> None:
    """Cancel a generation: stop the provider and refund what was not delivered. Final."""
    app = open_app()
    app.start_database()

    async def run() -> cancellation.Cancelling:
        await app.migrate()
        async with app.database() as db:
            operator = audit.at_command_line("safelight generations cancel")
            return await cancellation.cancel(db, generation_id, operator)

    terminal.show_cancelling(asyncio.run(run()), as_json=as_json)


@generations_commands.command("retry")
def retry(
    generation_id: str,
    free: Annotated[bool, typer.Option("--free", help="Do not charge the customer for it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Retry a failed or cancelled generation: a new one for the same order, charged unless --free."""
    app = open_app()
    app.start_database()
    accepted = asyncio.run(_retry(app, generation_id, is_free=free))
    if as_json:
        terminal.print_json({**asdict(accepted), "retry_of": generation_id})
        return
    charged = "free of charge" if free else f"{accepted.credits_cost} credits charged"
    terminal.console.print(f"{accepted.generation_id}  queued; {charged}, balance {accepted.balance}", soft_wrap=True)
    terminal.console.print(f"follow it: safelight generations logs {accepted.generation_id}", soft_wrap=True)


async def _retry(app: App, generation_id: str, *, is_free: bool) -> Accepted:
    await app.migrate()
    async with app.database() as db:
        queue, on = Queue(db), app.on(db)
        await on.runtime.reload()
        await queue.open()
        try:
            retrying = GenerationRetry(db, on.acceptance(queue), app.assets(), app.sealer())
            operator = audit.at_command_line("safelight generations retry")
            with telemetry.about(telemetry.LogIds(request_id=operator.request_id)):
                accepted = await retrying.retry(generation_id, operator, is_free=is_free)
        finally:
            await queue.close()
    return accepted
