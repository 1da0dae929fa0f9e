"""A result is ours or it is not done: an outage of our storage loses none while its provider still has it."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from safelight.providers.simulated import results
from safelight.providers.simulated.server import Simulation
from safelight.storage.simulated import SimulatedS3
from tests.conftest import WAIT_SECONDS, Backend, StartBackend, running
from tests.pipelines.engine.test_resume import wait_for
from tests.support.s3_servers import s3_server
from tests.support.simulated_provider import simulating

Json = dict[str, Any]

LIFE_SECONDS = 24.0  # of a result at its provider
OUTAGE_SECONDS = LIFE_SECONDS / 2
AT_RISK = (
    "select count(*) = %s from mega_generations where mg_record_type = 'mma_step' and mg_payload ? 'storage_away'"
    " and mg_payload ? 'operation'"
)


Started = tuple[Backend, SimulatedS3, Simulation]


@pytest.fixture
async def servers(dsn: str) -> AsyncIterator[tuple[SimulatedS3, Simulation, dict[str, str]]]:
    """A storage that can fail, a provider, and the settings that name both."""
    async with s3_server() as (storage, stored), simulating(dsn) as (provider, provided):
        yield storage, provider, stored | provided


@pytest.fixture
async def studio(
    servers: tuple[SimulatedS3, Simulation, dict[str, str]], dsn: str, tmp_path: Path
) -> AsyncIterator[Started]:
    storage, provider, settings = servers
    async with running(dsn, tmp_path, provider_result_ttl_seconds=LIFE_SECONDS, **settings) as backend:
        yield backend, storage, provider


async def ordered_into_an_outage(backend: Backend, storage: SimulatedS3, generations: int) -> list[Json]:
    await backend.grant(generations)
    storage.is_down = True
    accepted = [await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}) for _ in range(generations)]
    await wait_for(backend, AT_RISK, generations)
    return accepted


async def test_no_result_is_lost_to_an_outage_of_half_a_providers_memory(
    studio: Started,
):
    backend, storage, provider = studio
    accepted = await ordered_into_an_outage(backend, storage, 6)
    async with asyncio.timeout(WAIT_SECONDS):
        while "safelight_results_at_risk 6" not in (await backend.client.get("/metrics")).text:
            await asyncio.sleep(0.2)
    async with backend.app.database() as db:
        findings = await backend.app.on(db).doctor.check()
    assert "6 results are at risk" in findings.warnings[0]
    await asyncio.sleep(OUTAGE_SECONDS)
    storage.is_down = False
    made = [await backend.finished(one) for one in accepted]
    assert [one["status"] for one in made] == ["done"] * 6
    assert all(len(predictions) == 1 for predictions in provider.record.by_attempt_key().values())
    for one in made:
        [warned] = backend.ops_rows(one["generation_id"])
        assert (warned["mg_record_type"], warned["mg_detail"]["error_code"]) == ("warn", "MMA_ASSET_AT_RISK")
        [step] = [step for step in backend.steps(one["generation_id"]) if step["mg_step_type"] == "seedream_generate"]
        away = step["mg_payload"]["storage_away"]
        assert away["tries"] >= 3
        assert away["since"] < away["back_at"] < away["until"]
        assert hashlib.sha256(storage_content(storage, step)).hexdigest() == step["mg_payload"]["output"]["sha256"]
    assert backend.balance() == 0


def storage_content(storage: SimulatedS3, step: Json) -> bytes:
    key = step["mg_payload"]["output"]["output_key"]
    [stored] = [stored for (_, name), stored in storage.objects.items() if name.endswith(key)]
    return stored.content


async def test_a_storage_that_never_comes_back_ends_as_a_failure_with_a_refund(
    servers: tuple[SimulatedS3, Simulation, dict[str, str]], start: StartBackend
):
    storage, _, settings = servers
    backend = await start(provider_result_ttl_seconds=2.0, **settings)
    [accepted] = await ordered_into_an_outage(backend, storage, 1)
    failed = await backend.finished(accepted)
    assert (failed["status"], failed["error"]["code"]) == ("error", "STORAGE")
    assert backend.balance() == 1
    levels = [row["mg_record_type"] for row in backend.ops_rows(accepted["generation_id"])]
    assert sorted(levels) == ["error", "warn"]


async def test_a_video_waits_for_its_storage_too(studio: Started):
    backend, storage, _ = studio
    await backend.grant(5)
    product = await backend.upload()
    storage.is_down = True
    body = {"assets": {"start_image_url": product}, "inputs": {"motion_user_brief": "slowly turn"}}
    accepted = await backend.post("/mma/video/animate", body)
    await wait_for(backend, AT_RISK, 1)
    storage.is_down = False
    film = await backend.finished(accepted)
    assert film["status"] == "done"
    assert (await backend.client.get(film["outputs"]["kling_video_url"], follow_redirects=True)).content[4:8] == b"ftyp"


async def test_a_picture_that_cannot_be_read_now_is_waited_for(dsn: str, start: StartBackend):
    """The offline adapter looks at the pictures themselves."""
    async with s3_server() as (storage, settings):
        backend = await start(provider_result_ttl_seconds=60.0, **settings)
        await backend.grant(1)
        product = await backend.upload()
        storage.is_down = True
        accepted = await backend.create(product=product)
        tries = "select coalesce(max((mg_payload #>> '{storage_away,tries}')::int), 0) >= 8 from mega_generations"
        await wait_for(backend, tries)
        storage.is_down = False
        made = await backend.finished(accepted)
        assert made["status"] == "done"
        [scanned] = [
            step for step in backend.steps(accepted["generation_id"]) if step["mg_step_type"] == "scan_product"
        ]
        assert [attempt["error"] for attempt in scanned["mg_payload"]["attempts"]] == [None]
        [warned] = backend.ops_rows(accepted["generation_id"])
        assert warned["mg_detail"]["error_code"] == "MMA_STORAGE_AWAY"
        lines = backend.value(
            "select count(*) from image_generation_logs where message like 'Our storage is away%%' and job_id = %s",
            accepted["generation_id"],
        )
        assert lines == 1


def test_a_long_film_is_copied_in_little_memory():
    command = [sys.executable, "-m", "safelight", "bench", "store", "--megabytes", "300", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=250).stdout)
    assert [copy["storage"] for copy in told["copies"]] == ["folder", "s3"]
    for copy in told["copies"]:
        assert copy["is_whole"]
        assert copy["growth_mb"] < 64


# --- a provider that gives no file -----------------------------------------------------------------------------------

Answer = Callable[[bytes], Response]
WRONG: dict[str, tuple[str, Answer]] = {
    "a page": ("CONTRACT_BROKEN", lambda _: Response(b"<html>not yet</html>", media_type="image/jpeg")),
    "nothing": ("RESULT_DAMAGED", lambda _: Response(b"")),
    "a half": ("RESULT_DAMAGED", lambda content: Response(content[:200])),
    "a film for a still": ("CONTRACT_BROKEN", lambda _: Response(results.film("x"))),
    "a script": ("CONTRACT_BROKEN", lambda _: Response(b"<svg onload='alert(1)'/>", media_type="image/png")),
    "gone": ("RESULT_GONE", lambda _: Response(status_code=410)),
    "forbidden": ("RESULT_GONE", lambda _: Response(status_code=403)),
}


@asynccontextmanager
async def giving(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> AsyncIterator[None]:
    whole = Simulation.file

    async def file(self: Simulation, request: Request) -> Response:
        return answer(bytes((await whole(self, request)).body))

    monkeypatch.setattr(Simulation, "file", file)
    yield


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_no_result_is_never_done(
    dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch, wrong: str
):
    code, answer = WRONG[wrong]
    async with giving(monkeypatch, answer), simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(1)
        failed = await backend.finished(await backend.create())
    assert (failed["status"], failed["error"]["code"]) == ("error", f"SEEDREAM_{code}")
    assert backend.balance() == 1
    assert list((backend.app.home / "assets").glob("mma/**/*.*")) == []


async def test_a_provider_whose_files_cannot_be_had_for_a_while_is_asked_again(
    dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch
):
    troubles = [503, 500, 429]

    def answer(content: bytes) -> Response:
        return Response(status_code=troubles.pop()) if troubles else Response(content)

    async with giving(monkeypatch, answer), simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(1)
        made = await backend.finished(await backend.create())
    assert (made["status"], troubles) == ("done", [])
