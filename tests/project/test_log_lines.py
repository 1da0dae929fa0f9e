"""Log lines: each names its generation, customer and request, and its true place; each request has one of its own."""

import asyncio
import inspect
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safelight import telemetry
from tests.conftest import Backend, Json, StartBackend
from tests.pipelines.engine.test_failed_generations import COMMAND, environment

SECRET = "operators-know-this-one-0123456789ab"


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "logs" / "backend.log"
    telemetry.configure("INFO", path, console=False)
    yield path
    telemetry.configure("INFO", None, console=False)


def lines_of(log_file: Path) -> list[Json]:
    return [json.loads(line) for line in log_file.read_text().splitlines()]


async def access_lines(log_file: Path, count: int) -> list[Json]:
    """The access lines, once there are so many: one is written when its answer has ended."""
    async with asyncio.timeout(30):
        while True:
            found = [line for line in lines_of(log_file) if "ms" in line and "method" in line]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


# --- ids -------------------------------------------------------------------------------------------------------------


async def test_every_line_about_a_generation_names_it_its_customer_and_its_request(log_file: Path, start: StartBackend):
    backend: Backend = await start()
    await backend.grant(2)
    product = await backend.upload()
    made = []
    for _ in range(2):
        body = {"passId": backend.pass_id, "assets": {"product_image_url": product}, "inputs": {"brief": "a cup"}}
        answer = await backend.client.post("/mma/still/create", json=body)
        made.append((answer.json(), answer.headers["x-request-id"]))
    for accepted, _ in made:
        await backend.finished(accepted)
    for accepted, request_id in made:
        mine = [line for line in lines_of(log_file) if line["generation_id"] == accepted["generation_id"]]
        work = [line for line in mine if re.search(r"\[(GENERATION-PROCESSING|STORAGE)\]", line["message"])]
        assert len(work) > 8
        assert {(line["pass_id"], line["request_id"]) for line in work} == {(backend.pass_id, request_id)}
        [created] = [line for line in mine if "[DB-CREATE] Generation created" in line["message"]]
        assert created["request_id"] == request_id
    assert all(set(telemetry.IDS) <= line.keys() for line in lines_of(log_file))


async def test_an_import_that_fails_names_its_order(log_file: Path, start: StartBackend):
    backend: Backend = await start()
    await backend.grant(1)
    accepted = await backend.create(product="https://127.0.0.1:1/cup.jpg")
    assert (await backend.finished(accepted))["status"] == "error"
    failed = [line for line in lines_of(log_file) if line["level"] == "ERROR"]
    assert failed
    assert {(line["generation_id"], line["pass_id"]) for line in failed} == {
        (accepted["generation_id"], backend.pass_id)
    }
    assert all(str(line["request_id"]).startswith("req_") for line in failed)


def test_a_line_in_text_ends_with_what_is_known(capsys: pytest.CaptureFixture[str]):
    telemetry.configure("INFO", None)
    with telemetry.about(telemetry.LogIds(generation_id="g-1", pass_id="pass:\x1b[2J")):
        telemetry.note(request_id="req_1")
        telemetry.info("🚀", telemetry.Tag.API, "begins")
    telemetry.info("🚀", telemetry.Tag.API, "alone")
    telemetry.configure("INFO", None, console=False)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(r"| 🚀 [API] begins | generation_id=g-1 pass_id=pass:\x1b[2J request_id=req_1")
    assert second.endswith("| 🚀 [API] alone")


async def test_requests_side_by_side_keep_their_ids_apart(log_file: Path, start: StartBackend):
    backend: Backend = await start(worker=False)
    passes = [f"pass:user:{number}" for number in range(8)]
    for pass_id in passes:
        await backend.grant(1, pass_id)
    body = {"inputs": {"brief": "a cup"}}
    made = await asyncio.gather(*(backend.post("/mma/still/create", {**body, "passId": one}) for one in passes))
    created = [line for line in lines_of(log_file) if "[DB-CREATE]" in line["message"]]
    assert {(line["generation_id"], line["pass_id"]) for line in created} == {
        (one["generation_id"], one["passId"]) for one in made
    }
    assert len({line["request_id"] for line in created}) == 8


# --- places ----------------------------------------------------------------------------------------------------------


