"""Names in object keys: no pass id stands in one, none can be forged, and what was stored before still belongs to its
owner. An upload URL takes one file."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.requests import Request

from safelight.db.money import customers
from safelight.providers.simulated.server import Simulation
from safelight.storage import keys
from tests.api.routes.test_failures import SMALL_VIDEO
from tests.api.routes.test_files import data_url
from tests.conftest import COFFEE, Backend, StartBackend, running
from tests.support.s3_servers import s3_server, settings_for
from tests.support.simulated_provider import simulating

Json = dict[str, Any]

PASS_IDS = (
    "pass:email:ann@example.com",
    "pass:user:01a1fede-58ba-7384-8f8a-8ece3089eeb5",
    "ann+shop@example.com",
    "Ünïcode und Leerzeichen",
    "a/b/../c",
    "x" * 150,
)


async def upload(backend: Backend, pass_id: str, **more: object) -> Json:
    body = {"passId": pass_id, "dataUrl": data_url(COFFEE.read_bytes()), "filename": "cup.jpg", **more}
    return await backend.post("/api/r2/upload-signed", body)


async def may_read(backend: Backend, pass_id: str, key: str) -> int:
    body = {"passId": pass_id, "key": key}
    return (await backend.client.post("/api/assets/signed-url", json=body)).status_code


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    backend: Backend = await start(worker=False)
    return backend


@pytest.mark.parametrize("pass_id", PASS_IDS)
@pytest.mark.parametrize("private", [False, True])
async def test_no_pass_id_is_part_of_a_url(idle: Backend, pass_id: str, private: bool):
    answer = await upload(idle, pass_id, private=private)
    ticket = await idle.post("/api/r2/presign", {"passId": pass_id, "contentType": "image/jpeg"})
    said = f"{answer} {ticket}"
    digest = hashlib.sha256(pass_id.encode()).hexdigest()
    for name in (pass_id, pass_id.replace(":", "_"), pass_id.rpartition(":")[2], "ann", "example", digest):
        assert name not in said
    if private:
        assert await may_read(idle, pass_id, answer["key"]) == 200


async def test_a_folder_is_the_same_for_one_customer_and_another_for_each(idle: Backend):
    folders = [(await upload(idle, pass_id, private=True))["key"].split("/")[0] for pass_id in PASS_IDS]
    again = [(await upload(idle, pass_id, private=True))["key"].split("/")[0] for pass_id in PASS_IDS]
    assert folders == again
    assert len(set(folders)) == len(PASS_IDS)


@pytest.mark.parametrize("victim", PASS_IDS)
async def test_no_pass_id_opens_the_files_of_another(idle: Backend, victim: str):
    key = (await upload(idle, victim, private=True))["key"]
    digest = hashlib.sha256(victim.encode()).hexdigest()
    folder, _, rest = key.partition("/")
    for forged in (
        folder,
        folder.removeprefix("o."),
        f"o.{digest[:32]}",
        f"sha256:{digest}",
        digest,
        "sha256:",
        f"{folder}/",
    ):
        assert await may_read(idle, forged, key) == 404, forged
        assert await may_read(idle, forged, f"{victim}/{rest}") in (400, 404)
    assert await may_read(idle, victim, key) == 200


async def test_what_was_stored_before_is_still_its_owners(idle: Backend):
    private = idle.app.resources.assets.private
    plain, hashed = "pass:user:old", "ann+shop@example.com"
    digest = hashlib.sha256(hashed.encode()).hexdigest()
    for key in (f"{plain}/inputs/1-a.jpg", f"sha256:{digest}/inputs/1-b.jpg"):
        await private.put(key, COFFEE.read_bytes(), "image/jpeg")
    assert await may_read(idle, plain, f"{plain}/inputs/1-a.jpg") == 200
    assert await may_read(idle, hashed, f"sha256:{digest}/inputs/1-b.jpg") == 200
    for stranger in (f"sha256:{digest}", "pass:user:olden", "sha256:", digest):
        assert await may_read(idle, stranger, f"sha256:{digest}/inputs/1-b.jpg") == 404
        assert await may_read(idle, stranger, f"{plain}/inputs/1-a.jpg") == 404


@pytest.mark.parametrize("folder", sorted(keys.RESERVED))
async def test_a_folder_of_ours_is_no_customers(idle: Backend, folder: str):
    await idle.app.resources.assets.private.put(f"{folder}/note", b"pass:user:ann/inputs/1-a.jpg", "text/plain")
    assert await may_read(idle, folder, f"{folder}/note") == 404
    public = await upload(idle, idle.pass_id, kind=f"{folder}/still")
    assert public["key"].startswith(f"uploads/{folder}/still/")


async def test_the_same_content_is_found_again_without_naming_its_owner(idle: Backend):
    first, second = [await upload(idle, "pass:email:ann@example.com", private=True) for _ in range(2)]
    assert first["key"] == second["key"]
    names = [entry.key async for some in idle.app.resources.assets.private.entries() for entry in some]
    assert len(names) == 2
    guess = hashlib.sha256(b"private/pass:email:ann@example.com/uploads").hexdigest()
    assert not [name for name in names if guess in name or "ann" in name]


async def test_whose_credits_were_gathered_keeps_their_files(idle: Backend):
    """A visitor's row is merged into that of the user whose e-mail it has."""
    visitor, user, other = "pass:anon:visitor", "pass:user:ann", "pass:user:bob"
    key = (await upload(idle, visitor, private=True))["key"]
    async with idle.app.database() as db, db.transaction() as conn:
        for pass_id in (visitor, user, other):
            await customers.ensure(conn, pass_id)
        await conn.execute("update mega_customers set mg_email = 'ann@example.com' where mg_pass_id = %s", [visitor])
        assert await may_read(idle, user, key) == 404
        await customers.merge_credits(conn, user, "ann@example.com")
    assert await may_read(idle, user, key) == 200
    assert await may_read(idle, other, key) == 404
    idle.sql("update mega_customers set mg_user_id = gen_random_uuid() where mg_pass_id = %s", visitor)
    async with idle.app.database() as db, db.connection() as conn:
        assert await customers.pass_ids_of(conn, user) == [user]


