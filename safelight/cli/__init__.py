"""The commands; thin. Each room has its own, and all are commands of `safelight`."""

import psycopg
import typer
from pydantic import ValidationError

from safelight import terminal
from safelight.cli import assets, backfill, demo, doctor, failures, generations, ledger, providers, rehearsals, servers
from safelight.domain.errors import SafelightError

commands = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, add_completion=False, help="The backend for generative-media products."
)
for room in (servers, demo, generations, ledger, failures, providers, doctor, assets, backfill, rehearsals):
    commands.add_typer(room.commands)


def main() -> None:
    try:
        commands()
    except (SafelightError, psycopg.OperationalError) as error:
        terminal.end_with(" ".join(str(error).split()))
    except ValidationError as error:
        problems = "; ".join(f"SAFELIGHT_{'_'.join(map(str, p['loc'])).upper()}: {p['msg']}" for p in error.errors())
        terminal.end_with(problems)
