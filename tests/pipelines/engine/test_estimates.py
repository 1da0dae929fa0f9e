"""The remaining time is estimated from recorded durations, and the estimate is right."""

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from safelight.domain.estimates.expected_steps import ExpectedStage, expected_stages, without_ended
from safelight.domain.estimates.remaining_time import (
    SAMPLES_TO_SAY_STALLED,
    Estimate,
    RunningStep,
    StepTimes,
    Wait,
    is_stalled,
    percentile,
    remaining_time,
)
from safelight.domain.orders import read_order
from safelight.reports.progress import Estimates
from tests.conftest import Backend, StartBackend

Json = dict[str, Any]
Estimated = Callable[[StepTimes], Estimate | None]
Truth = Callable[[random.Random], float | None]

RUNS = 400  # after each of the histories
HISTORIES = 20  # one history of 200 durations may be unlucky
# By step: median seconds and spread of the logarithm; the last one has two kinds of runs.
STEPS = {"scan_product": (2.0, 0.3), "gpt_reader": (4.0, 0.5), "seedream_generate": (20.0, 0.4)}


def drawn(chance: random.Random, step: str) -> float:
    median, spread = STEPS[step]
    slow = 4 if step == "seedream_generate" and chance.random() < 0.15 else 1
    return slow * median * chance.lognormvariate(0, spread)


def history(chance: random.Random, count: int = 200) -> StepTimes:
    seconds = {(step, "m"): tuple(sorted(drawn(chance, step) for _ in range(count))) for step in STEPS}
    return StepTimes(seconds, dict.fromkeys(STEPS, "m"))


STAGES = tuple(ExpectedStage(step) for step in STEPS)


def share_below_p80(estimate: Estimated, truth: Truth) -> float:
    """Over several recorded histories: how often the true time is below the estimate. `truth` None: no such run."""
    below = []
    for number in range(HISTORIES):
        chance = random.Random(number)
        found = estimate(history(chance))
        assert found
        times = [one for one in (truth(chance) for _ in range(RUNS)) if one is not None]
        below.append(sum(one <= found.p80 for one in times) / len(times))
    return sum(below) / len(below)


def whole_run(chance: random.Random) -> float:
    return sum(drawn(chance, step) for step in STEPS)


def test_the_true_time_of_a_whole_run_is_below_the_p80_in_four_of_five():
    assert 0.75 <= share_below_p80(lambda times: remaining_time(times, STAGES), whole_run) <= 0.85


@pytest.mark.parametrize("elapsed", [5.0, 15.0, 30.0])
def test_so_it_is_in_the_middle_of_a_step(elapsed: float):
    """A step that has taken so long already takes as long as those that took at least so long."""
    left = [ExpectedStage("seedream_generate"), ExpectedStage("gpt_reader")]
    running = [RunningStep("seedream_generate", "m", elapsed)]

    def truth(chance: random.Random) -> float | None:
        whole = drawn(chance, "seedream_generate")
        return whole - elapsed + drawn(chance, "gpt_reader") if whole > elapsed else None

    assert 0.75 <= share_below_p80(lambda times: remaining_time(times, left, running=running), truth) <= 0.85


def test_so_it_is_of_steps_side_by_side():
    stages = [ExpectedStage("scan_product", 6, at_once=3), ExpectedStage("gpt_reader")]

    def truth(chance: random.Random) -> float:
        places = [0.0] * 3
        for _ in range(6):
            places[places.index(min(places))] += drawn(chance, "scan_product")
        return max(places) + drawn(chance, "gpt_reader")

    assert 0.75 <= share_below_p80(lambda times: remaining_time(times, stages), truth) <= 0.85


def test_so_it_is_behind_others_in_the_queue():
    wait = Wait(ahead=12, begun_per_second=0.5)

    def truth(chance: random.Random) -> float:
        return sum(chance.expovariate(0.5) for _ in range(12)) + whole_run(chance)

    assert 0.75 <= share_below_p80(lambda times: remaining_time(times, STAGES, wait=wait), truth) <= 0.85


