"""API nodes and workers on machines of their own share one Postgres; one that is cut off does no harm, and comes back.

How a node is cut off is in a test's id: by a link that goes down, or, where namespaces may not be made and in the long
run, by a proxy that goes silent.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import psycopg
import pytest

from tests.conftest import WAIT_SECONDS, Backend, memory_folder
from tests.db.test_database_outage import BRIEF, accepted_again, refused
from tests.pipelines.engine.test_resume import STILL_STEPS, slow_step_begun
from tests.support.machines import API_NAMES, WAYS, WORKER_NAMES, Site, other, site
from tests.support.scope import LONG

SLOW = {"seedream": {"size": "4K"}}  # its step keeps a worker at work for seconds
LATE_WRITE_REFUSED = "is no longer ours, or it is final"


@pytest.fixture(params=[next(iter(WAYS)), *(pytest.param(way, marks=LONG) for way in list(WAYS)[1:])])
async def machines(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    with tempfile.TemporaryDirectory(prefix="sl", dir=memory_folder()) as folder:
        async with site(request.param, Path(folder)) as started:
            yield started


async def test_the_work_of_a_worker_that_is_cut_off_is_taken_over(machines: Site):
    first, second = machines.apis.values()
    await machines.start_workers()
    await first.grant(2)
    accepted = await first.create(settings=SLOW)
    generation_id = accepted["generation_id"]
    streaming = asyncio.create_task(second.finished(accepted))
    await slow_step_begun(first)
    before = first.steps(generation_id)
    cut_off = await machines.who_runs(generation_id)
    machines.network.cut_off(cut_off)
    made = await streaming
    assert made["status"] == "done"
    steps = first.steps(generation_id)
    assert [step["mg_step_type"] for step in steps] == STILL_STEPS
    assert [step["mg_payload"] for step in steps[:3]] == [step["mg_payload"] for step in before[:3]]
    assert steps[3]["mg_payload"]["operation"] == before[3]["mg_payload"]["operation"]
    assert first.value("select count(*) from mega_generations where mg_ref_type = 'mma_charge'") == 1

    rows = "select * from mega_generations where mg_generation_id = %s order by mg_id"
    written = first.sql(rows, generation_id)
    machines.network.mend(cut_off)
    await machines.until_said(cut_off, LATE_WRITE_REFUSED)
    assert await machines.nodes[other(WORKER_NAMES, cut_off)].stop() == 0
    again = await second.finished(await second.create())  # nobody else is there to do it
    assert again["status"] == "done"
    assert first.sql(rows, generation_id) == written
    assert first.ops_rows() == []
    assert first.balance() == first.ledger_sum() == 0
    await machines.until("select count(*) = 0 from procrastinate_jobs")


async def test_an_api_node_that_is_cut_off_says_so_and_the_other_one_serves(machines: Site):
    cut_off, serving = machines.apis.values()
    await machines.start_workers()
    await cut_off.grant(3)
    accepted = await cut_off.create(settings=SLOW)
    seen = await first_lines(cut_off, accepted["sse_url"])
    machines.network.cut_off(API_NAMES[0])
    body = {"passId": cut_off.pass_id, **BRIEF}
    await refused(cut_off, "POST", "/mma/still/create", json=body)
    await refused(cut_off, "GET", f"/mma/generations/{accepted['generation_id']}")
    assert (await cut_off.get("/health"))["supabase"] is False
    assert (await serving.get("/health"))["supabase"] is True
    async with asyncio.timeout(WAIT_SECONDS):
        rest = await serving.events(accepted["sse_url"], headers={"Last-Event-ID": str(seen)})
    resumed = [int(id or 0) for event, id, _ in rest if event == "scan_line"]
    lines = serving.value("select count(*) from image_generation_logs where job_id = %s", accepted["generation_id"])
    assert resumed == list(range(seen + 1, lines + 1))
    assert (await serving.finished(await serving.create()))["status"] == "done"

    machines.network.mend(API_NAMES[0])
    assert (await cut_off.finished(await accepted_again(cut_off)))["status"] == "done"
    told = "select count(*) >= 2 from mega_admin where mg_detail->>'error_code' = 'NO_SUPABASE'"
    await machines.until(told)  # more than the two above, where the link needed a moment to come back


async def test_a_customer_whose_order_was_cut_off_halfway_can_order_again(machines: Site):
    """The order waits for the customer's row, and gets its lock when nobody can tell it so."""
    cut_off, serving = machines.apis.values()
    await machines.start_workers()
    await cut_off.grant(2)
    product = await serving.upload()
    with psycopg.connect(serving.dsn) as holding:
        holding.execute("select from mega_customers where mg_pass_id = %s for update", [serving.pass_id])
        halfway = asyncio.create_task(order(cut_off, product))
        await machines.until("select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock'")
        machines.network.cut_off(API_NAMES[0])
    made = await serving.finished(await serving.create(product=product))
    assert made["status"] == "done"

    machines.network.mend(API_NAMES[0])
    async with asyncio.timeout(WAIT_SECONDS):
        answer = await halfway
    assert (answer.status_code, answer.json()["error"]) == (503, "NO_SUPABASE")
    assert serving.balance() == serving.ledger_sum() == 1
    assert (await cut_off.finished(await accepted_again(cut_off)))["status"] == "done"


async def order(api: Backend, product: str) -> httpx2.Response:
    body = {"passId": api.pass_id, "assets": {"product_image_url": product}, **BRIEF}
    return await api.client.post("/mma/still/create", json=body)


async def first_lines(api: Backend, url: str) -> int:
    """The id of the newest line there is by now, as a client has seen it that loses its connection then."""
    async with asyncio.timeout(WAIT_SECONDS), api.client.stream("GET", url) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id:"):
                return int(line.removeprefix("id:"))
    raise AssertionError("the stream ended without a line")
