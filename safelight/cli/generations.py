"""The database, credits, generations, and what went wrong with them."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from safelight import terminal
from safelight.api.failures import report
from safelight.cli import backups
from safelight.cli.shared import AsJson, group, open_app, read_database
from safelight.config import Settings
from safelight.db import audit, embedded, failures, generations, job_log, runs
from safelight.db.failures import Kind, Question
from safelight.domain import passes
from safelight.domain.errors import InvalidInput, NotFound
from safelight.domain.identities import TargetCustomer
from safelight.domain.statuses import Status
from safelight.ops.credits import Adjustment, adjust_credits
from safelight.pipelines import cancel as cancellation
from safelight.pipelines.reaper import patience_with

GENERATIONS_SHOWN_MAX = 500

commands = typer.Typer()
db_commands = group("The database.")
credits_commands = group("The credits ledger.")
generations_commands = group("Generations and what happened in them.")
db_commands.command("dump")(backups.db_dump)
db_commands.command("restore")(backups.db_restore)
commands.add_typer(db_commands, name="db")
commands.add_typer(credits_commands, name="credits")
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


@credits_commands.command("grant")
def grant(
    pass_id: Annotated[str, typer.Argument(help="The customer's pass id; made where it is new.")],
    amount: Annotated[int, typer.Argument(min=1, max=1_000_000, metavar="N", help="How many credits.")],
) -> None:
    """Give credits to a customer, as a row of the ledger."""
    stated = passes.normal_form(pass_id) or ""
    if not 0 < len(stated) <= passes.PASS_ID_CHARS_MAX:
        raise InvalidInput(f"PASS_ID: 1 to {passes.PASS_ID_CHARS_MAX} characters, and not 'anonymous'")
    app = open_app()
    app.start_database()

    async def run() -> int:
        await app.migrate()
        async with app.database() as db, db.transaction() as conn:
            operator = audit.at_command_line("safelight credits grant")
            ref = ("manual", operator.request_id)
            adjustment = Adjustment(amount, "manual-topup", "admin", ref, "credits.grant")
            days = app.settings.credits_expire_days
            moved = await adjust_credits(conn, operator, TargetCustomer(stated), adjustment, expire_days=days)
            return moved.after

    terminal.console.print(f"{stated}: +{amount}, balance {asyncio.run(run())}")


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
        return await generations.get(conn, generation_id), await runs.steps_of(conn, generation_id)

    row, steps = read_database(read)
    if row is None:
        raise NotFound(f"there is no generation {generation_id!r}")
    if as_json:
        terminal.print_json({"generation": row, "steps": steps})
        return
    terminal.show_generation(row, steps)


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


# --- what went wrong -------------------------------------------------------------------------------------------------

OfUser = Annotated[str | None, typer.Option("--user", help="Only this user's: a user or a pass id.")]
Most = Annotated[int, typer.Option("--limit", min=1, max=failures.LIMIT_MAX, help="How many to show.")]


@commands.command("failures")
def list_failures(
    status: Annotated[Kind, typer.Option(help="Which: all of them, or one kind.")] = Kind.ALL,
    user: OfUser = None,
    hours: Annotated[int, typer.Option(min=1, max=failures.HOURS_MAX, help="How far back they were made.")] = (
        failures.HOURS_DEFAULT
    ),
    limit: Most = failures.LIMIT_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Failed, cancelled and stuck generations, newest first; what is stuck shows however old it is."""
    _show_failures(Question(status, hours, limit, user_id=user), as_json=as_json)


@commands.command("stuck")
def list_stuck(user: OfUser = None, limit: Most = failures.LIMIT_DEFAULT, as_json: AsJson = False) -> None:
    """Generations that nobody is at work on, or that are past their deadline."""
    _show_failures(Question(Kind.STUCK, limit=limit, user_id=user), as_json=as_json)


def _show_failures(question: Question, *, as_json: bool) -> None:
    patience = patience_with(Settings().worker_heartbeat_seconds)

    async def read(conn: Any) -> dict[str, Any]:
        found = await failures.read(conn, question, patience)
        return report(found, await failures.stacks(conn, [row["id"] for row in found.generations]))

    found = read_database(read)
    if as_json:
        terminal.print_json(found)
        return
    terminal.show_failures(found)
