"""The database, and generations."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from safelight import telemetry, terminal
from safelight.app import App
from safelight.cli import backups
from safelight.cli.shared import AsJson, group, open_app, read_database
from safelight.db import embedded
from safelight.db.generations import generations, job_log, runs
from safelight.db.operations import audit
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.domain.statuses import Status
from safelight.ops.retry import GenerationRetry
from safelight.pipelines import cancel as cancellation
from safelight.pipelines.accept import Accepted
from safelight.pipelines.engine.queue import Queue

GENERATIONS_SHOWN_MAX = 500

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
    """Say how the embedded database is; ends with 1 where it does not run."""
    status = embedded.status(_embedded_home())
    terminal.show_database(status, as_json=as_json)
    raise typer.Exit(0 if status.url else 1)


@db_commands.command("stop")
def db_stop() -> None:
    """Stop the embedded database, which a process that was killed may have left behind."""
    home = _embedded_home()
    if not embedded.halt_if_unused(home):
        raise InvalidInput("the embedded database is in use: end `safelight up` and other commands of this home first")
    terminal.console.print("the embedded database is stopped")


def _embedded_home() -> Path:
    app = open_app()
    if app.settings.database_url:
        raise InvalidInput("SAFELIGHT_DATABASE_URL is set: that database is not ours to look after")
    return app.home


@generations_commands.command("list")
def list_generations(
    pass_id: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those in this status, e.g. error.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=GENERATIONS_SHOWN_MAX)] = 50,
    as_json: AsJson = False,
) -> None:
    """The newest generations."""
    rows = read_database(lambda conn: generations.newest(conn, pass_id=pass_id, status=status, most=limit))
    if as_json:
        terminal.print_json(rows)
        return
    terminal.show_generations(rows)


@generations_commands.command("show")
def show(generation_id: str, as_json: AsJson = False) -> None:
    """One generation: what it is, and each step with its time and outcome."""

    async def read(conn: Any) -> Any:
        row = await generations.get(conn, generation_id)
        if row is None:
            raise NotFound(f"there is no generation {generation_id!r}")
        retries = await generations.retries_of(conn, generation_id, pass_id=row["mg_pass_id"])
        return row, await runs.steps_of(conn, generation_id), retries

    row, steps, retries = read_database(read)
    if as_json:
        terminal.print_json({"generation": row, "steps": steps, "retries": retries})
        return
    terminal.show_generation(row, steps, retries)


@generations_commands.command("logs")
def logs(generation_id: str, as_json: AsJson = False) -> None:
    """The lines a waiting person saw."""

    async def read(conn: Any) -> Any:
        return await generations.get(conn, generation_id), await job_log.lines_after(conn, generation_id, 0)

    row, lines = read_database(read)
    if row is None:
        raise NotFound(f"there is no generation {generation_id!r}")
    if as_json:
        terminal.print_json(lines)
        return
    terminal.show_lines(lines)


@generations_commands.command("cancel")
def cancel(generation_id: str, as_json: AsJson = False) -> None:
    """Stop a generation: reaches the provider, refunds what was not delivered, is final."""
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
    """Order a generation that failed or was cancelled again: a new one for the same order, charged unless --free."""
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
