"""`/api/v1/generations/{id}/logs` and `JobLogger`: the job log of any generation, read, exported and written to."""

import asyncio
import csv
import io
import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from safelight.api.auth.identity import HEADER
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.domain.ids import new_id
from safelight.domain.stages import STAGES, stage_of
from safelight.domain.steps import StepType
from safelight.job_logger import JobLogger
from tests.conftest import Backend, Json, StartBackend

ADMIN = "operators-know-this-one-0123456789ab"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.fixture
async def quiet(start: StartBackend) -> Backend:
    backend: Backend = await start(worker=False, admin_token=ADMIN)
    return backend


async def ordered(backend: Backend) -> str:
    await backend.grant(1)
    accepted = await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}})
    return str(accepted["generation_id"])


def add(
    backend: Backend, generation_id: str, *messages: str, step: str = "upload", details: Json | None = None
) -> None:
    """As seed 002's writers do: without a number."""
    with psycopg.connect(backend.dsn) as conn:
        for message in messages:
            conn.execute(
                "insert into image_generation_logs (job_id, level, step, message, details) values (%s, %s, %s, %s, %s)",
                (generation_id, "warning", step, message, None if details is None else Jsonb(details)),
            )


async def asked(backend: Backend, generation_id: str, query: str = "", *, status: int = 200, **headers: str) -> Any:
    path = f"/api/v1/generations/{generation_id}/logs{query}"
    return await backend.client.get(path, headers=headers or {HEADER: backend.pass_id})


async def items(backend: Backend, generation_id: str, query: str = "", **headers: str) -> list[Json]:
    answer = await asked(backend, generation_id, query, **headers)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


# --- reading ---------------------------------------------------------------------------------------------------------


async def test_every_line_of_a_still_and_a_video_has_one_of_the_eight_stages(backend: Backend):
    await backend.grant(6)
    still = await backend.finished(await backend.create())
    body = {"parent_generation_id": still["generation_id"], "inputs": {"motion_user_brief": "slowly closer"}}
    film = await backend.finished(await backend.post("/mma/video/animate", body))
    for made, step in ((still, "seedream_generate"), (film, "kling_generate")):
        found = await items(backend, made["generation_id"])
        assert [one["seq"] for one in found] == list(range(1, len(found) + 1))
        assert {one["step"] for one in found} <= set(STAGES)
        assert found[-1]["step"] == "completion"
        typed = [one["step"] for one in found if (one["details"] or {}).get("step_type") == step]
        assert set(typed) == {"base_generation"}
        assert all(len(one["created_at"]) == len("2025-12-19T08:00:00.000Z") for one in found)


@pytest.mark.parametrize("step_type", StepType)
def test_every_step_type_has_a_stage_of_its_own(step_type: StepType):
    assert stage_of(step_type) in STAGES
    assert stage_of(step_type) != "completion"


async def test_pages_go_through_all_lines_once_in_either_order(quiet: Backend):
    generation_id = await ordered(quiet)
    add(quiet, generation_id, *(f"line {number}" for number in range(2, 12)))
    for order, expected in (("asc", list(range(1, 12))), ("desc", list(range(11, 0, -1)))):
        found, cursor = [], ""
        while True:
            answer = (await asked(quiet, generation_id, f"?order={order}&limit=4{cursor}")).json()
            found += [one["seq"] for one in answer["items"]]
            if answer["next_cursor"] is None:
                break
            cursor = f"&cursor={answer['next_cursor']}"
        assert found == expected


FILTERS = {
    "?level=info": [1],
    "?level=warning&level=error": [2, 3, 4],
    "?step=upload": [2],
    "?step=upload&step=initialization": [1, 2],
    "?step=base_generation": [3],
    "?step=processing": [4],
    "?q=CUP": [2],
    "?q=100%25": [3],
    "?q=_": [],
    "?level=warning&step=upload&q=cup": [2],
    "?cursor=2": [3, 4],
    "?cursor=3&order=desc": [2, 1],
}


async def test_lines_are_found_by_level_stage_and_text(quiet: Backend):
    generation_id = await ordered(quiet)
    add(quiet, generation_id, "A Cup is stored.")
    add(quiet, generation_id, "100% there.", step="seedream_generate")
    add(quiet, generation_id, "Something else.", step="a_step_of_my_own")
    for query, expected in FILTERS.items():
        assert [one["seq"] for one in await items(quiet, generation_id, query)] == expected, query


@pytest.mark.parametrize(
    "query",
    [
        "?level=debug",
        "?step=nowhere",
        "?q=",
        f"?q={'a' * 201}",
        "?cursor=-1",
        "?limit=501",
        "?order=up",
        "?format=xml",
        "?x=1",
    ],
)
async def test_a_wrong_parameter_is_named(quiet: Backend, query: str):
    answer = await asked(quiet, await ordered(quiet), query)
    assert answer.status_code == 400
    assert query[1:].partition("=")[0] in answer.json()["detail"]


async def test_only_the_owner_and_operators_read_a_log(quiet: Backend):
    generation_id = await ordered(quiet)
    operator = {"x-admin-secret": ADMIN}
    assert (await asked(quiet, generation_id)).status_code == 200
    assert (await asked(quiet, generation_id, **operator)).status_code == 200
    assert (await asked(quiet, generation_id, **{HEADER: "pass:user:somebody-else"})).status_code == 404
    assert (await asked(quiet, generation_id, "?format=csv", **{HEADER: "pass:user:somebody-else"})).status_code == 404
    assert (await asked(quiet, generation_id, Accept="*/*")).status_code == 401
    assert (await asked(quiet, new_id())).status_code == 404


