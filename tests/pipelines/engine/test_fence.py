"""The fence: what a worker writes counts while it holds the lease, and once, however often it is sent."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from safelight.db.connection.clock import DatabaseClock
from safelight.db.connection.database import Connection
from safelight.db.generations import runs
from safelight.db.generations.runs import Ending, Lease, StepRow, Written
from safelight.domain.errors.base import LeaseLost
from safelight.domain.ids import generation_key
from safelight.domain.job_log import LogLine
from safelight.domain.statuses import Status
from safelight.pipelines.engine.step_payload import close, empty_step
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
    return Lease(leased["mg_generation_id"], leased["mg_lease_no"], leased["mg_user_id"])


async def write(conn: Connection, lease: Lease, text: str, *, log_seq: int, step: StepRow | None = None) -> Written:
    return await runs.write_step(
        conn,
        lease,
        step or empty_step(0, "gpt_reader", CLOCK),
        log_seq=log_seq,
        status=Status.PROMPTING,
        variables=None,
        lines=[LogLine("info", "gpt_reader", text)],
        deadline_seconds=7.0,
    )


async def finish(conn: Connection, lease: Lease, text: str, *, log_seq: int) -> Written:
    ending = Ending(Status.SUGGESTED, [LogLine("success", "completion", text)])
    return await runs.finish(conn, lease, ending, log_seq=log_seq, variables={})


async def test_a_lease_that_was_taken_over_writes_nothing(backend: Backend, conn: Connection):
    stale, holder = await take(backend, conn), await take(backend, conn)
    for attempt in (write, finish):
        with pytest.raises(LeaseLost):
            await attempt(conn, stale, "mine", log_seq=FIRST)
    await write(conn, holder, "theirs", log_seq=FIRST)
    for attempt in (write, finish):
        for log_seq in (FIRST, FIRST + 1):
            with pytest.raises(LeaseLost):
                await attempt(conn, stale, "mine", log_seq=log_seq)
    assert backend.sql(LINES) == [{"message": "theirs"}]
    status = "select mg_mma_status from mega_generations where mg_id = %s"
    assert backend.value(status, generation_key(holder.generation_id)) == "prompting"


def counted(written: Written) -> tuple[int, bool]:
    return written.log_seq, written.cancelling


async def test_a_write_that_is_sent_again_counts_once(backend: Backend, conn: Connection):
    lease = await take(backend, conn)
    for _ in range(2):
        assert counted(await write(conn, lease, "begun", log_seq=FIRST)) == (FIRST + 1, False)
    for _ in range(2):
        assert counted(await finish(conn, lease, "ended", log_seq=FIRST + 1)) == (FIRST + 2, False)
    assert backend.sql(LINES) == [{"message": "begun"}, {"message": "ended"}]


async def test_nothing_is_written_after_the_end(backend: Backend, conn: Connection):
    lease = await take(backend, conn)
    await finish(conn, lease, "ended", log_seq=FIRST)
    for attempt in (write, finish):
        with pytest.raises(LeaseLost):
            await attempt(conn, lease, "more", log_seq=FIRST + 1)
    assert await runs.take_lease(conn, lease.generation_id, VERSIONS) is None
    assert backend.sql(LINES) == [{"message": "ended"}]


async def test_what_a_worker_has_begun_is_not_given_up(backend: Backend, conn: Connection):
    lease = await take(backend, conn)
    assert await runs.take_lease(conn, lease.generation_id, VERSIONS, if_lease_no=0) is None
    assert await runs.take_lease(conn, lease.generation_id, VERSIONS, if_lease_no=lease.number) is not None


async def test_a_step_that_waits_has_its_own_deadline(backend: Backend, conn: Connection):
    lease = await take(backend, conn)
    await write(conn, lease, "begun", log_seq=FIRST)
    left = "select extract(epoch from mg_deadline_at - mg_updated_at) from mega_generations where mg_id = %s"
    assert backend.value(left, generation_key(lease.generation_id)) == 7


async def test_a_step_that_goes_on_is_written_anew_until_it_has_ended(backend: Backend, conn: Connection):
    lease, step = await take(backend, conn), empty_step(0, "gpt_reader", CLOCK)
    written: list[Any] = []
    for log_seq, text in enumerate(("one", "two", "three"), FIRST):
        step.payload["input"] = {"asked": text}
        if text == "two":
            close(step, {}, None)
        await write(conn, lease, text, log_seq=log_seq, step=step)
        [row] = backend.steps(lease.generation_id)
        written.append(row["mg_payload"]["input"]["asked"])
    assert written == ["one", "two", "two"]
