"""Uploads in both forms, copies of remote files, and the public files themselves."""

import base64
import io
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from tests.conftest import COFFEE, Backend, StartBackend


def data_url(content: bytes, media_type: str = "image/jpeg") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


async def test_a_data_url_is_stored_under_a_permanent_url(backend: Backend):
    body = {"dataUrl": data_url(COFFEE.read_bytes()), "kind": "product", "filename": "my cup (1).jpg"}
    answer = await backend.post("/api/r2/upload-signed", body)
    assert answer["ok"] is True
    assert answer["url"] == answer["publicUrl"]
    assert "?" not in answer["url"]
    assert (answer["contentType"], answer["bytes"]) == ("image/jpeg", COFFEE.stat().st_size)
    kind, customer, name = answer["key"].split("/")
    assert kind == "product"
    assert re.fullmatch(r"o\.[0-9a-f]{32}", customer)
    assert name.endswith("-my_cup_1.jpg")
    fetched = await backend.client.get(answer["url"])
    assert fetched.content == COFFEE.read_bytes()


async def test_the_bytes_decide_on_the_type_not_the_client(backend: Backend):
    buffer = io.BytesIO()
    Image.open(COFFEE).save(buffer, "PNG")
    body = {"dataUrl": data_url(buffer.getvalue(), "image/gif"), "filename": "cup.gif"}
    answer = await backend.post("/api/r2/upload-signed", body)
    assert answer["contentType"] == "image/png"
    assert answer["key"].endswith("-cup.png")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("nonsense", "MISSING_DATAURL"),
        ("data:image/png;base64,%%%", "MISSING_DATAURL"),
        ("data:image/png;base64,", "EMPTY_FILE"),
        (data_url(b"<svg onload='alert(1)'/>", "image/svg+xml"), "UNSUPPORTED_MEDIA_TYPE"),
        (data_url(b"<html>", "image/png"), "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_what_is_no_picture_or_video_is_refused(backend: Backend, url: str, error: str):
    answer = await backend.post("/api/r2/upload-signed", {"dataUrl": url}, status=400)
    assert answer["error"] == error


async def test_a_file_over_the_limit_is_refused(backend: Backend):
    answer = await backend.post("/api/r2/upload-signed", {"dataUrl": data_url(b"\xff\xd8\xff" * 7_200_000)}, status=413)
    assert answer["error"] == "PAYLOAD_TOO_LARGE"


async def test_a_browser_may_put_the_bytes_to_a_signed_url(backend: Backend):
    asked = {"contentType": "image/jpeg", "fileName": "cup.jpg", "kind": "product"}
    ticket = await backend.post("/api/r2/upload-signed", asked)
    assert ticket["expiresIn"] == 600
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    allowed = await backend.client.options(ticket["uploadUrl"], headers=preflight)
    assert "PUT" in allowed.headers["access-control-allow-methods"]
    headers = {"Content-Type": "image/jpeg"}
    put = await backend.client.put(ticket["uploadUrl"], content=COFFEE.read_bytes(), headers=headers)
    assert put.status_code == 200
    assert (await backend.client.get(ticket["publicUrl"])).content == COFFEE.read_bytes()


async def test_an_upload_url_is_good_for_its_key_and_time_only(backend: Backend):
    ticket = await backend.post("/api/r2/upload-signed", {"contentType": "image/jpeg"})
    other_key = ticket["uploadUrl"].replace("/uploads/", "/product/")
    later = ticket["uploadUrl"].replace("expires=", "expires=9")
    for url in (other_key, later, ticket["publicUrl"] + "?expires=9999999999&signature=0"):
        answer = await backend.client.put(url, content=COFFEE.read_bytes())
        assert (answer.status_code, answer.json()["error"]) == (403, "UPLOAD_URL_INVALID")
    wrong_type = await backend.client.put(ticket["uploadUrl"], content=b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    assert wrong_type.status_code == 400


async def test_a_video_can_be_read_in_parts(backend: Backend):
    url = await backend.upload()
    part = await backend.client.get(url, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == COFFEE.read_bytes()[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{COFFEE.stat().st_size}"


async def test_files_are_served_with_cors_and_never_sniffed(backend: Backend):
    answer = await backend.client.get(await backend.upload(), headers={"Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("key", ["../secret", "..%2fsecret", "%2e%2e/secret", "a/../../secret", "nope.png", ""])
async def test_nothing_outside_the_bucket_is_served(backend: Backend, key: str):
    answer = await backend.client.get(f"/assets/{key}")
    assert answer.status_code == 404
    assert answer.json()["ok"] is False


class Site(BaseHTTPRequestHandler):
    """Somebody's web server."""

    def do_GET(self) -> None:
        match self.path:
            case "/cup.jpg":
                self._send(200, COFFEE.read_bytes())
            case "/moved":
                self._send(302, b"", {"Location": "/cup.jpg"})
            case "/inside":
                self._send(302, b"", {"Location": "http://127.0.0.1:1/x"})
            case "/round":
                self._send(302, b"", {"Location": "/round"})
            case "/page":
                self._send(200, b"<html>no picture</html>")
            case _:
                self._send(404, b"")

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_remote_file_gets_a_copy_of_our_own(start: StartBackend, site: str):
    backend = await start(worker=False, fetch_allow_hosts=site)
    for path in ("cup.jpg", "moved"):
        answer = await backend.post("/api/r2/store-remote-signed", {"sourceUrl": f"http://{site}/{path}"})
        assert answer["url"] == answer["publicUrl"]
        assert (await backend.client.get(answer["url"])).content == COFFEE.read_bytes()


async def test_our_own_url_comes_back_unchanged(backend: Backend):
    url = await backend.upload()
    answer = await backend.post("/api/r2/store-remote-signed", {"url": url})
    assert answer["url"] == answer["publicUrl"] == url


async def test_a_remote_file_that_cannot_be_had_is_a_clear_400(start: StartBackend, site: str):
    backend = await start(worker=False, fetch_allow_hosts=site)
    refused = {
        "gone": "404",
        "inside": "The port 1 is not one",
        "round": "redirects",
        "page": "none of the types",
    }
    for path, said in refused.items():
        body = {"url": f"http://{site}/{path}"}
        answer = await backend.post("/api/r2/store-remote-signed", body, status=400)
        assert said in answer["message"]
    missing = await backend.post("/api/r2/store-remote-signed", {}, status=400)
    assert missing["error"] == "MISSING_URL"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost/x",
        "http://0.0.0.0/x",
        "http://10.0.0.1/x",
        "http://172.16.0.1/x",
        "http://192.168.1.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/x",
        "http://2130706433/x",
        "http://0x7f.1/x",
        "http://0177.0.0.1/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://[64:ff9b::7f00:1]/x",
        "http://[2002:7f00:1::]/x",
        "http://[fe80::1]/x",
        "http://[fd00::1]/x",
        "http://user:pass@example.com/x",
        "ftp://example.com/x",
        "file:///etc/passwd",
        "gopher://example.com/x",
        "http:///x",
        "http://exa mple.com/x",
        "javascript:alert(1)",
    ],
)
async def test_nothing_private_is_read(backend: Backend, url: str):
    answer = await backend.post("/api/r2/store-remote-signed", {"url": url}, status=400)
    assert answer["error"] == "REMOTE_FILE_REFUSED"


@pytest.mark.parametrize("content_type", ["image/x-icon", "application/pdf", "text/html", "nonsense"])
async def test_a_type_that_is_not_taken_is_said_to_be_unsupported(start: StartBackend, content_type: str):
    backend = await start(worker=False)
    for path in ("/api/r2/upload-signed", "/api/r2/presign"):
        answer = await backend.post(path, {"contentType": content_type, "fileName": "a"}, status=400)
        assert answer["error"] == "UNSUPPORTED_TYPE"
        assert "image/jpeg" in answer["message"]
