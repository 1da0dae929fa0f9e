"""Benchmarks, as ratios to a baseline in the same run, and chaos."""

import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from safelight import serve, telemetry
from safelight.app import App
from safelight.cli import chaos_card, output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list
from safelight.testing import bench, chaos

ENGINE_RATIO_TO_REACH = 0.75
PARALLEL_RATIO_TO_REACH = 1.5
WAITING_MB_TO_REACH = 150
STORE_MB_TO_REACH = 64
FAIRNESS_RATIO_TO_REACH = 2

Result = TypeVar("Result")

commands = command_list()


@commands.command("engine")
def bench_engine(
    pipelines: Annotated[int, typer.Option(min=10, max=100_000, help="Pipelines per round.")] = 100,
    parallel: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=16,
            help="Measure the no-op steps per second of one generation instead: one after the other, and this many at"
            " once. The steps wait for the database only.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure pipelines of 7 steps per second. Baseline: plain psycopg that writes the same rows."""
    if parallel:
        steps = _measure(bench.parallel, parallel)
        _show(
            steps,
            f"steps one after the other  {steps.sequential_per_second:8.1f} steps/s",
            f"{steps.at_once:2} steps at once           {steps.parallel_per_second:8.1f} steps/s",
            f"ratio                      {steps.ratio:8.3f}   (target {PARALLEL_RATIO_TO_REACH})",
            as_json=as_json,
        )
        return
    result = _measure(bench.engine, pipelines)
    _show(
        result,
        f"baseline (plain psycopg)  {result.floor_per_second:8.1f} pipelines/s",
        f"the engine                {result.engine_per_second:8.1f} pipelines/s",
        f"ratio                     {result.ratio:8.3f}   (target {ENGINE_RATIO_TO_REACH})",
        as_json=as_json,
    )


@commands.command("doctor")
def bench_doctor(
    generations: Annotated[int, typer.Option(min=100, max=10_000_000, help="Generations, ten steps each.")] = 200_000,
    as_json: AsJson = False,
) -> None:
    """Measure one run of the doctor on a scratch database with --generations."""
    result = _measure(bench.doctor, generations)
    _show(
        result,
        f"{result.generations} generations, {result.rows} rows, {result.database_bytes / 1e9:.1f} GB"
        f" (filled in {result.fill_seconds:.0f} s)",
        f"one run: {result.seconds:.1f} s, {result.rows_per_second} rows/s",
        as_json=as_json,
    )


@commands.command("fairness")
def bench_fairness(
    orders: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Orders of one customer that are in the queue.")
    ] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Measure the wait of customers with one order while another has --orders. Baseline: the wait without these."""
    result = _measure(bench.fairness, orders)
    rows = (
        ("nothing else to do", result.idle, ""),
        (f"behind {result.orders} orders", result.behind, f"ratio {result.ratio}"),
        ("the same, bounded per customer", result.bounded, f"ratio {result.ratio_bounded}"),
    )
    _show(
        result,
        *(f"{name:32} p95: begun {one.begun:6.3f} s, done {one.done:6.3f} s  {told}" for name, one, told in rows),
        f"target: {FAIRNESS_RATIO_TO_REACH}",
        as_json=as_json,
    )


@commands.command("waiting")
def bench_waiting(
    generations: Annotated[int, typer.Option(min=10, max=100_000, help="Stills that wait at the same time.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """Measure the memory of one worker while --generations wait for a slow provider, and check that all end."""
    result = _measure(bench.waiting, generations)
    _show(
        result,
        f"{result.generations} waiting after {result.seconds_until_all_wait:.0f} s;"
        f" {result.done} done {result.seconds_until_all_end:.0f} s after the provider answered",
        f"memory of the worker: {result.warm_mb:.0f} MB warm, {result.peak_mb:.0f} MB peak"
        f"   (target below {WAITING_MB_TO_REACH})",
        as_json=as_json,
    )


@commands.command("store")
def bench_store(
    megabytes: Annotated[int, typer.Option(min=10, max=4000, help="Size of the video, in MB.")] = 2000,
    as_json: AsJson = False,
) -> None:
    """Measure the memory that copying a large video takes, from its provider to a directory and to S3."""
    telemetry.configure("WARNING", None, console=False)
    result = asyncio.run(bench.store(megabytes))
    lines = [
        f"{copy.storage:6}  {result.megabytes} MB in {copy.seconds:.0f} s, {'whole' if copy.is_whole else 'BROKEN'}\n"
        f"        memory grew by {copy.growth_mb:.0f} MB from {copy.before_mb:.0f} MB"
        f"   (target below {STORE_MB_TO_REACH})"
        for copy in result.copies
    ]
    _show(result, *lines, as_json=as_json)


def _measure(work: Callable[[App, int], Coroutine[Any, Any, Result]], size: int) -> Result:
    app = open_app(console_lines=False)
    app.start_database()
    return asyncio.run(work(app, size))


def _show(result: Any, *lines: str, as_json: bool) -> None:
    if as_json:
        output.print_json(asdict(result))
        return
    for line in lines:
        output.console.print(line)


# --- chaos -----------------------------------------------------------------------------------------------------------


@commands.command("chaos")
def run_chaos(
    generations: Annotated[int, typer.Option(min=1, max=100_000, help="Number of generations to order.")] = 200,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Worker processes.")] = 4,
    kill_every: Annotated[
        float, typer.Option(min=0, help="Mean seconds between two killed workers; 0 disables it.")
    ] = 5,
    restart_db_every: Annotated[
        float, typer.Option(min=0, help="Mean seconds between two restarts of the database; 0 disables it.")
    ] = 20,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the injected faults; printed first. Ids and timings still differ.")
    ] = None,
    provider: Annotated[
        Literal["simulated", "replicate", "fal"], typer.Option(help="Wire format of the simulated provider.")
    ] = "simulated",
    cancel_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the orders that are cancelled, at a random moment.")
    ] = 0.2,
    minutes_max: Annotated[float, typer.Option(min=0.1, max=1440, help="Time limit of the run, in minutes.")] = 15,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the home directory of the run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run generations against a failing simulated provider, kill workers, restart the database, and check the end."""
    telemetry.configure("WARNING", None, console=False)
    drawn = random.randrange(2**32) if seed is None else seed  # noqa: S311 - no secret
    plan = chaos.ChaosPlan(
        drawn,
        generations,
        workers,
        kill_every,
        restart_db_every,
        minutes_max,
        chaos.VendorFormat(provider),
        cancel_share,
    )
    home = Path(tempfile.mkdtemp(prefix="safelight-chaos-"))
    chaos_card.show_plan(plan, home if keep else None, as_json=as_json)
    try:
        with chaos_card.chaos_progress(plan, silent=as_json) as tell:
            card = asyncio.run(_until_told_to_stop(chaos.run_experiment(home, plan, tell)))
        if card is not None:
            chaos_card.show_scorecard(card, as_json=as_json)
    finally:
        if not keep:
            shutil.rmtree(home)
    if card is None:
        output.end_with("stopped; nothing is left running")
    sys.exit(0 if card.is_clean else 1)


async def _until_told_to_stop(work: Coroutine[Any, Any, Result]) -> Result | None:
    """None where Ctrl-C, or the request to end, came first: the work has put away its things then."""
    stopped = asyncio.create_task(serve.stop_on_signals().wait())
    working = asyncio.create_task(work)
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
    return None if working.cancelled() else await working
