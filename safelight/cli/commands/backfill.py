"""The backfill from the tables of an older backend."""

from typing import Annotated

import typer

from safelight.cli import output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list, on_database
from safelight.db.connection.database import Database
from safelight.db.operations import audit
from safelight.domain.errors.base import InvalidInput
from safelight.ops import backfill as old
from safelight.ops.backfill import Backfill, Legacy, ParityReport, TableResult

commands = command_list()


@commands.command("backfill")
def backfill(
    source: Annotated[
        str | None, typer.Option("--from", help="URL of the old database. Default: our own.", show_default=False)
    ] = None,
    schema: Annotated[str, typer.Option(help="The schema that holds the old tables.")] = old.SCHEMA,
    batch: Annotated[int, typer.Option(min=1, max=old.BATCH_ROWS_MAX, help="Rows per transaction.")] = old.BATCH_ROWS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write each batch and roll it back.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare both sides. Exits with 1 if they differ.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy the rows of an older backend's tables, or compare them. Running it again changes nothing."""
    if source is None and schema == "public":
        raise InvalidInput(
            "--schema: 'public' holds our own tables; move the old ones to another schema, or say --from."
        )
    if check and dry_run:
        raise InvalidInput("--check: it writes nothing, so there is nothing to try with --dry-run.")
    app = open_app(console_lines=False)

    async def run(db: Database) -> list[TableResult] | ParityReport:
        async with Legacy.opened(source or app.dsn, schema) as legacy:
            work = Backfill(db, legacy, app.redactor, batch_rows=batch)
            if check:
                return await work.check()
            with output.progress_bars() as tell:
                return await work.run(tell, operator=audit.at_command_line("safelight backfill"), dry_run=dry_run)

    outcome = on_database(app, run)
    if isinstance(outcome, ParityReport):
        output.show_parity(outcome, as_json=as_json)
        if outcome.differences:
            raise typer.Exit(1)
    else:
        output.show_taken(outcome, dry_run=dry_run, as_json=as_json)
