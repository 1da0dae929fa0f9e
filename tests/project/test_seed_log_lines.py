"""The 46 log lines of a generation (docs/contract/log-lines.md): each is on the standard error of a product that does what
the line tells of, in the documented order, with the generation's id, and no line tells of what did not happen."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from safelight import telemetry
from tests.conftest import Backend, StartBackend, running
from tests.fakes.vendors import vendor
from tests.fakes.wire import Scripted
from tests.pipelines.engine.test_failed_generations import COMMAND

ORDERED = [
    r"🔍 \[GENERATION\] Starting credit check for user PASS",
    r"✅ \[GENERATION\] Credit check passed for user PASS",
    r"➕ \[DB-CREATE\] Creating new generation record in database",
    r"🔍 \[DB-CREATE\] Generation data: user_id=PASS, model_id=\w+, status=queued",
    r"💳 \[GENERATION\] Successfully deducted \d+ credits",
    r"✅ \[DB-CREATE\] Generation created successfully: ID",
]
BEGUN = [
    r"🚀 \[GENERATION-PROCESSING\] Starting background processing for generation ID",
    r"🔍 \[GENERATION-PROCESSING\] Model: \w+, Prompt length: [1-9]\d*",
    r"📝 \[GENERATION-PROCESSING\] Updating status to PROCESSING",
    r"🔄 \[DB-STATUS\] Updating generation ID status to: \w+",
    r"✅ \[DB-STATUS\] Status update completed",
    r"✅ \[GENERATION-PROCESSING\] Status updated successfully",
]
MADE = [
    r"🤖 \[GENERATION-PROCESSING\] Submitting to SERVICE service",
    r"🎯 \[GENERATION-PROCESSING\] SERVICE result received: status=completed",
]
STORED = [
    r"📦 \[STORAGE\] Starting storage process for generation ID",
    r"☁️ \[STORAGE\] Uploading generation results to local storage",
    r"📦 \[STORAGE-UPLOAD\] Starting upload of generation results",
    r"📥 \[STORAGE-UPLOAD\] Processing file 1/1",
]
DOWNLOADED = [r"⬇️ \[STORAGE-UPLOAD\] Downloading file from external URL"]
FILE_BEGUN = [
    r"📤 \[STORAGE-FILE\] Starting file upload for user PASS",
    r"🔍 \[STORAGE-FILE\] Upload details: filename=\S+, size=[^,]+, type=\w+/\w+, bucket=\w+",
    r"✅ \[STORAGE-FILE\] File validation passed",
]
HASHED = r"🔐 \[STORAGE-FILE\] Calculated file hash: [0-9a-f]{16}"
PATH_MADE = r"📁 \[STORAGE-FILE\] Generated secure file path: \S+"
UPLOADING = r"☁️ \[STORAGE-FILE\] Uploading to local storage repository"
UPLOADED = r"✅ \[STORAGE-FILE\] File uploaded to local storage"
RECORDED = r"📁 \[STORAGE-FILE\] File metadata created: ID=\S+"
FILE_STORED = [*FILE_BEGUN, HASHED, PATH_MADE, UPLOADING, UPLOADED]
FILM_STORED = [*FILE_BEGUN, PATH_MADE, UPLOADING, HASHED, UPLOADED]  # its hash is known once it has streamed
KEPT = [
    r"🎉 \[STORAGE-UPLOAD\] Upload process completed: 1/1 files",
    r"✅ \[STORAGE\] Successfully uploaded 1 files",
    r"🔗 \[STORAGE\] Generating primary URL for media access",
    r"✅ \[STORAGE\] Primary URL generated",
]
ENDED = [
    r"📝 \[DB-UPDATE\] Updating generation ID in database",
    r"🔄 \[DB-UPDATE\] Status update: done",
    r"🖼️ \[DB-UPDATE\] Media URL update: http\S+",
    r"📊 \[DB-UPDATE\] Storage size: [1-9]\d* bytes",
    r"🔄 \[DB-STATUS\] Updating generation ID status to: done",
    r"🕰️ \[DB-STATUS\] Adding completion timestamp",
    r"✅ \[DB-STATUS\] Status update completed",
    r"📁 \[STORAGE-FILE\] File metadata created: ID=ID",
]
FAILED = [
    r"❌ \[GENERATION-PROCESSING\] Critical error processing generation ID: ",
    r"💥 \[GENERATION-PROCESSING\] Full traceback provided",
    r"🔄 \[GENERATION-PROCESSING\] Marking generation ID as failed",
    r"📝 \[DB-UPDATE\] Updating generation ID in database",
    r"🔄 \[DB-UPDATE\] Status update: error",
    r"🔄 \[DB-STATUS\] Updating generation ID status to: error",
    r"🕰️ \[DB-STATUS\] Adding completion timestamp",
    r"✅ \[DB-STATUS\] Status update completed",
]
SIGNED = [
    r"🔗 \[STORAGE-URL\] Creating signed URL for file access",
    r"🔐 \[STORAGE-URL\] Checking file path ownership",
    r"✅ \[STORAGE-URL\] File ownership verified",
    r"🔗 \[STORAGE-URL\] URL: http[^?]+$",
    r"⏰ \[STORAGE-URL\] Expires at: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00",
]

FIELDS_OF_TEXT = 4  # time, level, place and message; ids follow


@dataclass(frozen=True)
class Line:
    level: str
    message: str
    generation_id: str | None


class Console:
    """Standard error, line by line, in one of the two formats."""

    def __init__(self, read: Callable[[], str], *, as_json: bool) -> None:
        self._read, self._as_json, self.text = read, as_json, ""

    def lines(self) -> list[Line]:
        self.text += self._read()
        found = self.text.splitlines()  # the test's own process may write other lines
        if self._as_json:
            return [_of_json(one) for one in found if one.startswith("{")]
        return [_of_text(one) for one in found if one.count(" | ") >= FIELDS_OF_TEXT - 1]

    def of(self, generation_id: str) -> list[Line]:
        return [line for line in self.lines() if line.generation_id == generation_id]


def _of_json(text: str) -> Line:
    line = json.loads(text)
    assert {"timestamp", "level", "tag", "message", "generation_id", "request_id"} <= line.keys()
    if line["tag"]:
        assert f"[{line['tag']}]" in line["message"]
    return Line(line["level"], line["message"], line["generation_id"])


def _of_text(text: str) -> Line:
    _, level, _, message, *more = text.split(" | ")
    named = re.search(r"generation_id=(\S+)", more[-1]) if more else None
    return Line(level.strip(), message, named[1] if named else None)


@pytest.fixture(params=["text", "json"])
def console(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Console]:
    as_json = request.param == "json"
    telemetry.configure("INFO", None, as_json=as_json)
    yield Console(lambda: capsys.readouterr().err, as_json=as_json)
    telemetry.configure("INFO", None, console=False)


def assert_in_order(lines: Sequence[Line], patterns: Sequence[str], **names: str) -> None:
    left = iter(lines)
    for pattern in patterns:
        wanted = pattern
        for name, value in names.items():
            wanted = re.sub(rf"\b{name}\b(?!=)", re.escape(value).replace("\\", r"\\"), wanted)
        met = any(re.match(wanted, line.message) for line in left)
        assert met, f"{wanted} is not there, or not in this order, among:\n" + "\n".join(one.message for one in lines)


# --- all of a result -------------------------------------------------------------------------------------------------


async def test_a_still_has_every_line_in_order(dsn: str, tmp_path: Path, console: Console):
    async with vendor(dsn, "fal") as (_, settings), running(dsn, tmp_path, **settings) as backend:
        await backend.grant(1)
        made = await backend.finished(await backend.create())
    assert made["status"] == "done"
    names = {"ID": made["generation_id"], "PASS": backend.pass_id, "SERVICE": "FAL.ai"}
    assert_in_order(console.lines(), [*FILE_STORED, RECORDED], PASS=backend.pass_id)
    whole = [*ORDERED, *BEGUN, *MADE, *STORED, *DOWNLOADED, *FILE_STORED, *KEPT, *ENDED]
    assert_in_order(console.of(made["generation_id"]), whole, **names)


async def test_a_tweak_and_a_video_have_every_line_in_order(start: StartBackend, console: Console):
    backend: Backend = await start()
    await backend.grant(8)
    still = await backend.finished(await backend.create())
    parent = {"parent_generation_id": still["generation_id"]}
    tweak = await backend.finished(await backend.post("/mma/still/tweak", parent | {"inputs": {"feedback": "darker"}}))
    brief = {"inputs": {"motion_user_brief": "slowly closer"}}
    film = await backend.finished(await backend.post("/mma/video/animate", parent | brief))
    assert (tweak["status"], film["status"]) == ("done", "done")
    for made, stored in ((tweak, FILE_STORED), (film, FILM_STORED)):
        names = {"ID": made["generation_id"], "PASS": backend.pass_id, "SERVICE": "local"}
        whole = [*ORDERED, *BEGUN, *MADE, *STORED, *stored, *KEPT, *ENDED]
        assert_in_order(console.of(made["generation_id"]), whole, **names)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["gpt_reader:rejected", "seedream_generate:rejected", "seedream_generate:timeout"])
async def test_a_failure_is_told_with_its_traceback(start: StartBackend, console: Console, fault: str):
    backend: Backend = await start(local_fault=fault)
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    mine = console.of(made["generation_id"])
    assert made["status"] == "error"
    assert_in_order(mine, [*ORDERED, *BEGUN, *FAILED], ID=made["generation_id"], PASS=backend.pass_id)
    assert "Traceback (most recent call last)" in console.text
    assert [one.level for one in mine if re.match("❌|💥", one.message)] == ["ERROR", "ERROR"]
    assert not [one for one in mine if "Media URL update" in one.message or "File metadata" in one.message]


async def test_a_file_that_cannot_be_had_makes_a_partial_upload(dsn: str, start: StartBackend, console: Console):
    async with vendor(dsn, "replicate") as (wire, settings):
        wire.output = "several"
        backend = await start(**settings)
        await backend.grant(1)
        made = await backend.finished(await backend.create())
    numbered = [rf"📥 \[STORAGE-UPLOAD\] Processing file {number}/3" for number in (1, 2, 3)]
    ended = [
        r"🎉 \[STORAGE-UPLOAD\] Upload process completed: 2/3 files",
        r"⚠️ \[STORAGE-UPLOAD\] Partial upload success warning: 2/3 files",
        r"✅ \[STORAGE\] Successfully uploaded 2 files",
    ]
    mine = console.of(made["generation_id"])
    assert_in_order(mine, [*numbered, *ended])
    assert [one.level for one in mine if "Partial upload" in one.message] == ["WARNING"]


async def test_a_result_of_which_nothing_can_be_had_is_a_critical_failure(
    dsn: str, start: StartBackend, console: Console
):
    async with vendor(dsn, "replicate") as (wire, settings):
        wire.always("file", Scripted(404, {"detail": "gone"}))
        backend = await start(**settings)
        await backend.grant(1)
        made = await backend.finished(await backend.create())
    failed = [r"❌ \[STORAGE-UPLOAD\] Critical failure with full traceback: ", *FAILED]
    mine = console.of(made["generation_id"])
    assert_in_order(mine, failed, ID=made["generation_id"])
    assert not [one for one in mine if "Upload process completed" in one.message or "Primary URL" in one.message]


async def test_an_order_that_is_not_accepted_has_no_line_of_what_was_not_done(start: StartBackend, console: Console):
    backend: Backend = await start(worker=False)
    await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}, status=402)
    [line] = [one for one in console.lines() if re.search(r"\[GENERATION\]|\[DB-", one.message)]
    assert "Starting credit check" in line.message


async def test_an_order_that_is_repeated_is_charged_and_created_once(start: StartBackend, console: Console):
    backend: Backend = await start(worker=False)
    await backend.grant(2)
    for _ in range(2):
        key = {"Idempotency-Key": "the-same"}
        await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}, headers=key)
    told = [one.message for one in console.lines()]
    assert [sum(text in one for one in told) for text in ("Successfully deducted", "Generation created")] == [1, 1]


async def test_a_cancelled_generation_is_no_failure(start: StartBackend, console: Console):
    backend: Backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    await backend.post(f"/mma/generations/{accepted['generation_id']}/cancel", {})
    mine = console.of(accepted["generation_id"])
    assert_in_order(
        mine, [r"🔄 \[DB-STATUS\] Updating generation ID status to: cancelled"], ID=accepted["generation_id"]
    )
    assert not [one for one in mine if "Critical error" in one.message or "as failed" in one.message]


# --- files and addresses ---------------------------------------------------------------------------------------------


async def test_a_signed_url_is_told_without_its_signature(start: StartBackend, console: Console):
    backend: Backend = await start(worker=False)
    private = await backend.upload_private()
    console.lines()
    console.text = ""
    answer = await backend.post("/api/assets/signed-url", {"key": private["key"]})
    lines = console.lines()
    assert_in_order(lines, SIGNED)
    assert answer["url"].partition("signature=")[2] not in console.text


async def test_somebody_elses_file_is_not_verified(start: StartBackend, console: Console):
    backend: Backend = await start(worker=False)
    private = await backend.upload_private()
    console.lines()
    console.text = ""
    backend.pass_id = "pass:user:somebody-else"
    await backend.post("/api/assets/signed-url", {"key": private["key"]}, status=404)
    told = [one.message for one in console.lines() if "[STORAGE-URL]" in one.message]
    assert [one.partition("] ")[2] for one in told] == [
        "Creating signed URL for file access",
        "Checking file path ownership",
    ]


async def test_a_file_that_is_refused_is_not_told_as_validated(start: StartBackend, console: Console):
    backend: Backend = await start(worker=False)
    await backend.post("/api/r2/upload-signed", {"dataUrl": "data:image/png;base64,aGVsbG8="}, status=400)
    told = [one.message for one in console.lines() if "[STORAGE-FILE]" in one.message]
    assert len(told) == 2
    assert "Starting file upload" in told[0]


async def test_a_signed_upload_tells_of_its_file(start: StartBackend, console: Console):
    backend: Backend = await start(worker=False)
    ticket = await backend.post("/api/r2/presign", {"contentType": "image/png", "filename": "a.png"})
    picture = (Path(__file__).parents[1] / "samples").rglob("*.png")
    await backend.client.put(ticket["uploadUrl"], content=next(picture).read_bytes())
    assert_in_order(
        console.lines(), [PATH_MADE, *FILE_BEGUN[:1], FILE_BEGUN[2], HASHED, UPLOADING, UPLOADED], PASS="anon"
    )


# --- how they are read -----------------------------------------------------------------------------------------------

GREPS = {
    r'grep "\[GENERATION-PROCESSING\]" backend.log': r"\[GENERATION-PROCESSING\]",
    r'grep "\[STORAGE" backend.log': r"\[STORAGE(-FILE|-UPLOAD|-URL)?\]",
    r'grep "\[DB-" backend.log': r"\[DB-(CREATE|UPDATE|STATUS)\]",
}


async def test_the_documented_grep_commands_find_the_lines(start: StartBackend, console: Console, tmp_path: Path):
    backend: Backend = await start()
    await backend.grant(1)
    await backend.upload_private()
    await backend.finished(await backend.create())
    console.lines()
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "backend.log").write_text(console.text)
    for command, expected in GREPS.items():
        found = subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True, text=True).stdout
        lines = found.splitlines()
        assert len(lines) == len(re.findall(expected, console.text)) > 5
    tags = set(re.findall(r"\[([A-Z]+(?:-[A-Z]+)?)\]", console.text))
    assert tags >= {
        "GENERATION", "GENERATION-PROCESSING", "STORAGE", "STORAGE-FILE", "STORAGE-UPLOAD", "STORAGE-URL", "DB-CREATE",
        "DB-UPDATE", "DB-STATUS",
    }  # fmt: skip


def test_a_server_with_json_lines_writes_nothing_else_to_standard_error(dsn: str, tmp_path: Path):
    settings = {
        "SAFELIGHT_DATABASE_URL": dsn,
        "SAFELIGHT_HOME": str(tmp_path / "home"),
        "SAFELIGHT_STAND_IN": "allow",
        "SAFELIGHT_LOG_FORMAT": "json",
        "SAFELIGHT_NO_SUCH_SETTING": "1",
    }
    kept: dict[str, Any] = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    errors = tmp_path / "stderr"
    with errors.open("w") as file:
        server = subprocess.Popen(
            [COMMAND, "up", "--port", "0"], env=kept | settings, stdout=subprocess.PIPE, stderr=file, text=True
        )
        try:
            assert server.stdout
            assert server.stdout.readline()
            with psycopg.connect(dsn) as other:  # a warning of a library's own thread or of ours, in the middle
                other.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
                    " and query ilike 'listen%%' and datname = current_database()"
                )
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)
    lines = [json.loads(line) for line in errors.read_text().splitlines()]
    assert all({"timestamp", "level", "message"} <= line.keys() for line in lines)
    assert any("SAFELIGHT_NO_SUCH_SETTING" in line["message"] for line in lines)
    assert "Stopped; all state is in" in lines[-1]["message"]
