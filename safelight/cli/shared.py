"""The options that commands share, and the app they work with."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer

from safelight import serve, telemetry
from safelight.app import App
from safelight.config import Settings, deprecated_settings, unknown_settings
from safelight.crashes import report_crashes
from safelight.db.connection.database import Connection
from safelight.domain.errors.base import ConfigError

Result = TypeVar("Result")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="The API's port; 0 takes a free one.")]
Host = Annotated[str | None, typer.Option(help="The address to listen on.")]


def group(help: str) -> typer.Typer:
    """Commands under one name."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=help)


def open_app(port: int | None = None, host: str | None = None, *, console_lines: bool = True) -> App:
    settings = Settings()
    settings.port = settings.port if port is None else port
    settings.host = host or settings.host
    app = App(settings)
    try:
        telemetry.configure(
            settings.log_level,
            settings.log_file,
            console=console_lines,
            as_json=settings.log_format == "json",
            redactor=app.redactor,
        )
    except OSError as error:
        raise ConfigError(f"SAFELIGHT_LOG_FILE: {settings.log_file} cannot be written: {error.strerror}") from error
    for name, nearest in unknown_settings().items():
        known = f"did you mean {nearest}?" if nearest else "docs/settings.md lists all settings"
        telemetry.warning(telemetry.Tag.API, f"The setting {name} is unknown and has no effect; {known}")
    for line in deprecated_settings():
        telemetry.warning(telemetry.Tag.API, line)
    report_crashes(app)
    return app


def prepared(port: int | None, host: str | None, *, must_answer: bool = True) -> tuple[App, Any]:
    app = open_app(port, host)
    app.check_secrets()
    app.check_storage()
    listening = listen(app)
    app.start_database(must_answer=must_answer)
    return app, listening


def listen(app: App) -> Any:
    listening = serve.listen(app.settings.host, app.settings.port)
    app.settings.port = listening.getsockname()[1]
    return listening


def run_until_stopped(app: App, main_task: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main_task)
    telemetry.info("✅", telemetry.Tag.API, f"Stopped; all state is in {app.home}")


def read_database(query: Callable[[Connection], Awaitable[Result]]) -> Result:
    app = open_app()
    app.start_database()

    async def run() -> Result:
        await app.migrate()
        async with app.database() as db, db.connection() as conn:
            return await query(conn)

    return asyncio.run(run())
