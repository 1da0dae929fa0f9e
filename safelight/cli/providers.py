"""How the providers are."""

import typer

from safelight import terminal
from safelight.cli.shared import AsJson, read_database
from safelight.db import providers as provider_rows

commands = typer.Typer()


@commands.command("providers")
def show(as_json: AsJson = False) -> None:
    """Circuit, load and today's cost of each provider that has limits in the registry."""
    rows = read_database(provider_rows.health)
    if as_json:
        terminal.print_json(rows)
        return
    if not rows:
        terminal.console.print("no adapter with limits was asked for anything yet")
    for row in rows:
        failures = f", {row['failures']} failures in a row: {row['last_failure']}" if row["failures"] else ""
        terminal.console.print(
            f"{row['adapter']}: circuit {row['circuit']}, {row['under_way']} under way,"
            f" {row['spent_today_usd']:.2f} USD today{failures}",
            soft_wrap=True,
        )
