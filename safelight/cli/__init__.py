"""The commands; thin. Each room has its own, and all are commands of `safelight`."""

import importlib.metadata
from typing import Annotated

import psycopg
import typer
from pydantic import ValidationError

from safelight import terminal
from safelight.cli import (
    assets,
    backfill,
    demo,
    doctor,
    failures,
    generations,
    ledger,
    providers,
    recipes,
    rehearsals,
    servers,
)
from safelight.config import Settings
from safelight.domain.errors.base import ConfigError, SafelightError
from safelight.settings.fields import PREFIX

WRONG_CONFIGURATION = 2  # as for wrong options

commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (servers, demo, generations, ledger, failures, providers, doctor, assets, recipes, backfill, rehearsals):
    commands.add_typer(room.commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        terminal.console.print(f"safelight {importlib.metadata.version('safelight')}")
        raise typer.Exit


@commands.callback(help="The backend for generative-media products.")
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    try:
        commands()
    except ConfigError as error:
        terminal.end_with(_on_one_line(error), WRONG_CONFIGURATION)
    except SafelightError as error:
        terminal.end_with(_on_one_line(error))
    except psycopg.OperationalError as error:
        database = f"{PREFIX}DATABASE_URL" if Settings().database_url else "the embedded database"
        terminal.end_with(f"{database}: {_on_one_line(error)}")
    except ValidationError as error:
        terminal.end_with("; ".join(_problem(one["loc"], one["msg"]) for one in error.errors()), WRONG_CONFIGURATION)


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _problem(path: tuple[int | str, ...], message: str) -> str:
    name = "_".join(map(str, path)).upper()
    setting = name if name not in map(str.upper, Settings.model_fields) else f"{PREFIX}{name}"
    return f"{setting}: {message.removeprefix('Value error, ')}"
