"""The commands; thin. Each group has its own module, which is imported when one of its commands is called."""

import importlib.metadata
from typing import Annotated, Any

import typer

from safelight.cli import output
from safelight.cli.lazy import Entry, Group, LazyGroup
from safelight.domain.errors.base import ConfigError, SafelightError

WRONG_CONFIGURATION = 2  # as for wrong options


# The beginning of each help text is here too, so that `--help` imports no command; a test compares them.
COMMANDS: dict[str, Entry | Group] = {
    "up": Entry("servers", "Run everything on one machine: database, API and worker."),
    "api": Entry("servers", "Run the API alone."),
    "worker": Entry("servers", "Run a worker alone."),
    "migrate": Entry("servers", "Apply the migrations."),
    "demo": Entry(
        "demo", "Run all flows on a real picture: a still, 3 tweaks, a video, a tweak of it, a like, a download."
    ),
    "db": Group(
        "The database.",
        {
            "dump": Entry("database", "Dump the database to a file, which then contains secrets."),
            "restore": Entry("database", "Restore a dump into an empty database, e.g."),
            "url": Entry("database", "Print the DSN of the running database, e.g."),
            "status": Entry("database", "Show the state of the embedded database."),
            "stop": Entry("database", "Stop the embedded database, e.g."),
        },
    ),
    "generations": Group(
        "Generations and what happened in them.",
        {
            "list": Entry("generations", "List the newest generations."),
            "show": Entry("generations", "Show one generation, and each step with its time and outcome."),
            "logs": Entry("generations", "Show the job log of a generation: the lines its customer saw."),
            "cancel": Entry(
                "generation_changes", "Cancel a generation: stop the provider and refund what was not delivered."
            ),
            "retry": Entry(
                "generation_changes",
                "Retry a failed or cancelled generation: a new one for the same order, charged unless --free.",
            ),
        },
    ),
    "credits": Group(
        "The credits ledger.",
        {
            "grant": Entry("ledger", "Grant credits to a customer, as a ledger row."),
            "ledger": Entry("ledger", "Show the newest ledger entries of a customer, each with the balance after it."),
        },
    ),
    "failures": Entry("failures", "List failed, cancelled and stuck generations, newest first."),
    "stuck": Entry("failures", "List generations without a live worker or a queued job, or past their deadline."),
    "status": Entry("status", "Show workers and queues."),
    "providers": Entry(
        "providers",
        "Show adapter and model of each engine, and circuit, load and cost today of each provider with limits.",
    ),
    "doctor": Entry("doctor", "Check the invariants on the live database."),
    "assets": Group(
        "Maintenance of stored files: delete temporary and orphaned ones, verify results.",
        {
            "expire": Entry("assets", "Delete temporary files (temp/…) older than --hours."),
            "sweep": Entry("assets", "Delete orphaned results older than --hours, and thumbnails without an original."),
            "verify": Entry("assets", "Read the newest results and compare their hashes."),
        },
    ),
    "recipes": Entry("recipes", "List the SQL recipes, or print one, to be piped into psql."),
    "backfill": Entry("backfill", "Copy the rows of an older backend's tables, or compare them."),
    "chaos": Entry(
        "rehearsals",
        "Run generations against a failing simulated provider, kill workers, restart the database, and check the end.",
    ),
    "bench": Group(
        "Benchmarks, as ratios to a baseline that is measured in the same run.",
        {
            "engine": Entry("rehearsals", "Measure pipelines of 7 steps per second."),
            "doctor": Entry("rehearsals", "Measure one run of the doctor on a scratch database with --generations."),
            "waiting": Entry(
                "rehearsals",
                "Measure the memory of one worker while --generations wait for a slow provider,"
                " and check that all end.",
            ),
            "store": Entry(
                "rehearsals",
                "Measure the memory that copying a large video takes, from its provider to a directory and to S3.",
            ),
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
