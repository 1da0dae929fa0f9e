"""The command `providers`: the adapter of each engine, and the health of each provider."""

from safelight.cli import output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list, on_database
from safelight.db.connection.database import Database
from safelight.reports import provider_health
from safelight.reports.provider_health import ProviderReport

commands = command_list()


@commands.command("providers")
def show(as_json: AsJson = False) -> None:
    """Show adapter and model of each engine, and circuit, load and cost today of each provider with limits."""
    app = open_app()

    async def read(db: Database) -> ProviderReport:
        async with db.connection() as conn:
            return await provider_health.read(conn, app.on(db).serving)

    report = on_database(app, read)
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
