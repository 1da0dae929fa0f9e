"""The commands; thin. Each group has its own module, which is imported when one of its commands is called."""

import importlib.metadata
from typing import Annotated, Any

import typer

from safelight import terminal
from safelight.cli.lazy import Entry, Group, LazyGroup
from safelight.domain.errors.base import ConfigError, SafelightError

WRONG_CONFIGURATION = 2  # as for wrong options


# The beginning of each help text is here too, so that `--help` imports no command; a test compares them.
COMMANDS: dict[str, Entry | Group] = {
    "up": Entry("servers", "Everything on one machine: database, API and worker."),
    "api": Entry("servers", "The API alone; workers run elsewhere, on the same database."),
    "worker": Entry("servers", "A worker alone; any number may share one database."),
    "migrate": Entry("servers", "Bring the database up to date; running it again changes nothing."),
    "demo": Entry(
        "demo", "The whole story on a real picture: a still, 3 tweaks, a video, a tweak of it, a like, a download."
    ),
    "db": Group(
        "The database.",
        {
            "dump": Entry("database", "Write the database to a file, which holds secrets."),
            "restore": Entry(
                "database", "Fill an empty database, such as that of a new home, from a dump: all of it or nothing."
            ),
            "url": Entry("database", "Print the DSN of the running database, e.g."),
            "status": Entry("database", "Say how the embedded database is; ends with 1 where it does not run."),
            "stop": Entry(
                "database", "Stop the embedded database, which a process that was killed may have left behind."
            ),
        },
    ),
    "generations": Group(
        "Generations and what happened in them.",
        {
            "list": Entry("generations", "The newest generations."),
            "show": Entry("generations", "One generation: what it is, and each step with its time and outcome."),
            "logs": Entry("generations", "The lines a waiting person saw."),
            "cancel": Entry(
                "generation_changes",
                "Stop a generation: reaches the provider, refunds what was not delivered, is final.",
            ),
            "retry": Entry(
                "generation_changes",
                "Order a generation that failed or was cancelled again: a new one for the same order,"
                " charged unless --free.",
            ),
        },
    ),
    "credits": Group(
        "The credits ledger.",
        {
            "grant": Entry("ledger", "Give credits to a customer, as a row of the ledger."),
            "ledger": Entry("ledger", "The newest entries of a customer's ledger, each with the balance after it."),
        },
    ),
    "failures": Entry(
        "failures", "Failed, cancelled and stuck generations, newest first; what is stuck shows however old it is."
    ),
    "stuck": Entry("failures", "Generations without a live worker or a queued job, or past their deadline."),
    "status": Entry("status", "Workers and queues; ends with 1 if generations wait for a worker and none is alive."),
    "providers": Entry(
        "providers",
        "Which adapter and model serve each engine, and circuit, load and today's cost of each provider with limits.",
    ),
    "doctor": Entry("doctor", "Check the invariants on the live database; ends with 1 where one does not hold."),
    "assets": Group(
        "Stored files: what has had its time, what nobody names, and whether results are whole.",
        {
            "expire": Entry("assets", "Files for the moment (temp/…) that have had their time."),
            "sweep": Entry("assets", "Results that no row names, and small pictures whose original is gone."),
            "verify": Entry(
                "assets",
                "Read the newest results and compare their hashes; ends with 1 where one is missing or changed.",
            ),
        },
    ),
    "recipes": Entry("recipes", "List the SQL recipes, or print one, to be piped into psql."),
    "backfill": Entry(
        "backfill",
        "Take the rows of an older backend's tables over, or compare them; running it again changes nothing.",
    ),
    "chaos": Entry(
        "rehearsals",
        "Run generations against a simulated service that fails, kill workers, restart the database, and count.",
    ),
    "bench": Group(
        "Speed, as ratios against a floor in the same run.",
        {
            "engine": Entry(
                "rehearsals",
                "7-step no-op pipelines per second, beside plain psycopg writing the same rows in the same run.",
            ),
            "doctor": Entry("rehearsals", "One pass of the doctor over a scratch database of this many generations."),
            "waiting": Entry(
                "rehearsals",
                "One worker process while this many generations wait for a slow provider: its memory,"
                " and whether all end.",
            ),
            "store": Entry(
                "rehearsals",
                "Copy a long film from its provider to our storage, in a folder and in S3: what that needs of memory.",
            ),
        },
    ),
}


class Commands(LazyGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(entries=COMMANDS, **attributes)


commands = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
