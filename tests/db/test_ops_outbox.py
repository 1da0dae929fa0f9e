"""Rows of the ops plane are not lost to one bad row, one bad file, or a flood of cheap requests."""

import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from safelight.api.http import ops_row_limits
from safelight.api.http.ops_row_limits import Allowance
from safelight.db.operations import ops_outbox
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.categories import Category
from tests.conftest import Backend, StartBackend, running
from tests.pipelines.engine.test_failed_generations import safelight
from tests.support.openapi import ROUTES, Route


def row(code: str, **more: Any) -> OpsError:
    return OpsError(
        Category.API_ERROR,
        code,
        "it went wrong",
        **{"request_id": "", "route": "", "method": "", "http_status": 500, **more},
    )


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    backend: Backend = await start(worker=False)
    return backend


def spool_of(backend: Backend) -> OpsOutbox:
    return OpsOutbox(backend.app.home / "a-spool" / "waiting")


def codes(backend: Backend) -> list[str]:
    return [one["mg_detail"]["error_code"] for one in backend.ops_rows()]


async def catch_up(backend: Backend, spool: OpsOutbox) -> int:
    async with backend.app.database() as db:
        return await spool.catch_up(db)


async def test_a_row_that_the_database_refuses_is_set_aside_and_the_rest_goes_on(idle: Backend):
    idle.sql("alter table mega_admin add constraint no_cats check (mg_error_code not like '%%CAT%%')")
    spool = spool_of(idle)
    for code in ("FIRST", "CAT", "SECOND", "CAT_AGAIN", "THIRD"):
        spool.append(row(code))
    assert await catch_up(idle, spool) == 3
    assert codes(idle)[:3] == ["FIRST", "SECOND", "THIRD"]
    assert spool.refused_count() == 2
    assert not list((idle.app.home / "a-spool" / "waiting").iterdir())
    [report] = [one for one in idle.ops_rows() if one["mg_detail"]["error_code"] == "OPS_ROW_REFUSED"]
    assert report["mg_record_type"] == "warn"
    assert report["mg_error_message"].startswith(f"2 ops rows were set aside in {spool.refused_folder}, the first: ")
    assert "CheckViolation" in report["mg_error_message"]
    assert await catch_up(idle, spool) == 0
    assert codes(idle).count("OPS_ROW_REFUSED") == 1


def whole(code: str) -> bytes:
    """A file as the spool writes it."""
    with tempfile.TemporaryDirectory() as folder:
        OpsOutbox(Path(folder)).append(row(code))
        return next(Path(folder).glob("*.json")).read_bytes()


FOREIGN = {
    "empty": lambda: b"",
    "half": lambda: whole("HALF")[:200],
    "no JSON": lambda: b"<html>",
    "no object": lambda: b"[1, 2, 3]",
    "another object": lambda: b'{"id": "error:x"}',
    "not text": lambda: b"\xff\xfe\x00\x01",
    "deep": lambda: b"[" * 50_000,
    "NaN": lambda: b'{"id": NaN}',
    "wrong types": lambda: json.dumps(json.loads(whole("TYPES")) | {"detail": "text"}).encode(),
    "wrong time": lambda: json.dumps(json.loads(whole("TIME")) | {"at": "yesterday"}).encode(),
    "too large": lambda: whole("LARGE") + b" " * ops_outbox.FILE_BYTES_MAX,
}


async def test_files_that_hold_no_row_are_set_aside_and_the_rest_goes_on(idle: Backend):
    spool = spool_of(idle)
    spool.append(row("LAST"))
    folder = idle.app.home / "a-spool" / "waiting"
    for number, content in enumerate(FOREIGN.values()):
        (folder / f"0000-{number}.json").write_bytes(content())
    (folder / "0000-folder.json").mkdir()
    (folder / "0000-nowhere.json").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "0000-pipe.json")
    assert await asyncio.wait_for(catch_up(idle, spool), 30) == 1
    assert "LAST" in codes(idle)
    assert spool.refused_count() == len(FOREIGN)
    assert sorted(path.name for path in folder.iterdir()) == ["0000-folder.json", "0000-nowhere.json", "0000-pipe.json"]