WRITERS: dict[str, Any] = {
    "info": lambda: telemetry.info("🚀", telemetry.Tag.API, "x"),
    "warning": lambda: telemetry.warning(telemetry.Tag.API, "x"),
    "error": lambda: telemetry.error("🔥", telemetry.Tag.API, "x"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_line_says_where_it_was_written(log_file: Path, name: str):
    write = WRITERS[name]
    write()
    [line] = lines_of(log_file)
    assert (line["module"], line["line"]) == (Path(__file__).stem, inspect.getsourcelines(write)[1])


async def test_no_line_says_that_telemetry_wrote_it(log_file: Path, start: StartBackend):
    backend: Backend = await start(local_fault="gpt_reader:rejected")
    await backend.grant(1)
    await backend.finished(await backend.create())
    modules = {line["module"] for line in lines_of(log_file)}
    assert "telemetry" not in modules
    assert {"accept", "failures", "worker", "access_log"} <= modules


# --- one line for each request ---------------------------------------------------------------------------------------


async def test_each_request_has_one_line_with_its_route_status_and_time(log_file: Path, start: StartBackend):
    backend: Backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}})
    generation_id = accepted["generation_id"]
    before = len(await access_lines(log_file, 1))
    asked = [
        ("GET", f"/mma/generations/{generation_id}", "/mma/generations/{generation_id}", 200),
        ("GET", "/mma/generations/nobody", "/mma/generations/{generation_id}", 404),
        ("GET", "/nowhere/at/all", "/nowhere/at/all", 404),
        ("POST", "/mma/still/create", "/mma/still/create", 402),
        ("OPTIONS", "/health", "/health", 405),
        ("GET", "/metrics", "/metrics", 200),
    ]
    for method, path, _, status in asked:
        content = {"json": {"passId": backend.pass_id, "inputs": {"brief": "a cup"}}} if method == "POST" else {}
        answer = await backend.client.request(method, path, **content)
        assert answer.status_code == status, (method, path)
    lines = (await access_lines(log_file, before + len(asked)))[before:]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        (method, route, status) for method, _, route, status in asked
    ]
    assert all(line["ms"] >= 0 and line["request_id"] for line in lines if line["method"] != "OPTIONS")
    assert lines[0]["generation_id"] == generation_id
    assert lines[3]["pass_id"] == backend.pass_id


async def test_a_stream_has_its_line_when_it_ends(log_file: Path, start: StartBackend):
    backend: Backend = await start(local_fault="gpt_reader:rejected")
    await backend.grant(1)
    accepted = await backend.create()
    await backend.finished(accepted)
    streams = [line for line in await access_lines(log_file, 3) if line["route"] == "/mma/stream/{generation_id}"]
    assert [(line["status"], line["generation_id"]) for line in streams] == [(200, accepted["generation_id"])]


@pytest.mark.parametrize(
    "path",
    [
        f"/admin/summary?key={SECRET}",
        f"/nowhere?token={SECRET}",
        f"/private-assets/o.{'0' * 32}/cup.jpg?expires=1&signature={SECRET}",
        f"/mma/stream/nobody?sig={SECRET}",
    ],
)
async def test_no_secret_of_a_query_is_in_a_line(log_file: Path, start: StartBackend, path: str):
    backend: Backend = await start(worker=False, admin_token=SECRET)
    await backend.client.get(path)
    assert len(await access_lines(log_file, 1)) == 1
    assert SECRET not in log_file.read_text()


# --- JSON on standard error ------------------------------------------------------------------------------------------


async def test_standard_error_is_json_if_the_setting_says_so(start: StartBackend):
    backend: Backend = await start(worker=False)
    process = await asyncio.to_thread(
        subprocess.Popen,
        [COMMAND, "api", "--port", "0"],
        env=environment(backend) | {"SAFELIGHT_LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    await asyncio.to_thread(process.stdout.readline)  # it is up
    process.terminate()
    _, told = await asyncio.to_thread(process.communicate, timeout=60)
    lines = [json.loads(line) for line in told.splitlines()]
    assert any(line["message"].startswith("✅ [API] Stopped") for line in lines)
    assert all({"timestamp", "level", "module", "line", *telemetry.IDS} <= line.keys() for line in lines)


def test_another_format_is_refused(tmp_path: Path):
    done = subprocess.run(
        [COMMAND, "status"], env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SAFELIGHT_LOG_FORMAT": "xml"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "SAFELIGHT_LOG_FORMAT" in done.stderr
