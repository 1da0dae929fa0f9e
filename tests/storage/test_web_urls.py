"""Only http and https URLs are kept; loopback is ours only where we are on loopback; a refused host tells nothing."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from safelight import serve
from safelight.app import App
from safelight.config import Settings
from safelight.domain.errors.base import RemoteFileRefused
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.web_urls import is_web_reference, is_web_url, unsafe_urls, without_unsafe_urls
from tests.conftest import Backend, StartBackend, running

ASSET = "127.0.0.1/assets/x.png"
NO_WEB_URLS = [
    f"javascript://{ASSET}?%0aalert(1)//", "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)",
    "java\tscript:alert(1)", "\x01javascript:alert(1)", "\u200bjavascript:alert(1)", "javascript :alert(1)", "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>", "data:image/svg+xml;base64,PHN2Zz4=", "file:///etc/passwd", f"file://{ASSET}", f"ftp://{ASSET}",
    "blob:https://example.com/1-2", "filesystem:https://example.com/x", f"//{ASSET}", f"\\\\{ASSET}", f"http:\\\\{ASSET}", "http:///x", "http:x",
    "https://user:pass@example.com/x", f"http://user@{ASSET}", f"https://example.com\\@{ASSET}", "https://exa mple.com/x", "https://", "view-source:https://x.example",
]  # fmt: skip
WEB_URLS = [
    "https://example.com/a.png",
    "HTTP://EXAMPLE.com/a.png?x=1#y",
    "http://bücher.example/é",
    "https://[2606:4700::1]:8443/x",
]


@pytest.fixture(scope="module")
async def backend(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False) as started:
        yield started


def everything(backend: Backend) -> str:
    tables = ("mega_generations", "mega_customers", "mega_admin", "image_generation_logs")
    return str([backend.sql(f"select * from {table}") for table in tables])


@pytest.mark.parametrize("url", NO_WEB_URLS)
def test_it_is_told_from_a_url_of_the_web(url: str):
    assert not is_web_url(url)
    assert list(unsafe_urls({"a": [{"imageUrl": url}]}, "payload")) == ["payload.a.0.imageUrl"]
    assert without_unsafe_urls({"href": url, "src": [url, "x"], "n": 1}) == {"href": None, "src": [None, "x"], "n": 1}


@pytest.mark.parametrize("url", WEB_URLS)
def test_urls_of_the_web_are_kept_as_they_are(url: str):
    assert is_web_url(url)
    assert without_unsafe_urls({"url": url, "note": "data: see below", "image": "still: 1"}) == {
        "url": url, "note": "data: see below", "image": "still: 1",
    }  # fmt: skip


@pytest.mark.parametrize("reference", ["/studio", "studio?x=1", "mma/still/a.png", "", "#top", "../a b.png"])
def test_what_leads_to_the_same_host_is_kept(reference: str):
    assert is_web_reference(reference)


@pytest.mark.parametrize("field", ["imageUrl", "videoUrl", "image_url"])
async def test_no_other_url_is_kept_with_a_like(backend: Backend, field: str):
    for url in NO_WEB_URLS:
        answer = await backend.post("/feedback/like", {"prompt": "x", field: url}, status=400)
        assert {"imageUrl": "image_url", "videoUrl": "video_url"}.get(field, field) in answer["message"]
    assert backend.sql("select * from mega_generations where mg_record_type = 'feedback'") == []


@pytest.mark.parametrize(
    "field", ["product_image_url", "logo_image_url", "style_hero_image_url", "start_image_url", "end_image_url"]
)
async def test_no_other_url_is_kept_with_an_order(backend: Backend, field: str):
    for url in NO_WEB_URLS:
        answer = await backend.post(
            "/mma/still/create", {"inputs": {"brief": "a cup"}, "assets": {field: url}}, status=400
        )
        assert f"assets.{field}" in answer["message"]


@pytest.mark.parametrize("key", ["url", "imageUrl", "page_url", "href", "src", "links", "note"])
async def test_no_other_url_is_kept_with_an_event(backend: Backend, key: str):
    urls = NO_WEB_URLS[:13] if key == "note" else NO_WEB_URLS
    for url in urls:
        body = {"eventType": "download", "payload": {"item": {key: [url]}}}
        assert f"payload.item.{key}.0" in (await backend.post("/mma/events", body, status=400))["message"]
    await backend.post(
        "/mma/events",
        {"eventType": "download", "payload": {key: "https://example.com/a.png", "comment": "javascript is a language"}},
    )


async def test_other_urls_are_left_out_of_reports_and_of_further_inputs(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(100)
    for url in NO_WEB_URLS:
        await backend.client.post(
            "/api/log-error", json={"message": "broken", "url": url, "extra": {"href": url, "more": [{"src": url}]}}
        )
        await backend.post("/mma/still/create", {"inputs": {"brief": "a cup", "pageUrl": url, "href": url}})
    kept = everything(backend)
    assert [url for url in NO_WEB_URLS if f"'{url.strip()}'" in kept or repr(url) in kept] == []
    assert {row["mg_route"] for row in backend.ops_rows()} == {"/(frontend)"}
    await backend.client.post("/api/log-error", json={"message": "broken", "url": "https://app.example/studio"})
    assert backend.ops_rows()[-1]["mg_route"] == "https://app.example/studio"


async def test_rows_from_before_show_no_such_url(start: StartBackend):
    backend = await start(worker=False)
    await backend.post("/feedback/like", {"prompt": "x"})
    backend.sql("alter table mega_generations disable trigger user")
    for url in NO_WEB_URLS:
        backend.sql("update mega_generations set mg_image_url = %s where mg_record_type = 'feedback'", url)
        [shown] = (await backend.get(f"/history/pass/{backend.pass_id}"))["feedbacks"]
        assert (shown["imageUrl"], shown["mg_image_url"]) == (None, None)


@pytest.mark.parametrize("name", ["public_url", "public_assets_url", "webhook_url"])
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://example.com", "example.com", "https://user:pass@example.com"]
)
def test_our_own_addresses_are_on_the_web(name: str, url: str):
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: url})


# --- what is ours ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "url", "is_ours"),
    [
        ({}, "http://127.0.0.1:8787/assets/a.png", True),
        ({}, "http://localhost:9999/assets/a.png", True),  # a development home, served elsewhere before
        ({}, "http://[::1]:1/assets/a.png", True),
        ({"public_url": "http://localhost:5173"}, "http://127.0.0.1:8787/assets/a.png", True),
        ({"public_url": "https://media.example"}, "https://media.example/assets/a.png", True),
        ({"public_url": "https://media.example"}, "http://127.0.0.1:8787/assets/a.png", False),
        ({"public_url": "https://media.example"}, "https://localhost/assets/a.png", False),
        ({"public_url": "https://media.example"}, "http://[::1]:8787/assets/a.png", False),
        ({"public_url": "https://media.example"}, "https://media.example.evil.example/assets/a.png", False),
        ({"public_url": "https://media.example"}, "https://media.example@127.0.0.1/assets/a.png", False),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8787/assets/a.png", False),
        ({"host": "10.0.0.5"}, "http://127.0.0.1:8787/assets/a.png", False),
        ({"host": "10.0.0.5"}, "http://10.0.0.5:8787/assets/a.png", True),
        ({}, "javascript://127.0.0.1/assets/a.png", False),
        ({}, "ftp://localhost/assets/a.png", False),
        ({}, "http://user@127.0.0.1:8787/assets/a.png", False),
        ({}, "http://localhost.evil.example/assets/a.png", False),
    ],
)  # fmt: skip
def test_loopback_is_ours_only_where_we_are_on_loopback(
    tmp_path: Path, settings: dict[str, Any], url: str, is_ours: bool
):
    assets = App(Settings(home=tmp_path, **settings)).resources.assets
    assert assets.key_of(url) == ("a.png" if is_ours else None)
    assert assets._private_key(url.replace("/assets/", "/private-assets/")) == ("a.png" if is_ours else None)


# --- what strangers learn --------------------------------------------------------------------------------------------


async def test_a_refused_host_does_not_tell_whether_it_exists(start: StartBackend, monkeypatch: pytest.MonkeyPatch):
    backend = await start(worker=False)

    def resolve(host: Any, *_: Any, **__: Any) -> list[Any]:
        match str(host):
            case "unknown.internal":
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            case "silent.internal":
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            case "broken.internal":
                raise UnicodeError("label too long")
            case "half.internal":
                return [(socket.AF_INET, 1, 6, "", (address, 80)) for address in ("8.8.8.8", "10.0.0.1")]
            case _:
                return [(socket.AF_INET, 1, 6, "", ("10.1.2.3", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    hosts = [
        "vault.internal",
        "unknown.internal",
        "silent.internal",
        "broken.internal",
        "half.internal",
        "10.0.0.1",
        "127.0.0.1",
    ]
    client_url = f"http://127.0.0.1:{backend.app.settings.port}"
    said = set()
    for path, field in (("/api/r2/store-remote-signed", "url"), ("/feedback/like", "imageUrl")):
        for host in hosts:
            body = {"passId": backend.pass_id, "prompt": "x", field: f"http://{host}/x.png"}
            answer = await _post(client_url, path, body)
            told = answer.json()
            said.add((answer.status_code, told["error"], told["message"]))
    assert said == {(400, "REMOTE_FILE_REFUSED", "The file could not be read: its host has no public address.")}
    messages = " ".join(row["mg_error_message"] for row in backend.ops_rows())
    assert "'vault.internal' is not a public address" in messages  # operators are told
    assert "'unknown.internal' has no address" in messages


async def _post(base: str, path: str, body: dict[str, Any]) -> httpx2.Response:
    """Through a connection that needs no name service."""
    transport = httpx2.AsyncHTTPTransport(retries=0)
    async with httpx2.AsyncClient(base_url=base, transport=transport, trust_env=False) as client:
        return await client.post(path, json=body)


@pytest.mark.parametrize("port", [80, 443, 8080])
async def test_how_a_server_failed_to_answer_is_not_told(port: int):
    fetcher = GuardedFetcher([f"127.0.0.1:{port}"])
    with pytest.raises(RemoteFileRefused) as refused:
        await fetcher.fetch(f"http://127.0.0.1:{port}/x")
    assert refused.value.safe_message == "The file could not be read from its server just now."
    assert "Connect" in str(refused.value)


# --- whose word counts for an address --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stated", ["127.0.0.1", "10.0.0.0/8, 192.0.2.1", "::1", "2001:db8::/32", "*", "", " 10.0.0.1 ,"]
)
def test_proxies_are_addresses_and_networks(stated: str):
    assert Settings(trusted_proxies=stated).trusted_proxies == ",".join(
        filter(None, stated.replace(" ", "").split(","))
    )


@pytest.mark.parametrize(
    "stated", ["10.0.0.0/33", "10.0.0.1/8", "proxy.example", "10.0.0", "*, 10.0.0.1", "10.0.0.1 10.0.0.2", "unix:/x"]
)
def test_what_is_no_proxy_is_named_at_the_start(stated: str):
    with pytest.raises(ValidationError, match=r"trusted_proxies\n.*is neither an address"):
        Settings(trusted_proxies=stated)


@pytest.mark.parametrize(
    ("proxies", "believed"),
    [("", False), ("192.0.2.1", False), ("127.0.0.1", True), ("127.0.0.0/8", True), ("*", True)],
)
async def test_only_a_proxy_of_ours_says_for_whom_it_asks(
    proxies: str, believed: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # a variable of the server library, which is not ours

    async def whoami(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": f"{scope['client'][0]} {scope['scheme']}".encode()})

    listening = serve.listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    async with serve.answering(whoami, listening, proxies=proxies), httpx2.AsyncClient(trust_env=False) as client:
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.9"}
        said = (await client.get(f"http://127.0.0.1:{port}/", headers=headers)).text
    assert said == ("203.0.113.9 https" if believed else "127.0.0.1 http")
