"""Commands that maintain stored files: delete temporary and orphaned ones, verify results."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated

import typer

from safelight.cli import output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list, on_database
from safelight.db.connection.database import Database
from safelight.db.operations import audit
from safelight.ops import maintenance
from safelight.ops.maintenance import SweepResult

Delete = Annotated[bool, typer.Option("--delete", help="Delete the files. Without it they are only listed.")]
TempHours = Annotated[float, typer.Option(min=0, max=maintenance.TEMP_HOURS_MAX, help="Age in hours.")]
OrphanHours = Annotated[float, typer.Option(min=1, max=8760, help="Age in hours.")]
FilesMax = Annotated[int, typer.Option("--files", min=1, max=1_000_000, help="Number of results, newest first.")]

commands = command_list()


@commands.command("expire")
def expire(hours: TempHours = maintenance.TEMP_HOURS, delete: Delete = False, as_json: AsJson = False) -> None:
    """Delete temporary files (temp/…) older than --hours."""
    _sweep("expire", "expired", maintenance.delete_expired, hours, delete=delete, as_json=as_json)


@commands.command("sweep")
def sweep(hours: OrphanHours = maintenance.ORPHAN_HOURS, delete: Delete = False, as_json: AsJson = False) -> None:
    """Delete orphaned results older than --hours, and thumbnails without an original."""
    _sweep("sweep", "orphaned", maintenance.delete_orphans, hours, delete=delete, as_json=as_json)


@commands.command("verify")
def verify(files_max: FilesMax = 1000, as_json: AsJson = False) -> None:
    """Read the newest results and compare their hashes. Exits with 1 if one is missing or changed."""
    app = open_app(console_lines=False)
    report = on_database(app, lambda db: maintenance.integrity(db, app.resources.assets, files_max=files_max))
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


def _sweep(
    command: str, what: str, work: Callable[..., Awaitable[SweepResult]], hours: float, *, delete: bool, as_json: bool
) -> None:
    """Run the work, and record in the audit what it deleted."""
    app = open_app(console_lines=False)

    async def on_record(db: Database) -> SweepResult:
        found = await work(db, app.resources.assets, hours=hours, delete=delete)
        if found.deleted:
            operator = audit.at_command_line(f"safelight assets {command} --delete")
            asked, done = {"older_than_hours": hours}, {"files": found.files, "bytes": found.bytes, "keys": found.keys}
            async with db.transaction() as conn:
                await audit.record(conn, operator, f"assets.{command}", target=None, before=asked, after=done)
        return found

    found = on_database(app, on_record)
    if as_json:
        output.print_json(asdict(found))
        return
    for key in found.keys:
        output.console.print(f"  {key}", soft_wrap=True)
    done = "deleted" if found.deleted else "not deleted; use --delete" if found.files else "nothing to do"
    output.console.print(f"{found.files} files ({found.bytes / 1e6:.1f} MB) {what}: {done}")
