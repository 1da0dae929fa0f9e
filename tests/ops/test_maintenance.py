"""`safelight assets`: temporary files end, orphans are found, results are held against their hashes."""

import asyncio
import hashlib
import io
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from safelight.domain.ids import new_id
from tests.api.routes.test_files import data_url
from tests.conftest import COFFEE, Backend, StartBackend
from tests.support.commands import run_safelight
from tests.support.s3_servers import s3_server

Json = dict[str, Any]
HOUR = 3600


@pytest.fixture(params=["folder", "s3"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, str]]:
    if request.param == "folder":
        yield {}
        return
    async with s3_server() as (_, settings):
        yield settings


def assets_command(backend: Backend, *words: str, status: int = 0) -> Json:
    settings = backend.app.settings.model_copy(update={"database_url": backend.dsn})
    done = run_safelight("assets", *words, "--json", environment=settings.as_environment())
    assert done.returncode == status, done.stderr + done.stdout
    return dict(json.loads(done.stdout))


async def in_a_thread(backend: Backend, *words: str, status: int = 0) -> Json:
    """The server that holds the files runs in this loop, so it must not stand still."""
    return await asyncio.to_thread(assets_command, backend, *words, status=status)


async def upload(backend: Backend, **more: object) -> str:
    body = {"dataUrl": data_url(COFFEE.read_bytes()), "filename": "cup.jpg", **more}
    return str((await backend.post("/api/r2/upload-signed", body))["key"])


async def keys_of(backend: Backend) -> set[str]:
    assets = backend.app.resources.assets
    buckets = (assets.public, assets.private)
    return {
        entry.key
        for bucket in buckets
        async for some in bucket.entries()
        for entry in some
        if not entry.key.startswith(("same-content/", "samples/"))
    }


async def test_what_was_for_the_moment_ends_and_nothing_else(start: StartBackend, storage: dict[str, str]):
    backend = await start(worker=False, **storage)
    temporary = {await upload(backend, kind="temp"), await upload(backend, kind="temp", private=True)}
    kept = {await upload(backend, kind="product"), await upload(backend, kind="product", private=True)}
    assert (await in_a_thread(backend, "expire"))["files"] == 0
    shown = await in_a_thread(backend, "expire", "--hours", "0")
    assert (set(shown["keys"]), shown["deleted"]) == (temporary, False)
    assert await keys_of(backend) == temporary | kept
    deleted = await in_a_thread(backend, "expire", "--hours", "0", "--delete")
    assert (deleted["files"], deleted["deleted"]) == (2, True)
    assert await keys_of(backend) == kept


def aged(backend: Backend, key: str, hours: float) -> None:
    path = backend.app.resources.assets.path_of(key)
    assert path
    os.utime(path, (time.time() - hours * HOUR,) * 2)


async def test_a_result_that_no_row_names_is_an_orphan(backend: Backend):
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    named = backend.value("select mg_output_key from mega_generations where mg_output_key is not null")
    await backend.client.get(f"/thumbnails/256/{named}", follow_redirects=True)
    assets = backend.app.resources.assets
    orphans = {f"mma/still/{new_id()}.png", "mma/video/nothing.mp4", "thumbnails/256/mma/still/gone.png.webp"}
    for key in orphans:
        await assets.put(key, b"x", "image/png")
    fresh = f"mma/still/{new_id()}.png"
    await assets.put(fresh, b"x", "image/png")
    for key in await keys_of(backend) - {fresh}:
        aged(backend, key, hours=48)
    found = await in_a_thread(backend, "sweep")
    assert (set(found["keys"]), found["deleted"]) == (orphans, False)
    await in_a_thread(backend, "sweep", "--delete")
    left = await keys_of(backend)
    assert not left & orphans
    assert {named, fresh, f"thumbnails/256/{named}.webp"} < left
    assert (await backend.client.get(made["outputs"]["seedream_image_url"])).status_code == 200


async def test_a_result_of_a_generation_under_way_is_no_orphan(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    key = f"mma/still/{accepted['generation_id']}.png"
    await backend.app.resources.assets.put(key, b"x", "image/png")
    aged(backend, key, hours=48)
    assert (await in_a_thread(backend, "sweep"))["files"] == 0


async def test_results_are_held_against_their_hashes(backend: Backend):
    await backend.grant(3)
    product = await backend.upload()
    made = [await backend.finished(await backend.create(product=product)) for _ in range(3)]
    report = await in_a_thread(backend, "verify")
    assert report["overall_status"] == "valid"
    assert (report["files_validated"], report["valid"], report["integrity_issues"]) == (3, 3, [])
    folder = backend.app.home / "assets" / "mma" / "still"
    [paths] = zip(*(folder.glob(f"{one['generation_id']}-*/1.png") for one in made), strict=True)
    assert report["total_size_bytes"] == sum(path.stat().st_size for path in paths)
    paths[0].unlink()
    paths[1].write_bytes(b"something else")
    report = await in_a_thread(backend, "verify", status=1)
    assert (report["overall_status"], report["missing_files"], report["invalid"]) == ("partial", 1, 1)
    issues = {issue["file_id"]: issue["issue"] for issue in report["integrity_issues"]}
    assert issues == {made[0]["generation_id"]: "file_missing", made[1]["generation_id"]: "hash_mismatch"}


async def test_a_result_that_was_cut_before_it_was_stored_is_found(backend: Backend):
    """Its hash is that of the cut file, so only decoding tells."""
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    [path] = (backend.app.home / "assets" / "mma" / "still").glob(f"{made['generation_id']}-*/1.png")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    backend.sql(
        "select safelight.amend_history('a test', 'a test'); update mega_generations set"
        f" mg_payload = jsonb_set(mg_payload, '{{output,sha256}}', '\"{digest}\"')"
        " where mg_record_type = 'mma_step' and mg_step_type = 'seedream_generate'"
    )
    [issue] = (await in_a_thread(backend, "verify", status=1))["integrity_issues"]
    assert (issue["file_id"], issue["issue"]) == (made["generation_id"], "validation_error")
    async with backend.app.database() as db:
        [found] = (await backend.app.on(db).doctor.check(files=10)).violations
    assert found.problem.name == "file_unreadable"


# --- small pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [256, 512, 1024])
async def test_a_small_picture_is_made_once_and_kept(start: StartBackend, storage: dict[str, str], size: int):
    backend = await start(worker=False, **storage)
    key = await upload(backend, kind="product")
    for _ in range(2):
        answer = await backend.client.get(f"/thumbnails/{size}/{key}", follow_redirects=True)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        with Image.open(io.BytesIO(answer.content)) as small:
            assert small.format == "WEBP"
            assert max(small.size) == min(size, max(Image.open(COFFEE).size))
    assert len([each for each in await keys_of(backend) if each.startswith("thumbnails/")]) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [("100/product/a.jpg", 400), ("big/product/a.jpg", 400), ("256/product/none.jpg", 404), ("256/%2e%2e/x", 404)],
)
async def test_a_small_picture_that_cannot_be_made_is_a_clear_error(start: StartBackend, path: str, status: int):
    backend = await start(worker=False)
    assert (await backend.client.get(f"/thumbnails/{path}")).status_code == status


def test_the_commands_explain_themselves(tmp_path: Path):
    done = run_safelight("assets", "--help", environment=os.environ)
    assert all(word in done.stdout for word in ("expire", "sweep", "verify"))
