"""HTTP as RFC 9110 has it, and as browsers and proxies need it: HEAD, conditions, ranges, caches, CORS, `Retry-After`."""

import asyncio
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import httpx2
import pytest

from tests.api.routes.test_files import data_url
from tests.conftest import COFFEE, Backend, StartBackend, running

ORIGIN = {"Origin": "https://app.example"}


@pytest.fixture(scope="module")
async def idle(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False) as backend:
        yield backend


async def queued(backend: Backend) -> str:
    """The address of the stream of a generation that nobody begins."""
    await backend.grant(1)
    return str((await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}))["sse_url"])


@pytest.mark.parametrize("path", ["/health", "/api/health", "/metrics", "/me", "/openapi.json", "/credits/balance"])
async def test_head_is_answered_as_get_without_a_body(idle: Backend, path: str):
    got, head = await idle.client.get(path), await idle.client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_of_files_and_small_pictures_says_what_get_sends(idle: Backend):
    public, private = await idle.upload(), (await idle.upload_private())["url"]
    for url in (public, private):
        head = await idle.client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) == COFFEE.stat().st_size
    small = public.replace("/assets/", "/thumbnails/256/")
    assert (await idle.client.head(small)).status_code == 307
    assert (await idle.client.head(public + "x")).status_code == 404
    assert (await idle.client.head(private + "x")).status_code == 403


