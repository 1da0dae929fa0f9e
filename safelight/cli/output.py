"""The output of the commands.

All text is printed through `console`, `error_console`, `print_json` or `end_with`. Text of customers and providers is
printed literally: without markup and control characters. Styled parts are `(text, style)` pairs of a `line`. The types
of what is shown are imported for type checkers only: every command prints, and none needs all of them.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from safelight import telemetry
from safelight.domain.untrusted.text import json_text, printable
from safelight.redaction import DEFAULT_REDACTOR

if TYPE_CHECKING:
    from safelight import demo as story
    from safelight.app import App
    from safelight.db.embedded import ServerStatus
    from safelight.db.generations.generations import ListedGeneration, StoredStep
    from safelight.db.generations.job_log import StoredLine
    from safelight.ops.backfill import ParityReport, TableResult, Tell
    from safelight.pipelines.cancel import CancelOutcome
    from safelight.pipelines.serving import ServedEngine
    from safelight.reports.generation import GenerationDetails

PROBLEMS_SHOWN_MAX = 10
COLUMN_EDGE = 3  # the border of a column, and the spaces beside its text
COLUMN_WIDTH_MIN = 12  # of a column whose text may be folded

Json = dict[str, Any]
Part = str | tuple[str, str]


class PlainConsole(Console):
    """Prints text literally, without interpreting markup or emoji codes, and without control characters."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


console = PlainConsole()
error_console = PlainConsole(stderr=True)


def line(*parts: Part) -> Text:
    """One line of parts, each a text or a text with its style."""
    styled = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((printable(text), style) for text, style in styled))


def print_json(value: Any) -> None:
    print(json_text(DEFAULT_REDACTOR.value(value), indent=2, default=str))  # noqa: T201 - the answer itself


