"""The commands that serve: everything, the API, a worker; and the migration they begin with."""

import asyncio

import typer

from safelight import serve, telemetry, terminal
from safelight.app import App
from safelight.cli.shared import Host, Port, open_app, prepared, run_until_stopped

commands = typer.Typer()


@commands.command()
def up(port: Port = None, host: Host = None) -> None:
    """Everything on one machine: database, API and worker. Ctrl-C ends it."""
    app, listening = prepared(port, host)
    _warn_of_open_access(app)

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate()
        async with serve.database_kept(app, stop), serve.serving(app, listening), serve.working(app):
            terminal.print_addresses(app)
            await stop.wait()

    run_until_stopped(app, run())


@commands.command()
def api(port: Port = None, host: Host = None) -> None:
    """The API alone; workers run elsewhere, on the same database."""
    app, listening = prepared(port, host)
    _warn_of_open_access(app)

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate_when_there()
        async with serve.database_kept(app, stop), serve.serving(app, listening):
            terminal.print_addresses(app)
            await stop.wait()

    run_until_stopped(app, run())


@commands.command()
def worker() -> None:
    """A worker alone; any number may share one database."""
    app = open_app()
    app.check_secrets()
    app.start_database()

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate_when_there()
        async with serve.database_kept(app, stop), serve.working(app):
            terminal.console.print("worker: taking generations; Ctrl-C ends it")
            await stop.wait()

    run_until_stopped(app, run())


@commands.command()
def migrate() -> None:
    """Bring the database up to date; running it again changes nothing."""
    app = open_app()
    app.start_database()
    applied = asyncio.run(app.migrate())
    terminal.console.print(
        f"applied: {', '.join(applied)}" if applied else "nothing to apply: the database is up to date"
    )


def _warn_of_open_access(app: App) -> None:
    for warning in serve.open_access_warnings(app.settings):
        telemetry.warning(telemetry.Tag.API, warning)
