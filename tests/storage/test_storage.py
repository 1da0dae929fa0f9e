"""Files in a folder and in S3: the same contract, over real HTTP with signatures that are checked."""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.domain.errors.base import ConfigError, NotFound, StorageError
from safelight.storage.assets import AssetStore
from safelight.storage.buckets import S3Keys
from tests.api.routes.test_files import data_url
from tests.conftest import COFFEE, Backend, StartBackend
from tests.support.s3_servers import s3_server, settings_for


@pytest.fixture(params=["folder", "seaweedfs", "simulated"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, str]]:
    """The settings of a storage."""
    match request.param:
        case "folder":
            yield {}
        case "seaweedfs":
            yield settings_for(*request.getfixturevalue("real_s3"))
        case "simulated":
            async with s3_server() as (_, settings):
                yield settings


@pytest.fixture
async def backend(storage: dict[str, str], start: StartBackend) -> Backend:
    return await start(worker=False, **storage)


@pytest.fixture
def assets(storage: dict[str, str], tmp_path: Path) -> AssetStore:
    return App(Settings(home=tmp_path, **storage)).resources.assets


async def put(backend: Backend, **more: object) -> dict:
    body = {"dataUrl": data_url(COFFEE.read_bytes()), "kind": "product", "filename": "cup.jpg", **more}
    return await backend.post("/api/r2/upload-signed", body)


async def fetched(backend: Backend, url: str, **more: object) -> httpx2.Response:
    return await backend.client.get(url, follow_redirects=True, **more)


