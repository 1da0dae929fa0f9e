"""The output of `safelight chaos`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from safelight.cli.output import console, error_console, line, print_json
from safelight.domain.untrusted.text import printable
from safelight.testing import chaos

PROBLEMS_SHOWN_MAX = 10


def show_plan(plan: chaos.ChaosPlan, kept_home: Path | None, *, as_json: bool) -> None:
    """Print the seed first: a failure is reported with it."""
    facts = f"seed {plan.seed}" + (f", home {kept_home}" if kept_home else "")
    (error_console if as_json else console).print(facts, soft_wrap=True)


@contextmanager
def chaos_progress(plan: chaos.ChaosPlan, *, silent: bool) -> Iterator[Callable[[chaos.Progress], None]]:
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=console, disable=silent) as bar:
        task = bar.add_task("starting", total=plan.generations)

        def tell(progress: chaos.Progress) -> None:
            counts = ", ".join(f"{count} {status}" for status, count in sorted(progress.statuses.items()))
            injected = progress.injected
            done = f"{injected.kills} kills, {injected.pauses} pauses, {injected.database_restarts} restarts"
            bar.update(task, completed=progress.final, description=printable(f"{done} · {counts}"))

        yield tell


def show_scorecard(card: chaos.Scorecard, *, as_json: bool) -> None:
    if as_json:
        print_json(card.as_json())
        return
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(card.statuses.items()))
    injected, takeovers = card.injected, card.takeovers
    table = Table(title=f"Scorecard of seed {card.seed}", title_justify="left", show_header=False)
    table.add_row("accepted", f"{card.accepted} of {card.ordered}: {statuses}")
    table.add_row("errors", ", ".join(f"{times} {code}" for code, times in card.errors.items()))
    for name, problems in card.must_be_empty.items():
        table.add_row(name, line((str(len(problems)), "red" if problems else "green")))
    table.add_row("recorded double payments", f"{len(card.recorded_double_payments)} of {card.predictions} predictions")
    table.add_row(
        "time to take over",
        f"p50 {takeovers.p50_seconds} s, p99 {takeovers.p99_seconds} s"
        f" (target {chaos.TAKEOVER_SECONDS_TO_REACH:.0f}), {takeovers.measured} measured, {takeovers.never} never",
    )
    table.add_row(
        "faults injected",
        f"{injected.kills} workers killed, {injected.pauses} paused, {injected.database_restarts} database restarts,"
        f" {injected.processes_ended_by_themselves} processes ended by themselves",
    )
    table.add_row("duration", f"{card.seconds} s")
    console.print(table)
    for name, problems in card.must_be_empty.items():
        for problem in problems[:PROBLEMS_SHOWN_MAX]:
            console.print(line((name, "red"), f" {problem}"), soft_wrap=True)
