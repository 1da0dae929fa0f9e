"""The 46 lines of docs/contract/log-lines.md in the process log of each flow, found by running it: all of them, in the
order of the document, each with its generation, and with the three commands that search for them."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from safelight import telemetry
from safelight.api.auth.identity import HEADER
from tests.conftest import Backend, StartBackend
from tests.fakes.vendors import vendor
from tests.fakes.wire import Scripted
from tests.pipelines.engine.test_failed_generations import COMMAND, environment
from tests.support.image_jobs import complete, ended, job_of, order, photographs
from tests.support.model_runs import FLUX, VEO, on_fal, run_model
from tests.support.simulated_provider import Refusing, looking_often, simulating

pytestmark = pytest.mark.usefixtures(looking_often.__name__)
__all__ = ["looking_often"]

Json = dict[str, Any]

# By the numbers of docs/contract/log-lines.md. `\S+` stands for what the document has in braces.
STORE = "(Supabase Storage|S3 storage|local storage)"
LINES: dict[int, str] = {
    1: r"🔍 \[GENERATION\] Starting credit check for user \S+$",
    2: r"✅ \[GENERATION\] Credit check passed for user \S+$",
    3: r"💳 \[GENERATION\] Successfully deducted \d+ credits$",
    4: r"🚀 \[GENERATION-PROCESSING\] Starting background processing for generation \S+$",
    5: r"🔍 \[GENERATION-PROCESSING\] Model: \S+, Prompt length: \d+$",
    6: r"📝 \[GENERATION-PROCESSING\] Updating status to PROCESSING$",
    7: r"✅ \[GENERATION-PROCESSING\] Status updated successfully$",
    8: r"🤖 \[GENERATION-PROCESSING\] Submitting to \S+ service",
    9: r"🎯 \[GENERATION-PROCESSING\] \S+ result received: status=(completed|failed)",
    10: r"📦 \[STORAGE\] Starting storage process for generation \S+$",
    11: rf"☁️ \[STORAGE\] Uploading generation results to {STORE}$",
    12: r"✅ \[STORAGE\] Successfully uploaded \d+ files$",
    13: r"🔗 \[STORAGE\] Generating primary (signed )?URL for media access$",
    14: r"✅ \[STORAGE\] Primary (signed )?URL generated$",
    15: r"❌ \[GENERATION-PROCESSING\] Critical error processing generation",
    16: r"💥 \[GENERATION-PROCESSING\] Full traceback provided",
    17: r"🔄 \[GENERATION-PROCESSING\] Marking generation \S+ as failed$",
    18: r"📤 \[STORAGE-FILE\] Starting file upload for user \S+$",
    19: r"🔍 \[STORAGE-FILE\] Upload details: filename=\S+, size=.+, type=\S+, bucket=\S+$",
    20: r"✅ \[STORAGE-FILE\] File validation passed$",
    21: r"🔐 \[STORAGE-FILE\] Calculated file hash",
    22: r"📁 \[STORAGE-FILE\] Generated secure file path",
    23: rf"☁️ \[STORAGE-FILE\] Uploading to {STORE} repository$",
    24: rf"✅ \[STORAGE-FILE\] File uploaded to {STORE}",
    25: r"📁 \[STORAGE-FILE\] File metadata created: ID=\S+$",
    26: r"📦 \[STORAGE-UPLOAD\] Starting upload of generation results$",
    27: r"📥 \[STORAGE-UPLOAD\] Processing file \d+/\d+$",
    28: r"⬇️ \[STORAGE-UPLOAD\] Downloading file from external URL$",
    29: r"🎉 \[STORAGE-UPLOAD\] Upload process completed: \d+/\d+ files$",
    30: r"⚠️ \[STORAGE-UPLOAD\] Partial upload success warning",
    31: r"❌ \[STORAGE-UPLOAD\] Critical failure with full traceback",
    32: r"🔗 \[STORAGE-URL\] Creating signed URL for file access$",
    33: r"🔐 \[STORAGE-URL\] Checking file path ownership$",
    34: r"✅ \[STORAGE-URL\] File ownership verified$",
    35: r"🔗 \[STORAGE-URL\] URL: \S{1,100}$",
    36: r"⏰ \[STORAGE-URL\] Expires at: \S+$",
    37: r"➕ \[DB-CREATE\] Creating new generation record in database$",
    38: r"🔍 \[DB-CREATE\] Generation data: user_id=\S+, model_id=\S+, status=queued$",
    39: r"✅ \[DB-CREATE\] Generation created successfully: \S+$",
    40: r"📝 \[DB-UPDATE\] Updating generation \S+ in database$",
    41: r"🔄 \[DB-UPDATE\] Status update: \S+$",
    42: r"🖼️ \[DB-UPDATE\] Media URL update: \S+$",
    43: r"📊 \[DB-UPDATE\] Storage size: \d+ bytes$",
    44: r"🔄 \[DB-STATUS\] Updating generation \S+ status to: \S+$",
    45: r"🕰️ \[DB-STATUS\] Adding completion timestamp$",
    46: r"✅ \[DB-STATUS\] Status update completed$",
}
LEVELS = {15: "ERROR", 16: "ERROR", 30: "WARNING", 31: "ERROR"}
ACCEPTED = [1, 2, 37, 38, 3, 39]
BEGUN = [4, 5, 6, 44, 46, 7]
FETCHED = [10, 11, 26, 27, 28, 18, 19, 20, 21, 22, 23, 24, 29, 12, 13, 14]
ENDED = [40, 41, 42, 43, 44, 45, 46]
FAILED = [15, 16, 17, 40, 41, 44, 45, 46]
SEARCHES = {r"\[GENERATION-PROCESSING\]": range(4, 10), r"\[STORAGE": range(10, 15), r"\[DB-": range(37, 47)}


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "logs" / "backend.log"
    telemetry.configure("INFO", path, console=False)
    yield path
    telemetry.configure("INFO", None, console=False)


class ProcessLog:
    """The lines of a process log that name a generation."""

    def __init__(self, path: Path, generation_id: str | None = None) -> None:
        read = [json.loads(line) for line in path.read_text().splitlines()]
        self.lines = [line for line in read if generation_id is None or line["generation_id"] == generation_id]

    def numbers(self) -> list[int]:
        """The number of each line that is one of the 46."""
        found = []
        for line in self.lines:
            fits = [number for number, pattern in LINES.items() if re.match(pattern, line["message"])]
            assert len(fits) <= 1, (fits, line["message"])
            found += fits
            assert all(line["level"] == LEVELS.get(number, "INFO") for number in fits), line
        return found

    def has_in_order(self, *wanted: int) -> bool:
        """True if these lines are there in this order; others may stand between them."""
        found = iter(self.numbers())
        return all(number in found for number in wanted)


def assert_in_order(log: ProcessLog, *parts: Sequence[int]) -> None:
    for part in parts:
        assert log.has_in_order(*part), (part, log.numbers())
    assert log.has_in_order(*(part[0] for part in parts)), (parts, log.numbers())


def searched(path: Path, pattern: str) -> list[str]:
    """The lines that `grep` finds, as the document writes the command."""
    return subprocess.run(
        ["bash", "-c", f'grep "{pattern}" {path.name}'], cwd=path.parent, capture_output=True, text=True, check=True
    ).stdout.splitlines()  # fmt: skip


def test_the_lines_are_those_of_the_document():
    document = Path(__file__).parents[3] / "docs" / "contract" / "log-lines.md"
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", document.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(LINES)
    for number, text in rows:
        head = re.match(r"\S+ \\\[[A-Z-]+\\\]", LINES[int(number)])
        assert head, number
        assert re.match(head[0], text), (number, text)


# --- one generation after the other ---------------------------------------------------------------------------------


async def test_a_still_and_a_video(log_file: Path, dsn: str, start: StartBackend):
    async with vendor(dsn, "fal") as (_, settings):
        backend = await start(**settings)
        await backend.grant(6)
        still = await backend.finished(await backend.create())
        body = {"parent_generation_id": still["generation_id"], "inputs": {"motion_brief": "slowly", "duration": 5}}
        video = await backend.finished(await backend.post("/mma/video/animate", body))
    for made in (still, video):
        assert made["status"] == "done"
        log = ProcessLog(log_file, made["generation_id"])
        assert_in_order(log, ACCEPTED, BEGUN, [8, 9], FETCHED[:2], ENDED)
        assert set(FETCHED) <= set(log.numbers())
        assert log.has_in_order(*ENDED, 25)
        assert log.has_in_order(26, 27, 28, 18, 19, 20, 24, 29, 12, 13, 14)
        [submitted] = [line for line in log.lines if re.match(LINES[8], line["message"])]
        assert "Submitting to FAL.ai service" in submitted["message"]
    assert_in_order(ProcessLog(log_file, still["generation_id"]), FETCHED)
    for pattern, numbers in SEARCHES.items():
        found = searched(log_file, pattern)
        assert all(any(re.search(LINES[number].rstrip("$"), line) for line in found) for number in numbers), pattern
        assert {line["tag"] for line in map(json.loads, found)} <= {
            tag.value for tag in telemetry.Tag if re.search(pattern.rstrip(r"\]"), f"[{tag}]")
        }


@pytest.mark.parametrize(
    "fault", ["gpt_reader:refused", "seedream_generate:rejected", "seedream_generate:refused", "scan_product:rejected"]
)
async def test_a_generation_that_fails(log_file: Path, start: StartBackend, fault: str):
    backend: Backend = await start(local_fault=fault)
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    assert made["status"] == "error"
    log = ProcessLog(log_file, made["generation_id"])
    assert_in_order(log, ACCEPTED, BEGUN, FAILED)
    assert not {10, 12, 42, 43} & set(log.numbers())
    [traced] = [line for line in log.lines if re.match(LINES[16], line["message"])]
    assert "Traceback" in traced["traceback"]


async def test_an_upload_and_a_private_file(log_file: Path, start: StartBackend):
    backend: Backend = await start(worker=False)
    await backend.upload()
    assert_in_order(ProcessLog(log_file), range(18, 26))
    stored = len(ProcessLog(log_file).numbers())
    await backend.upload()
    assert ProcessLog(log_file).numbers()[stored:] == [18, 19, 20, 21]  # it is stored already
    await backend.upload_private()
    assert_in_order(ProcessLog(log_file), [*range(18, 26), 32, 35, 36])


# --- image jobs -----------------------------------------------------------------------------------------------------


async def test_an_image_job_that_ends_in_part_and_is_completed(log_file: Path, dsn: str, start: StartBackend):
    poison = Refusing(bad=422)
    async with simulating(dsn, holding=poison) as (_, settings):
        backend = await start(**settings)
        await backend.grant(20)
        urls = await photographs(backend, 2)
        words = [{"url": url, "prompt": f"a {word} cup"} for url, word in zip(urls, ["bad", "good"], strict=True)]
        job = (await order(backend, job_of(backend, urls, sources=words, variants=2))).generation_id
        assert (await ended(backend, job))["mg_mma_status"] == "partial"
        log = ProcessLog(log_file, job)
        assert_in_order(log, ACCEPTED, BEGUN, [8, 9], FETCHED, ENDED)
        first = len(log.numbers())
        of_variants = [10, 11, 26, 27, 18, 19, 20, 21, 22, 23, 24, 29, 12]
        assert log.has_in_order(*FETCHED, *of_variants, 25, *ENDED)
        assert log.numbers().count(25) == 2
        poison.words = {}
        await complete(backend, job)
        assert (await ended(backend, job))["mg_mma_status"] == "done"
        later = ProcessLog(log_file, job)
        later.lines = later.lines[len(log.lines) :]
        assert later.has_in_order(1, 2, 3, *BEGUN, 8, 9, *FETCHED, *of_variants, 25, *ENDED)
        assert len(later.numbers()) > first / 2
        size = [line["message"] for line in later.lines if re.match(LINES[43], line["message"])]
        files = "select sum(file_size) from file_metadata where generation_id = %s"
        assert size == [f"📊 [DB-UPDATE] Storage size: {backend.value(files, job)} bytes"]


@pytest.mark.parametrize("status", [422, 401])
async def test_an_image_job_that_makes_nothing(log_file: Path, dsn: str, start: StartBackend, status: int):
    async with simulating(dsn, holding=Refusing(cup=status)) as (_, settings):
        backend = await start(**settings)
        await backend.grant(4)
        job = (await order(backend, job_of(backend, await photographs(backend, 2)))).generation_id
        assert (await ended(backend, job))["mg_mma_status"] == "error"
    log = ProcessLog(log_file, job)
    assert_in_order(log, ACCEPTED, BEGUN, [8], FAILED)  # it is refused at once: there is no result
    assert not {9, 10, 25, 42, 43} & set(log.numbers())


# --- model runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", [FLUX, VEO])
async def test_a_model_run(log_file: Path, start: StartBackend, model_id: str):
    async with on_fal(start) as (_, backend):
        run = (await run_model(backend, model_id)).generation_id
        assert (await ended(backend, run))["mg_mma_status"] == "done"
    log = ProcessLog(log_file, run)
    assert_in_order(log, ACCEPTED, BEGUN, [8, 9], FETCHED[:5], [29, 12, 13, 14], [25], ENDED)
    assert set(FETCHED) <= set(log.numbers())
    assert log.numbers().count(25) == 1


@pytest.mark.parametrize(("lost", "status"), [([2], "partial"), ([2, 3, 4], "partial"), ([1, 2, 3, 4], "error")])
async def test_a_model_run_some_of_whose_results_cannot_be_kept(
    log_file: Path, start: StartBackend, lost: list[int], status: str
):
    async with on_fal(start, retry_base_seconds=0.01) as (wire, backend):
        wire.faults_of_files = {str(number): "no_picture" for number in lost if number > 1}
        wire.file_faults.extend(["no_picture"] if 1 in lost else [])
        run = (await run_model(backend, FLUX, parameters={"num_images": 4})).generation_id
        assert (await ended(backend, run))["mg_mma_status"] == status
    log = ProcessLog(log_file, run)
    if status == "partial":
        assert_in_order(log, ACCEPTED, BEGUN, [8, 9], [10, 11, 26, 27], [29, 30, 12], ENDED)
        counted = f"{4 - len(lost)}/4 files"
        told = [line["message"] for line in log.lines if re.match(LINES[30], line["message"])]
        assert told == [f"⚠️ [STORAGE-UPLOAD] Partial upload success warning: {counted}"]
        assert log.numbers().count(25) == 4 - len(lost)
    else:
        assert_in_order(log, ACCEPTED, BEGUN, [8, 9], [10, 11, 26, 27], [31], FAILED)
        [failed] = [line for line in log.lines if re.match(LINES[31], line["message"])]
        assert "Traceback" in failed["traceback"]
    assert [line["message"].rpartition(" ")[2] for line in log.lines if re.match(LINES[27], line["message"])] == [
        "1/4", "2/4", "3/4", "4/4",
    ]  # fmt: skip


async def test_a_model_run_that_is_refused(log_file: Path, start: StartBackend):
    async with on_fal(start) as (wire, backend):
        wire.always("start", Scripted(422, {"detail": "no"}))
        run = (await run_model(backend, FLUX)).generation_id
        assert (await ended(backend, run))["mg_mma_status"] == "error"
    assert_in_order(ProcessLog(log_file, run), ACCEPTED, BEGUN, [8], FAILED)


# --- signed URLs ----------------------------------------------------------------------------------------------------


async def test_fresh_urls_of_results(log_file: Path, start: StartBackend):
    backend: Backend = await start()
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    before = len(ProcessLog(log_file).numbers())
    await backend.get(f"/api/v1/generations/{made['generation_id']}/media-urls", headers={HEADER: backend.pass_id})
    assert ProcessLog(log_file).numbers()[before:] == [13, 32, 14]  # a permanent URL: nothing is signed


# --- JSON on standard error -----------------------------------------------------------------------------------------


async def test_a_worker_writes_json_lines_with_tag_and_generation(tmp_path: Path, dsn: str, start: StartBackend):
    async with vendor(dsn, "fal") as (_, settings):
        backend: Backend = await start(worker=False, **settings)
        await backend.grant(1)
        told = {"LOG_FORMAT": "json", "BASE_URL": backend.app.settings.base_url} | settings
        variables = {f"SAFELIGHT_{name.upper()}": str(value) for name, value in told.items()}
        worker = await asyncio.to_thread(
            subprocess.Popen,
            [COMMAND, "worker"],
            env=environment(backend) | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        accepted = await backend.create()
        made = await backend.finished(accepted)
        worker.terminate()
        _, lines = await asyncio.to_thread(worker.communicate, timeout=60)
    assert made["status"] == "done"
    path = tmp_path / "stderr.log"
    path.write_text(lines)
    fields = {"timestamp", "level", "tag", "message", *telemetry.IDS}
    assert all(fields <= line.keys() for line in ProcessLog(path).lines)
    log = ProcessLog(path, accepted["generation_id"])
    assert_in_order(log, BEGUN, [8, 9], FETCHED, ENDED)
    assert all(f"[{line['tag']}]" in line["message"] for line in log.lines)
    assert {line["pass_id"] for line in log.lines} == {backend.pass_id}