async def test_an_upload_is_read_back_under_its_permanent_url(backend: Backend):
    stored = await put(backend)
    assert "?" not in stored["publicUrl"]
    answer = await fetched(backend, stored["publicUrl"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content == COFFEE.read_bytes()
    part = await fetched(backend, stored["publicUrl"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, COFFEE.read_bytes()[100:200])


async def test_a_file_that_is_not_there_is_a_404(backend: Backend):
    assert (await fetched(backend, "/assets/product/nobody/nothing.jpg")).status_code == 404


async def test_a_browser_puts_its_file_straight_to_the_url_it_was_given(backend: Backend):
    ticket = await backend.post("/api/r2/upload-signed", {"contentType": "image/jpeg", "fileName": "cup.jpg"})
    assert ticket["expiresIn"] == 600
    async with httpx2.AsyncClient(trust_env=False) as browser:
        answer = await browser.put(
            ticket["uploadUrl"], content=COFFEE.read_bytes(), headers={"Content-Type": "image/jpeg"}
        )
    assert answer.status_code == 200
    assert (await fetched(backend, ticket["publicUrl"])).content == COFFEE.read_bytes()


async def test_an_upload_url_is_good_for_one_key_and_method(backend: Backend):
    ticket = await backend.post("/api/r2/upload-signed", {"contentType": "image/jpeg", "fileName": "cup.jpg"})
    async with httpx2.AsyncClient(trust_env=False) as browser:
        other_key = ticket["uploadUrl"].replace("cup.jpg", "pup.jpg")
        assert (await browser.put(other_key, content=COFFEE.read_bytes())).status_code == 403
        assert (await browser.delete(ticket["uploadUrl"])).status_code in (403, 405)


async def test_the_same_content_of_the_same_customer_is_stored_once(backend: Backend):
    first, again = await put(backend), await put(backend, filename="other.jpg")
    assert again["key"] == first["key"]
    elsewhere = await put(backend, kind="logo")
    somebody_else = await put(backend, passId="pass:user:somebody-else")
    assert len({first["key"], elsewhere["key"], somebody_else["key"]}) == 3


async def test_a_private_file_is_read_by_its_owner_for_a_while(backend: Backend):
    stored = await put(backend, private=True)
    assert stored["publicUrl"] is None
    assert re.match(r"o\.[0-9a-f]{32}/product/", stored["key"])
    assert (await fetched(backend, stored["url"])).content == COFFEE.read_bytes()
    assert (await fetched(backend, f"/assets/{stored['key']}")).status_code == 404
    fresh = await backend.post("/api/assets/signed-url", {"key": stored["key"], "expiresIn": 60})
    assert fresh["expiresIn"] == 60
    answer = await fetched(backend, fresh["url"])
    assert answer.content == COFFEE.read_bytes()
    assert "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize("storage", ["folder", "seaweedfs"], indirect=True)  # the simulation takes every signature
async def test_a_private_file_is_nobody_elses(backend: Backend):
    stored = await put(backend, private=True)
    other = {"passId": "pass:user:other", "key": stored["key"]}
    assert (await backend.post("/api/assets/signed-url", other, status=404))["error"] == "NOT_FOUND"
    nobody = await backend.client.post("/api/assets/signed-url", json={"key": stored["key"]})
    assert nobody.status_code == 401
    fresh = (await backend.post("/api/assets/signed-url", {"key": stored["key"]}))["url"]
    for wrong in (fresh.replace("cup.jpg", "pup.jpg"), fresh.split("?")[0], fresh[:-2] + "00", fresh + "0"):
        assert (await fetched(backend, wrong)).status_code in (400, 403)


@pytest.mark.parametrize("seconds", [59, 86_401, -1, "soon"])
async def test_a_signed_url_lives_a_minute_to_a_day(start: StartBackend, seconds: object):
    backend = await start(worker=False)
    stored = await put(backend, private=True)
    await backend.post("/api/assets/signed-url", {"key": stored["key"], "expiresIn": seconds}, status=400)


async def chunks(content: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_a_stream_is_stored_whole_with_its_hash(assets: AssetStore):
    content = bytes(range(256)) * 80_000  # more than one part
    stored = await assets.put_stream("mma/video/a.mp4", chunks(content), "video/mp4")
    assert (stored.bytes, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (await assets.public.received("mma/video/a.mp4")).sha256 == stored.sha256
    middle = await assets.public.use("mma/video/a.mp4", lambda file: (file.seek(1_000_000), bytes(file.read(10)))[1])
    assert middle == content[1_000_000:1_000_010]


async def test_a_stream_that_breaks_leaves_nothing_behind(assets: AssetStore):
    async def breaking() -> AsyncIterator[bytes]:
        yield b"x" * 20_000_000
        raise ConnectionResetError("the line is dead")

    with pytest.raises(ConnectionResetError):
        await assets.put_stream("mma/video/b.mp4", breaking(), "video/mp4")
    with pytest.raises(NotFound):
        await assets.public.read("mma/video/b.mp4")
    assert [entry async for some in assets.public.entries() for entry in some] == []


async def test_files_are_listed_and_deleted(assets: AssetStore):
    for name in ("temp/a.png", "temp/b.png", "product/c.png"):
        await assets.put(name, name.encode(), "image/png")
    listed = [entry async for some in assets.public.entries("temp") for entry in some]
    assert {(entry.key, entry.bytes) for entry in listed} == {("temp/a.png", 10), ("temp/b.png", 10)}
    await assets.public.delete(["temp/a.png", "temp/never.png"])
    assert [entry.key async for some in assets.public.entries() for entry in some] == ["product/c.png", "temp/b.png"]


# --- S3 alone --------------------------------------------------------------------------------------------------------


async def test_a_broken_upload_in_parts_is_taken_back(tmp_path: Path):
    async def breaking() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1_000_000
        raise ConnectionResetError("the line is dead")

    async with s3_server() as (simulation, settings):
        assets = App(Settings(home=tmp_path, **settings)).resources.assets
        with pytest.raises(ConnectionResetError):
            await assets.put_stream("mma/video/b.mp4", breaking(), "video/mp4")
        assert (simulation.uploads, simulation.objects) == ({}, {})


async def test_files_carry_type_and_cache_rule(tmp_path: Path):
    async with s3_server() as (simulation, settings):
        assets = App(Settings(home=tmp_path, **settings)).resources.assets
        await assets.put("mma/still/a.png", b"x", "image/png")
        [stored] = simulation.objects.values()
    assert stored.headers == {"content-type": "image/png", "cache-control": "public, max-age=31536000, immutable"}


@pytest.mark.parametrize("wrong", ["s3_access_key_id", "s3_secret_access_key"])
async def test_wrong_keys_are_a_storage_error(tmp_path: Path, real_s3: tuple[str, S3Keys], wrong: str):
    assets = App(Settings(home=tmp_path, **settings_for(*real_s3) | {wrong: "WRONG"})).resources.assets
    with pytest.raises(StorageError):
        await assets.put("mma/still/a.png", b"x", "image/png")


async def test_a_storage_that_is_down_is_a_storage_error(tmp_path: Path):
    async with s3_server() as (simulation, settings):
        assets = App(Settings(home=tmp_path, **settings)).resources.assets
        simulation.is_down = True
        with pytest.raises(StorageError):
            await assets.put("mma/still/a.png", b"x", "image/png")


async def test_permanent_urls_begin_where_the_setting_says(dsn: str, start: StartBackend):
    async with s3_server() as (_, settings):
        backend = await start(worker=False, public_assets_url="https://cdn.example.com/files/", **settings)
        stored = await put(backend)
        assert stored["publicUrl"] == f"https://cdn.example.com/files/{stored['key']}"
        again = await backend.post("/api/r2/store-remote-signed", {"url": stored["publicUrl"]})
        assert again["key"] == stored["key"]


async def test_a_signed_url_of_s3_says_when_it_ends(start: StartBackend):
    async with s3_server() as (_, settings):
        backend = await start(worker=False, **settings)
        stored = await put(backend, private=True)
        fresh = await backend.post("/api/assets/signed-url", {"key": stored["key"], "expiresIn": 86_400})
        assert parse_qs(urlsplit(fresh["url"]).query)["X-Amz-Expires"] == ["86400"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "is needed"),
        ("ftp://x/y", "is needed"),
        ("/var/files", "is needed"),
        ("file://host/x", "is needed"),
        ("s3://bucket?endpont=http://x", "endpont"),
        ("s3://bucket?path_style=maybe", "path_style"),
        ("s3://bucket?endpoint=localhost", "endpoint"),
        ("file:///proc/none", "cannot be kept"),
    ],
)
def test_a_storage_url_that_is_none_is_a_clear_error(tmp_path: Path, url: str, said: str):
    settings = Settings(home=tmp_path, storage_url=url, s3_access_key_id="a", s3_secret_access_key="b")
    with pytest.raises(ConfigError, match="SAFELIGHT_STORAGE_URL") as raised:
        _ = App(settings).resources.assets
    assert said in str(raised.value)


def test_s3_without_keys_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="SAFELIGHT_S3_ACCESS_KEY_ID"):
        _ = App(Settings(home=tmp_path, storage_url="s3://bucket")).resources.assets
