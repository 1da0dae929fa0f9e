"""The commands; thin."""

import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import psycopg
import typer
from pydantic import ValidationError

from safelight import bench, chaos, serve, telemetry, terminal
from safelight import demo as story
from safelight.app import App, report_crashes
from safelight.config import Settings
from safelight.db import customers, embedded, generations, job_log, ledger, runs
from safelight.domain import passes
from safelight.domain.errors import InvalidInput, NotFound, SafelightError
from safelight.domain.ids import new_id
from safelight.domain.statuses import Status

GENERATIONS_SHOWN_MAX = 500
ENGINE_RATIO_TO_REACH = 0.75
SAMPLE_PRODUCT = Path(__file__).with_name("samples") / "coffee.jpg"

commands = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, add_completion=False, help="The backend for generative-media products."
)
db_commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database.")
credits_commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The credits ledger.")
generations_commands = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Generations and what happened in them."
)
bench_commands = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Speed, as ratios against a floor in the same run."
)
commands.add_typer(bench_commands, name="bench")
commands.add_typer(db_commands, name="db")
commands.add_typer(credits_commands, name="credits")
commands.add_typer(generations_commands, name="generations")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="The API's port; 0 takes a free one.")]
Host = Annotated[str | None, typer.Option(help="The address to listen on.")]


def main() -> None:
    try:
        commands()
    except (SafelightError, psycopg.OperationalError) as error:
        sys.exit(f"safelight: {' '.join(str(error).split())}")
    except ValidationError as error:
        problems = "; ".join(f"SAFELIGHT_{'_'.join(map(str, p['loc'])).upper()}: {p['msg']}" for p in error.errors())
        sys.exit(f"safelight: {problems}")


# --- servers ---------------------------------------------------------------------------------------------------------


@commands.command()
def up(port: Port = None, host: Host = None) -> None:
    """Everything on one machine: database, API and worker. Ctrl-C ends it."""
    app, listening = _prepared(port, host)

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate()
        async with serve.serving(app, listening), serve.working(app):
            terminal.print_addresses(app)
            await stop.wait()

    _run(app, run())


@commands.command()
def api(port: Port = None, host: Host = None) -> None:
    """The API alone; workers run elsewhere, on the same database."""
    app, listening = _prepared(port, host)

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate()
        async with serve.serving(app, listening):
            terminal.print_addresses(app)
            await stop.wait()

    _run(app, run())


@commands.command()
def worker() -> None:
    """A worker alone; any number may share one database."""
    app = _app()
    app.start_database()

    async def run() -> None:
        stop = serve.stop_on_signals()
        await app.migrate()
        async with serve.working(app):
            terminal.console.print("worker: taking generations; Ctrl-C ends it")
            await stop.wait()

    _run(app, run())


@commands.command()
def migrate() -> None:
    """Bring the database up to date; running it again changes nothing."""
    app = _app()
    app.start_database()
    applied = asyncio.run(app.migrate())
    terminal.console.print(
        f"applied: {', '.join(applied)}" if applied else "nothing to apply: the database is up to date"
    )


# --- the demo --------------------------------------------------------------------------------------------------------


@commands.command()
def demo(
    product: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A product photo.")] = SAMPLE_PRODUCT,
    logo: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A logo.")] = None,
    as_json: AsJson = False,
) -> None:
    """The whole story on a real picture: a still, 3 tweaks, a video, a tweak of it, a like, a download."""
    app = _app(console_lines=False)
    listening = _demo_socket(app)
    app.start_database()
    tell = terminal.tell_nothing if as_json else terminal.tell
    report = asyncio.run(_demo(app, listening, product, logo, tell))
    if as_json:
        print(json.dumps(report.as_json(), indent=2))  # noqa: T201 - the answer itself
        return
    terminal.show_report(app, report)


