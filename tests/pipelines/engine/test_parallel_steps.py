"""Steps that run side by side: each begins, fails, waits and ends by itself, and none is lost or doubled."""

import asyncio
import signal
from random import Random
from typing import Any

import psycopg
import pytest

from safelight.db.generations import runs
from safelight.domain.errors.base import ContentRefused, InvalidInput, ProviderUnavailable, SchemaMismatch
from safelight.domain.ids import generation_key
from safelight.domain.steps import StepType
from safelight.pipelines.engine.parallel import ITEMS_MAX, STEPS_AT_ONCE_MAX, ItemResult
from safelight.pipelines.engine.run import Run
from tests.conftest import Backend, Json, StartBackend
from tests.support import killed_worker
from tests.support.commands import forked_processes
from tests.support.parallel_flow import AT_ONCE, ITEM, ITEMS, OPERATIONS, TABLE, asking, mixed, telling
from tests.support.scope import amount

KILLS = amount(usual=5, all=200)
KILLS_SEED = 8
STATEMENTS_KILLED_AT_MAX = 60
GENERATION = "where mg_record_type = 'generation' and mg_generation_id = %s"


class Meeting:
    """Lets items go on when so many have come."""

    def __init__(self, number: int) -> None:
        self._number, self.present, self.most, self.open = number, 0, 0, asyncio.Event()

    async def __call__(self, item: int) -> None:
        self.present += 1
        self.most = max(self.most, self.present)
        if self.present == self._number:
            self.open.set()
        await self.open.wait()
        await asyncio.sleep(0)
        self.present -= 1


def lines_of(backend: Backend, generation_id: str) -> list[Json]:
    return backend.sql("select seq, message from image_generation_logs where job_id = %s order by seq", generation_id)


async def hold_all(backend: Backend, generation_id: str, *, steps: int = ITEMS) -> None:
    """No step is lost, doubled or unfinished, the lines have no hole, and the doctor finds nothing."""
    rows = backend.steps(generation_id)
    assert [row["mg_step_no"] for row in rows] == [*range(steps)]
    assert all(row["mg_payload"]["timing"]["ended_at"] for row in rows)
    lines = lines_of(backend, generation_id)
    assert [line["seq"] for line in lines] == [*range(1, len(lines) + 1)]
    told = backend.value(
        f"select mg_mma_vars #> '{{userMessages,scan_lines}}' from mega_generations {GENERATION}", generation_id
    )
    assert [line["text"] for line in told] == [line["message"] for line in lines]
    async with backend.app.database() as db:
        findings = await backend.app.on(db).doctor.check()
    assert findings.violations == ()


async def made(start: StartBackend, flow: Any, **settings: Any) -> tuple[Backend, Json]:
    with telling(flow):
        backend = await start(**settings)
        await backend.grant(1)
        return backend, await backend.finished(await backend.create())


async def test_steps_that_end_at_the_same_moment_lose_nothing(start: StartBackend):
    meeting = Meeting(AT_ONCE)
    backend, ended = await made(start, asking(meeting))
    generation_id = ended["generation_id"]
    await hold_all(backend, generation_id)
    assert meeting.most == AT_ONCE
    scans = backend.value(f"select mg_mma_vars->'scans' from mega_generations {GENERATION}", generation_id)
    assert {scans[f"item_{item}"] for item in range(ITEMS)} == {*range(ITEMS)}
    said = [line["message"] for line in lines_of(backend, generation_id)]
    assert sorted(said) == sorted({*said})
    assert {f"Item {item} is there." for item in range(ITEMS)} <= {*said}


REFUSALS = [ContentRefused("no"), SchemaMismatch("no JSON"), KeyError("a mistake of ours"), InvalidInput("too large")]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_an_item_that_fails_stops_no_other(start: StartBackend, error: Exception):
    results: list[ItemResult[int, Any]] = []

    async def act(item: int) -> None:
        if item == 2:
            raise error

    backend, ended = await made(start, asking(act, results))
    assert [result.position for result in results if result.error] == [2]
    assert [result.value["item"] for result in results if result.value] == [0, 1, 3, 4, 5, 6, 7]
    await hold_all(backend, ended["generation_id"])
    [row] = backend.ops_rows(ended["generation_id"])
    assert (row["mg_record_type"], row["mg_detail"]["item"]) == ("warn", 2)
    assert [step["mg_status"] for step in backend.steps(ended["generation_id"])].count("failed") == 1


