"""Commands for the database: its address, and the embedded server."""

from pathlib import Path

import typer

from safelight.cli import output
from safelight.cli.shared import AsJson, command_list, open_database_app
from safelight.db import embedded
from safelight.domain.errors.base import InvalidInput, NotFound

commands = command_list()


@commands.command("url")
def db_url() -> None:
    """Print the DSN of the running database, e.g. for `psql "$(safelight db url)"`."""
    app = open_database_app()
    dsn = app.settings.database_url or embedded.status(app.home).url
    if dsn is None:
        raise NotFound("the embedded database is not running; start it with `safelight up`")
    print(dsn)  # noqa: T201 - the answer itself


@commands.command("status")
def db_status(as_json: AsJson = False) -> None:
    """Show the state of the embedded database. Exits with 1 if it does not run."""
    status = embedded.status(_embedded_home())
    output.show_database(status, as_json=as_json)
    raise typer.Exit(0 if status.url else 1)


@commands.command("stop")
def db_stop() -> None:
    """Stop the embedded database, e.g. one that a killed process left running."""
    home = _embedded_home()
    if not embedded.halt_if_unused(home):
        raise InvalidInput("the embedded database is in use: stop `safelight up` and other commands of this home first")
    output.console.print("the embedded database is stopped")


def _embedded_home() -> Path:
    app = open_database_app()
    if app.settings.database_url:
        raise InvalidInput("SAFELIGHT_DATABASE_URL is set: safelight does not manage that database")
    return app.home