async def _demo(app: App, listening: Any, product: Path, logo: Path | None, tell: story.Tell) -> story.Report:
    pass_id = f"pass:anon:{new_id()}"
    folder = app.home / "demo" / f"{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    await app.migrate()
    async with app.database() as db, db.transaction() as conn:
        await customers.ensure(conn, pass_id, free_credits=0)
        await ledger.grant(
            conn,
            pass_id=pass_id,
            credits=story.STORY_CREDITS,
            reason="demo",
            source="system",
            ref=("demo", pass_id),
        )
    base_url = app.settings.base_url
    async with (
        serve.serving(app, listening),
        serve.working(app),
        httpx.AsyncClient(base_url=base_url, timeout=story.REQUEST_SECONDS, trust_env=False) as client,
    ):
        return await story.Story(client, pass_id, folder, tell).run(product, logo)


def _demo_socket(app: App) -> Any:
    """The usual port, so that the stored URLs work in `safelight up` too; a free one where it is taken."""
    try:
        return _listen(app)
    except InvalidInput:
        app.settings.port = 0
        return _listen(app)


# --- database, credits, generations ----------------------------------------------------------------------------------


@db_commands.command("url")
def db_url() -> None:
    """Print the DSN of the running database, e.g. for `psql "$(safelight db url)"`."""
    app = _app()
    dsn = app.settings.database_url or embedded.running_dsn(app.home)
    if dsn is None:
        raise NotFound("the embedded database is not running; start it with `safelight up`")
    print(dsn)  # noqa: T201 - the answer itself


@credits_commands.command("grant")
def grant(
    pass_id: Annotated[str, typer.Argument(help="The customer's pass id; made where it is new.")],
    amount: Annotated[int, typer.Argument(min=1, max=1_000_000, metavar="N", help="How many credits.")],
) -> None:
    """Give credits to a customer, as a row of the ledger."""
    stated = passes.normal_form(pass_id) or ""
    if not 0 < len(stated) <= passes.PASS_ID_CHARS_MAX:
        raise InvalidInput(f"PASS_ID: 1 to {passes.PASS_ID_CHARS_MAX} characters, and not 'anonymous'")
    app = _app()
    app.start_database()

    async def run() -> int:
        await app.migrate()
        async with app.database() as db, db.transaction() as conn:
            await customers.ensure(conn, stated, free_credits=app.settings.free_credits)
            return await ledger.grant(
                conn,
                pass_id=stated,
                credits=amount,
                reason="manual-topup",
                source="admin",
                ref=("manual", f"cli_{new_id()}"),
            )

    terminal.console.print(f"{stated}: +{amount}, balance {asyncio.run(run())}")


@generations_commands.command("list")
def list_generations(
    pass_id: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those in this status, e.g. error.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=GENERATIONS_SHOWN_MAX)] = 50,
    as_json: AsJson = False,
) -> None:
    """The newest generations."""
    rows = _read(lambda conn: generations.newest(conn, pass_id=pass_id, status=status, most=limit))
    if as_json:
        terminal.print_json(rows)
        return
    terminal.show_generations(rows)


@generations_commands.command("show")
def show(generation_id: str, as_json: AsJson = False) -> None:
    """One generation: what it is, and each step with its time and outcome."""

    async def read(conn: Any) -> Any:
        return await generations.get(conn, generation_id), await runs.steps_of(conn, generation_id)

    row, steps = _read(read)
    if row is None:
        raise NotFound(f"there is no generation {generation_id!r}")
    if as_json:
        terminal.print_json({"generation": row, "steps": steps})
        return
    terminal.show_generation(row, steps)


@generations_commands.command("logs")
def logs(generation_id: str, as_json: AsJson = False) -> None:
    """The lines a waiting person saw."""

    async def read(conn: Any) -> Any:
        return await generations.get(conn, generation_id), await job_log.lines_after(conn, generation_id, 0)

    row, lines = _read(read)
    if row is None:
        raise NotFound(f"there is no generation {generation_id!r}")
    if as_json:
        terminal.print_json(lines)
        return
    terminal.show_lines(lines)


# --- benchmarks ------------------------------------------------------------------------------------------------------


