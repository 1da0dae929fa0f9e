"""Options that the commands share, and the settings and database of those that only read rows."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from safelight import telemetry
from safelight.config import Settings, deprecated_settings, unknown_settings
from safelight.crashes import report_crashes
from safelight.database_app import DatabaseApp
from safelight.db.connection.database import Connection, Database
from safelight.domain.errors.base import ConfigError

Result = TypeVar("Result")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="The API's port; 0 takes a free one.")]
Host = Annotated[str | None, typer.Option(help="The address to listen on.")]

AnyApp = TypeVar("AnyApp", bound=DatabaseApp)


def command_list() -> typer.Typer:
    """The commands of one module, which `cli/__init__.py` lists under their names."""
    return typer.Typer(rich_markup_mode=None)


def open_database_app() -> DatabaseApp:
    return with_logs(DatabaseApp(Settings()))


def with_logs(app: AnyApp, *, console_lines: bool = True) -> AnyApp:
    """The same app, once its log is open, unknown settings are warned of and crashes are reported."""
    settings = app.settings
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


def on_database(app: DatabaseApp, work: Callable[[Database], Awaitable[Result]]) -> Result:
    """Start the database and bring it up to date, then run the work on it."""
    app.start_database()

    async def run() -> Result:
        await app.migrate()
        async with app.database() as db:
            return await work(db)

    return asyncio.run(run())


def read_database(query: Callable[[Connection], Awaitable[Result]]) -> Result:
    async def read(db: Database) -> Result:
        async with db.connection() as conn:
            return await query(conn)

    return on_database(open_database_app(), read)
