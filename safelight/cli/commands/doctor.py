"""The command `doctor`: checks the invariants."""

import asyncio
from typing import Annotated

import typer

from safelight.cli import output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list
from safelight.db.operations import audit
from safelight.db.schema.problems import INVARIANTS
from safelight.ops.doctor import EXAMPLES, Repaired, Report

commands = command_list()


@commands.command("doctor")
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
            files, doctor = assets_max if assets else 0, app.on(db).doctor
            operator = audit.at_command_line("safelight doctor --fix")
            repaired = await doctor.repair(operator, files=files) if fix else None
            return repaired, await doctor.check(files=files)

    repaired, findings = asyncio.run(run())
    if as_json:
        output.print_json(findings.as_json() | {"mended": repaired and repaired.as_json()})
    else:
        _show_findings(findings, repaired)
    if findings.violations:
        raise typer.Exit(1)


def _show_findings(findings: Report, repaired: Repaired | None) -> None:
    if repaired:
        output.console.print(
            f"Repaired: {repaired.failures} failures recorded and refunded ({repaired.credits} credits),"
            f" {repaired.generations} generations queued again or ended{repaired.queue_warning},"
            f" {repaired.results} refunded results deleted, {repaired.views} views set to security_invoker.",
            soft_wrap=True,
        )
    for number, sentence in INVARIANTS.items():
        violations = [found for found in findings.violations if found.problem.invariant == number]
        output.console.print(
            output.line(output.mark(holds=not violations), f" {number:2d}  {sentence}"), soft_wrap=True
        )
        for found in violations:
            count = (str(found.count), "red")
            output.console.print(output.line("      ", count, f" × {found.problem.description}, e.g."), soft_wrap=True)
            for id in found.ids[:EXAMPLES]:
                output.console.print(f"        {id}", soft_wrap=True)
            output.console.print(f"      mend: {found.problem.remedy}", soft_wrap=True)
    for warning in findings.warnings:
        output.console.print(output.line(("!", "yellow"), f" {warning}"), soft_wrap=True)
    output.console.print(f"{_verdict(findings)} ({findings.seconds:.1f} s)")


def _verdict(findings: Report) -> str:
    broken = sum(1 for count in findings.counts().values() if count)
    return (
        f"{broken} of {len(INVARIANTS)} invariants do not hold" if broken else f"All {len(INVARIANTS)} invariants hold"
    )