@bench_commands.command("engine")
def bench_engine(
    pipelines: Annotated[int, typer.Option(min=10, max=100_000, help="Pipelines a round.")] = 200,
    as_json: AsJson = False,
) -> None:
    """7-step no-op pipelines per second, beside plain psycopg writing the same rows in the same run."""
    app = _app(console_lines=False)
    app.start_database()
    result = asyncio.run(bench.engine(app, pipelines))
    if as_json:
        terminal.print_json(result.as_json())
        return
    terminal.console.print(f"plain psycopg, same rows  {result.floor_per_second:8.1f} pipelines/s")
    terminal.console.print(f"the engine                {result.engine_per_second:8.1f} pipelines/s")
    terminal.console.print(f"ratio                     {result.ratio:8.3f}   (to reach: {ENGINE_RATIO_TO_REACH})")


# --- chaos -----------------------------------------------------------------------------------------------------------


@commands.command("chaos")
def rehearse_chaos(
    generations: Annotated[int, typer.Option(min=1, max=100_000, help="How many are ordered.")] = 200,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Worker processes.")] = 4,
    kill_every: Annotated[float, typer.Option(min=0, help="Mean seconds between two killed workers; 0: never.")] = 5,
    restart_db_every: Annotated[
        float, typer.Option(min=0, help="Mean seconds between two restarts of the database; 0: never.")
    ] = 20,
    seed: Annotated[
        int | None, typer.Option(help="Draws blows and faults; printed first. Ids and timings still differ.")
    ] = None,
    minutes_max: Annotated[float, typer.Option(min=0.1, max=1440, help="When to give up.")] = 15,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the home of the run, to look into it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run generations against a simulated service that fails, kill workers, restart the database, and count."""
    telemetry.configure("WARNING", None, console=False)
    drawn = random.randrange(2**32) if seed is None else seed  # noqa: S311 - no secret
    plan = chaos.Plan(drawn, generations, workers, kill_every, restart_db_every, minutes_max)
    home = Path(tempfile.mkdtemp(prefix="safelight-chaos-"))
    terminal.show_plan(plan, home if keep else None, as_json=as_json)
    try:
        with terminal.chaos_progress(plan, silent=as_json) as tell:
            card = asyncio.run(_until_told_to_stop(chaos.rehearse(home, plan, tell)))
        if card is not None:
            terminal.show_scorecard(card, as_json=as_json)
    finally:
        if not keep:
            shutil.rmtree(home)
    if card is None:
        sys.exit("safelight: stopped; nothing is left running")
    sys.exit(0 if card.is_clean else 1)


async def _until_told_to_stop(work: Coroutine[Any, Any, chaos.Scorecard]) -> chaos.Scorecard | None:
    """None where Ctrl-C, or the request to end, came first: the work has put away its things then."""
    stopped = asyncio.create_task(serve.stop_on_signals().wait())
    working = asyncio.create_task(work)
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
    return None if working.cancelled() else await working


# --- what the commands share -----------------------------------------------------------------------------------------


def _app(port: int | None = None, host: str | None = None, *, console_lines: bool = True) -> App:
    settings = Settings()
    settings.port = settings.port if port is None else port
    settings.host = host or settings.host
    telemetry.configure(settings.log_level, settings.log_file, console=console_lines)
    app = App(settings)
    report_crashes(app)
    return app


def _prepared(port: int | None, host: str | None) -> tuple[App, Any]:
    app = _app(port, host)
    listening = _listen(app)
    app.start_database()
    return app, listening


def _listen(app: App) -> Any:
    listening = serve.listen(app.settings.host, app.settings.port)
    app.settings.port = listening.getsockname()[1]
    return listening


def _run(app: App, main_task: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main_task)
    telemetry.info("✅", telemetry.Tag.API, f"Stopped; all state is in {app.home}")


def _read(query: Any) -> Any:
    app = _app()
    app.start_database()

    async def run() -> Any:
        await app.migrate()
        async with app.database() as db, db.connection() as conn:
            return await query(conn)

    return asyncio.run(run())
