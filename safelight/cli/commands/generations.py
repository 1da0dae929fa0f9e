"""Commands that show generations and what happened in them."""

from dataclasses import asdict
from typing import Annotated, TypeVar

import typer

from safelight.cli import operator_views, output
from safelight.cli.shared import AsJson, command_list, read_database
from safelight.db.generations import generations
from safelight.domain.errors.base import NotFound
from safelight.domain.statuses import Status
from safelight.reports import generation, receipt

GENERATIONS_SHOWN_MAX = 500

Found = TypeVar("Found")

commands = command_list()


@commands.command("list")
def list_generations(
    pass_id: Annotated[str | None, typer.Option(help="Only of this customer.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those in this status, e.g. error.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=GENERATIONS_SHOWN_MAX)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest generations."""
    rows = read_database(lambda conn: generations.newest(conn, pass_id=pass_id, status=status, limit=limit))
    if as_json:
        output.print_json([row.columns for row in rows])
        return
    output.show_generations(rows)


@commands.command("show")
def show(generation_id: str, as_json: AsJson = False) -> None:
    """Show one generation, and each step with its time and outcome."""
    if as_json:
        stored = read_database(lambda conn: generation.stored(conn, generation_id))
        output.print_json(_required(stored, generation_id))
        return
    details = read_database(lambda conn: generation.details(conn, generation_id))
    output.show_generation(_required(details, generation_id))


@commands.command("logs")
def logs(generation_id: str, as_json: AsJson = False) -> None:
    """Show the job log of a generation: the lines its customer saw."""
    lines = _required(read_database(lambda conn: generation.lines(conn, generation_id)), generation_id)
    if as_json:
        output.print_json([asdict(line) for line in lines])
        return
    output.show_lines(lines)


@commands.command("receipt")
def show_receipt(generation_id: str, as_json: AsJson = False) -> None:
    """Show each charge and refund of a generation with its reason, and what its steps cost at their providers."""
    found = read_database(lambda conn: receipt.find(conn, generation_id, for_operator=True))
    told = _required(found, generation_id)
    if as_json:
        output.print_json(asdict(told) | {"paid": told.paid})
        return
    operator_views.show_receipt(told)


def _required(found: Found | None, generation_id: str) -> Found:
    if found is None:
        raise NotFound(f"there is no generation {generation_id!r}")
    return found
