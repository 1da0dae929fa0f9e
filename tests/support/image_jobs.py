"""Image jobs ordered through the acceptance, and what became of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from safelight.domain.identities import ActingCustomer
from safelight.domain.ids import new_id
from safelight.domain.orders import ImageJob
from safelight.pipelines.accept import Acceptance, AcceptedOrder
from safelight.pipelines.cancel import CancelOutcome, cancel
from safelight.pipelines.engine.queue import Queue
from safelight.pipelines.reopen import Reopened, retry_missing
from safelight.storage.buckets import FileEntry
from tests.conftest import WAIT_SECONDS, Backend

Json = dict[str, Any]

REQUEST = {"request_id": "a-test", "route": "/api/v1/generations", "method": "POST"}
LOOK_SECONDS = 0.05
FINAL = ("done", "error", "cancelled", "partial")
LINES = "select seq, level, step, message, details from image_generation_logs where job_id = %s order by seq"


@asynccontextmanager
async def accepting(backend: Backend) -> AsyncIterator[Acceptance]:
    """The acceptance of orders, as the API has it."""
    async with backend.app.database() as db:
        queue = Queue(db)
        await queue.open()
        yield backend.app.on(db).acceptance(queue)
        await queue.close()


def job_of(backend: Backend, urls: list[str], **more: Any) -> ImageJob:
    sources = more.pop(
        "sources", [{"url": url, "prompt": f"a cup, number {number}"} for number, url in enumerate(urls)]
    )
    fields = {"session_id": new_id(), "platform": "web", "title": "Spring", "pass_id": backend.pass_id}
    return ImageJob.model_validate(fields | {"sources": sources} | more)


async def photographs(backend: Backend, count: int) -> list[str]:
    """Different photographs of the customer."""
    return [await backend.upload(without_lines=number) for number in range(count)]


async def order(backend: Backend, job: ImageJob, *, key: str | None = None) -> AcceptedOrder:
    async with accepting(backend) as acceptance:
        return await acceptance.accept(job, ActingCustomer(job.pass_id), idempotency_key=key, request=REQUEST)


async def complete(
    backend: Backend, generation_id: str, *, key: str | None = None, pass_id: str | None = None
) -> Reopened:
    """Ask for what is missing."""
    async with accepting(backend) as acceptance:
        customer = ActingCustomer(pass_id or backend.pass_id)
        return await retry_missing(acceptance, generation_id, customer, idempotency_key=key, request=REQUEST)


async def cancelled(backend: Backend, generation_id: str) -> CancelOutcome:
    async with backend.app.database() as db:
        return await cancel(db, generation_id, ActingCustomer(backend.pass_id))


async def files_of(backend: Backend, generation_id: str) -> list[FileEntry]:
    """All files in the folder of the job's results."""
    assets = backend.app.resources.assets
    folder = assets.names.result_folder("image_job", generation_id)
    return [entry async for entries in assets.public.entries(folder) for entry in entries]


def made(backend: Backend, generation_id: str) -> list[Json]:
    """The record of each picture that was made."""
    steps = [step for step in backend.steps(generation_id) if step["mg_step_type"] == "variant_creation"]
    return [slide for step in steps for slide in step["mg_payload"]["output"].get("slides", ())]


async def problems(backend: Backend) -> dict[str, int]:
    """The doctor's findings, by problem."""
    async with backend.app.database() as db:
        report = await backend.app.on(db).doctor.check(files=50)
    return {violation.problem.name: violation.count for violation in report.violations}


async def ended(backend: Backend, generation_id: str) -> Json:
    """The generation's row, once it is final."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            [row] = backend.sql("select * from mega_generations where mg_id = %s", f"generation:{generation_id}")
            if row["mg_mma_status"] in FINAL:
                return row
            await asyncio.sleep(LOOK_SECONDS)


def lines(backend: Backend, generation_id: str) -> list[Json]:
    return backend.sql(LINES, generation_id)


def positions(backend: Backend, generation_id: str) -> list[tuple[int, int]]:
    """The positions that were made, with the step of each that made it twice named twice."""
    rows = backend.sql(
        "select (slide->>'variant')::int as variant, (slide->>'source')::int as source"
        " from mega_generations step, jsonb_array_elements(mg_payload #> '{output,slides}') slide"
        " where mg_record_type = 'mma_step' and mg_step_type = 'variant_creation' and mg_generation_id = %s order by 1, 2",
        generation_id,
    )
    return [(row["variant"], row["source"]) for row in rows]


def money(backend: Backend, generation_id: str) -> dict[str, int]:
    """The credits that moved for the job, by their reference."""
    rows = backend.sql(
        "select mg_ref_id, mg_delta from mega_generations"
        " where mg_record_type = 'credit_transaction' and mg_generation_id = %s order by mg_id",
        generation_id,
    )
    return {row["mg_ref_id"].replace(generation_id, "<id>"): row["mg_delta"] for row in rows}
