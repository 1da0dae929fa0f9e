"""Commands that run servers (everything, the API, a worker), and the migration they begin with."""

import asyncio

from safelight import serve, telemetry
from safelight.app import App
from safelight.cli import output
from safelight.cli.apps import open_app, prepared, run_until_stopped
from safelight.cli.shared import Host, Port, command_list
from safelight.pipelines.serving import ServedEngine, unreachable_warnings
from safelight.setting_checks import check_extras, check_stand_in

commands = command_list()


@commands.command("up")
def up(port: Port = None, host: Host = None) -> None:
    """Run everything on one machine: database, API and worker. Ctrl-C stops it."""
    app, listening = prepared(port, host)
    _warn_of_open_access(app)

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate()
        served = await _who_serves(app)
        check_extras(served)
        async with serve.database_kept(app, stop), serve.serving(app, listening), serve.working(app):
            output.print_addresses(app)
            output.show_engines(served)
            await stop.wait()

    run_until_stopped(app, run())


@commands.command("api")
def api(port: Port = None, host: Host = None) -> None:
    """Run the API alone. Workers run elsewhere, on the same database."""
    app, listening = prepared(port, host, must_answer=False)
    _warn_of_open_access(app)

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate_when_there()
        served = await _who_serves(app)
        async with serve.database_kept(app, stop), serve.serving(app, listening):
            output.print_addresses(app)
            output.show_engines(served)
            await stop.wait()

    run_until_stopped(app, run())


@commands.command("worker")
def worker() -> None:
    """Run a worker alone. Any number may share one database."""
    app = open_app()
    app.check_secrets()
    app.check_storage()
    app.start_database(must_answer=False)

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate_when_there()
        served = await _who_serves(app)
        check_extras(served)
        async with serve.database_kept(app, stop), serve.working(app):
            output.show_engines(served)
            output.console.print("worker: taking generations; Ctrl-C stops it")
            await stop.wait()

    run_until_stopped(app, run())


@commands.command("migrate")
def migrate() -> None:
    """Apply the migrations. Running it again changes nothing."""
    app = open_app()
    app.start_database()
    applied = asyncio.run(app.migrate())
    output.console.print(
        f"applied: {', '.join(applied)}" if applied else "nothing to apply: the database is up to date",
        soft_wrap=True,
    )


async def _who_serves(app: App) -> list[ServedEngine]:
    """Raises ConfigError where it is the stand-in, which is refused; warns of URLs that vendors cannot reach."""
    async with app.database(1) as db:
        served = await app.on(db).serving.engines()
    check_stand_in(app.settings, served)
    for warning in unreachable_warnings(served, app.settings.webhook_base_url, app.settings.assets_base_url):
        telemetry.warning(telemetry.Tag.API, warning)
    return served


def _warn_of_open_access(app: App) -> None:
    for warning in serve.open_access_warnings(app.settings):
        telemetry.warning(telemetry.Tag.API, warning)
