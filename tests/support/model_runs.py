"""Model runs ordered through the acceptance, and what became of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from safelight.api.schemas.model_run_bodies import model_run_of
from safelight.pipelines.accept import AcceptedOrder, Quote
from tests.conftest import WAIT_SECONDS, Backend, StartBackend
from tests.fakes import fal
from tests.fakes.vendors import settings_for
from tests.support.image_jobs import LOOK_SECONDS, accepting, order

Json = dict[str, Any]

FLUX = "fal-ai/flux-pro/v1.1-ultra"
KONTEXT = "fal-ai/flux-pro/kontext/max"
IMAGEN = "fal-ai/imagen4/preview/ultra"
VEO = "fal-ai/veo3"
HAILUO = "fal-ai/minimax/hailuo-02/pro/text-to-video"
KLING = "fal-ai/kling-video/v2.1/master/text-to-video"
WAN = "fal-ai/wan-pro/text-to-video"
PROMPT = "a ceramic cup on pale stone"


async def run_model(backend: Backend, model_id: str, *, key: str | None = None, **body: Any) -> AcceptedOrder:
    run = model_run_of({"model_id": model_id, "prompt": PROMPT} | body, pass_id=backend.pass_id)
    return await order(backend, run, key=key)


async def quoted(backend: Backend, model_id: str, **body: Any) -> Quote:
    """The answer of a dry run."""
    async with accepting(backend) as acceptance:
        return await acceptance.quote(
            model_run_of({"model_id": model_id, "prompt": PROMPT} | body, pass_id=backend.pass_id)
        )


@asynccontextmanager
async def on_fal(start: StartBackend, **more: Any) -> AsyncIterator[tuple[fal.Fal, Backend]]:
    """A backend whose models are served by the fake of fal, with credits."""
    wire = fal.Fal()
    async with wire.answering():
        backend = await start(**settings_for("fal", wire) | more)
        await backend.grant(10_000)
        yield wire, backend


async def started(wire: fal.Fal) -> None:
    """Wait until the service has something to do."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not wire.works:
            await asyncio.sleep(LOOK_SECONDS)


def results(backend: Backend, generation_id: str) -> list[Json]:
    """The record of each result that was made, by its number."""
    steps = [step for step in backend.steps(generation_id) if step["mg_step_type"] == "model_generate"]
    slides = [slide for step in steps for slide in step["mg_payload"]["output"].get("slides", ())]
    return sorted(slides, key=lambda slide: slide["source"])


def numbers(backend: Backend, generation_id: str) -> list[tuple[int, int]]:
    return [(one["variant"], one["source"]) for one in results(backend, generation_id)]