async def test_providers_are_told_no_pass_id(dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch):
    told = []
    for name in ("start", "ask"):
        whole = getattr(Simulation, name)

        async def overheard(self: Simulation, request: Request, whole: Any = whole) -> Any:
            told.append(f"{request.url} {dict(request.headers)} {(await request.body()).decode()}")
            return await whole(self, request)

        monkeypatch.setattr(Simulation, name, overheard)
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        backend.pass_id = "pass:email:ann@example.com"
        await backend.grant(6)
        product = (await upload(backend, backend.pass_id, private=True))["url"]
        still = await backend.finished(await backend.create(product=product))
        body = {"parent_generation_id": still["generation_id"], "inputs": SMALL_VIDEO}
        film = await backend.finished(await backend.post("/mma/video/animate", body))
    assert (still["status"], film["status"]) == ("done", "done")
    assert len(told) >= 5
    assert [text for text in told if "private-assets/o." in text]
    assert not [text for text in told if "ann" in text.replace("channel", "") and "example" in text]


# --- upload URLs ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["folder", "s3", "real s3"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, str]]:
    if request.param == "folder":
        yield {}
    elif request.param == "s3":
        async with s3_server() as (_, settings):
            yield settings
    else:
        yield settings_for(*request.getfixturevalue("real_s3"))


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), shade).save(buffer, "PNG")
    return buffer.getvalue()


async def ticket_of(backend: Backend, route: str = "/api/r2/upload-signed") -> Json:
    return await backend.post(route, {"contentType": "image/png", "filename": "cup.png"})


async def test_an_upload_url_is_used_once(start: StartBackend, storage: dict[str, str]):
    backend = await start(worker=False, **storage)
    for route in ("/api/r2/upload-signed", "/api/r2/presign"):
        ticket = await ticket_of(backend, route)
        first, *others = [await backend.client.put(ticket["uploadUrl"], content=picture(shade)) for shade in (1, 2, 1)]
        assert first.status_code == 200
        assert [(answer.status_code, answer.json()["error"]) for answer in others] == [(403, "UPLOAD_URL_USED")] * 2
        stored = await backend.client.get(ticket["publicUrl"], follow_redirects=True)
        assert stored.content == picture(1)


async def test_of_uploads_at_the_same_moment_one_is_stored(
    dsn: str, start: StartBackend, storage: dict[str, str], tmp_path: Path
):
    """Also where the requests reach several nodes."""
    backend = await start(worker=False, **storage)
    async with running(dsn, tmp_path, worker=False, public_url=backend.app.settings.base_url, **storage) as other:
        ticket = await ticket_of(backend)
        path = ticket["uploadUrl"].removeprefix(backend.app.settings.base_url)
        puts = [(backend, other)[shade % 2].client.put(path, content=picture(shade)) for shade in range(8)]
        answers = await asyncio.gather(*puts)
    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 7
    [stored] = [shade for shade, answer in enumerate(answers) if answer.status_code == 200]
    assert (await backend.client.get(ticket["publicUrl"], follow_redirects=True)).content == picture(stored)


async def test_a_file_that_is_refused_does_not_use_the_url_up(idle: Backend):
    ticket = await ticket_of(idle)
    for content, status in (
        (b"no picture", 400),
        (COFFEE.read_bytes(), 400),
        (b"", 400),
        (picture(1), 200),
        (picture(1), 403),
    ):
        assert (await idle.client.put(ticket["uploadUrl"], content=content)).status_code == status
