"""The job log of image jobs (docs/contract/job-log.md): each row of the table is found by running a job that says it."""

import asyncio
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from safelight.api.auth.identity import HEADER
from safelight.domain.errors.base import AssetUnreadable, StorageError
from safelight.media import post_processing
from safelight.pipelines.deletion import delete
from safelight.pipelines.flows import image_jobs
from safelight.providers.simulated.faults import Latency
from safelight.storage.assets import AssetStore
from tests.conftest import Backend, StartBackend
from tests.support.image_jobs import cancelled, complete, ended, job_of, lines, order, photographs, problems
from tests.support.simulated_provider import Refusing, looking_often, simulating

pytestmark = pytest.mark.usefixtures(looking_often.__name__)
__all__ = ["looking_often"]

Json = dict[str, Any]

STEPS = {
    "initialization", "validation", "base_generation", "variant_creation", "processing", "upload", "completion", "cleanup",
}  # fmt: skip
COUNTS = {"generatedCount", "totalExpected", "variantCount", "baseImagesGenerated", "baseImagesExpected", "status"}
FAILURE = {"error", "errorCode", "elapsedMs"}


def said(backend: Backend, job: str) -> list[tuple[str, str, set[str]]]:
    """(step, level, names of the details) of each line, which all are of the eight steps and four levels."""
    found = lines(backend, job)
    assert {line["step"] for line in found} <= STEPS
    assert {line["level"] for line in found} <= {"info", "success", "warning", "error"}
    assert [line["seq"] for line in found] == list(range(1, len(found) + 1))
    return [(line["step"], line["level"], set(line["details"] or ())) for line in found]


def missing(found: list[tuple[str, str, set[str]]], *rows: tuple[str, str, set[str]]) -> list[Any]:
    """Those rows that no line has."""
    return [row for row in rows if not any(row[:2] == line[:2] and row[2] <= line[2] for line in found)]


def sources(urls: list[str], *words: str) -> list[Json]:
    return [{"url": url, "prompt": f"a {word} cup"} for url, word in zip(urls, words, strict=True)]


def assert_told_in_order(told: list[Json]) -> None:
    """The job begins and ends; each base image, variant and picture is told from its beginning to its end."""
    assert [told[at]["step"] for at in (0, 1, -2, -1)] == ["initialization", "initialization", "completion", "cleanup"]
    details = [(line["step"], line["details"] or {}) for line in told]
    for source in (0, 1):
        of_base = [set(one) for step, one in details if step == "base_generation" and one.get("imageIndex") == source]
        marks = ("sourceUrl", "wrappedPrompt", "attempt", "responseTime", "width")
        assert [next(mark for mark in marks[::-1] if mark in one) for one in of_base] == list(marks)
    last_base = max(number for number, (step, _) in enumerate(details) if step == "base_generation")
    first_variant = min(number for number, (step, _) in enumerate(details) if step == "variant_creation")
    assert last_base < first_variant
    for variant in (0, 1):
        of_variant = [(step, one.get("imageIndex")) for step, one in details if one.get("variantIndex") == variant]
        assert of_variant == [
            ("variant_creation", None), ("processing", 0), ("upload", 0), ("processing", 1), ("upload", 1),
        ]  # fmt: skip


