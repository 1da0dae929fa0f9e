"""Thousands of small worlds in which everything that can break does, each repeatable by its seed (tests/simulation)."""

import json
from collections.abc import Iterable
from functools import lru_cache

import pytest

from safelight.domain.errors.base import Cancelled
from safelight.domain.steps import StepType
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.step import Step
from safelight.pipelines.failures import fail
from tests.simulation.fault_schedule import STATEMENTS
from tests.simulation.planted import PLANTED
from tests.simulation.scenario import Sabotage, Told, in_simulation, simulate
from tests.simulation.seam import simulated
from tests.support.scope import LONG, amount

SEEDS_AT_ONCE = 150
WORLDS_KEPT_MAX = 700
SEEDS = amount(usual=300, all=10_050)
PARALLEL_SEEDS_AT_ONCE = 60
PARALLEL_SEEDS = amount(usual=120, all=10_000)
# Where the statements of a run change, all worlds do, and these seeds are to be found again: tests/simulation/planted.py.
# A worker that believes too soon that a start has not arrived makes it again in these, and both are accepted.
ARRIVES_LATE = (551, 1300, 1530, 1541)
ONLY_THE_LAST_LOOK_TELLS = (98, 394)
CANCELLED_SEEDS = (0, 3, 5, 6)
LAST_LOOK_FAILS = (113, 251, 374)


def told(seeds: Iterable[int], sabotage: Sabotage | None = None, *, is_parallel: bool = False) -> list[Told]:
    with simulated():
        return [in_simulation(seed, sabotage or Sabotage(), is_parallel=is_parallel) for seed in seeds]


@lru_cache(WORLDS_KEPT_MAX)
def whole_world(seed: int, *, is_parallel: bool) -> Told:
    """A world of the code as it is; several tests look at the same ones."""
    with simulated():
        return in_simulation(seed, Sabotage(), is_parallel=is_parallel)


def whole_worlds(seeds: Iterable[int], *, is_parallel: bool = False) -> list[Told]:
    return [whole_world(seed, is_parallel=is_parallel) for seed in seeds]


def cancelled_anywhere(seeds: Iterable[int], *, is_parallel: bool = False) -> list[Told]:
    """The same few worlds again and again; each time the customer cancels at another statement."""
    with simulated():
        return [
            in_simulation(seed, cancel_at_statement=number, is_parallel=is_parallel)
            for seed in seeds
            for number in range(1, STATEMENTS + 1)
        ]


def broken(worlds: list[Told]) -> str:
    """The broken worlds, and the command that shows each again."""
    return "\n".join(
        f"seed {one.seed}: {one.broken} (see it: python -m tests.simulation --seed {one.seed})"
        for one in worlds
        if one.broken
    )


@pytest.mark.scaled
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_AT_ONCE))
def test_whatever_breaks_every_generation_ends_as_it_should(first: int):
    found = broken(whole_worlds(range(first, first + SEEDS_AT_ONCE)))
    assert not found, found


@pytest.mark.parametrize("first", range(0, PARALLEL_SEEDS, PARALLEL_SEEDS_AT_ONCE))
def test_whatever_breaks_steps_side_by_side_end_as_they_should(first: int):
    found = broken(whole_worlds(range(first, first + PARALLEL_SEEDS_AT_ONCE), is_parallel=True))
    assert not found, found


@pytest.mark.parametrize("seeds", [CANCELLED_SEEDS[:2], pytest.param(CANCELLED_SEEDS[2:], marks=LONG)])
@pytest.mark.parametrize("is_parallel", [False, True], ids=["in turn", "side by side"])
def test_a_customer_may_cancel_at_any_statement(is_parallel: bool, seeds: tuple[int, ...]):
    worlds = cancelled_anywhere(seeds, is_parallel=is_parallel)
    assert not broken(worlds), broken(worlds)
    assert {world.status for world in worlds} >= {"done", "cancelled"}


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("believes-too-soon", ARRIVES_LATE),
        ("no-last-look", ONLY_THE_LAST_LOOK_TELLS),
        ("refunds-a-result", LAST_LOOK_FAILS),
    ],
)
def test_what_broke_once_holds_and_would_be_noticed_again(name: str, seeds: tuple[int, ...]):
    planted = PLANTED[name]
    worlds = told(seeds, is_parallel=planted.is_parallel)
    assert not broken(worlds), broken(worlds)
    with planted.plant():
        assert all(planted.sentence in broken([world]) for world in told(seeds, is_parallel=planted.is_parallel))


