"""Commands that maintain stored files: delete temporary and orphaned ones, verify results."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from safelight.app import App
from safelight.cli import output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list
from safelight.db.connection.database import Database
from safelight.db.operations import audit
from safelight.ops import maintenance
from safelight.ops.maintenance import SweepResult

Result = TypeVar("Result")
Delete = Annotated[bool, typer.Option("--delete", help="Delete the files. Without it they are only listed.")]

commands = command_list()


@commands.command("expire")
def expire(
    hours: Annotated[
        float, typer.Option(min=0, max=maintenance.TEMP_HOURS_MAX, help="Age in hours.")
    ] = maintenance.TEMP_HOURS,
    delete: Delete = False,
    as_json: AsJson = False,
) -> None:
    """Delete temporary files (temp/…) older than --hours."""
    found = _tidied(
        "expire", hours, lambda app, db: maintenance.delete_expired(db, app.assets(), hours=hours, delete=delete)
    )
    _show(found, "expired", as_json=as_json)


@commands.command("sweep")
def sweep(
    hours: Annotated[float, typer.Option(min=1, max=8760, help="Age in hours.")] = maintenance.ORPHAN_HOURS,
    delete: Delete = False,
    as_json: AsJson = False,
) -> None:
    """Delete orphaned results older than --hours, and thumbnails without an original."""
    found = _tidied(
        "sweep", hours, lambda app, db: maintenance.delete_orphans(db, app.assets(), hours=hours, delete=delete)
    )
    _show(found, "orphaned", as_json=as_json)


@commands.command("verify")
def verify(
    files_max: Annotated[
        int, typer.Option("--files", min=1, max=1_000_000, help="Number of results, newest first.")
    ] = 1000,
    as_json: AsJson = False,
) -> None:
    """Read the newest results and compare their hashes. Exits with 1 if one is missing or changed."""
    report = _with_database(lambda app, db: maintenance.integrity(db, app.assets(), files_max=files_max))
    if as_json:
        output.print_json(report.as_json())
    else:
        output.console.print(
            f"{report.overall_status}: {report.valid} of {report.files_validated} results are intact"
            f" ({report.total_size_bytes / 1e6:.1f} MB read), {report.missing_files} are missing,"
            f" {report.invalid} are changed or unreadable"
        )
        for issue in report.integrity_issues:
            output.console.print(f"  {issue['issue']}  {issue['file_path']}", soft_wrap=True)
    if report.integrity_issues:
        raise typer.Exit(1)


def _tidied(command: str, hours: float, work: Callable[[App, Database], Awaitable[SweepResult]]) -> SweepResult:
    """Run the work, and record in the audit what it deleted."""

    async def on_record(app: App, db: Database) -> SweepResult:
        found = await work(app, db)
        if found.deleted:
            operator = audit.at_command_line(f"safelight assets {command} --delete")
            asked, done = {"older_than_hours": hours}, {"files": found.files, "bytes": found.bytes, "keys": found.keys}
            async with db.transaction() as conn:
                await audit.record(conn, operator, f"assets.{command}", target=None, before=asked, after=done)
        return found

    return _with_database(on_record)


def _with_database(work: Callable[[App, Database], Awaitable[Result]]) -> Result:
    app = open_app(console_lines=False)
    app.start_database()

    async def run() -> Result:
        await app.migrate()
        async with app.database() as db:
            return await work(app, db)

    return asyncio.run(run())


def _show(found: SweepResult, what: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(found.as_json())
        return
    for key in found.keys:
        output.console.print(f"  {key}", soft_wrap=True)
    done = "deleted" if found.deleted else "not deleted; use --delete" if found.files else "nothing to do"
    output.console.print(f"{found.files} files ({found.bytes / 1e6:.1f} MB) {what}: {done}")
