"""Nothing but the public internet is read for somebody else: each refusal says which rule it is."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from safelight.domain.errors.base import (
    RemoteAddressRefused,
    RemoteFileGone,
    RemoteFileRefused,
    RemoteFileTooLarge,
    RemoteFileUnavailable,
    RemoteHostUnknown,
    RemoteUrlInvalid,
)
from safelight.storage import fetch
from safelight.storage.fetch import GuardedFetcher
from tests.conftest import Backend, running

HOSTS_THAT_ARE_NOT_PUBLIC = {
    "loopback": ["127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "localhost", "LOCALHOST", "[::1]", "[0:0:0:0:0:0:0:1]"],
    "this host": ["0.0.0.0", "0", "0.1.2.3", "[::]", "[::0]"],
    "private": ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.255"],
    "unique local": ["[fc00::1]", "[fd00::1]", "[fd12:3456:789a::1]", "[fdff:ffff::1]"],
    "link-local": ["169.254.0.1", "169.254.169.254", "[fe80::1]", "[febf::1]", "[fec0::1]"],
    "metadata": ["169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "[fd00:ec2::254]"],
    "carrier-grade": ["100.64.0.1", "100.127.255.254"],
    "assignments": ["192.0.0.1", "192.0.0.8", "192.88.99.1", "[2001::1]", "[2001:2::1]", "[2001:10::1]", "[2620:4f:8000::1]"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "[2001:db8::1]", "[3fff::1]"],
    "benchmarking": ["198.18.0.1", "198.19.255.254"],
    "multicast": ["224.0.0.1", "239.255.255.250", "[ff02::1]", "[ff0e::1]"],
    "reserved": ["240.0.0.1", "255.255.255.255", "[100::1]", "[4000::1]", "[e000::1]"],
    "mapped": ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:0:127.0.0.1]"],
    "compatible": ["[::127.0.0.1]", "[::7f00:1]", "[::10.0.0.1]"],
    "nat64": ["[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[64:ff9b:1::1]", "[64:ff9b:1::7f00:1]"],
    "6to4": ["[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:c0a8:101::1]", "[2002:a9fe:a9fe::]"],
    "teredo": ["[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2001:0:7f00:1::]", "[2001:0:808:808::f5ff:fffe]"],
    "isatap": ["[2a00::5efe:7f00:1]", "[2a00::200:5efe:10.0.0.1]"],
    "decimal": ["2130706433", "3232235777", "167772161", "2852039166", "017700000001"],
    "octal": ["0177.0.0.1", "0177.0.0.01", "012.0.0.1", "0300.0250.0.1"],
    "hexadecimal": ["0x7f000001", "0x7f.1", "0x7f.0.0.1", "0xa.0.0.1", "0xc0.0xa8.0.1", "0xA9FEA9FE"],
    "mixed": ["127.0x0.0.1", "127.00000.1", "10.1", "192.168.257"],
    "trailing dots": ["127.0.0.1.", "localhost.", "10.0.0.1."],
    "zones": ["[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%251]", "[::1%25lo]"],
    "idna": ["１２７.0.0.1", "127。0。0。1", "①②⑦.⓪.⓪.①", "ⓛocalhost", "locaLhost"],
}  # fmt: skip
URLS_THAT_ARE_NOT_PLAIN = [
    "ftp://example.com/x", "file:///etc/passwd", "file://localhost/etc/passwd", "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/stats", "ldap://127.0.0.1/x", "tftp://127.0.0.1/x", "javascript:alert(1)", "data:image/png;base64,AA==",
    "ws://example.com/x", "jar:http://example.com!/x", "//example.com/x", "example.com/x", "http:///x", "http:x", "http://", "https://:443/x",
    "http://user:pass@example.com/x", "http://user@example.com/x", "http://127.0.0.1@example.com/x", "http://example.com@127.0.0.1/x",
    "http://:@example.com/x", "http://@example.com/x", "http://example.com\\@127.0.0.1/x", "http:\\\\127.0.0.1\\x",
    "http://exa mple.com/x", "http://example.com/\x1bx", "http://example.com/\x7f",
    "http://example.com:0/x", "http://example.com:65536/x", "http://example.com:-1/x", "http://example.com:a/x",
    "http://[::1/x", "http://::1/x", "http://[127.0.0.1]/x", "http://127.0.0.1%2f@example.com/", "http://127.0.0.1%00.example.com/x",
    "http://" + "a" * 64 + ".example/x",
]  # fmt: skip
PORTS_THAT_SERVE_NO_FILES = [1, 22, 23, 25, 53, 110, 111, 143, 445, 2375, 3306, 5432, 6379, 9200, 11211, 27017, 65535]


@pytest.fixture(scope="module")
async def backend(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False) as started:
        yield started


async def refusal(backend: Backend, url: str) -> str:
    answer = await backend.post("/api/r2/store-remote-signed", {"url": url}, status=400)
    assert answer["error"] == "REMOTE_FILE_REFUSED", answer
    return str(answer["message"])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", [host for hosts in HOSTS_THAT_ARE_NOT_PUBLIC.values() for host in hosts])
async def test_a_host_that_is_not_public_is_refused(backend: Backend, host: str, scheme: str):
    said = await refusal(backend, f"{scheme}://{host}/x.png")
    assert "public address" in said or "has no address" in said or "must begin with" in said


@pytest.mark.parametrize("url", URLS_THAT_ARE_NOT_PLAIN)
async def test_a_url_that_is_not_plain_is_refused(backend: Backend, url: str):
    assert "must begin with" in await refusal(backend, url)


@pytest.mark.parametrize("port", PORTS_THAT_SERVE_NO_FILES)
async def test_a_port_that_serves_no_files_is_refused(backend: Backend, port: int):
    assert f"port {port}" in await refusal(backend, f"http://8.8.8.8:{port}/x.png")


# --- names: what they mean is asked once -----------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A resolver that gives each name these answers, one after the other."""
    answers: dict[str, list[list[str]]] = {}

    def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        found = answers[str(host)].pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["169.254.169.254"], ["::1"], ["2606:4700::1", "fe80::1"], []],
)  # fmt: skip
async def test_a_name_with_any_address_that_is_not_public_is_refused(
    names: dict[str, list[list[str]]], addresses: list[str]
):
    names["images.example"] = [addresses]
    with pytest.raises(RemoteAddressRefused, match="not a public address"):
        await GuardedFetcher().fetch("http://images.example/x.png")


