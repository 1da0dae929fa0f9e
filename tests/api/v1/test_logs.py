"""The job log of each kind of generation: pages, filters, order, files, and the live stream, in which no line is lost
or told twice, whoever writes it. Flows of one's own write by JobLogger."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from safelight.api.auth.identity import HEADER
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.domain.ids import new_id
from safelight.domain.stages import STAGES
from safelight.job_logger import JobLogger
from tests.api.v1.test_generations import ADMIN, ADMIN_TOKEN, STILL, V1Client
from tests.conftest import Backend, Json, StartBackend, running
from tests.support.image_jobs import ended, job_of, order, photographs
from tests.support.model_runs import FLUX, run_model

KINDS = ["still", "video", "image_job", "model_run"]
LEVELS = ["info", "success", "warning", "error"]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
ADD = "insert into image_generation_logs (job_id, level, step, message, details) values (%s, %s, %s, %s, %s)"


@dataclass
class Logs:
    backend: Backend
    ids: dict[str, str]

    async def raw(self, kind: str, headers: Json | None = None, **query: Any) -> Any:
        path = f"/api/v1/generations/{self.ids[kind]}/logs"
        return await self.backend.client.get(
            path, params=query, headers={HEADER: self.backend.pass_id} if headers is None else headers
        )

    async def page(self, kind: str, **query: Any) -> Json:
        answer = await self.raw(kind, **query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def lines(self, kind: str, **query: Any) -> list[Json]:
        page = await self.page(kind, limit=500, **query)
        assert page["next_cursor"] is None
        return list(page["items"])


@pytest.fixture(scope="module")
async def logs(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Logs]:
    """One generation of each kind, with a warning and an error of somebody else in its log."""
    async with running(module_dsn, tmp_path_factory.mktemp("home"), admin_token=ADMIN_TOKEN) as backend:
        await backend.grant(1000)
        still = await backend.finished(await backend.create())
        body = {"parent_generation_id": still["generation_id"], "inputs": {"motion_brief": "slow", "duration": 2}}
        video = await backend.finished(await backend.post("/mma/video/animate", body))
        job = (await order(backend, job_of(backend, await photographs(backend, 2), variants=2))).generation_id
        run = (await run_model(backend, FLUX)).generation_id
        assert [(await ended(backend, one))["mg_mma_status"] for one in (job, run)] == ["done", "done"]
        found = Logs(backend, dict(zip(KINDS, [still["generation_id"], video["generation_id"], job, run], strict=True)))
        for generation_id in found.ids.values():
            backend.queries.rows(ADD + " returning seq", (generation_id, "warning", "upload", "Slow SHELF", None))
            details = json.dumps({"path": "a/b", "stack": "secret", "usd": "0.04", "vendor": "fal"})
            backend.queries.rows(ADD + " returning seq", (generation_id, "error", "cleanup", "Broken shelf", details))
        yield found


# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_lines_are_found_by_level_stage_and_text(logs: Logs, kind: str):
    everything = await logs.lines(kind)
    assert [line["seq"] for line in everything] == list(range(1, len(everything) + 1))
    assert {line["step"] for line in everything} <= set(STAGES)
    assert {line["level"] for line in everything} == {*LEVELS}
    for level in LEVELS:
        assert await logs.lines(kind, level=level) == [line for line in everything if line["level"] == level]
    two = await logs.lines(kind, level=["warning", "error"])
    assert two == [line for line in everything if line["level"] in ("warning", "error")]
    for stage in STAGES:
        assert await logs.lines(kind, step=stage) == [line for line in everything if line["step"] == stage]
    some = await logs.lines(kind, step=["upload", "cleanup"])
    assert some == [line for line in everything if line["step"] in ("upload", "cleanup")]
    assert [line["message"] for line in await logs.lines(kind, q="sHeLf")] == ["Slow SHELF", "Broken shelf"]
    assert [line["message"] for line in await logs.lines(kind, q="shelf", level="error")] == ["Broken shelf"]
    assert await logs.lines(kind, q="shelf", step="upload", level="error") == []
    assert await logs.lines(kind, q="%") == [line for line in everything if "%" in line["message"]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_pages_in_both_orders_hold_each_line_once(logs: Logs, kind: str, direction: str):
    everything = await logs.lines(kind)
    query: Json = {"order": direction, "limit": 3}
    found: list[Json] = []
    while True:
        page = await logs.page(kind, **query)
        assert len(page["items"]) <= 3
        found += page["items"]
        if page["next_cursor"] is None:
            break
        assert page["next_cursor"] == found[-1]["seq"]
        query["cursor"] = page["next_cursor"]
    assert found == (everything if direction == "asc" else everything[::-1])
    filtered = await logs.page(kind, order=direction, limit=1, level=["warning", "error"])
    assert filtered["next_cursor"] == filtered["items"][0]["seq"]


@pytest.mark.parametrize("kind", KINDS)
async def test_customers_are_shown_no_internal_details(logs: Logs, kind: str):
    [mine] = await logs.lines(kind, step="cleanup")
    assert mine["details"] == {"path": "a/b"}
    [theirs] = (await logs.raw(kind, ADMIN, step="cleanup")).json()["items"]
    assert theirs["details"] == {"path": "a/b", "stack": "secret", "usd": "0.04", "vendor": "fal"}
    assert mine["created_at"].endswith("Z")
    assert len(mine["created_at"]) == len("2025-12-19T08:00:00.000Z")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"level": "loud"}, "level"), ({"step": "cooking"}, "step"), ({"limit": 501}, "limit"), ({"limit": 0}, "limit"),
        ({"cursor": -1}, "cursor"), ({"q": "x" * 201}, "q"), ({"order": "newest"}, "order"), ({"format": "xml"}, "format"),
    ],
)  # fmt: skip
async def test_what_is_not_allowed_is_named(logs: Logs, query: Json, field: str):
    answer = await logs.raw("still", **query)
    assert answer.status_code == 400
    assert field in answer.text


@pytest.mark.parametrize("kind", KINDS)
async def test_others_find_no_log(logs: Logs, kind: str):
    for headers in ({HEADER: "pass:user:another"}, {HEADER: "pass:anon:visitor"}):
        assert (await logs.raw(kind, headers)).status_code == 404


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_the_whole_log_is_a_file_of_json_lines_or_csv(logs: Logs, kind: str):
    everything = await logs.lines(kind)
    answer = await logs.raw(kind, format="jsonl")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert f'filename="{logs.ids[kind]}-log.jsonl"' in answer.headers["content-disposition"]
    assert [json.loads(line) for line in answer.text.splitlines()] == everything
    answer = await logs.raw(kind, format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [
        row | {"seq": int(row["seq"]), "details": json.loads(row["details"]) if row["details"] else None}
        for row in rows
    ] == everything
    bad = (await logs.raw(kind, format="csv", level="error", order="desc")).text
    assert [row["message"] for row in csv.DictReader(io.StringIO(bad))] == ["Broken shelf"]


async def test_no_cell_is_a_formula(start: StartBackend):
    backend: Backend = await start(worker=False)
    await backend.grant(1)
    accepted = await V1Client(backend).order()
    for text in FORMULAS:
        backend.queries.rows(ADD + " returning seq", (accepted["id"], "info", "upload", text, None))
    path = f"/api/v1/generations/{accepted['id']}/logs"
    written = (await backend.client.get(f"{path}?format=csv", headers={HEADER: backend.pass_id})).text
    cells = [row["message"] for row in csv.DictReader(io.StringIO(written, newline=""))][1:]
    assert cells == [f"'{text}" for text in FORMULAS]
    written = (await backend.client.get(f"{path}?format=jsonl", headers={HEADER: backend.pass_id})).text
    assert [json.loads(line)["message"] for line in written.split("\n")[1:-1]] == FORMULAS


# --- live -----------------------------------------------------------------------------------------------------------


class Follower:
    """A client that hangs up after some lines and goes on with the id of the last one."""

    def __init__(self, backend: Backend, generation: Json) -> None:
        self._backend, self._url = backend, generation["links"]["stream"]
        self.lines: list[Json] = []

    async def read(self, count: int) -> None:
        headers = {HEADER: self._backend.pass_id}
        if self.lines:
            headers["Last-Event-ID"] = str(self.lines[-1]["seq"])
        left = count
        async with self._backend.client.sse(self._url, headers=headers) as stream:
            async for event in stream:
                if event.event != "log":
                    continue
                assert event.id == str(event.json()["seq"])
                self.lines.append(event.json())
                left -= 1
                if not left:
                    return


@pytest.mark.parametrize("at_once", [1, 4, 9])
async def test_lines_that_sql_adds_are_followed_without_a_loss(start: StartBackend, at_once: int):
    backend: Backend = await start(worker=False)
    await backend.grant(1)
    generation = await V1Client(backend).order()
    added = 36

    def write() -> None:
        with psycopg.connect(backend.dsn, autocommit=True) as conn:
            for number in range(added):
                details = json.dumps({"number": number})
                conn.execute(ADD, [generation["id"], LEVELS[number % 4], "processing", f"line {number}", details])

    follower = Follower(backend, generation)
    await follower.read(1)  # that of the acceptance
    writing = asyncio.create_task(asyncio.to_thread(write))
    while len(follower.lines) <= added:
        await follower.read(min(at_once, added + 1 - len(follower.lines)))
    await writing
    assert [line["seq"] for line in follower.lines] == list(range(1, added + 2))
    later = follower.lines[1:]
    assert [line["details"] for line in later] == [{"number": number} for number in range(added)]
    assert [line["level"] for line in later] == [LEVELS[number % 4] for number in range(added)]
    assert {line["step"] for line in later} == {"processing"}
    path = f"/api/v1/generations/{generation['id']}/logs"
    read = (await backend.get(path, headers={HEADER: backend.pass_id}))["items"]
    assert follower.lines == read


# --- lines of one's own ---------------------------------------------------------------------------------------------


@pytest.fixture
async def own(start: StartBackend, monkeypatch: pytest.MonkeyPatch) -> tuple[Backend, str]:
    """A backend, and a generation of its customer; the environment names its database."""
    backend: Backend = await start(worker=False)
    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", backend.dsn)
    monkeypatch.setenv("SAFELIGHT_HOME", str(backend.app.home))
    await backend.grant(1)
    accepted = await V1Client(backend).order(**STILL)
    return backend, accepted["id"]


def stored(backend: Backend, generation_id: str) -> list[tuple[Any, ...]]:
    rows = backend.sql(
        "select seq, user_id::text, level, step, message, details from image_generation_logs where job_id = %s order by seq",
        generation_id,
    )
    return [tuple(row.values()) for row in rows][1:]


async def test_the_examples_of_the_logger(own: tuple[Backend, str]):
    backend, job_id = own
    user_id = new_id()
    follower = Follower(backend, {"links": {"stream": f"/api/v1/generations/{job_id}/stream"}})
    following = asyncio.create_task(follower.read(5))
    writer = JobLogger(job_id, user_id)
    assert await writer.info("base_generation", "Starting image generation", {"imageCount": 5}) == 2
    error, storage_path = TimeoutError("no answer"), "jobs/1.jpg"
    assert await writer.error("upload", "Failed to upload image", {"error": str(error), "path": storage_path}) == 3
    async with JobLogger(job_id, user_id) as same:
        assert await same.success("completion", "Done") == 4
        assert await same.warning("cleanup", "Old files are left", {}) == 5
    await asyncio.wait_for(following, 60)
    assert [line["message"] for line in follower.lines[1:]] == [
        "Starting image generation", "Failed to upload image", "Done", "Old files are left",
    ]  # fmt: skip
    assert stored(backend, job_id) == [
        (2, user_id, "info", "base_generation", "Starting image generation", {"imageCount": 5}),
        (3, user_id, "error", "upload", "Failed to upload image", {"error": "no answer", "path": "jobs/1.jpg"}),
        (4, user_id, "success", "completion", "Done", None),
        (5, user_id, "warning", "cleanup", "Old files are left", {}),
    ]


async def test_a_connection_of_the_callers_own_is_used(own: tuple[Backend, str]):
    backend, job_id = own
    async with await psycopg.AsyncConnection.connect(backend.dsn) as conn:
        async with JobLogger(job_id, connection=conn) as writer:
            assert await writer.info("mixing", "not yet committed") == 2
        assert stored(backend, job_id) == []
        await conn.commit()
    assert [row[4] for row in stored(backend, job_id)] == ["not yet committed"]


@pytest.mark.parametrize(
    ("step", "message", "details", "told"),
    [
        ("", "x", None, "step"),
        ("x" * 101, "x", None, "step"),
        ("upload", " ", None, "message"),
        ("upload", "x" * 4001, None, "message"),
        ("upload", "x", {"text": "x" * 65_536}, "details"),
        ("upload", "x", {"at": object()}, "details"),
    ],
)
async def test_a_line_that_does_not_fit_is_refused(
    own: tuple[Backend, str], step: str, message: str, details: Json | None, told: str
):
    backend, job_id = own
    with pytest.raises(InvalidInput, match=f"^{told}: "):
        await JobLogger(job_id).info(step, message, details)
    assert stored(backend, job_id) == []


async def test_ids_that_name_nothing_are_refused(own: tuple[Backend, str]):
    with pytest.raises(NotFound, match="job_id"):
        await JobLogger(new_id()).info("upload", "x")
    for wrong in ("", "7", "no-uuid"):
        with pytest.raises(InvalidInput, match="job_id"):
            JobLogger(wrong)
        with pytest.raises(InvalidInput, match="user_id"):
            JobLogger(new_id(), wrong)


async def test_secrets_are_not_written(own: tuple[Backend, str]):
    backend, job_id = own
    secret = "sk-proj-" + "a1B2" * 12
    await JobLogger(job_id).error("upload", f"refused: {secret}", {"header": f"Bearer {secret}"})
    assert secret not in str(stored(backend, job_id))
