"""The README's commands, as they stand, and the links of its pages."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from tests.support.openapi import ROUTES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CHAPTER = README.partition("## Make a still, by copy and paste")[2].partition("\n## ")[0]
START, *REST = re.findall(r"```sh\n(.*?)```", CHAPTER, re.S)
START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh clone after `make demo`, in an empty home."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "safelight").symlink_to(Path(sys.executable).with_name("safelight"))
    (folder / "safelight").symlink_to(ROOT / "safelight")
    return folder


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def environment(folder: Path, port: int) -> dict[str, str]:
    """The default port may be taken here; all else is as the README has it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    return plain | {"HOME": str(folder), "SAFELIGHT_PORT": str(port), "COLUMNS": "200"}


@pytest.fixture(scope="module")
def server(folder: Path, port: int, environment: dict[str, str]) -> Iterator[str]:
    command = ["bash", "-c", f"exec {START.strip()}"]
    with (folder / "up.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx2.get(f"{address}/health", trust_env=False)
            break
        except httpx2.TransportError:
            time.sleep(0.2)
    yield address
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, (folder / "up.log").read_text()[-3000:]


@pytest.fixture(scope="module")
def said(server: str, folder: Path, environment: dict[str, str]) -> str:
    script = "set -euo pipefail\n" + "".join(REST).replace("http://127.0.0.1:8787", server)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_commands_make_a_still(said: str, folder: Path):
    with Image.open(folder / "still.png") as picture:
        assert picture.format == "PNG"
        assert picture.width * 5 == picture.height * 4


def test_the_commands_show_what_they_promise(said: str):
    assert "event: log" in said
    assert "event: done" in said
    assert "gpt_reader" in said
    assert '"generations":[]' in said.replace(" ", "")


@pytest.mark.parametrize("accept", ["application/json", "text/html,application/xhtml+xml;q=0.9", "*/*", "image/png"])
def test_the_front_page_links_to_what_is_there(server: str, accept: str):
    with httpx2.Client(base_url=server, trust_env=False) as client:
        page = client.get("/", headers={"Accept": accept})
        links = re.findall(r'href="([^"]+)"', page.text) or list(page.json()["links"].values())
        assert len(links) >= 3
        assert {client.get(link).status_code for link in links} == {200}


def test_the_photo_of_the_examples_is_served_and_can_be_ordered_from(server: str, said: str):
    with httpx2.Client(base_url=server, trust_env=False) as client:
        document = client.get("/openapi.json").json()
        content = document["paths"]["/mma/still/create"]["post"]["requestBody"]["content"]["application/json"]
        [example] = content["examples"].values()
        url = example["value"]["assets"]["product_image_url"]
        assert url.startswith(server)
        assert client.get(url).content == (ROOT / "safelight" / "samples" / "coffee.jpg").read_bytes()
        accepted = client.post("/mma/still/create", json=example["value"])
        assert accepted.status_code == 200, accepted.text


def test_every_url_in_the_bodies_of_the_document_is_of_this_server(server: str):
    document = httpx2.get(f"{server}/openapi.json", trust_env=False).text
    assert {url for url in re.findall(r"https?://[^/\"]*", document) if url != server} == set()


def test_the_readme_says_what_of_the_older_backend_is_not_served():
    chapter = README.partition("## Frontends of the older backend")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", chapter, re.M)[1:]
    served = {route.path for route in ROUTES}
    for missing, instead in rows:
        for path in re.findall(r"`(?:[A-Z]+ )?(/[^`*]+)`", missing):
            assert path not in served
        for path in re.findall(r"`(?:[A-Z]+ )(/[^`]+)`", instead):
            assert path in served
    assert all(name in chapter for name in ("/mma/ugc/create", "/fingertips/*", "checkout"))
