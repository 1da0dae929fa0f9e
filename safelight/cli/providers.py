"""The command `providers`: the adapter of each engine, and the state of the providers."""

import asyncio

from safelight import terminal
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list
from safelight.db.configuration import providers as provider_rows
from safelight.db.connection.database import Row
from safelight.pipelines.serving import ServedEngine

commands = command_list()


@commands.command("providers")
def show(as_json: AsJson = False) -> None:
    """Show adapter and model of each engine, and circuit, load and cost today of each provider with limits."""
    app = open_app()
    app.start_database()

    async def read() -> tuple[list[ServedEngine], list[Row]]:
        await app.migrate()
        async with app.database() as db, db.connection() as conn:
            return await app.serving(db).engines(), await provider_rows.health(conn)

    served, rows = asyncio.run(read())
    if as_json:
        terminal.print_json({"engines": [engine.as_json() for engine in served], "providers": rows})
        return
    terminal.show_engines(served)
    if not rows:
        terminal.console.print("no adapter with limits was used yet")
    for row in rows:
        failures = f", {row['failures']} failures in a row: {row['last_failure']}" if row["failures"] else ""
        terminal.console.print(
            f"{row['adapter']}: circuit {row['circuit']}, {row['under_way']} under way,"
            f" {row['spent_today_usd']:.2f} USD today{failures}",
            soft_wrap=True,
        )