UNWRITABLE = [{"a set"}, object(), b"bytes", 1j]


@pytest.mark.parametrize("answer", UNWRITABLE, ids=lambda answer: type(answer).__name__)
async def test_an_item_that_the_database_does_not_take_stops_no_other(start: StartBackend, answer: Any):
    """Its write is gathered with those of others, which are written by themselves then."""
    meeting = Meeting(AT_ONCE)

    async def act(item: int) -> Any:
        await meeting(item)
        return answer if item == 2 else None

    results: list[ItemResult[int, Any]] = []
    backend, ended = await made(start, asking(act, results))
    assert [result.position for result in results if result.error] == [2]
    await hold_all(backend, ended["generation_id"])
    scans = backend.value(f"select mg_mma_vars->'scans' from mega_generations {GENERATION}", ended["generation_id"])
    assert [item for item in range(ITEMS) if f"item_{item}" in scans] == [0, 1, 3, 4, 5, 6, 7]


async def test_an_item_is_tried_again_by_itself(start: StartBackend):
    tried: list[int] = []

    async def act(item: int) -> None:
        tried.append(item)
        if item in (1, 5) and tried.count(item) < 3:
            raise ProviderUnavailable("503")

    results: list[ItemResult[int, Any]] = []
    backend, ended = await made(start, asking(act, results))
    assert [result.error for result in results] == [None] * ITEMS
    assert sorted(tried) == sorted([*range(ITEMS), 1, 1, 5, 5])
    await hold_all(backend, ended["generation_id"])
    attempts = [len(step["mg_payload"]["attempts"]) for step in backend.steps(ended["generation_id"])]
    assert attempts == [1, 3, 1, 1, 1, 3, 1, 1]


async def test_a_customer_cancels_steps_side_by_side(start: StartBackend):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def act(item: int) -> None:
        begun.set()
        await go_on.wait()

    with telling(asking(act)):
        backend = await start()
        await backend.grant(1)
        accepted = await backend.create()
        await begun.wait()
        backend.sql(
            f"update mega_generations set mg_cancel_requested_at = now() {GENERATION}", accepted["generation_id"]
        )
        go_on.set()
        ended = await backend.finished(accepted)
    assert ended["status"] == "cancelled"
    statuses = [step["mg_status"] for step in backend.steps(accepted["generation_id"])]
    assert statuses[-1] == "failed" and {*statuses} <= {"succeeded", "failed"}
    assert AT_ONCE < len(statuses) <= ITEMS + 1  # what was not begun is no step
    await hold_all(backend, accepted["generation_id"], steps=len(statuses))
    assert backend.balance() == backend.ledger_sum() == 1


async def test_a_lease_that_is_lost_while_four_steps_write_loses_and_doubles_nothing(start: StartBackend):
    """The row is locked while four steps are about to end; when it is let go, another worker has the lease."""
    at_work: list[int] = []
    go_on = asyncio.Event()

    async def act(item: int) -> None:
        at_work.append(item)
        await go_on.wait()

    with telling(asking(act)):
        backend = await start(worker_heartbeat_seconds=0.3)
        await backend.grant(1)
        accepted = await backend.create()
        generation_id = accepted["generation_id"]
        while len(at_work) < AT_ONCE:
            await asyncio.sleep(0.01)
        async with await psycopg.AsyncConnection.connect(backend.dsn) as other:
            await other.execute(
                "update mega_generations set mg_lease_no = mg_lease_no + 1, mg_created_at = now() - interval '1 minute'"
                " where mg_id = %s",
                [generation_key(generation_id)],
            )
            go_on.set()
            while not backend.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"):
                await asyncio.sleep(0.01)
            await other.commit()
        ended = await backend.finished(accepted)
    assert ended["status"] == "suggested"
    await hold_all(backend, generation_id)
    said = [line["message"] for line in lines_of(backend, generation_id)]
    assert [said.count(f"Item {item} is there.") for item in range(ITEMS)] == [1] * ITEMS


