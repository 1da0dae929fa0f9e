"""The commands `db dump` and `db restore`."""

from pathlib import Path
from typing import Annotated

import typer

from safelight.cli import output
from safelight.cli.shared import command_list, open_database_app
from safelight.database_app import DatabaseApp
from safelight.db.schema import backups

MEGABYTE = 1024 * 1024

commands = command_list()

DumpFile = Annotated[Path, typer.Argument(dir_okay=False, help="The file of the dump.")]


@commands.command("dump")
def db_dump(file: DumpFile) -> None:
    """Dump the database to a file, which then contains secrets. Stored media files are not included."""
    app = open_database_app()
    dsn = app.start_database()
    major = backups.server_major(dsn)
    tools = backups.tools_for(major)
    backups.dump(dsn, file, tools)
    size = file.stat().st_size / MEGABYTE
    output.console.print(f"PostgreSQL {major} -> {file}, {size:.1f} MB, by {tools}", soft_wrap=True)
    output.console.print(_files_of(app), soft_wrap=True)


@commands.command("restore")
def db_restore(file: DumpFile) -> None:
    """Restore a dump into an empty database, e.g. of a new home. All of it or nothing."""
    if not file.is_file():
        raise typer.BadParameter(f"{file} does not exist", param_hint="FILE")
    app = open_database_app()
    dsn = app.start_database()
    major = backups.server_major(dsn)
    tools = backups.tools_for(major)
    backups.restore(dsn, file, tools)
    output.console.print(f"{file} -> PostgreSQL {major}, by {tools}", soft_wrap=True)
    output.console.print(_files_of(app), soft_wrap=True)
    command = output.own_command()
    output.console.print(f"Then: {command} migrate, and {command} doctor", soft_wrap=True)


def _files_of(app: DatabaseApp) -> str:
    stated = app.settings.storage_url or app.settings.private_storage_url
    where = "your storage" if stated else f"{app.home / 'assets'} and {app.home / 'private-assets'}"
    return f"The media files are not in the dump: copy {where} too."