@pytest.mark.parametrize(
    ("seconds", "p50", "p80", "p99"),
    [(range(1, 100), 50, 80, 99), (range(1, 10), 5, 8, 9), ([3.0], 3.0, 3.0, 3.0), ([1.0, 2.0, 90.0], 2.0, 90.0, 90.0)],
)
def test_percentiles_say_what_the_next_one_is_below(seconds: Any, p50: float, p80: float, p99: float):
    ordered = sorted(seconds)
    assert [percentile(ordered, share) for share in (0.5, 0.8, 0.99)] == [p50, p80, p99]


@pytest.mark.parametrize(
    ("times", "stages", "more"),
    [
        (StepTimes({}, {}), STAGES, {}),
        (history(random.Random(1), 4), STAGES, {}),
        (history(random.Random(1)), [*STAGES, ExpectedStage("postscan_output_still")], {}),
        (history(random.Random(1)), STAGES, {"wait": Wait(3, None)}),
        (history(random.Random(1)), STAGES, {"running": [RunningStep("scan_product", "m", 1e6)]}),
    ],
)
def test_without_data_there_is_no_estimate(times: StepTimes, stages: Any, more: Json):
    assert remaining_time(times, stages, **more) is None


def test_a_step_is_stalled_past_its_p99_and_only_where_enough_is_known():
    times = history(random.Random(2))
    slowest = times.seconds[("gpt_reader", "m")]
    assert is_stalled(times, RunningStep("gpt_reader", "m", slowest[-1] + 1))
    assert not is_stalled(times, RunningStep("gpt_reader", "m", percentile(slowest, 0.98)))
    assert not is_stalled(times, RunningStep("gpt_reader", "another", 1e6))
    few = history(random.Random(2), SAMPLES_TO_SAY_STALLED - 1)
    assert not is_stalled(few, RunningStep("gpt_reader", "m", 1e6))


def test_steps_that_have_ended_are_no_longer_to_be_done():
    stages = [ExpectedStage("scan_inspiration", 3), ExpectedStage("gpt_reader"), ExpectedStage("seedream_generate")]
    assert without_ended(stages, {"scan_inspiration": 2}) == (ExpectedStage("scan_inspiration"), *stages[1:])
    assert without_ended(stages, {"scan_inspiration": 3, "gpt_reader": 1}) == (stages[2],)
    assert without_ended(stages, {"scan_inspiration": 9, "gpt_reader": 1, "seedream_generate": 1}) == ()


# --- a generation's progress -----------------------------------------------------------------------------------------


def record(backend: Backend, step_type: str, seconds: float, count: int = 60, model: str | None = "m") -> None:
    with psycopg.connect(backend.dsn) as conn:
        conn.execute("insert into mega_customers (mg_pass_id) values ('pass:user:past') on conflict do nothing")
        conn.execute(
            "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_step_no,"
            " mg_step_type, mg_status, mg_model, mg_latency_ms, mg_payload)"
            " select 'mma_step:' || gen_random_uuid(), 'mma_step', gen_random_uuid()::text, 'pass:user:past', 1, %s,"
            " 'succeeded', %s, %s, '{}' from generate_series(1, %s)",
            [step_type, model, seconds * 1000, count],
        )


async def progress(backend: Backend, generation_id: str) -> Any:
    async with backend.app.database() as db, db.connection() as conn:
        return await Estimates().progress(conn, generation_id)