async def test_internal_details_are_for_operators(quiet: Backend):
    generation_id = await ordered(quiet)
    add(quiet, generation_id, "retried", details={"attempt": 1, "attempt_key": "k", "vendor": "v", "stack": "s"})
    [mine] = await items(quiet, generation_id, "?step=upload")
    [theirs] = await items(quiet, generation_id, "?step=upload", **{"x-admin-secret": ADMIN})
    assert mine["details"] == {"attempt": 1}
    assert theirs["details"] == {"attempt": 1, "attempt_key": "k", "vendor": "v", "stack": "s"}


# --- exports ---------------------------------------------------------------------------------------------------------


async def test_a_log_is_exported_whole_as_json_lines(quiet: Backend):
    generation_id = await ordered(quiet)
    add(quiet, generation_id, *(f"line {number}" for number in range(2, 1203)))
    answer = await asked(quiet, generation_id, "?format=jsonl")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["seq"] for one in lines] == list(range(1, 1203))
    assert lines[:3] == await items(quiet, generation_id, "?limit=3")
    assert f'filename="{generation_id}-log.jsonl"' in answer.headers["content-disposition"]


async def test_no_cell_of_a_csv_export_is_a_formula(quiet: Backend):
    generation_id = await ordered(quiet)
    add(quiet, generation_id, *FORMULAS, 'a "quoted", text\nof two lines')
    answer = await asked(quiet, generation_id, "?format=csv&level=warning&order=desc")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert answer.headers["content-type"].startswith("text/csv")
    assert [row["message"] for row in rows] == [
        'a "quoted", text\nof two lines',
        *(f"'{one}" for one in FORMULAS[::-1]),
    ]
    assert [row["seq"] for row in rows] == ["8", "7", "6", "5", "4", "3", "2"]


# --- lines of one's own ----------------------------------------------------------------------------------------------


@pytest.fixture
def own_settings(quiet: Backend, monkeypatch: pytest.MonkeyPatch) -> Backend:
    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", quiet.dsn)
    monkeypatch.setenv("SAFELIGHT_HOME", str(quiet.app.home))
    return quiet


async def test_a_job_logger_adds_numbered_redacted_lines(own_settings: Backend):
    generation_id, user_id = await ordered(own_settings), uuid4()
    async with JobLogger(generation_id, user_id) as lines:
        assert await lines.info("base_generation", "Starting image generation", {"imageCount": 5}) == 2
        await lines.success("upload", "Stored\x00.")
        await lines.warning("mine", "Bearer abcdefghijklmnopqrstuvwxyz")
    await JobLogger(generation_id).error("upload", "Failed", {"password": "hunter2hunter2", "path": "jobs/1.jpg"})
    rows = own_settings.sql("select * from image_generation_logs where job_id = %s order by seq", generation_id)
    assert [(row["seq"], row["level"]) for row in rows[1:]] == [
        (2, "info"),
        (3, "success"),
        (4, "warning"),
        (5, "error"),
    ]
    assert rows[1]["user_id"] == user_id
    assert rows[1]["details"] == {"imageCount": 5}
    assert rows[3]["message"] == "Bearer [redacted: bearer token]"
    assert rows[4]["details"]["path"] == "jobs/1.jpg"
    assert "hunter2" not in json.dumps(rows[4]["details"])


async def test_a_job_logger_writes_on_a_connection_of_the_callers_own(quiet: Backend):
    generation_id = await ordered(quiet)
    async with await psycopg.AsyncConnection.connect(quiet.dsn) as conn:
        lines = JobLogger(generation_id, connection=conn)
        await lines.info("upload", "kept")
        await conn.commit()
        await lines.info("upload", "taken back, Bearer abcdefghijklmnopqrstuvwxyz")
        await conn.rollback()
    assert [one["message"] for one in await items(quiet, generation_id, "?step=upload")] == ["kept"]


WRONG: dict[str, tuple[Any, ...]] = {
    "step: it has 101": ("s" * 101, "m"),
    "step: a text": ("", "m"),
    "message: it has 4001": ("upload", "m" * 4001),
    "message: a text": ("upload", None),
    "details: a JSON object": ("upload", "m", ["no object"]),
    "details: they have": ("upload", "m", {"a": "b" * 65_536}),
    "details: they are no JSON": ("upload", "m", {"a": object()}),
}


@pytest.mark.parametrize("text", WRONG)
async def test_a_line_that_cannot_be_written_is_refused_by_name(own_settings: Backend, text: str):
    generation_id = await ordered(own_settings)
    with pytest.raises(InvalidInput, match=text):
        await JobLogger(generation_id).info(*WRONG[text])
    assert len(await items(own_settings, generation_id)) == 1


async def test_a_log_that_there_is_not_is_refused_by_name(own_settings: Backend):
    with pytest.raises(NotFound, match="job_id"):
        await JobLogger(new_id()).info("upload", "m")
    with pytest.raises(InvalidInput, match="job_id"):
        JobLogger("no id")
    with pytest.raises(InvalidInput, match="user_id"):
        JobLogger(new_id(), "no id")


async def test_a_line_of_ones_own_wakes_whoever_follows(own_settings: Backend):
    generation_id = await ordered(own_settings)
    async with own_settings.app.database() as db, db.connection() as conn:
        await conn.execute("listen safelight_lines")
        heard = asyncio.create_task(anext(conn.notifies()))
        await asyncio.sleep(0)
        await JobLogger(generation_id).info("upload", "at once")
        async with asyncio.timeout(30):
            assert (await heard).payload == generation_id
