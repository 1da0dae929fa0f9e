"""Files as servers on the internet give them out: packed though nobody asked, and at addresses that browsers put right."""

import gzip
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import brotli
import pytest

from safelight.domain.errors.base import RemoteFileRefused, RemoteFileTooLarge, RemoteUrlInvalid
from safelight.storage.addresses import mended_url, plain_url
from safelight.storage.fetch import GuardedFetcher
from tests.conftest import Backend

CONTENT = os.urandom(100_000) + b"the same again and again " * 40_000


def raw_deflate(content: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(content) + packing.flush()


PACKED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: gzip.compress(CONTENT)),
    "x-gzip": ("X-GZIP", lambda: gzip.compress(CONTENT)),
    "members": ("gzip", lambda: gzip.compress(CONTENT[:500]) + gzip.compress(CONTENT[500:]) + b"\0" * 100),
    "deflate": ("deflate", lambda: zlib.compress(CONTENT)),
    "raw-deflate": ("deflate", lambda: raw_deflate(CONTENT)),
    "br": ("br", lambda: brotli.compress(CONTENT, quality=1)),
    "twice": ("gzip, br", lambda: brotli.compress(gzip.compress(CONTENT), quality=1)),
    "not": ("gzip", lambda: CONTENT),
    "identity": ("identity", lambda: CONTENT),
    "bomb-gzip": ("gzip", lambda: gzip.compress(b"\0" * 30_000_000)),
    "bomb-br": ("br", lambda: brotli.compress(b"\0" * 30_000_000, quality=1)),
    "bomb-twice": ("gzip, gzip", lambda: gzip.compress(gzip.compress(b"\0" * 30_000_000))),
    "cut": ("gzip", lambda: gzip.compress(CONTENT)[:-50]),
    "junk": ("br", lambda: b"junk" * 100),
    "unknown": ("zstd", lambda: CONTENT),
    "layers": ("gzip, gzip, gzip, gzip", lambda: CONTENT),
}  # fmt: skip


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.strip("/")
        if name.startswith("to"):
            self._send(302, b"", ("Location", "/a caf\u00e9.png".encode().decode("latin-1")))
        elif name in PACKED:
            encoding, make = PACKED[name]
            self._send(200, make(), ("Content-Encoding", encoding))
        else:
            self._send(200, unquote(self.path).encode())

    def _send(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(content))), *headers):
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


@pytest.mark.parametrize(
    "name", ["gzip", "x-gzip", "members", "deflate", "raw-deflate", "br", "twice", "not", "identity"]
)
async def test_a_packed_file_is_unpacked(site: str, name: str):
    assert await GuardedFetcher([site]).fetch(f"http://{site}/{name}", bytes_max=2_000_000) == CONTENT


@pytest.mark.parametrize("name", ["bomb-gzip", "bomb-br", "bomb-twice"])
async def test_a_bomb_is_stopped_where_the_file_would_be_too_large(site: str, name: str):
    pieces: list[int] = []

    async def read() -> None:
        async with GuardedFetcher([site]).stream(f"http://{site}/{name}", bytes_max=5_000_000) as chunks:
            async for chunk in chunks:
                pieces.append(len(chunk))

    with pytest.raises(RemoteFileTooLarge):
        await read()
    assert sum(pieces) <= 5_000_000
    assert max(pieces, default=0) <= 1_000_000


@pytest.mark.parametrize("name", ["cut", "junk", "unknown", "layers"])
async def test_what_cannot_be_unpacked_is_refused_by_name(site: str, name: str):
    with pytest.raises(RemoteFileRefused, match="The file is packed as"):
        await GuardedFetcher([site]).fetch(f"http://{site}/{name}")


# --- addresses -------------------------------------------------------------------------------------------------------

PUT_RIGHT = {
    "https://a.example/my cup.jpg": "https://a.example/my%20cup.jpg",
    "  https://a.example/x.png\n": "https://a.example/x.png",
    "https://a.example/long/\n\tpath.png": "https://a.example/long/path.png",
    "https://a.example/caf\u00e9/\u304a\u8336.png?q=\u00fc b": "https://a.example/caf%C3%A9/%E3%81%8A%E8%8C%B6.png?q=%C3%BC%20b",
    "https://m\u00fcnchen.example/x": "https://xn--mnchen-3ya.example/x",
    'https://a.example/{a}|"b"<c>^`.png': "https://a.example/%7Ba%7D%7C%22b%22%3Cc%3E%5E%60.png",
    "https://a.example/100%.png": "https://a.example/100%.png",
    "HTTPS://A.example/x": "HTTPS://A.example/x",  # nothing to put right
}


@pytest.mark.parametrize("url", list(PUT_RIGHT))
def test_what_browsers_put_right_in_an_address_is_put_right(url: str):
    assert mended_url(url) == PUT_RIGHT[url]
    assert mended_url(PUT_RIGHT[url]) == PUT_RIGHT[url]


@pytest.mark.parametrize(
    "url",
    [
        "http://a b.example/x",
        "http://a.example\\@b.example/",
        "http://a.example/a\x00b",
        "http://u:p@a.example/a b",
        "ftp://a.example/a b",
    ],
)
def test_what_browsers_refuse_is_refused(url: str):
    with pytest.raises(RemoteUrlInvalid):
        plain_url(url)


@pytest.mark.parametrize("path", ["/my cup.png", "/caf\u00e9.png", "/to", "/a\tb.png"])
async def test_a_file_at_such_an_address_is_read(site: str, path: str):
    found = (await GuardedFetcher([site]).fetch(f"http://{site}{path}")).decode()
    assert found == {"/to": "/a caf\u00e9.png", "/a\tb.png": "/ab.png"}.get(path, path)


async def test_a_signed_address_of_a_vendor_may_be_long(site: str):
    path = "/x?signature=" + "a" * 6000
    assert (await GuardedFetcher([site]).fetch(f"http://{site}{path}")).decode() == path


LONG = {
    "a signed URL": "https://bucket.example.com/a.jpg?X-Amz-Security-Token=" + "A" * 2240,
    "a data URI": "data:image/png;base64," + "A" * 3000,
    "a short data URI": "data:image/png;base64,AAAA",
}
FIELDS: list[Callable[[str], dict[str, Any]]] = [
    lambda url: {"assets": {"product_image_url": url}},
    lambda url: {"assets": {"inspiration_image_urls": [url]}},
    lambda url: {"inputs": {"brief": "a cup", "start_image_url": url}},
]


@pytest.mark.parametrize("name", list(LONG))
async def test_an_address_that_is_none_is_refused_with_what_to_do(backend: Backend, name: str):
    for body_of in FIELDS:
        answer = await backend.post("/mma/still/create", body_of(LONG[name]), status=400)
        assert "items" not in answer["message"]
        assert "Upload the file (POST /api/r2/upload-signed" in answer["message"]
    if name == "a signed URL":
        assert "at most 2048 characters, and this one has 2294" in answer["message"]


async def test_a_text_that_is_too_long_is_told_in_characters(backend: Backend):
    for inputs in ({"brief": "x" * 8001}, {"style": "x" * 201}, {"brief": "x", "feedback": "x" * 9000}):
        answer = await backend.post("/mma/still/create", {"inputs": inputs}, status=400)
        assert "characters" in answer["message"]
        assert "items" not in answer["message"]
