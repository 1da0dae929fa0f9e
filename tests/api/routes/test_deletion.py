"""Deleting and downloading results, the histories, and the lineage that a result's URL tells."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from safelight.domain.ids import new_id
from tests.conftest import COFFEE, Backend, StartBackend
from tests.support.openapi import document

Json = dict[str, Any]


async def delete(backend: Backend, record_id: str, *, pass_id: str | None = None) -> httpx2.Response:
    return await backend.client.delete(f"/history/{record_id}", headers={"X-Mina-Pass-Id": pass_id or backend.pass_id})


async def made(backend: Backend, **more: Any) -> tuple[str, str]:
    """The id and the URL of a still."""
    generation = await backend.finished(await backend.create(**more))
    return generation["generation_id"], generation["outputs"]["seedream_image_url"]


async def history(backend: Backend, path: str = "/history", **params: Any) -> list[str]:
    answer = await backend.get(path, params=params, headers={"X-Mina-Pass-Id": backend.pass_id})
    return [row["generationId"] for row in answer["generations"]]


def kept(backend: Backend, generation_id: str) -> list[Json]:
    """Ledger, steps and lines."""
    rows = backend.sql(
        "select mg_id, mg_delta, mg_payload, mg_row_hash from mega_generations"
        " where mg_generation_id = %s and mg_record_type in ('credit_transaction', 'mma_step', 'mma_event') order by mg_id",
        generation_id,
    )
    return rows + backend.sql("select * from image_generation_logs where job_id = %s order by seq", generation_id)


async def doctor(backend: Backend, **more: Any) -> list[str]:
    async with backend.app.database() as db:
        findings = await backend.app.on(db).doctor.check(**more)
    return [found.problem.name for found in findings.violations]


async def test_a_deleted_result_is_gone_and_its_records_stay(backend: Backend):
    await backend.grant(2)
    other, _ = await made(backend)
    generation_id, url = await made(backend)
    small = url.replace("/assets/", "/thumbnails/256/")
    assert (await backend.client.get(small, follow_redirects=True)).status_code == 200
    before = kept(backend, generation_id)
    answer = await delete(backend, f"generation:{generation_id}")
    said = answer.json()
    assert (answer.status_code, said["ok"], said["deleted"], said["deletedCount"]) == (200, True, True, 1)
    assert said["requestId"] == answer.headers["x-request-id"]
    for path in ("/history", "/history/trimmed", f"/history/pass/{backend.pass_id}"):
        assert await history(backend, path) == [other]
    assert await history(backend, f"/history/pass/{backend.pass_id}", limit=50) == [other]
    for gone in (url, small, f"/mma/generations/{generation_id}", f"/mma/stream/{generation_id}"):
        assert (await backend.client.get(gone)).status_code == 404, gone
    assert (await backend.client.get("/public/download", params={"url": url})).status_code == 404
    assert (kept(backend, generation_id), backend.balance(), backend.ledger_sum()) == (before, 0, 0)
    [row] = backend.sql("select * from mega_generations where mg_id = %s", f"generation:{generation_id}")
    assert row["mg_deleted_at"] is not None
    assert (row["mg_mma_status"], row["mg_output_url"]) == ("done", None)
    assert await doctor(backend, files=10) == []


async def test_deleting_again_is_no_error_and_deletes_nothing(backend: Backend):
    await backend.grant(1)
    generation_id, _ = await made(backend)
    counts = [(await delete(backend, generation_id)).json()["deletedCount"] for _ in range(3)]
    assert counts == [1, 0, 0]


async def test_only_the_owner_deletes(start: StartBackend):
    backend = await start()
    await backend.grant(1)
    generation_id, url = await made(backend)
    stranger = f"pass:user:{new_id()}"
    for record_id in (generation_id, f"generation:{generation_id}"):
        assert (await delete(backend, record_id, pass_id=stranger)).status_code == 404
        assert (await backend.client.delete(f"/history/{record_id}")).status_code == 404
    assert (await backend.client.get(url)).status_code == 200
    assert await history(backend) == [generation_id]


@pytest.mark.parametrize("path", ["/history", "/history/%20", "/history/%20%20"])
async def test_an_id_is_needed(start: StartBackend, path: str):
    backend = await start(worker=False)
    answer = await backend.client.delete(path, headers={"X-Mina-Pass-Id": backend.pass_id}, follow_redirects=True)
    assert (answer.status_code, answer.json()["error"]) == (400, "MISSING_ID")


@pytest.mark.parametrize("kind", ["credit_transaction", "mma_event", "mma_step"])
async def test_what_is_no_item_of_the_history_stays(start: StartBackend, kind: str):
    backend = await start()
    await backend.grant(1)
    await made(backend)
    for row in backend.sql("select mg_id from mega_generations where mg_record_type = %s", kind):
        assert (await delete(backend, row["mg_id"])).status_code == 404
    assert backend.value("select count(*) from mega_generations where mg_deleted_at is not null") == 0


async def test_feedback_and_sessions_are_deleted_too(start: StartBackend):
    backend = await start(worker=False)
    liked = await backend.post("/feedback/like", {"prompt": "a cup"})
    begun = await backend.post("/sessions/start", {})
    for record_id in (f"feedback:{liked['feedbackId']}", f"session:{begun['sessionId']}"):
        assert (await delete(backend, record_id)).json()["deletedCount"] == 1
    found = await backend.get("/history", headers={"X-Mina-Pass-Id": backend.pass_id})
    assert (found["feedbacks"], found["sessions"]) == ([], [])
    assert await doctor(backend) == []


async def test_what_is_being_made_or_made_from_is_not_deleted(start: StartBackend):
    backend = await start()
    await backend.grant(3)
    parent, url = await made(backend)
    await backend.stop_working()
    child = await backend.post("/mma/still/tweak", {"parent_generation_id": parent, "feedback": {"text": "darker"}})
    for record_id in (child["generation_id"], parent):
        answer = await delete(backend, record_id)
        assert (answer.status_code, answer.json()["error"]) == (409, "GENERATION_IN_PROGRESS")
    assert (await backend.client.get(url)).status_code == 200
    await backend.post(f"/mma/generations/{child['generation_id']}/cancel", {})
    for record_id in (child["generation_id"], parent):
        assert (await delete(backend, record_id)).status_code == 200
    tweak = {"parent_generation_id": parent, "feedback": {"text": "darker"}}
    assert (await backend.post("/mma/still/tweak", tweak, status=404))["error"] == "PARENT_GENERATION_NOT_FOUND"


async def test_a_file_that_the_storage_kept_is_found_and_deleted_later(backend: Backend, tmp_path: Path):
    """The row is marked before the file is deleted: what came between is the doctor's, or the next request's."""
    await backend.grant(1)
    generation_id, url = await made(backend)
    backend.sql("update mega_generations set mg_deleted_at = now() where mg_id = %s", f"generation:{generation_id}")
    assert await doctor(backend) == ["deleted_result_readable"]
    assert (await delete(backend, generation_id)).json()["deletedCount"] == 0
    assert (await backend.client.get(url)).status_code == 404
    assert await doctor(backend, files=10) == []


async def test_an_older_backends_result_is_deleted_by_its_url(start: StartBackend):
    backend = await start(worker=False)
    url = await backend.upload()
    await backend.grant(1)
    backend.sql(
        "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_status, mg_output_url)"
        " values ('generation:gen_old', 'generation', 'gen_old', %s, 'succeeded', %s)",
        backend.pass_id,
        url,
    )
    assert await history(backend) == ["gen_old"]
    assert (await delete(backend, "gen_old")).json()["deletedCount"] == 1
    assert (await history(backend), (await backend.client.get(url)).status_code) == ([], 404)


async def test_liking_forgets_what_was_deleted(backend: Backend):
    await backend.grant(3)
    generation_id, _ = await made(backend)
    await backend.post("/mma/events", {"event_type": "like", "generation_id": generation_id})
    await delete(backend, generation_id)
    again, _ = await made(backend)
    [step] = [step for step in backend.steps(again) if step["mg_step_type"] == "like_history"]
    assert generation_id not in str(step["mg_payload"])


# --- downloads ------------------------------------------------------------------------------------------------------


async def test_our_own_files_are_saved_as_attachments(start: StartBackend):
    backend = await start(worker=False)
    url = await backend.upload()
    saved = await backend.client.get("/public/download", params={"url": url})
    assert (saved.status_code, saved.content) == (200, COFFEE.read_bytes())
    assert saved.headers["content-disposition"] == f'attachment; filename="{url.rpartition("/")[2]}"'
    part = await backend.client.get("/public/download", params={"url": url}, headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/cup.jpg",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "/assets/product/cup.jpg",
        "",
        "{base}/private-assets/x/uploads/cup.jpg",
        "{base}/assets/../private-assets/cup.jpg",
        "{base}/health",
        "https://user:pw@example.com/assets/a.jpg",
    ],
)
async def test_nothing_else_is_downloaded(start: StartBackend, url: str):
    backend = await start(worker=False)
    asked = url.replace("{base}", backend.app.settings.base_url)
    answer = await backend.client.get("/public/download", params={"url": asked})
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


async def test_a_private_file_is_not_downloaded_by_its_address(start: StartBackend):
    backend = await start(worker=False)
    stored = await backend.upload_private()
    for url in (
        stored["url"],
        stored["url"].partition("?")[0],
        f"{backend.app.settings.base_url}/assets/{stored['key']}",
    ):
        answer = await backend.client.get("/public/download", params={"url": url})
        assert answer.status_code in (400, 404), url


# --- histories ------------------------------------------------------------------------------------------------------


async def test_histories_of_the_older_clients_hold_results_alone(start: StartBackend):
    backend = await start()
    await backend.grant(10)
    done, _ = await made(backend)
    suggestion = await backend.post(
        "/mma/video/animate", {"parent_generation_id": done, "inputs": {"suggest_only": True, "type_for_me": True}}
    )
    assert (await backend.finished(suggestion))["status"] == "suggested"
    await backend.stop_working()
    stopped = await backend.create()
    await backend.post(f"/mma/generations/{stopped['generation_id']}/cancel", {})
    waiting = await backend.create()
    failed = await backend.create()
    backend.sql(
        "update mega_generations set mg_mma_status = 'error', mg_status = 'failed' where mg_id = %s",
        f"generation:{failed['generation_id']}",
    )
    shown = [waiting["generation_id"], done]
    for path in ("/history", "/history/trimmed", f"/history/pass/{backend.pass_id}"):
        assert await history(backend, path) == shown, path
    every = await history(backend, f"/history/pass/{backend.pass_id}", limit=100)
    ids = {one["generation_id"] for one in (suggestion, stopped, waiting, failed)}
    assert set(every) == {done, *ids}


# --- lineage --------------------------------------------------------------------------------------------------------


async def test_an_order_that_names_ones_own_result_has_it_as_its_parent(backend: Backend):
    await backend.grant(30)
    still, url = await made(backend)
    await backend.stop_working()
    assert await parent_of(backend, "/mma/video/animate", assets={"start_image_url": url}) == still
    assert await parent_of(backend, "/mma/video/animate", assets={"product_image_url": url}) == still
    assert (
        await parent_of(backend, "/mma/video/create", inputs={"start_image_url": url, "motion_user_brief": "x"})
        == still
    )
    assert await parent_of(backend, "/mma/still/create", assets={"product_image_url": url}) == still
    pictures = {"product_image_url": await backend.upload(), "inspiration_image_urls": [url]}
    assert await parent_of(backend, "/mma/still/create", assets=pictures) == still
    assert await parent_of(backend, "/mma/still/create", assets={"product_image_url": await backend.upload()}) is None


async def parent_of(backend: Backend, path: str, **body: Any) -> str | None:
    accepted = await backend.post(path, body)
    [row] = backend.sql(
        "select mg_parent_id from mega_generations where mg_id = %s", f"generation:{accepted['generation_id']}"
    )
    stated: str | None = accepted["parent_generation_id"]
    assert row["mg_parent_id"] == (stated and f"generation:{stated}")
    return stated


async def test_the_stated_parent_goes_before_the_named_result(backend: Backend):
    await backend.grant(10)
    first, _ = await made(backend)
    _, url = await made(backend)
    await backend.stop_working()
    body = {"parent_generation_id": first, "assets": {"start_image_url": url}}
    assert await parent_of(backend, "/mma/video/animate", **body) == first


async def test_anothers_result_a_deleted_one_and_an_unknown_one_are_no_parents(backend: Backend):
    await backend.grant(20)
    stranger = f"pass:user:{new_id()}"
    await backend.grant(10, stranger)
    still, url = await made(backend)
    await backend.stop_working()
    assert await parent_of(backend, "/mma/video/animate", passId=stranger, assets={"start_image_url": url}) is None
    unknown = url.replace(still, new_id())
    assert await parent_of(backend, "/mma/video/animate", assets={"start_image_url": unknown}) is None
    await delete(backend, still)
    assert await parent_of(backend, "/mma/video/animate", assets={"start_image_url": url}) is None


async def test_a_video_of_a_named_still_is_made_and_inherits_from_it(backend: Backend):
    await backend.grant(6)
    still, url = await made(backend, platform="instagram-post", title="My shop")
    body = {"assets": {"start_image_url": url}, "inputs": {"motion_user_brief": "push in", "duration": 1}}
    video = await backend.finished(await backend.post("/mma/video/animate", body))
    assert (video["status"], video["parent_generation_id"]) == ("done", still)
    [row] = backend.sql("select * from mega_generations where mg_id = %s", f"generation:{video['generation_id']}")
    assert (row["mg_platform"], row["mg_title"]) == ("instagram-post", "My shop")


def test_both_routes_are_in_the_document():
    assert {"/history/{record_id}", "/public/download"} <= document()["paths"].keys()