async def test_a_job_that_makes_all_says_each_step(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(4)
        job = (await order(backend, job_of(backend, await photographs(backend, 2), variants=2))).generation_id
        await ended(backend, job)
        async with backend.app.database() as db:
            await delete(db, backend.app.resources.assets, job, backend.pass_id)
        of_slide = {"variantIndex", "imageIndex"}
        assert not missing(
            said(backend, job),
            ("initialization", "info", {"jobName", "variants", "templateName"}),
            ("validation", "info", {"sourceImages"}),
            ("base_generation", "info", {"imageIndex", "sourceUrl", "prompt"}),
            ("base_generation", "info", {"originalPrompt", "wrappedPrompt", "size"}),
            ("base_generation", "info", {"attempt", "imageIndex"}),
            ("base_generation", "success", {"attempt", "responseTime", "imageIndex"}),
            ("base_generation", "success", {"imageIndex", "width", "height", "size"}),
            ("base_generation", "success", {"totalCount"}),
            ("variant_creation", "info", {"variantIndex", "variantId", "folderPath"}),
            ("processing", "info", of_slide | {"settings"}),
            ("upload", "success", of_slide | {"storagePath", "fileName"}),
            ("completion", "success", COUNTS),
            ("cleanup", "info", {"deletedImages"}),
        )
        assert_told_in_order(lines(backend, job))
        attempts = [line["details"]["attempt"] for line in lines(backend, job) if "attempt" in (line["details"] or ())]
        assert set(attempts) == {1}  # counted from 1 in each line


async def test_a_job_whose_provider_refuses_says_why_and_what_it_tries(dsn: str, start: StartBackend):
    async with simulating(dsn, holding=Refusing(wrong=400, denied=401, busy=503)) as (_, settings):
        backend = await start(**settings)
        await backend.grant(4)
        urls = await photographs(backend, 4)
        named = sources(urls, "wrong", "denied", "busy", "good")
        job = (await order(backend, job_of(backend, urls, sources=named))).generation_id
        await ended(backend, job)
        assert not missing(
            said(backend, job),
            ("base_generation", "error", FAILURE | {"status", "imageIndex"}),
            ("base_generation", "warning", FAILURE | {"attempt", "retryDelay", "status", "imageIndex"}),
            ("base_generation", "error", FAILURE | {"imageIndex", "maxRetries"}),
            ("base_generation", "warning", {"successCount", "totalCount", "failedCount"}),
            ("completion", "warning", COUNTS | {"refundedCredits"}),
        )
        tried: dict[int, list[int]] = {}
        for line in lines(backend, job):
            if line["message"].startswith("Attempt "):
                tried.setdefault(line["details"]["imageIndex"], []).append(line["details"]["attempt"])
        assert tried == {0: [1], 1: [1], 2: [1, 2, 3], 3: [1]}
        statuses = [line["details"]["status"] for line in lines(backend, job) if "status" in (line["details"] or ())]
        assert {400, 401, 503} <= set(statuses)


async def test_a_job_that_makes_nothing_ends_with_an_error(dsn: str, start: StartBackend):
    async with simulating(dsn, holding=Refusing(cup=422)) as (_, settings):
        backend = await start(**settings)
        await backend.grant(4)
        job = (await order(backend, job_of(backend, await photographs(backend, 2)))).generation_id
        await ended(backend, job)
        assert not missing(
            said(backend, job),
            ("base_generation", "error", {"attemptedCount"}),
            ("completion", "error", COUNTS),
        )


async def test_an_attempt_that_takes_too_long_is_stopped_and_made_again(dsn: str, start: StartBackend):
    """Its start is moved into the past, so that nobody has to wait for it."""
    async with simulating(dsn, pace=Latency(0, 0.5, 0)) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(1)
        job = job_of(backend, await photographs(backend, 1), attempt_seconds=100)
        accepted = await order(backend, job)
        late = (
            "update mega_generations set mg_payload = jsonb_set(mg_payload, '{starts,0,at}',"
            " to_jsonb((now() - interval '101 seconds')::text)) where mg_id = %s and mg_status = 'processing'"
            " and mg_payload ? 'operation' and jsonb_array_length(mg_payload->'starts') = 1 returning mg_id"
        )
        while not backend.sql(late, f"mma_step:{accepted.generation_id}:1"):
            await asyncio.sleep(0.01)
        assert (await ended(backend, accepted.generation_id))["mg_mma_status"] == "done"
        assert not missing(
            said(backend, accepted.generation_id),
            ("base_generation", "error", FAILURE | {"attempt", "imageIndex", "isTimeout"}),
            ("base_generation", "info", {"retryDelay", "imageIndex"}),
        )
        [base] = [step for step in backend.steps(accepted.generation_id) if step["mg_step_type"] == "base_generation"]
        assert [one["outcome"] for one in base["mg_payload"]["starts"]] == ["stopped", "accepted"]
        first, second = [starts[0] for starts in simulation.record.by_attempt_key().values()]
        assert first.cancelled_at is not None
        assert second.cancelled_at is None
        assert await problems(backend) == {}


@pytest.mark.parametrize("fault", ["closed_before", "unavailable", "rate_limited"])
async def test_a_service_that_does_not_answer_is_asked_again(dsn: str, start: StartBackend, fault: str):
    async with simulating(dsn, **{fault: 1.0}) as (_, settings):
        backend = await start(**settings)
        await backend.grant(1)
        job = (await order(backend, job_of(backend, await photographs(backend, 1)))).generation_id
        assert (await ended(backend, job))["mg_mma_status"] == "error"
    told = lines(backend, job)
    tried = [
        line["details"]["attempt"]
        for line in told
        if line["message"].startswith("Attempt ") and "of" in line["message"]
    ]
    is_unknown = fault == "closed_before"  # whether it began is not known, so it is begun again once only
    assert tried == ([1, 2] if is_unknown else [1, 2, 3])
    again = [line for line in told if "retryDelay" in (line["details"] or ())]
    assert [line["details"]["retryDelay"] > 0 for line in again] == [True, True]
    [last] = [line for line in told if "maxRetries" in (line["details"] or ())]
    assert (last["level"], last["details"]["maxRetries"], last["details"]["isTimeout"]) == ("error", 3, is_unknown)
    if is_unknown:  # no HTTP status: the failure and the pause are lines of their own
        failed = [line for line in told if "isTimeout" in (line["details"] or ()) and line is not last]
        assert [(line["level"], line["details"]["attempt"]) for line in failed] == [("error", 1), ("error", 2)]
        assert {line["level"] for line in again} == {"info"}
    else:
        assert [(line["level"], line["details"]["attempt"]) for line in again] == [("warning", 1), ("warning", 2)]
        statuses = {500, 502, 503, 504} if fault == "unavailable" else {429}
        assert {line["details"]["status"] for line in again} <= statuses


async def test_a_picture_that_cannot_be_stored_is_told_where_it_was_to_be(dsn: str, start: StartBackend):
    put = AssetStore.put

    async def refusing(assets: AssetStore, key: str, *content: Any) -> Any:
        if key.endswith("variant-001/002.jpg"):
            raise StorageError("the disk is full")
        return await put(assets, key, *content)

    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(4)
        with mock.patch.object(AssetStore, "put", refusing):
            job = (await order(backend, job_of(backend, await photographs(backend, 2), variants=2))).generation_id
            assert (await ended(backend, job))["mg_mma_status"] == "partial"
        [line] = [line for line in lines(backend, job) if (line["step"], line["level"]) == ("upload", "error")]
        assert FAILURE | {"variantIndex", "imageIndex", "storagePath"} <= line["details"].keys()
        assert (line["details"]["variantIndex"], line["details"]["imageIndex"]) == (0, 1)
        assert line["details"]["storagePath"].endswith("variant-001/002.jpg")
        assert line["details"]["elapsedMs"] >= 0
        shown = await backend.get(f"/api/v1/generations/{job}", headers={HEADER: backend.pass_id})
        assert [one["position"] for one in shown["results"]] == [[0, 0], [1, 0], [1, 1]]


async def test_a_job_that_is_cancelled_says_what_is_kept(dsn: str, start: StartBackend):
    async with simulating(dsn, hangs=1.0) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(2)
        job = (await order(backend, job_of(backend, await photographs(backend, 2)))).generation_id
        async with asyncio.timeout(60):
            while not simulation.record.count():
                await asyncio.sleep(0.01)
        await cancelled(backend, job)
        assert (await ended(backend, job))["mg_mma_status"] == "cancelled"
        assert not missing(said(backend, job), ("completion", "info", COUNTS | {"refundedCredits"}))


@contextmanager
def failing(target: Any, name: str, error: Exception) -> Any:
    with mock.patch.object(target, name, side_effect=error):
        yield


@pytest.mark.parametrize(
    ("target", "name", "error", "row"),
    [
        (
            post_processing,
            "processed_with_size",
            AssetUnreadable("cut"),
            ("variant_creation", "error", {"variantIndex", "imageIndex", "error", "storagePath"}),
        ),
        (
            post_processing,
            "processed_with_size",
            RuntimeError("a bug"),
            ("variant_creation", "error", {"variantIndex", "error", "elapsedMs"}),
        ),
        (image_jobs, "escaped", RuntimeError("a bug"), ("base_generation", "error", {"imageIndex", "error"})),
        (image_jobs, "VariantItem", RuntimeError("a bug"), ("processing", "error", FAILURE)),
    ],
)
async def test_what_nobody_expected_is_said_and_given_back(
    dsn: str, start: StartBackend, target: Any, name: str, error: Exception, row: tuple[str, str, set[str]]
):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(2)
        with failing(target, name, error):
            job = (await order(backend, job_of(backend, await photographs(backend, 1), variants=2))).generation_id
            found = await ended(backend, job)
        assert found["mg_mma_status"] == "error"
        assert not missing(said(backend, job), row, ("completion", "error", COUNTS))
        assert "a bug" not in str(lines(backend, job))
        assert backend.balance() == 2
        assert await problems(backend) == {}


async def test_a_job_without_sources_says_which_it_had(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(1)
        job = (
            await order(backend, job_of(backend, [f"{backend.app.settings.base_url}/assets/a/gone.jpg"]))
        ).generation_id
        await ended(backend, job)
        assert not missing(said(backend, job), ("validation", "error", FAILURE | {"templateDescription"}))


async def test_a_source_that_cannot_be_read_is_told_with_its_number(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(2)
        [good] = await photographs(backend, 1)
        gone = f"{backend.app.settings.base_url}/assets/a/gone.jpg"
        job = (await order(backend, job_of(backend, [good, gone]))).generation_id
        await ended(backend, job)
        [line] = [line for line in lines(backend, job) if (line["step"], line["level"]) == ("validation", "error")]
        assert line["details"].keys() == FAILURE | {"imageIndex", "sourceUrl"}
        assert (line["details"]["imageIndex"], line["details"]["sourceUrl"]) == (1, gone)


async def test_of_many_variants_every_tenth_is_told(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(60)
        job = (await order(backend, job_of(backend, await photographs(backend, 1), variants=60))).generation_id
        await ended(backend, job)
        told = lines(backend, job)
        begun = [line["details"]["variantIndex"] for line in told if "variantId" in (line["details"] or ())]
        assert sorted(begun) == [0, 10, 20, 30, 40, 50]
        done = [line["details"] for line in told if "completedVariants" in (line["details"] or ())]
        assert [one["completedVariants"] for one in done] == [10, 20, 30, 40, 50, 60]
        assert done[0] == {"completedVariants": 10, "totalVariants": 60, "percentComplete": 16}
        assert len(told) < 60
        assert len(backend.steps(job)) == 1 + 60 + 2


async def test_a_later_round_goes_on_with_the_next_line(dsn: str, start: StartBackend):
    poison = Refusing(bad=422)
    async with simulating(dsn, holding=poison) as (_, settings):
        backend = await start(**settings)
        await backend.grant(8)
        urls = await photographs(backend, 2)
        job = (await order(backend, job_of(backend, urls, sources=sources(urls, "bad", "good")))).generation_id
        await ended(backend, job)
        before = len(lines(backend, job))
        poison.words = {}
        await complete(backend, job)
        await ended(backend, job)
        later = lines(backend, job)[before:]
        assert [later[0]["seq"], later[0]["step"]] == [before + 1, "initialization"]
        assert later[0]["details"] == {"round": 1, "missing": 1, "credits": 1}
        assert {line["details"]["imageIndex"] for line in later if "imageIndex" in (line["details"] or ())} == {0}
