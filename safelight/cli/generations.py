"""Commands that show generations and what happened in them."""

from typing import Annotated, Any

import typer

from safelight import terminal
from safelight.cli.shared import AsJson, command_list, read_database
from safelight.db.generations import generations, job_log, runs
from safelight.domain.errors.base import NotFound
from safelight.domain.statuses import Status

GENERATIONS_SHOWN_MAX = 500

commands = command_list()


@commands.command("list")
def list_generations(
    pass_id: Annotated[str | None, typer.Option(help="Only of this customer.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those in this status, e.g. error.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=GENERATIONS_SHOWN_MAX)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest generations."""
    rows = read_database(lambda conn: generations.newest(conn, pass_id=pass_id, status=status, most=limit))
    if as_json:
        terminal.print_json(rows)
        return
    terminal.show_generations(rows)


@commands.command("show")
def show(generation_id: str, as_json: AsJson = False) -> None:
    """Show one generation, and each step with its time and outcome."""

    async def read(conn: Any) -> Any:
        row = await generations.get(conn, generation_id)
        if row is None:
            raise NotFound(f"there is no generation {generation_id!r}")
        retries = await generations.retries_of(conn, generation_id, pass_id=row["mg_pass_id"])
        return row, await runs.steps_of(conn, generation_id), retries

    row, steps, retries = read_database(read)
    if as_json:
        terminal.print_json({"generation": row, "steps": steps, "retries": retries})
        return
    terminal.show_generation(row, steps, retries)


@commands.command("logs")
def logs(generation_id: str, as_json: AsJson = False) -> None:
    """Show the job log of a generation: the lines its customer saw."""

    async def read(conn: Any) -> Any:
        return await generations.get(conn, generation_id), await job_log.lines_after(conn, generation_id, 0)

    row, lines = read_database(read)
    if row is None:
        raise NotFound(f"there is no generation {generation_id!r}")
    if as_json:
        terminal.print_json(lines)
        return
    terminal.show_lines(lines)