async def test_a_map_without_a_place_for_lines_gets_none(start: StartBackend):
    async def act(item: int) -> None: ...

    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    backend.sql(
        f"update mega_generations set mg_mma_vars = mg_mma_vars #- '{{userMessages,scan_lines}}' {GENERATION}",
        accepted["generation_id"],
    )
    with telling(asking(act)):
        await start()
        async with asyncio.timeout(60):
            while not backend.value(
                "select mg_mma_status = 'suggested' from mega_generations where mg_record_type = 'generation'"
            ):
                await asyncio.sleep(0.05)
    messages = backend.value(
        "select mg_mma_vars->'userMessages' from mega_generations where mg_record_type = 'generation'"
    )
    assert "scan_lines" not in messages
    assert len(lines_of(backend, accepted["generation_id"])) == 2 * ITEMS + 2


async def test_a_run_reads_of_finished_steps_only_what_they_gave(start: StartBackend):
    async def act(item: int) -> None: ...

    backend, ended = await made(start, asking(act))
    async with backend.app.database() as db, db.connection() as conn:
        read = await runs.checkpoints(conn, ended["generation_id"], ["seedream_generate"])
        whole = await runs.checkpoints(conn, ended["generation_id"], [ITEM])
    assert all({"output", "timing", "error"} <= step.payload.keys() for step in read)
    assert not any({"input", "attempts", "starts"} & step.payload.keys() for step in read)
    assert all({"input", "attempts"} <= step.payload.keys() for step in whole)


@pytest.mark.parametrize(
    ("step_type", "items", "at_once"),
    [(ITEM, 1, 0), (ITEM, 1, STEPS_AT_ONCE_MAX + 1), (ITEM, ITEMS_MAX + 1, 1), (StepType.KLING_GENERATE, 1, 1)],
)
async def test_what_may_run_side_by_side_is_bounded(step_type: StepType, items: int, at_once: int):
    with pytest.raises(InvalidInput):
        await Run.each(None, step_type, range(items), None, at_once)  # type: ignore[arg-type]


@pytest.mark.scaled
@pytest.mark.timeout(3600)
async def test_workers_may_be_killed_at_random_while_steps_run_side_by_side(dsn: str, start: StartBackend):
    """Each run kills a worker at a statement that is drawn; then one worker takes everything over."""
    kills, rng = KILLS, Random(KILLS_SEED)
    backend = await start(worker=False, provider_start_timeout_seconds=2)
    backend.sql(TABLE)
    await backend.grant(kills)
    environment = {
        "database_url": dsn,
        "home": str(backend.app.home),
        "public_url": backend.app.settings.base_url,
        "worker_heartbeat_seconds": 60,
        "worker_poll_seconds": 0.05,
        "provider_start_timeout_seconds": 2,
        "retry_base_seconds": 0.02,
        "log_level": "ERROR",
    }
    processes = forked_processes()
    killed = 0
    for _ in range(kills):
        accepted = await backend.create()
        moment = rng.choice(["before", "after"])
        arguments = (environment, accepted["generation_id"], rng.randint(1, STATEMENTS_KILLED_AT_MAX), moment, mixed)
        process = processes.Process(target=killed_worker.work, args=arguments)
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode in (0, -signal.SIGKILL)
        killed += process.exitcode != 0
        backend.sql("update procrastinate_jobs set scheduled_at = now() + interval '1 hour' where status = 'todo'")
    assert killed > kills / 2
    backend.sql("update procrastinate_jobs set scheduled_at = null where status = 'todo'")
    with telling(mixed(dsn)):
        await start(worker_heartbeat_seconds=0.3, provider_start_timeout_seconds=2)
        async with asyncio.timeout(120 + 3 * kills):
            while backend.value(
                "select count(*) from mega_generations where mg_record_type = 'generation'"
                " and mg_mma_status <> 'suggested'"
            ):
                await asyncio.sleep(0.1)
    for row in backend.sql("select mg_generation_id as id from mega_generations where mg_record_type = 'generation'"):
        await hold_all(backend, row["id"])
    starts = backend.sql("select attempt_key, count(*) as times from outside.start group by attempt_key")
    assert [row["times"] for row in starts] == [1] * (kills * OPERATIONS)
    assert len({row["attempt_key"].rsplit(":", 1)[0] for row in starts}) == kills * OPERATIONS
