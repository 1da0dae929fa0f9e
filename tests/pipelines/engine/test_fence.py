"""The fence: what a worker writes counts while it holds the lease, and once, however often it is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from safelight.db.connection.clock import DatabaseClock
from safelight.db.connection.database import Connection
from safelight.db.generations import runs
from safelight.db.generations.runs import Ending, Lease, WriteOutcome
from safelight.domain.errors.base import LeaseLost
from safelight.domain.ids import generation_key
from safelight.domain.job_log import LogLine
from safelight.domain.statuses import Status
from safelight.pipelines.engine.step import Step
from tests.conftest import Backend, StartBackend

VERSIONS = (1,)  # of the stories that a worker knows
CLOCK = DatabaseClock(datetime.now(UTC))
FIRST = 1  # how long the log is when an order has been accepted
LINES = "select message from image_generation_logs where seq > 1 order by seq"


@pytest.fixture
async def backend(start: StartBackend) -> Backend:
    """With one order that waits."""
    idle = await start(worker=False)
    await idle.grant(1)
    await idle.post("/mma/still/create", {"inputs": {"brief": "a cup"}})
    return idle


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[Connection]:
    async with backend.app.database() as db, db.connection() as connection:
        yield connection


async def take(backend: Backend, conn: Connection) -> Lease:
    found = "select mg_generation_id from mega_generations where mg_record_type = 'generation'"
    leased = await runs.take_lease(conn, backend.value(found), VERSIONS)
    assert leased
    return Lease(leased.generation_id, leased.lease_no, leased.user_id)


def new_step(number: int = 0) -> Step:
    return Step(number, "gpt_reader", CLOCK)


async def write(conn: Connection, lease: Lease, text: str, *steps: Step) -> WriteOutcome:
    return await runs.write_steps(
        conn,
        lease,
        [step.next_row() for step in steps or [new_step()]],
        status=Status.PROMPTING,
        variables=None,
        lines=[LogLine("info", "gpt_reader", text)],
        deadline_seconds=7.0,
    )


async def finish(conn: Connection, lease: Lease, text: str, status: Status = Status.SUGGESTED) -> WriteOutcome:
    return await runs.finish(conn, lease, Ending(status, [LogLine("success", "completion", text)]), variables={})


async def test_a_lease_that_was_taken_over_writes_nothing(backend: Backend, conn: Connection):
    stale, holder = await take(backend, conn), await take(backend, conn)
    for attempt in (write, finish):
        with pytest.raises(LeaseLost):
            await attempt(conn, stale, "mine")
    await write(conn, holder, "theirs")
    for attempt in (write, finish):
        with pytest.raises(LeaseLost):
            await attempt(conn, stale, "mine")
    assert backend.sql(LINES) == [{"message": "theirs"}]
    status = "select mg_mma_status from mega_generations where mg_id = %s"
    assert backend.value(status, generation_key(holder.generation_id)) == "prompting"


def counted(written: WriteOutcome) -> tuple[int, bool]:
    return written.log_seq, written.cancelling


async def test_a_write_that_is_sent_again_counts_once(backend: Backend, conn: Connection):
    lease = await take(backend, conn)
    for _ in range(2):
        assert counted(await write(conn, lease, "begun")) == (FIRST + 1, False)
    for _ in range(2):
        assert counted(await finish(conn, lease, "ended")) == (FIRST + 2, False)
    assert backend.sql(LINES) == [{"message": "begun"}, {"message": "ended"}]


async def test_a_write_without_lines_that_is_sent_again_counts_once(backend: Backend, conn: Connection):
    lease, step = await take(backend, conn), new_step()
    for _ in range(2):
        await runs.write_steps(conn, lease, [step.next_row()], status=Status.PROMPTING, variables=None)
    [row] = backend.steps(lease.generation_id)
    assert row["mg_payload"]["writes"] == 1


async def test_a_write_that_is_sent_again_before_the_first_has_ended_counts_once(dsn: str, backend: Backend):
    """The connection was cut and the server did not notice: both statements are under way, side by side."""
    async with (
        backend.app.database(8) as db,
        db.connection() as conn,
        db.connection() as first,
        db.connection() as second,
    ):
        lease = await take(backend, conn)
        async with conn.transaction():
            await conn.execute(
                "select from mega_generations where mg_id = %s for update", [generation_key(lease.generation_id)]
            )
            twice = [asyncio.create_task(write(one, lease, "begun", new_step())) for one in (first, second)]
            await until_blocked(backend, 2)
        assert [counted(await one) for one in twice] == [(FIRST + 1, False)] * 2
    assert backend.sql(LINES) == [{"message": "begun"}]


async def test_steps_that_write_at_the_same_time_lose_nothing(dsn: str, backend: Backend):
    """Four steps of one run end while another writer holds the row; each has a connection of its own."""
    numbers = range(4)
    async with backend.app.database(8) as db, db.connection() as conn, AsyncExitStack() as stack:
        lease = await take(backend, conn)
        writers = [await stack.enter_async_context(db.connection()) for _ in numbers]
        async with conn.transaction():
            await conn.execute(
                "select from mega_generations where mg_id = %s for update", [generation_key(lease.generation_id)]
            )
            ends = [
                asyncio.create_task(write(one, lease, f"step {number}", new_step(number)))
                for number, one in zip(numbers, writers, strict=True)
            ]
            await until_blocked(backend, len(ends))
        assert sorted([(await end).log_seq for end in ends]) == [FIRST + 1 + number for number in numbers]
    assert [row["mg_step_no"] for row in backend.steps(lease.generation_id)] == [*numbers]
    lines = backend.sql("select seq, message from image_generation_logs where seq > 1 order by seq")
    assert [line["seq"] for line in lines] == [FIRST + 1 + number for number in numbers]
    assert sorted(line["message"] for line in lines) == [f"step {number}" for number in numbers]


async def test_steps_that_are_written_together_are_written_all_or_none(backend: Backend, conn: Connection):
    lease, ended = await take(backend, conn), new_step(0)
    ended.end({})
    await write(conn, lease, "ended", ended)
    with pytest.raises(LeaseLost):
        await write(conn, lease, "once more, and a new one", ended_again(ended), new_step(1))
    assert [row["mg_step_no"] for row in backend.steps(lease.generation_id)] == [0]
    assert backend.sql(LINES) == [{"message": "ended"}]


def ended_again(step: Step) -> Step:
    step.payload.writes += 1
    return step


async def until_blocked(backend: Backend, writers: int) -> None:
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    async with asyncio.timeout(30):
        while backend.value(waiting) < writers:
            await asyncio.sleep(0.01)


async def test_nothing_is_written_after_the_end(backend: Backend, conn: Connection):
    lease = await take(backend, conn)
    await finish(conn, lease, "ended")
    with pytest.raises(LeaseLost):
        await write(conn, lease, "more")
    with pytest.raises(LeaseLost):
        await finish(conn, lease, "more", Status.DONE)
    await finish(conn, lease, "more")
    assert await runs.take_lease(conn, lease.generation_id, VERSIONS) is None
    assert backend.sql(LINES) == [{"message": "ended"}]


async def test_what_a_worker_has_begun_is_not_given_up(backend: Backend, conn: Connection):
    lease = await take(backend, conn)
    assert await runs.take_lease(conn, lease.generation_id, VERSIONS, if_lease_no=0) is None
    assert await runs.take_lease(conn, lease.generation_id, VERSIONS, if_lease_no=lease.number) is not None


async def test_a_step_that_waits_has_its_own_deadline(backend: Backend, conn: Connection):
    lease = await take(backend, conn)
    await write(conn, lease, "begun")
    left = "select extract(epoch from mg_deadline_at - mg_updated_at) from mega_generations where mg_id = %s"
    assert backend.value(left, generation_key(lease.generation_id)) == 7


async def test_a_step_that_goes_on_is_written_anew_until_it_has_ended(backend: Backend, conn: Connection):
    lease, step = await take(backend, conn), new_step()
    written: list[Any] = []
    for writes, text in enumerate(("one", "two", "three")):
        step.payload.input, step.payload.writes = {"asked": text}, writes
        if text == "two":
            step.end({})
        if text == "three":
            with pytest.raises(LeaseLost):
                await write(conn, lease, text, step)
        else:
            await write(conn, lease, text, step)
        [row] = backend.steps(lease.generation_id)
        written.append(row["mg_payload"]["input"]["asked"])
    assert written == ["one", "two", "two"]
    assert backend.sql(LINES) == [{"message": "one"}, {"message": "two"}]
