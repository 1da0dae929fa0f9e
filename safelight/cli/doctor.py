"""The command `doctor`: checks the invariants."""

import asyncio
from typing import Annotated

import typer

from safelight import terminal
from safelight.cli.shared import AsJson, open_app
from safelight.db.operations import audit
from safelight.ops.doctor import Repaired, Report

commands = typer.Typer()


@commands.command()
def doctor(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Repair what is safe: refunds, failure records, lost jobs, results of refunded generations."
        ),
    ] = False,
    assets: Annotated[
        bool, typer.Option("--assets", help="Also decode the newest files and compare their hashes.")
    ] = False,
    assets_max: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of files that --assets reads.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Check the invariants on the live database. Exits with 1 if one does not hold."""
    app = open_app()
    app.start_database()

    async def run() -> tuple[Repaired | None, Report]:
        async with app.database() as db:
            files, doctor = assets_max if assets else 0, app.doctor(db)
            operator = audit.at_command_line("safelight doctor --fix")
            mended = await doctor.repair(operator, files=files) if fix else None
            return mended, await doctor.check(files=files)

    mended, findings = asyncio.run(run())
    if as_json:
        terminal.print_json(findings.as_json() | {"mended": mended and mended.as_json()})
    else:
        terminal.show_findings(findings, mended)
    if findings.violations:
        raise typer.Exit(1)
