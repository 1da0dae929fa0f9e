"""Commands that run servers (everything, the API, a worker), and the migration they begin with."""

import asyncio
from contextlib import AsyncExitStack

from safelight import serve, telemetry
from safelight.app import App
from safelight.cli import output
from safelight.cli.apps import listen, open_app
from safelight.cli.shared import Host, Port, command_list
from safelight.pipelines.serving import ServedEngine, unreachable_warnings
from safelight.setting_checks import check_extras, check_stand_in

commands = command_list()


@commands.command("up")
def up(port: Port = None, host: Host = None) -> None:
    """Run everything on one machine: database, API and worker. Ctrl-C stops it."""
    _run(open_app(port, host), serves=True, works=True)


@commands.command("api")
def api(port: Port = None, host: Host = None) -> None:
    """Run the API alone. Workers run elsewhere, on the same database."""
    _run(open_app(port, host), serves=True, works=False)


@commands.command("worker")
def worker() -> None:
    """Run a worker alone. Any number may share one database."""
    _run(open_app(), serves=False, works=True)


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


def _run(app: App, *, serves: bool, works: bool) -> None:
    """Run the parts until a signal stops them. If it is one of them, the database may start later."""
    app.check_secrets()
    app.check_storage()
    listening = listen(app) if serves else None
    has_all = serves and works
    app.start_database(must_answer=has_all)
    for warning in serve.open_access_warnings(app.settings) if serves else ():
        telemetry.warning(telemetry.Tag.API, warning)

    async def run() -> None:
        stop = serve.stop_on_signals()
        await (app.migrate() if has_all else app.migrate_when_there())
        served = await _who_serves(app)
        if works:
            check_extras(served)
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(serve.database_kept(app, stop))
            if listening:
                await parts.enter_async_context(serve.serving(app, listening))
            if works:
                await parts.enter_async_context(serve.working(app))
            if serves:
                output.print_addresses(app)
            output.show_engines(served)
            if not serves:
                output.console.print("worker: taking generations; Ctrl-C stops it")
            await stop.wait()

    asyncio.run(run())
    telemetry.info("✅", telemetry.Tag.API, f"Stopped; all state is in {app.home}")


async def _who_serves(app: App) -> list[ServedEngine]:
    """Raises ConfigError where it is the stand-in, which is refused; warns of URLs that vendors cannot reach."""
    async with app.database(1) as db:
        served = await app.on(db).serving.engines()
    check_stand_in(app.settings, served)
    for warning in unreachable_warnings(served, app.settings.webhook_base_url, app.settings.assets_base_url):
        telemetry.warning(telemetry.Tag.API, warning)
    return served