async def test_the_steps_of_each_flow_are_those_that_are_expected(backend: Backend):
    await backend.grant(20)
    made = await backend.finished(await backend.create())
    tweaked = await backend.finished(
        await backend.post(
            "/mma/still/tweak", {"parent_generation_id": made["generation_id"], "inputs": {"feedback": "warmer"}}
        )
    )
    video = {"parent_generation_id": made["generation_id"], "inputs": {"motion_user_brief": "steam"}}
    filmed = await backend.finished(await backend.post("/mma/video/animate", video))
    idea = {"parent_generation_id": made["generation_id"], "inputs": {"suggest_only": True}}
    suggested = await backend.finished(await backend.post("/mma/video/animate", idea))
    for one in (made, tweaked, filmed, suggested):
        row = backend.sql(
            "select mg_payload from mega_generations where mg_id = %s", f"generation:{one['generation_id']}"
        )
        stages = expected_stages(read_order(row[0]["mg_payload"]["order"]))
        expected = [stage.step_type for stage in stages or () for _ in range(stage.count)]
        assert backend.step_types(one["generation_id"]) == expected


async def test_who_waits_is_told_their_place_and_when_it_will_be_done(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(3)
    accepted = [await backend.create() for _ in range(3)]
    second = accepted[1]["generation_id"]
    unknown = await progress(backend, second)
    assert (unknown.queue_position, unknown.eta_seconds, unknown.percent, unknown.stalled) == (2, None, 0, False)
    types = ("scan_product", "like_history", "gpt_reader", "seedream_generate", "postscan_output_still")
    for step_type in types:
        record(backend, step_type, 10)
    first = await progress(backend, accepted[0]["generation_id"])
    assert (first.queue_position, first.eta_seconds) == (1, 50.0)
    assert (await progress(backend, second)).eta_seconds is None  # nobody has begun anything
    assert await progress(backend, "nothing") is None


async def test_an_end_has_no_remaining_time_and_is_whole_only_with_a_result(start: StartBackend):
    backend = await start()
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    done = await progress(backend, made["generation_id"])
    assert (done.percent, done.done, done.expected) == (100, 1, 1)
    assert (done.eta_seconds, done.queue_position, done.stalled) == (None, None, False)


async def test_a_step_under_way_past_its_p99_is_said(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    generation_id = (await backend.create())["generation_id"]
    for step_type in ("like_history", "gpt_reader", "seedream_generate", "postscan_output_still"):
        record(backend, step_type, 10)
    record(backend, "scan_product", 20)
    insert = (
        "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_step_no,"
        " mg_step_type, mg_status, mg_model, mg_payload) values (%s, 'mma_step', %s, %s, %s, 0, 'scan_product',"
        " 'processing', 'm', jsonb_build_object('timing', jsonb_build_object('started_at',"
        " (now() - make_interval(secs => %s))::text))) on conflict (mg_id) do update set mg_payload = excluded.mg_payload"
        " returning 1"
    )
    key = f"mma_step:{generation_id}:0"
    for elapsed, stalled in ((5.0, False), (15.0, False), (3600.0, True)):
        backend.sql(insert, key, generation_id, f"generation:{generation_id}", backend.pass_id, elapsed)
        found = await progress(backend, generation_id)
        assert (found.stalled, found.queue_position) == (stalled, None)
        assert found.eta_seconds is None if stalled else abs(found.eta_seconds - (60 - elapsed)) < 2


async def test_an_order_can_be_estimated_before_it_is_made(backend: Backend):
    order = read_order(
        {"flow": "still_tweak", "pass_id": "p", "session_id": "s", "platform": "web", "title": "t", "parent": {
            "generation_id": "g", "mode": "still", "output_url": "https://example.com/a.png"}}
    )  # fmt: skip
    async with backend.app.database() as db, db.connection() as conn:
        assert await Estimates().expected(conn, order) is None
        for step_type in ("scan_input_still", "gpt_feedback_still", "seedream_generate_feedback"):
            record(backend, step_type, 10)
        record(backend, "postscan_output_still_feedback", 2)
        found = await Estimates().expected(conn, order)
    assert found and (found.p50, found.p80, found.p99) == (32.0, 32.0, 32.0)