def show_list(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, ids: Collection[str] = ()) -> None:
    """A table on a terminal, and tab-separated values elsewhere. The columns `ids` are neither folded nor cut, however
    narrow the terminal is."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not console.is_terminal:
        _print_values([[name.replace(" ", "_") for name in columns], *cells])
        return
    table, least = Table(), 1
    for name, texts in zip(columns, zip(*cells, strict=True) if cells else [()] * len(columns), strict=True):
        width = max(map(len, (name, *texts)))
        is_id = name in ids
        table.add_column(name, no_wrap=is_id, min_width=width if is_id else None, overflow="fold")
        least += COLUMN_EDGE + (width if is_id else min(width, COLUMN_WIDTH_MIN))
    for row in cells:
        table.add_row(*row)
    table.width = least if least > console.width else None
    console.print(table, crop=False)


def _print_values(rows: Iterable[Sequence[str]]) -> None:
    r"""Tab-separated: a tab in a value is written as `\t`, a newline as `\n`, and a backslash as two."""
    for row in rows:
        print("\t".join(printable(cell.replace("\\", "\\\\")) for cell in row))  # noqa: T201 - the answer itself


def show_facts(facts: Mapping[str, Any], *, width: int) -> None:
    """One line for each fact that has a value, its name first."""
    for name, value in facts.items():
        if value:
            console.print(line((f"{name:<{width}}", "dim"), f" {value}"), soft_wrap=True)


def show_count(text: str) -> None:
    """Print the number of rows shown and of all: below a table, or on standard error beside tab-separated values."""
    (console if console.is_terminal else error_console).print(text, soft_wrap=True)


def end_with(problem: str, exit_code: int = 1) -> NoReturn:
    """End the process with a one-line message on standard error."""
    if telemetry.console_is_json():
        telemetry.error("❌", telemetry.Tag.API, problem)
    else:
        sys.stderr.write(f"safelight: {printable(DEFAULT_REDACTOR.text(problem))}\n")
    sys.exit(exit_code)


def own_command() -> str:
    """The command as the user called it, for hints: its name if the shell finds it by name, else its path."""
    called = Path(sys.argv[0])
    if called.stem == "__main__":
        return f"{Path(sys.executable).name} -m safelight"
    on_path = shutil.which(called.name)
    if on_path and Path(on_path).resolve() == called.resolve():
        return called.name
    absolute = called.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)


def show_recipes(rows: list[dict[str, str]]) -> None:
    table = Table("recipe", "question")
    for row in rows:
        table.add_row(row["recipe"], row["question"])
    console.print(table)
    console.print(f'{own_command()} recipes RECIPE | psql "$({own_command()} db url)"', soft_wrap=True)


def show_cancelling(cancelling: CancelOutcome, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(cancelling))
        return
    match cancelling.too_late:
        case None:
            console.print(f"asked; it is still {cancelling.status}: a worker stops it as soon as it can")
        case True:
            console.print(f"too late: it is {cancelling.status}")
        case False:
            console.print(f"cancelled; {cancelling.refunded_credits} credits returned")


LEVEL_MARKS = {"info": ("·", "blue"), "success": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


def tell(event: story.Event) -> None:
    match event.kind:
        case "begins":
            console.print()
            console.print(line((event.chapter, "bold"), "  ", (event.text, "dim")))
        case "line":
            facts = (f" {event.seconds:6.1f} s  {event.step:<32}", "dim")
            console.print(line("  ", LEVEL_MARKS[event.level], facts, f" {event.text}"))
        case _:
            took = (f"  ({event.seconds:.1f} s)", "dim")
            console.print(line("  ", ("→", "green"), f" {event.text}", took), soft_wrap=True)


def show_report(app: App, report: story.DemoReport) -> None:
    table = Table(title="What the demo made", title_justify="left")
    for name in ("chapter", "file", "seconds", "credits", "KB"):
        table.add_column(name, justify="right" if name in ("seconds", "credits", "KB") else "left", overflow="fold")
    for made in report.made:
        table.add_row(
            made.chapter,
            Path(made.file).name,
            f"{made.seconds:.1f}",
            str(made.credits),
            f"{made.bytes / 1024:.0f}",
        )
    console.print()
    console.print(table)
    folder = Path(report.made[0].file).parent
    console.print(
        f"{len(report.made)} files in {folder}, {report.credits_charged} credits charged, balance {report.balance},"
        f" {report.seconds:.0f} s",
        soft_wrap=True,
    )
    command = f"SAFELIGHT_HOME={app.home} {own_command()}"
    console.print("Ask what happened, step by step:", style="bold")
    console.print(f"  {command} generations show {report.made[0].generation_id}", soft_wrap=True)
    console.print("Go on from here, on the same data:", style="bold")
    console.print(f"  {command} up   # then {app.settings.base_url}/docs", soft_wrap=True)


def show_generation(details: GenerationDetails) -> None:
    report, row = details.report, details.report.generation
    facts = {
        "generation": row.generation_id,
        "flow": report.flow,
        "status": row.status,
        "customer": row.pass_id,
        "parent": row.parent_id,
        "retry of": report.retry_of,
        "retried as": ", ".join(f"{one.id} ({one.status})" for one in details.retries),
        "prompt": row.prompt,
        "result": row.output_url,
        "error": row.error,
    }
    show_facts(facts, width=11)
    columns = ("no", "step", "ms", "context or settings", "outcome")
    show_list(columns, map(_step, details.steps), ids=("step", "context or settings"))


def _step(step: StoredStep) -> Sequence[Any]:
    payload = step.payload
    given, error = payload["input"], payload["error"]
    return (
        step.number,
        step.type,
        payload["timing"]["duration_ms"],
        given.get("ctx_id") or given.get("settings_id"),
        f"{error['error_code']}: {error.get('message')}" if error else _first_text(payload["output"]),
    )


def _first_text(output: dict[str, Any]) -> str:
    return next((value[:160] for value in output.values() if isinstance(value, str) and value), "")


def print_addresses(app: App) -> None:
    base = app.settings.base_url
    admin_token = "SAFELIGHT_ADMIN_TOKEN" if app.settings.admin_token.get_secret_value() else app.admin_token_file
    facts = {
        "API": base,
        "Reference": f"{base}/docs",
        "Database": DEFAULT_REDACTOR.text(app.dsn),
        "Files": app.home / "assets",
        "Admin": f"the token is in {admin_token}",
    }
    show_facts(facts, width=10)


def show_engines(served: Iterable[ServedEngine]) -> None:
    for engine in served:
        console.print(engine.line, soft_wrap=True)


def show_database(status: ServerStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(status))
        return
    facts = {"state": status.state, "process": status.pid, "data": status.data, "address": status.url}
    facts["in use"] = "yes" if status.is_in_use else "no"
    show_facts(facts, width=8)


def show_generations(rows: list[ListedGeneration]) -> None:
    columns = ("generation", "flow", "status", "seconds", "pass id", "error")
    show_list(columns, map(_generation, rows), ids=("generation", "pass id"))


def _generation(row: ListedGeneration) -> Sequence[Any]:
    seconds = None if row.latency_ms is None else f"{row.latency_ms / 1000:.1f}"
    return (row.generation_id, row.flow, row.status, seconds, row.pass_id, row.error)


def show_lines(lines: list[StoredLine]) -> None:
    if not console.is_terminal:
        columns = ("no", "at", "level", "step", "message")
        show_list(columns, ([one.seq, one.created_at.isoformat(), one.level, one.step, one.message] for one in lines))
        return
    for one in lines:
        at = one.created_at.strftime("%H:%M:%S.%f")[:-3]
        step = (f" {one.step:<32} ", "dim")
        console.print(line(f"{one.seq:4d} {at} ", LEVEL_MARKS[one.level], step, one.message), soft_wrap=True)


def mark(*, holds: bool) -> tuple[str, str]:
    return ("✓", "green") if holds else ("✗", "red")


@contextmanager
def progress_bars() -> Iterator[Tell]:
    """A progress bar for each name, on standard error."""
    name_column = TextColumn("{task.description:<18}", markup=False)
    columns = (name_column, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=error_console) as progress:
        bars: dict[str, Any] = {}

        def tell(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(printable(name), total=total)
            progress.update(bars[name], completed=done)

        yield tell


def show_taken(taken: list[TableResult], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": dry_run, "tables": [asdict(one) for one in taken]})
        return
    for one in taken:
        console.print(
            f"{one.table:<18} {one.rows:>9} rows read, {one.written:>9} new or changed,"
            f" {one.redacted:>9} held secrets or script URLs, which were left behind"
        )
    console.print(
        "nothing was written: this was a dry run" if dry_run else "compare both sides: safelight backfill --check"
    )


def show_parity(parity: ParityReport, *, as_json: bool) -> None:
    if as_json:
        print_json(parity.as_json())
        return
    for table, (legacy, ours) in parity.tables.items():
        there = f" {table:<18} legacy    {legacy.rows:>9} rows {legacy.credits:>12} credits  {legacy.hash}"
        console.print(line(mark(holds=legacy == ours), there))
        console.print(f"  {'':<18} safelight {ours.rows:>9} rows {ours.credits:>12} credits  {ours.hash}")
    balances = parity.balances
    console.print(
        f"balances: {balances['legacy']} credits there, {balances['safelight']} came over;"
        f" {balances['customers_that_differ']} customers differ,"
        f" {balances['balances_without_ledger']} balances are not the sum of their ledger"
    )
    console.print("no difference" if not parity.differences else f"different: {', '.join(parity.differences)}")