def test_a_seed_is_always_the_same_world():
    for seed in range(12):
        for is_parallel in (False, True):
            assert simulate(seed, is_parallel=is_parallel) == simulate(seed, is_parallel=is_parallel)
    assert len({json.dumps(simulate(seed).trace) for seed in range(12)}) == 12


def test_the_worlds_are_not_too_kind():
    """The faults that matter do happen among so few worlds, and so do the ends a generation can have."""
    worlds = whole_worlds(range(SEEDS_AT_ONCE * 2))
    text = "\n".join(line for world in worlds for line in world.trace)
    for event in (
        "KILLED", "PAUSED", "STOPPING", "DOWN for", "LOST commit", "LOST the answer to commit", "LOST the answer to finish",
        "LOST the answer to write_step", "LOST the answer to take_lease", "POSSIBLE_DOUBLE_START", "WORKER_LOST",
        "NEVER_STARTED", "_DEADLINE", "too late to stop", "_TIMEOUT", "written_before is answered\n", "find",
        "request_cancelling", "STORED", "DELETED", "note_withdrawn", "storage: list",
    ):  # fmt: skip
        assert event in text, f"{event} never happens: the weather is too fair"
    assert {world.status for world in worlds} == {"done", "error", "cancelled"}


def test_the_worlds_of_steps_side_by_side_are_not_too_kind():
    worlds = whole_worlds(range(200), is_parallel=True)
    lines = [line for world in worlds for line in world.trace]
    together = [line for line in lines if "write_steps" in line and line.count("succeeded") > 1]
    assert together, "no two steps end in the same moment"
    assert any("LOST the answer to write_steps" in line and line.count("succeeded") > 1 for line in lines)
    assert any("write_steps" in line and line.count("processing") >= 4 and "nothing" in line for line in lines)
    assert {world.status for world in worlds} == {"done", "error", "cancelled"}


def test_a_repeated_write_that_counts_twice_is_noticed():
    assert "and the log says" in broken(told(range(30), Sabotage(counts_repeated_writes=True), is_parallel=True))


def test_a_fence_that_does_not_hold_is_noticed():
    found = broken(told(range(100), Sabotage(ignores_fence=True)))
    assert "wrote while" in found


def test_a_provider_that_denies_what_it_accepted_is_noticed():
    found = broken(told(range(100), Sabotage(denies_all=True)))
    assert "starts accepted" in found and "nothing says so" in found


def test_a_runner_that_forgets_what_it_finished_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Step, "has_ended", False)
    monkeypatch.setattr("safelight.pipelines.worker.RESULT_STEPS", list(StepType))  # their steps are read whole
    assert "the generation is still" in broken(told(range(10)))  # the fence lets no ended step be written again


def test_a_cancel_that_wins_over_a_stored_result_is_noticed(monkeypatch: pytest.MonkeyPatch):
    def stop_if_asked(run: Run) -> None:
        if run.store.cancelling:
            raise Cancelled("stopped on request")

    monkeypatch.setattr(Run, "raise_if_cancelled", stop_if_asked)
    monkeypatch.setattr("safelight.pipelines.worker.conclude", lambda context, run, cause: fail(run, cause))
    found = broken(cancelled_anywhere(CANCELLED_SEEDS))
    assert "cancelled, and its result had been stored" in found and "was told too_late=True" in found


def test_a_refund_that_is_forgotten_is_noticed(monkeypatch: pytest.MonkeyPatch):
    async def forget(conn: object, *, generation_id: str) -> int:
        return 0

    monkeypatch.setattr("safelight.db.money.ledger.refund", forget)
    assert "1 credits kept for what was worth 0" in broken(told(range(30)))