async def test_head_of_a_live_stream_ends_after_its_headers(idle: Backend):
    head = await asyncio.wait_for(idle.client.head(await queued(idle)), 20)
    assert (head.status_code, head.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")


async def test_head_where_there_is_no_get_is_refused(idle: Backend):
    refused = await idle.client.head("/mma/still/create")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


async def test_head_of_a_public_file_in_s3_leads_to_a_url_that_takes_head(
    start: StartBackend, real_s3: Any, monkeypatch: pytest.MonkeyPatch
):
    endpoint, s3_keys = real_s3
    storage = f"s3://head-of-files?endpoint={endpoint}&region=us-east-1&path_style=true"
    await made_bucket(endpoint, "head-of-files")
    backend = await start(
        worker=False,
        storage_url=storage,
        s3_access_key_id=s3_keys.access_key_id,
        s3_secret_access_key=s3_keys.secret_access_key,
    )
    url = await backend.upload()
    for method in ("HEAD", "GET"):
        answer = await backend.client.request(method, url, follow_redirects=True)
        assert (answer.status_code, answer.history[0].status_code) == (200, 307), answer.text
        assert int(answer.headers["content-length"]) == COFFEE.stat().st_size
    saved = await backend.client.get("/public/download", params={"url": url})
    assert (saved.status_code, saved.content) == (200, COFFEE.read_bytes())
    assert saved.headers["content-disposition"].startswith("attachment; filename=")


async def made_bucket(endpoint: str, name: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        await client.put(f"{endpoint}/{name}")


@pytest.mark.parametrize("stated", ["items=0-1", "seconds=1-2", "x-pages=1", "lines", "BYTE=0-1"])
async def test_a_range_of_an_unknown_unit_is_ignored(idle: Backend, stated: str):
    answer = await idle.client.get(await idle.upload(), headers={"Range": stated})
    assert (answer.status_code, answer.content) == (200, COFFEE.read_bytes())


@pytest.mark.parametrize(
    ("stated", "status", "size"),
    [("bytes=0-99", 206, 100), ("Bytes=0-0", 206, 1), ("bytes=-5", 206, 5), ("bytes=99999999-", 416, 0)],
)
async def test_a_range_of_bytes_is_served(idle: Backend, stated: str, status: int, size: int):
    answer = await idle.client.get(await idle.upload(), headers={"Range": stated})
    assert (answer.status_code, len(answer.content)) == (status, size)


async def test_who_has_a_file_already_gets_a_304(idle: Backend):
    for url in (await idle.upload(), (await idle.upload_private())["url"]):
        first = await idle.client.get(url)
        etag, changed = first.headers["etag"], first.headers["last-modified"]
        known = [
            {"If-None-Match": etag},
            {"If-None-Match": f"W/{etag}"},
            {"If-None-Match": f'"other", {etag}'},
            {"If-None-Match": "*"},
            {"If-Modified-Since": changed},
            {"If-None-Match": etag, "Range": "bytes=0-1"},
        ]
        for headers in known:
            answer = await idle.client.get(url, headers=headers)
            assert (answer.status_code, answer.content) == (304, b""), headers
            assert answer.headers["etag"] == etag
            assert answer.headers["cache-control"] == first.headers["cache-control"]
        unknown = [
            {"If-None-Match": '"other"'},
            {"If-None-Match": '"other"', "If-Modified-Since": changed},
            {"If-Modified-Since": formatdate(0, usegmt=True)},
            {"If-Modified-Since": "yesterday"},
        ]
        for headers in unknown:
            assert (await idle.client.get(url, headers=headers)).status_code == 200, headers


async def test_json_is_kept_by_nobody_and_streams_are_changed_by_nobody(idle: Backend):
    for path in ("/health", "/credits/balance", "/history", "/me", "/mma/generations/none", "/nowhere"):
        assert (await idle.client.get(path)).headers["cache-control"] == "no-store", path
    stored = await idle.client.post("/api/r2/upload-signed", json={"dataUrl": data_url(COFFEE.read_bytes())})
    assert stored.headers["cache-control"] == "no-store"
    async with idle.client.stream("GET", await queued(idle)) as stream:
        assert stream.headers.get_list("cache-control") == ["no-cache, no-transform"]


async def test_a_client_that_has_read_all_is_told_to_stay_away(backend: Backend):
    await backend.grant(2)
    accepted = await backend.create()
    made = await backend.finished(accepted)
    last = len(made["mma_vars"]["userMessages"]["scan_lines"])
    for seen in (last, last + 1, 10**30):
        answer = await backend.client.get(accepted["sse_url"], headers={"Last-Event-ID": str(seen)})
        assert (answer.status_code, answer.content) == (204, b""), seen
    for seen in ("0", str(last - 1), "nonsense"):
        answer = await backend.client.get(accepted["sse_url"], headers={"Last-Event-ID": seen})
        assert (answer.status_code, "event: done" in answer.text) == (200, True), seen
    assert "event: done" in (await backend.client.get(f"{accepted['sse_url']}?after={last}")).text


async def test_a_client_of_an_unfinished_generation_may_come_back(idle: Backend):
    async with idle.client.stream("GET", await queued(idle), headers={"Last-Event-ID": "1"}) as stream:
        assert stream.status_code == 200


@pytest.mark.parametrize(
    "stated",
    [
        "baggage,sentry-trace",
        "traceparent,tracestate",
        "apikey,x-client-info",
        "x-anything-at-all",
        "If-None-Match,Range",
    ],
)
async def test_an_allowed_origin_may_send_any_header(start: StartBackend, stated: str):
    backend = await start(worker=False, cors_origins=ORIGIN["Origin"])
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": stated}
    allowed = await backend.client.options("/mma/still/create", headers=asked | ORIGIN)
    assert (allowed.status_code, allowed.headers["access-control-allow-headers"]) == (204, stated)
    stranger = await backend.client.options("/mma/still/create", headers=asked | {"Origin": "https://evil.example"})
    assert not [name for name in stranger.headers if name.startswith("access-control-allow-") and "methods" not in name]


async def test_scripts_may_read_when_to_come_back_and_the_requests_id(idle: Backend):
    exposed = (await idle.client.get("/health", headers=ORIGIN)).headers["access-control-expose-headers"].lower()
    assert {"retry-after", "x-request-id", "x-mina-pass-id"} <= {name.strip() for name in exposed.split(",")}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/credits/balance"),
        ("GET", "/billing/settings?customerId=pass:user:1"),
        ("POST", "/sessions/start"),
        ("POST", "/api/log-error"),
        ("POST", "/mma/events"),
    ],
)
async def test_when_to_come_back_is_in_the_body_too(start: StartBackend, method: str, path: str):
    narrow = {
        "rate_limit_writes_per_minute": 1,
        "rate_limit_public_per_minute": 1,
        "rate_limit_error_reports_per_minute": 1,
    }
    backend = await start(worker=False, **narrow)
    answer = await backend.client.request(method, path)
    for _ in range(20):
        if answer.status_code == 429:
            break
        answer = await backend.client.request(method, path)
    assert answer.status_code == 429
    assert answer.json()["retry_after_seconds"] == int(answer.headers["Retry-After"]) >= 1


async def test_a_history_is_compressed_for_who_takes_it(idle: Backend):
    for number in range(5):
        await idle.post("/sessions/start", {"title": f"a session with a rather long title {number}" * 4})
    for path in ("/history", "/history/trimmed", f"/history/pass/{idle.pass_id}"):
        params = {"passId": idle.pass_id}
        packed = await idle.client.get(path, params=params, headers={"Accept-Encoding": "gzip"})
        plain = await idle.client.get(path, params=params, headers={"Accept-Encoding": "identity"})
        assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
        assert packed.headers["vary"].lower().startswith("accept-encoding")
        assert packed.json()["sessions"] == plain.json()["sessions"]
