"""The commands; thin. Each group has its own module, which is imported when one of its commands is called."""

import importlib.metadata
from typing import Annotated, Any

import typer

from safelight.cli import output
from safelight.cli.lazy import Group, LazyGroup
from safelight.domain.errors.base import ConfigError, SafelightError

WRONG_CONFIGURATION = 2  # as for wrong options


# Each command, and the module of `cli/commands` that has it.
COMMANDS: dict[str, str | Group] = {
    "up": "servers",
    "api": "servers",
    "worker": "servers",
    "migrate": "servers",
    "demo": "demo",
    "db": Group(
        "The database.",
        {"dump": "backups", "restore": "backups", "url": "database", "status": "database", "stop": "database"},
    ),
    "generations": Group(
        "Generations and what happened in them.",
        {
            "list": "generations",
            "show": "generations",
            "logs": "generations",
            "receipt": "generations",
            "cancel": "generation_changes",
            "retry": "generation_changes",
        },
    ),
    "credits": Group("The credits ledger.", {"grant": "ledger", "ledger": "ledger"}),
    "failures": "failures",
    "stuck": "failures",
    "status": "status",
    "providers": "providers",
    "doctor": "doctor",
    "assets": Group(
        "Maintenance of stored files: delete temporary and orphaned ones, verify results.",
        {"expire": "assets", "sweep": "assets", "verify": "assets"},
    ),
    "recipes": "recipes",
    "backfill": "backfill",
    "chaos": "experiments",
    "bench": Group(
        "Benchmarks, as ratios to a baseline that is measured in the same run.",
        {
            "engine": "experiments",
            "doctor": "experiments",
            "fairness": "experiments",
            "waiting": "experiments",
            "store": "experiments",
        },
    ),
}


class Commands(LazyGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(entries=COMMANDS, **attributes)


application = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.console.print(f"safelight {importlib.metadata.version('safelight')}")
        raise typer.Exit


@application.callback(help="The backend for generative-media products.")
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    try:
        application()
    except ConfigError as error:
        output.end_with(_on_one_line(error), WRONG_CONFIGURATION)
    except SafelightError as error:
        output.end_with(_on_one_line(error))


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