async def test_a_name_is_asked_for_once_and_that_very_address_is_connected_to(
    names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
):
    connected: list[str] = []

    async def connect(_: Any, host: str, *__: Any, **___: Any) -> Any:
        connected.append(host)
        raise RemoteFileUnavailable("as far as this test goes")

    monkeypatch.setattr("httpcore2.AnyIOBackend.connect_tcp", connect)
    names["rebound.example"] = [["93.184.215.14"], ["127.0.0.1"]]
    with pytest.raises(RemoteFileUnavailable):
        await GuardedFetcher().fetch("http://rebound.example/x.png")
    assert connected == ["93.184.215.14"]
    assert names["rebound.example"] == [["127.0.0.1"]]


class SilentResolver:
    """A name server that does not answer until it is told to; it knows how many wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answering = threading.Event()
        self.waiting = 0
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(fetch, "RESOLVE_SECONDS", 0.2)

    def answer(self) -> None:
        self._answering.set()

    def _getaddrinfo(self, *_: Any, **__: Any) -> list[Any]:
        self.waiting += 1
        self._answering.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentResolver]:
    resolver = SilentResolver(monkeypatch)
    yield resolver
    resolver.answer()


@pytest.mark.parametrize("names", [1, fetch.RESOLVER_THREADS + 1, fetch.RESOLVING_MAX])
async def test_names_that_are_not_answered_hold_up_nothing_else(silent: SilentResolver, names: int):
    fetcher = GuardedFetcher()
    looking = [fetcher.fetch(f"http://slow-{number}.example/x.png") for number in range(names)]
    found = await asyncio.gather(*looking, return_exceptions=True)
    assert {type(one) for one in found} == {RemoteHostUnknown}
    assert silent.waiting <= fetch.RESOLVER_THREADS
    async with asyncio.timeout(30):
        assert await asyncio.to_thread(lambda: "done") == "done"  # what files and pictures are read with


async def test_only_so_many_names_are_looked_up_at_once_and_later_others_are(silent: SilentResolver):
    fetcher = GuardedFetcher()
    looking = [fetcher.fetch(f"http://slow-{number}.example/x.png") for number in range(3 * fetch.RESOLVING_MAX)]
    found = await asyncio.gather(*looking, return_exceptions=True)
    assert sum("Too many names" in str(one) for one in found) == 2 * fetch.RESOLVING_MAX
    silent.answer()
    async with asyncio.timeout(30):
        while True:
            with pytest.raises(RemoteFileRefused) as refused:
                await fetcher.fetch("http://known.example/x.png")
            if "has no address" in str(refused.value):
                return
            await asyncio.sleep(0.05)


# --- a server that leads elsewhere -----------------------------------------------------------------------------------

LED_TO = [
    "http://127.0.0.1:1/x", "http://127.0.0.1/x", "http://localhost/x", "http://[::1]/x", "http://10.0.0.1/x", "http://169.254.169.254/latest/meta-data",
    "http://100.64.0.1/x", "http://[::ffff:127.0.0.1]/x", "http://[64:ff9b::7f00:1]/x", "http://[2002:7f00:1::]/x", "http://2130706433/x",
    "http://0x7f.1/x", "http://0177.0.0.1/x", "//127.0.0.1/x", "https://192.168.0.1/x", "http://8.8.8.8:22/x", "http://[fe80::1]/x",
    "file:///etc/passwd", "ftp://example.com/x", "gopher://127.0.0.1/x", "http://user:pass@example.com/x", "javascript:alert(1)",
]  # fmt: skip


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        what, _, rest = self.path.lstrip("/").partition("/")
        match what:
            case "to":
                self._send(302, b"", Location=LED_TO[int(rest)])
            case "status":
                self._send(int(rest), b"no")
            case "round":
                self._send(302, b"", Location="/round")
            case "bytes":
                self._send(200, b"x" * int(rest))
            case "unstated":
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * int(rest))
            case "cut":
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            case "nonsense":
                self.close_connection = True
                self.wfile.write(b"nonsense\r\n\r\n")

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("number", range(len(LED_TO)), ids=LED_TO)
async def test_a_redirect_leads_nowhere_that_a_url_may_not(site: str, number: int):
    with pytest.raises((RemoteAddressRefused, RemoteUrlInvalid)):
        await GuardedFetcher([site]).fetch(f"http://{site}/to/{number}")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("status/404", RemoteFileGone), ("status/403", RemoteFileGone), ("status/410", RemoteFileGone), ("status/204", RemoteFileGone),
        ("status/500", RemoteFileUnavailable), ("status/503", RemoteFileUnavailable), ("status/429", RemoteFileUnavailable),
        ("cut/", RemoteFileUnavailable), ("nonsense/", RemoteFileUnavailable), ("round", RemoteFileRefused),
        ("bytes/1001", RemoteFileTooLarge), ("unstated/1001", RemoteFileTooLarge),
    ],
)  # fmt: skip
async def test_each_trouble_with_a_file_has_its_type(site: str, path: str, problem: type[Exception]):
    with pytest.raises(problem) as raised:
        await GuardedFetcher([site]).fetch(f"http://{site}/{path}", bytes_max=1000)
    assert type(raised.value) is problem


async def test_a_server_that_nobody_listens_for_is_unavailable():
    with pytest.raises(RemoteFileUnavailable):
        await GuardedFetcher(["127.0.0.1:1"]).fetch("http://127.0.0.1:1/x")


async def test_a_file_can_be_read_as_it_arrives(site: str):
    read = 0
    async with GuardedFetcher([site]).stream(f"http://{site}/bytes/1000000", bytes_max=1_000_000) as chunks:
        async for chunk in chunks:
            assert len(chunk) < 500_000
            read += len(chunk)
    assert read == 1_000_000
