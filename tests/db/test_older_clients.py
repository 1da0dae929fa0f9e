"""Each statement of the older schemas, and the queries that their front ends send by supabase-js, as the owner, another customer
and a visitor. The client is the real one; tests/support/postgrest.py answers as PostgREST does."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from safelight.domain.ids import new_id
from tests.support import postgrest
from tests.support.image_sets import make_set
from tests.support.sign_in import token

pytestmark = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed (Node.js 20 or newer)")

Json = dict[str, Any]

CLIENT = Path(__file__).parents[1] / "supabase_js"
SECONDS_MAX = 120
ADA = "6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90"
BOB = "0b0a3c44-9b1f-4c62-8a54-3f1c58f0d9aa"
PASS_IDS = {ADA: f"pass:user:{ADA}", BOB: "pass:shopify:4711"}
WRITES = {"logger_info", "logger_error", "logger_warning", "logger_success", "lines", "line_without_answer"}
FORBIDDEN = {
    "line_in_another_name", "line_of_nobody", "line_with_seq", "line_of_odd_level", "line_of_odd_step",
    "line_of_unknown_job", "line_changed", "line_deleted", "job_changed", "job_added", "image_deleted", "credits_added",
    "file_moved", "generation_changed",
}  # fmt: skip

# Word for word but for its first line, which scripts write as `create table if not exists`.
CREATE_LOGS = """
CREATE TABLE {0}image_generation_logs (
  id UUID DEFAULT gen_random_uuid() PRIMARY KEY,
  job_id UUID NOT NULL REFERENCES image_generation_jobs(id) ON DELETE CASCADE,
  user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
  level VARCHAR(20) NOT NULL DEFAULT 'info',
  step VARCHAR(100) NOT NULL,
  message TEXT NOT NULL,
  details JSONB,
  created_at TIMESTAMPTZ DEFAULT NOW()
);
"""
SCRIPTS = [
    CREATE_LOGS.format("IF NOT EXISTS "),
    "CREATE TABLE IF NOT EXISTS image_generation_jobs (id UUID PRIMARY KEY, name VARCHAR(255) NOT NULL)",
    "CREATE TABLE IF NOT EXISTS generated_images (id UUID PRIMARY KEY, job_id UUID REFERENCES image_generation_jobs(id))",
    "CREATE TABLE IF NOT EXISTS generations (id UUID PRIMARY KEY, user_id UUID NOT NULL)",
    "CREATE TABLE IF NOT EXISTS file_metadata (id UUID PRIMARY KEY, user_id UUID NOT NULL)",
    "CREATE TABLE IF NOT EXISTS credit_transactions (id UUID PRIMARY KEY, user_id UUID NOT NULL)",
    "CREATE INDEX IF NOT EXISTS idx_logs_job ON image_generation_logs (job_id, created_at)",
    "ALTER TABLE image_generation_logs ENABLE ROW LEVEL SECURITY",
    'CREATE POLICY "read own" ON image_generation_logs FOR SELECT USING (auth.uid() = user_id)',
    'CREATE POLICY "add own" ON image_generation_logs FOR INSERT WITH CHECK (auth.uid() = user_id)',
]


@dataclass
class Asked:
    """The answers of each query, by who asked."""

    job: str
    still: str
    failed: str
    owner: Json
    other: Json
    visitor: Json
    statements: list[str]


def write_single(conn: psycopg.Connection[Any], pass_id: str, status: str, **columns: Any) -> str:
    generation_id = new_id()
    stated = {
        "mg_id": f"generation:{generation_id}",
        "mg_record_type": "generation",
        "mg_generation_id": generation_id,
        "mg_pass_id": pass_id,
        "mg_mma_mode": "still",
        "mg_mma_status": status,
        "mg_model": "seedream-4.5",
        "mg_pipeline_version": 1,
        "mg_latency_ms": 1500,
        **columns,
    }
    names, marks = ", ".join(stated), ", ".join(["%s"] * len(stated))
    conn.execute(f"insert into mega_generations ({names}) values ({marks})", list(stated.values()))
    return generation_id


def furnish(dsn: str) -> tuple[str, str, str]:
    """Ada has an image job that ended in part, a still that is done and one that failed; Bob has a job of his own."""
    with psycopg.connect(dsn) as conn:
        for user_id, pass_id in PASS_IDS.items():
            conn.execute("insert into mega_customers (mg_pass_id, mg_user_id) values (%s, %s)", [pass_id, user_id])
    job = make_set(dsn, PASS_IDS[ADA], missing=1)
    make_set(dsn, PASS_IDS[BOB])
    with psycopg.connect(dsn) as conn:
        meta = {"result": {"bytes": 300_000}, "cost": 1}
        url = "https://files.test/mma/still/1.jpg"
        still = write_single(
            conn, PASS_IDS[ADA], "done", mg_meta=Jsonb(meta), mg_output_url=url, mg_output_key="mma/still/1.jpg"
        )
        failed = write_single(
            conn, PASS_IDS[ADA], "error", mg_error="It failed.", mg_meta=Jsonb({"error": {"type": "RateLimitError"}})
        )
        for level, step, details in (
            ("info", "initialization", {"jobName": "Spring"}),
            ("warning", "base_generation", {"imageIndex": 1, "attempt": 2}),
            ("success", "upload", {"imageIndex": 1, "attempt": 1}),
            ("error", "completion", None),
        ):
            conn.execute(
                "insert into image_generation_logs (job_id, user_id, level, step, message, details)"
                " values (%s, %s, %s, %s, %s, %s)",
                [job, ADA, level, step, f"{level} of {step}", Jsonb(details) if details else None],
            )
    return job, still, failed


async def output_of(folder: Path, *command: str, **variables: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, complaint = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    assert process.returncode == 0, complaint.decode()[-3000:]
    return told.decode()


@pytest.fixture(scope="module")
async def asked(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asked]:
    folder = tmp_path_factory.mktemp("node") / "client"
    shutil.copytree(CLIENT, folder)
    await output_of(folder, "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts")
    job, still, failed = furnish(module_dsn)
    path = f"mma/still/{job}/001-000.jpg"
    values = {"job": job, "generation": still, "user": ADA, "stranger": BOB, "path": path, "runId": failed}
    async with postgrest.answering(module_dsn) as (url, answering):

        async def answers(access_token: str, **more: str) -> Json:
            variables = {"URL": url, "TOKEN": access_token, "VALUES": json.dumps(values | more)}
            return dict(json.loads(await output_of(folder, "node", "queries.mjs", **variables)))

        visitor, other = await answers(""), await answers(token(BOB), user=BOB, stranger=ADA)
        yield Asked(job, still, failed, await answers(token(ADA)), other, visitor, answering.statements)


def data(answers: Json, name: str) -> Any:
    answer = answers[name]
    assert answer["error"] is None, (name, answer)
    return answer["data"]


# --- the owner ------------------------------------------------------------------------------------------------------


async def test_jobs_are_listed_searched_counted_and_read(asked: Asked):
    [listed] = data(asked.owner, "jobs")
    assert data(asked.owner, "job") == listed
    assert {
        "id": asked.job,
        "name": "Spring",
        "template_name": "Spring Template",
        "variants": 3,
        "user_id": ADA,
    }.items() <= (listed.items())
    assert (listed["status"], listed["progress"]) == ("completed_partial", 100)
    assert json.loads(listed["prompt"])["prompts"] == ["a cup", "a cup"]
    assert json.loads(listed["template_description"])["source_images"] == [
        "https://shop.test/0.jpg", "https://shop.test/1.jpg",
    ]  # fmt: skip
    for name in ("jobs_named", "jobs_with_prompt", "jobs_partial"):
        assert [row["id"] for row in data(asked.owner, name)] == [asked.job], name
    assert data(asked.owner, "jobs_under_way") == []
    assert asked.owner["jobs_counted"]["count"] == 1
    assert data(asked.owner, "job_status")["status"] == "completed_partial"
    assert data(asked.owner, "job_of_nobody") is None
    assert asked.owner["job_must_be_there"]["error"]["code"] == "PGRST116"


async def test_pictures_stand_at_their_positions(asked: Asked):
    images = data(asked.owner, "images")
    places = [(row["carousel_index"], row["image_index"]) for row in images]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert images[1]["generated_image_url"] == f"https://files.test/mma/still/{asked.job}/000-001.jpg"
    assert {"source_image_url": "https://shop.test/1.jpg", "prompt_used": "a cup", "width": 1024}.items() <= (
        images[1].items()
    )
    page = asked.owner["images_second_page"]
    assert (page["data"], page["count"], page["status"]) == (
        [{"carousel_index": 1, "image_index": 0}, {"carousel_index": 1, "image_index": 1}], 5, 206,
    )  # fmt: skip
    assert [row["image_index"] for row in data(asked.owner, "images_of_variant")] == [0, 1]
    assert asked.owner["images_by_old_name"]["count"] == 5


async def test_the_job_log_is_read_by_level_step_details_and_place(asked: Asked):
    logs = data(asked.owner, "logs")
    assert [(row["seq"], row["level"], row["step"]) for row in logs] == [
        (1, "info", "initialization"), (2, "warning", "base_generation"), (3, "success", "upload"),
        (4, "error", "completion"),
    ]  # fmt: skip
    assert {"job_id": asked.job, "user_id": ADA, "message": "info of initialization"}.items() <= logs[0].items()
    assert [row["seq"] for row in data(asked.owner, "logs_after")] == [2, 3]
    assert [row["seq"] for row in data(asked.owner, "logs_bad")] == [2, 4]
    assert [row["seq"] for row in data(asked.owner, "logs_of_step")] == [3]
    assert [row["seq"] for row in data(asked.owner, "logs_of_image")] == [2, 3]
    assert data(asked.owner, "logs_with") == [{"seq": 2, "attempt": 2}]
    assert [row["seq"] for row in data(asked.owner, "logs_without")] == [4]
    assert data(asked.owner, "logs_newest") == {"seq": 4}


async def test_generations_files_and_credits_have_the_older_words(asked: Asked):
    statuses = {row["id"]: row["status"] for row in data(asked.owner, "generations")}
    assert statuses == {asked.job: "completed_partial", asked.still: "completed", asked.failed: "failed"}
    still = data(asked.owner, "generation")
    assert still.pop("updated_at") is not None
    assert still == {
        "id": asked.still, "model_id": "seedream-4.5", "status": "completed",
        "media_url": "https://files.test/mma/still/1.jpg",
    }  # fmt: skip
    ended = {row["status"] for row in data(asked.owner, "generations_ended")}
    assert ended == {"completed", "completed_partial"}
    assert data(asked.owner, "generations_failed") == [
        {"id": asked.failed, "error_message": "It failed.", "why": "RateLimitError"}
    ]
    assert data(asked.owner, "generations_not_done") == [{"id": asked.job}]
    assert [row["id"] for row in data(asked.owner, "failures")] == [asked.failed]
    files = data(asked.owner, "files")
    assert [row["file_path"] for row in files] == sorted(row["storage_path"] for row in data(asked.owner, "images"))
    assert {row["content_type"] for row in files} == {"image/jpeg"}
    assert data(asked.owner, "file") == {"id": files[2]["id"], "file_size": 200_000, "file_hash": "0" * 64}
    assert (asked.owner["files_large"]["count"], len(data(asked.owner, "files_large"))) == (5, 1)
    moved = {(row["transaction_type"], row["amount"]) for row in data(asked.owner, "credits")}
    assert moved == {("bonus", 6), ("usage", -6), ("refund", 1)}
    assert data(asked.owner, "credits_used") == [{"amount": -6, "generation_id": asked.job}]
    assert [row["amount"] for row in data(asked.owner, "credits_returned")] == [1]


async def test_lines_that_the_owner_adds_get_their_numbers(asked: Asked):
    added = [data(asked.owner, f"logger_{level}") for level in ("info", "error", "warning", "success")]
    assert [row["seq"] for row in added] == [5, 6, 7, 8]
    assert [row["level"] for row in added] == ["info", "error", "warning", "success"]
    assert added[0]["message"] == "Starting image generation"
    assert added[0]["details"] == {"imageCount": 5}
    assert added[1]["details"] == {"error": "timeout", "path": "jobs/1.jpg"}
    assert all(row["user_id"] == ADA and row["created_at"] for row in added)
    assert data(asked.owner, "lines") == [{"seq": 9, "message": "from the browser"}, {"seq": 10, "message": "another"}]
    assert (asked.owner["line_without_answer"]["status"], data(asked.owner, "line_without_answer")) == (201, None)


async def test_nothing_else_is_written(asked: Asked, module_dsn: str):
    for answers in (asked.owner, asked.other, asked.visitor):
        for name in FORBIDDEN:
            assert answers[name]["error"], name
            assert answers[name]["data"] is None, name
            assert answers[name]["status"] in (400, 401, 403, 409), (name, answers[name])
    for name in ("line_in_another_name", "line_of_nobody", "line_with_seq", "line_changed"):
        assert (asked.owner[name]["status"], asked.owner[name]["error"]["code"]) == (403, "42501"), name
    assert "warning" in asked.owner["line_of_odd_level"]["error"]["message"] or (
        asked.owner["line_of_odd_level"]["error"]["code"] == "23514"
    )
    assert "none of the steps" in asked.owner["line_of_odd_step"]["error"]["message"]
    with psycopg.connect(module_dsn) as conn:
        counted = conn.execute("select count(*), max(seq) from image_generation_logs where job_id = %s", [asked.job])
        assert counted.fetchone() == (11, 11)
        names = conn.execute("select count(*) from mega_generations where mg_title = 'x'").fetchone()
        assert names == (0,)


# --- others ---------------------------------------------------------------------------------------------------------


async def test_another_customer_sees_nothing_of_it(asked: Asked):
    mine = {asked.job, asked.still, asked.failed, ADA}
    for name, answer in asked.other.items():
        if name in FORBIDDEN | WRITES:
            assert answer["error"], name
            assert answer["status"] in (400, 401, 403, 409), (name, answer)
        elif name not in {"job", "job_must_be_there"}:
            assert answer["error"] is None, (name, answer)
        assert not any(text in json.dumps(answer["data"]) for text in mine), name
    for name in ("images", "logs", "files", "generations_failed", "failures"):
        assert asked.other[name]["data"] == [], name
    assert asked.other["job"]["error"]["code"] == "PGRST116"
    assert len(asked.other["jobs"]["data"]) == 1  # his own


async def test_a_visitor_sees_nothing(asked: Asked):
    for name, answer in asked.visitor.items():
        assert answer["error"], name
        assert answer["data"] is None, name
        assert answer["status"] in (400, 401), (name, answer)


# --- scripts --------------------------------------------------------------------------------------------------------


async def test_the_statement_that_makes_the_log_finds_it_there(module_dsn: str):
    with psycopg.connect(module_dsn) as conn, pytest.raises(psycopg.errors.DuplicateTable):
        conn.execute(CREATE_LOGS.format(""))


async def test_scripts_that_make_what_is_missing_change_nothing(asked: Asked, dsn: str):
    job = furnish(dsn)[0]
    kinds = (
        "select relname, relkind from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
    )
    with psycopg.connect(dsn) as conn:
        before = set(conn.execute(kinds).fetchall())
        for statement in SCRIPTS:
            conn.execute(statement)  # type: ignore[call-overload]
        assert set(conn.execute(kinds).fetchall()) == before
    add = "insert into image_generation_logs (job_id, user_id, step, message) values (%s, %s, 'upload', 'x') returning seq"
    with psycopg.connect(dsn) as conn:
        conn.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": ADA})])
        conn.execute("set local role authenticated")
        assert conn.execute(add, [job, ADA]).fetchone() == (5,)
    with psycopg.connect(dsn) as conn:  # the policies of the script ask for the user alone
        conn.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": BOB})])
        conn.execute("set local role authenticated")
        seen = conn.execute("select count(*) from image_generation_logs where job_id = %s", [job]).fetchone()
        assert seen == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(add, [job, BOB])


async def test_the_statements_are_those_of_postgrest(asked: Asked):
    assert len(asked.statements) > 60
    assert all(statement.startswith("with pgrst_source as (") for statement in asked.statements)
