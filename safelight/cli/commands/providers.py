"""The command `providers`: the adapter of each engine, and the health of each provider."""

import asyncio

from safelight.cli import output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list
from safelight.reports import provider_health
from safelight.reports.provider_health import ProviderReport

commands = command_list()


@commands.command("providers")
def show(as_json: AsJson = False) -> None:
    """Show adapter and model of each engine, and circuit, load and cost today of each provider with limits."""
    app = open_app()
    app.start_database()

    async def read() -> ProviderReport:
        await app.migrate()
        async with app.database() as db, db.connection() as conn:
            return await provider_health.read(conn, app.serving(db))

    report = asyncio.run(read())
    if as_json:
        output.print_json(report.as_json())
        return
    output.show_engines(report.engines)
    if not report.providers:
        output.console.print("no adapter with limits was used yet")
    for provider in report.providers:
        failures = f", {provider.failures} failures in a row: {provider.last_failure}" if provider.failures else ""
        output.console.print(
            f"{provider.adapter}: circuit {provider.circuit}, {provider.under_way} under way,"
            f" {provider.spent_today_usd:.2f} USD today{failures}",
            soft_wrap=True,
        )