async def test_a_row_whose_writer_died_before_its_end_is_written_and_a_half_one_set_aside(idle: Backend):
    spool, content = spool_of(idle), whole("LEFT_BEHIND")
    folder = idle.app.home / "a-spool" / "waiting"
    folder.mkdir(parents=True)
    for name, text in {"whole.part": content, "half.part": content[:99], "just-now.part": content[:99]}.items():
        (folder / name).write_bytes(text)
    long_ago = time.time() - 10 * ops_outbox.UNFINISHED_SECONDS
    for name in ("whole.part", "half.part"):
        os.utime(folder / name, (long_ago, long_ago))
    assert await catch_up(idle, spool) == 1
    assert "LEFT_BEHIND" in codes(idle)
    assert [path.name for path in folder.iterdir()] == ["just-now.part"]
    assert spool.refused_count() == 1


async def test_what_is_set_aside_is_bounded_in_number_and_in_size(idle: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ops_outbox, "REFUSED_FILES_MAX", 5)
    spool, folder = spool_of(idle), idle.app.home / "a-spool" / "waiting"
    folder.mkdir(parents=True)
    for number in range(9):
        (folder / f"{number}.json").write_bytes(b"x" * 1000)
        os.utime(folder / f"{number}.json", (number, number))
    await catch_up(idle, spool)
    assert sorted(path.name for path in spool.refused_folder.iterdir()) == [
        "4.json",
        "5.json",
        "6.json",
        "7.json",
        "8.json",
    ]
    monkeypatch.setattr(ops_outbox, "REFUSED_BYTES_MAX", 2500)
    (folder / "9.json").write_bytes(b"x" * 1000)
    await catch_up(idle, spool)
    assert sorted(path.name for path in spool.refused_folder.iterdir()) == ["8.json", "9.json"]


async def test_rows_wait_while_there_is_no_table_for_them(idle: Backend):
    """That is about the database, not about the row."""
    spool = spool_of(idle)
    spool.append(row("PATIENT"))
    idle.sql("alter table mega_admin rename to away")
    with pytest.raises(psycopg.ProgrammingError):
        await catch_up(idle, spool)
    idle.sql("alter table away rename to mega_admin")
    assert (await catch_up(idle, spool), spool.refused_count()) == (1, 0)


async def test_a_folder_that_cannot_be_moved_to_stops_nothing(idle: Backend):
    spool = spool_of(idle)
    spool.refused_folder.parent.mkdir(parents=True)
    spool.refused_folder.write_text("a file, where the folder would be")
    spool.append(row("GOES_ON"))
    (idle.app.home / "a-spool" / "waiting" / "0.json").write_text("no row")
    assert await catch_up(idle, spool) == 1
    assert await catch_up(idle, spool) == 0
    assert "GOES_ON" in codes(idle)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfff\0", "\0" * 5000])
async def test_every_text_can_be_stored(idle: Backend, text: str):
    spool = spool_of(idle)
    spool.append(
        row("ODD", route=text, method=text, pass_id=text, stack=text, user_agent=text, extra={"said" + text: [text]})
    )
    assert (await catch_up(idle, spool), spool.refused_count()) == (1, 0)
    [stored] = idle.ops_rows()
    assert "\ufffd" in stored["mg_error_stack"]


async def test_the_doctor_says_that_rows_are_set_aside(idle: Backend):
    folder = idle.app.home / "ops-spool"
    folder.mkdir(exist_ok=True)
    (folder / "0.json").write_text("no row")
    await catch_up(idle, idle.app.ops_outbox)
    said = safelight(idle, "doctor", "--json")
    [warning] = [one for one in json.loads(said.stdout)["warnings"] if "set aside" in one]
    assert warning.startswith("1 rows of the ops plane were refused")
    assert str(idle.app.home / "ops-refused") in warning


# --- what comes in ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def open_to_all(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False) as backend:
        yield backend


PATH_ROUTES = [route for route in ROUTES if route.parameters("path")]
NO_TEXT = ["%00", "a%00b", "%0a", "%0D%0A", "%1b[2J", "%7f", "%C2%85", "%ff", "%C0%80", "%ED%A0%80", "%E2%82"]


@pytest.mark.parametrize("route", PATH_ROUTES, ids=str)
async def test_no_path_holds_control_characters_or_broken_text(open_to_all: Backend, route: Route):
    for value in NO_TEXT:
        path = route.with_values({one["name"]: value for one in route.parameters("path")})
        answer = await open_to_all.client.request(route.method, path, json={} if route.method == "POST" else None)
        assert answer.status_code == 400, (value, answer.text)
        assert "path: " in answer.text
    assert not list((open_to_all.app.home / "ops-spool").glob("*"))


@pytest.mark.parametrize("query", ["passId=%00", "passId=a%0ab", "x=%ff", "%00=1", "key=%1b", "limit=%C2%9b"])
async def test_no_query_does(open_to_all: Backend, query: str):
    for path in ("/credits/balance", "/history/pass/pass:user:1", "/admin/summary", "/health", "/nowhere"):
        answer = await open_to_all.client.get(f"{path}?{query}")
        assert answer.status_code == 400, answer.text
        assert re.search(r"query(\.\w+)?: ", answer.text)


@pytest.mark.parametrize(
    "path", ["/mma/generations/%C3%A4%20b", "/history/pass/pass%3Auser%3A%E6%97%A5", "/mma/generations/%F0%9F%94%A5"]
)
async def test_text_in_a_path_is_text(open_to_all: Backend, path: str):
    assert (await open_to_all.client.get(path)).status_code in (200, 404)


# --- allowances ------------------------------------------------------------------------------------------------------


async def test_cheap_refusals_leave_room_for_what_is_broken(start: StartBackend, monkeypatch: pytest.MonkeyPatch):
    """Bad bodies, missing tokens and tokens that do not hold, as many as fit; then something really breaks."""
    backend = await start(worker=False, rate_limit_public_per_minute=100)
    for _ in range(70):
        await backend.client.post("/mma/events", content=b"{")
        await backend.client.post("/sessions/start", content=b"{")
        await backend.client.get("/admin/summary")
        await backend.client.get("/api/admin/providers")
    written = len(backend.ops_rows())
    assert written <= 200
    backend.sql("alter table mega_generations rename to away")
    assert (await backend.client.get("/credits/balance?passId=pass:user:1")).status_code == 500
    assert (await backend.client.get("/credits/balance?passId=pass:user:2")).status_code == 500
    backend.sql("alter table away rename to mega_generations")
    broken = [one for one in backend.ops_rows() if one["mg_status"] == 500]
    assert [one["mg_route"] for one in broken] == ["/credits/balance"] * 2


async def test_a_flood_at_one_route_hides_no_other(start: StartBackend):
    backend = await start(worker=False)
    for _ in range(70):
        await backend.client.post("/mma/events", content=b"{")
    await backend.client.post("/mma/still/create", content=b"{")
    routes = [one["mg_route"] for one in backend.ops_rows()]
    assert (routes.count("/mma/events"), routes.count("/mma/still/create")) == (20, 1)


def test_an_allowance_is_bounded_in_sum_and_for_what_is_alike():
    now = 0.0
    some = Allowance(in_sum=10, of_one=4, clock=lambda: now)
    assert [some.take("a") for _ in range(6)] == [True] * 4 + [False] * 2
    assert [some.take(f"b{number}") for number in range(8)] == [True] * 6 + [False] * 2
    now = 60.0
    assert some.take("a")


def test_each_kind_of_answer_has_an_allowance_of_its_own():
    kinds = ops_row_limits.Allowances()
    for _ in range(1000):
        kinds.invalid.take("400 /x")
        kinds.refusals.take("401 /x")
        kinds.unavailable.take("503 /x")
        kinds.client_errors.take()
        kinds.wrong_admin_tokens.take()
    assert kinds.failures.take("500 /x")
    assert not kinds.client_errors.take()
