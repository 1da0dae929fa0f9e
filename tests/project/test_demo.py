"""`safelight demo` in an empty home, and what SQL says about it afterwards: the blocks of tests/seeds/000.sql,
as written."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import psycopg
import pytest
from PIL import Image
from psycopg.rows import dict_row

from safelight.db import embedded
from tests.conftest import COFFEE, Backend, running
from tests.support.commands import Started, run_safelight

COMMAND = str(Path(sys.executable).with_name("safelight"))
SEED_000 = (Path(__file__).parents[1] / "seeds" / "000.sql").read_text()
BLOCKS = dict(re.findall(r"^-- (\d\.\d) [^\n]*\n(.*?)(?=^-- \d\.\d|\Z)", SEED_000, re.M | re.S))


def environment_of(home: Path, **settings: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    return plain | {"SAFELIGHT_HOME": str(home), "SAFELIGHT_PORT": "0", "COLUMNS": "200"} | settings


def safelight(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_safelight(*arguments, environment=environment_of(home, **settings))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the demo, in that of everything else."""
    return tmp_path_factory.mktemp("home") / "demo"


@pytest.fixture(scope="module")
async def live(module_dsn: str, home: Path) -> AsyncIterator[Backend]:
    """A live API on the same home, with an order that waits for a worker."""
    async with running(module_dsn, home.parent, worker=False) as backend:
        await backend.grant(1)
        await backend.create()
        yield backend


@pytest.fixture(scope="module")
def report(home: Path, live: Backend) -> dict:
    before = everything_in(live)
    settings = {"SAFELIGHT_DATABASE_URL": live.dsn, "SAFELIGHT_PORT": str(live.app.settings.port)}
    command = [COMMAND, "demo", "--json"]  # from nothing, and at full size
    environment = environment_of(home.parent, **settings)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert everything_in(live) == before
    return json.loads(done.stdout)


def everything_in(live: Backend) -> list[str]:
    tables = (
        "mega_customers",
        "mega_generations",
        "mega_admin",
        "image_generation_logs",
        "procrastinate_jobs",
        "procrastinate_workers",
    )
    return [
        live.value(f"select md5(string_agg(one::text, '|' order by one::text)) from {table} one") for table in tables
    ]


def test_a_demo_beside_a_live_api_changes_nothing_of_it(report: dict, live: Backend, home: Path):
    assert live.value("select mg_mma_status from mega_generations where mg_record_type = 'generation'") == "queued"
    assert live.balance() == 0
    assert all(Path(made["file"]).is_relative_to(home) for made in report["made"])
    assert sorted(path.name for path in home.parent.iterdir() if path.name == "postgres") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello, I am a text", "is no picture"),
        (b"%PDF-1.7 and more", "is no picture"),
        (b"\x1a\x45\xdf\xa3....webm", "is no picture (video/webm)"),
        (b"", "is no picture"),
    ],
)
def test_a_product_that_is_no_picture_is_said_before_anything_starts(tmp_path: Path, content: bytes, said: str):
    file = tmp_path / "product.jpg"
    file.write_bytes(content)
    done = safelight(tmp_path / "home", "demo", "--product", str(file))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_refusal_is_shown_and_ends_the_demo(tmp_path: Path):
    file = tmp_path / "cut.jpg"
    file.write_bytes(COFFEE.read_bytes()[:3000])
    done = safelight(tmp_path, "demo", "--product", str(file))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_the_demo_with_a_line(tmp_path: Path):
    log = tmp_path / "demo.log"
    demo = Started("demo", environment=environment_of(tmp_path / "home"), log=log)
    try:
        while not log.exists() or "seedream_generate" not in log.read_text():
            assert demo.poll() is None, log.read_text()
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=30) == 130  # 2.5 s at most of which are ours; the rest is for a machine that is busy
        assert log.read_text().count("the demo was interrupted") == 1
    finally:
        demo.kill()


@pytest.fixture(scope="module")
def conn(home: Path, report: dict) -> Any:
    with psycopg.connect(embedded.start(home), autocommit=True, row_factory=dict_row) as conn:
        yield conn


def test_it_ends_with_four_stills_and_two_videos(report: dict):
    files = [Path(made["file"]) for made in report["made"]]
    assert len({file.read_bytes() for file in files}) == 6
    for file in files[:4]:
        with Image.open(file) as image:
            assert min(image.size) >= 512
    for file in files[4:]:
        with av.open(str(file)) as video:
            assert video.streams.video[0].codec_context.name == "h264"
            assert sum(1 for _ in video.decode(video=0)) >= 24


def test_it_charges_exactly_fourteen(report: dict, conn: Any):
    assert (report["credits_charged"], report["balance"]) == (-14, 0)
    [row] = conn.execute(
        "select sum(mg_delta) as sum from mega_generations where mg_ref_type = 'mma_charge' and mg_pass_id = %s",
        [report["pass_id"]],
    ).fetchall()
    assert row["sum"] == -14


def test_it_ends_with_a_like_and_a_download(conn: Any):
    rows = conn.execute(
        "select mg_meta->>'event_type' as type from mega_generations where mg_record_type = 'mma_event'"
        " and mg_meta->>'event_type' in ('like', 'download') order by mg_created_at"
    ).fetchall()
    assert [row["type"] for row in rows] == ["like", "download"]


def run_block(conn: Any, name: str, *values: str | None) -> list[dict]:
    """The block as it stands, its $1… bound by the server."""
    statement = BLOCKS[name].strip().rstrip(";")
    statement = re.sub(r"^--.*$", "", statement, flags=re.M)
    conn.execute(f"prepare block as {statement}")
    try:
        literals = ", ".join(psycopg.sql.Literal(value).as_string(conn) for value in values)
        cursor = conn.execute(f"execute block({literals})" if values else "execute block")
        return cursor.fetchall() if cursor.description else []
    finally:
        conn.execute("deallocate block")


def test_every_block_is_known():
    assert sorted(BLOCKS) == ["5.1", "5.2", "6.1", "6.2", "6.3", "6.4", "6.5", "6.6"]


def test_the_sections_blocks_run_as_written(report: dict, conn: Any):
    """Block 5.1 inserts an ops error and 5.2 marks a generation as failed; the blocks of 6 then find what they wrote."""
    running = "01990000-0000-7000-8000-000000000000"
    detail = json.dumps(
        {
            "category": "PROVIDER_ERROR",
            "error_code": "MMA_TEST",
            "message": "by hand",
            "generation_id": running,
            "step_type": "gpt_reader",
        }
    )
    status = "select mg_status, mg_mma_status, mg_error from mega_generations where mg_id = %s"
    with conn.transaction(force_rollback=True):
        conn.execute(
            "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_mma_status, mg_status)"
            " values (%s, 'generation', %s, %s, 'prompting', 'processing')",
            [f"generation:{running}", running, report["pass_id"]],
        )
        run_block(conn, "5.1", report["pass_id"], "/mma/still/create", "POST", "504", detail)
        run_block(conn, "5.2", running, "It did not work.")
        [marked] = conn.execute(status, [f"generation:{running}"]).fetchall()
        assert marked == {"mg_status": "failed", "mg_mma_status": "error", "mg_error": "It did not work."}
        [latest] = run_block(conn, "6.1")
        assert (latest["error_code"], latest["generation_id"]) == ("MMA_TEST", running)
        [of_generation] = run_block(conn, "6.2", running)
        assert of_generation["mg_detail"]["message"] == "by hand"
        assert run_block(conn, "6.6") == [{"category": "PROVIDER_ERROR", "cnt": 1}]
        finished = report["made"][0]["generation_id"]
        run_block(conn, "5.2", finished, "It did not work.")
        [kept] = conn.execute(status, [f"generation:{finished}"]).fetchall()
        assert kept == {"mg_status": "succeeded", "mg_mma_status": "done", "mg_error": None}
    assert run_block(conn, "6.1") == []


def test_the_timeline_block_tells_every_step(report: dict, conn: Any):
    for made in report["made"]:
        timeline = run_block(conn, "6.3", made["generation_id"])
        assert [row["mg_step_no"] for row in timeline] == list(range(len(timeline)))
        assert all({"input", "output", "timing", "error"} <= row["mg_payload"].keys() for row in timeline)
    assert timeline[0]["mg_step_type"] == "gpt_feedback_motion"


def test_the_version_blocks_name_context_and_settings(report: dict, conn: Any):
    first = report["made"][0]["generation_id"]
    assert run_block(conn, "6.4", first) == [
        {"ctx_key": "mma.ctx.gpt_reader", "ctx_version": "1", "ctx_id": "app_config:mma.ctx.gpt_reader.v1"}
    ]
    [settings] = run_block(conn, "6.5", first)
    assert settings["settings_key"] == "mma.provider.seedream.defaults"
    assert settings["settings_version"] == "1"
    assert settings["settings_resolved"]["aspect_ratio"] == "4:5"


RECIPES = sorted((Path(__file__).parents[2] / "docs" / "recipes").glob("*.sql"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_each_recipe_answers_its_question(recipe: Path, report: dict, conn: Any):
    values = {"generation_id": report["made"][4]["generation_id"], "pass_id": report["pass_id"]}
    statement = re.sub(r":'(\w+)'", lambda found: f"'{values[found[1]]}'", recipe.read_text())
    rows = conn.execute(statement).fetchall()
    if re.search("error|fail|stuck|processing", recipe.stem):  # in the demo nothing goes wrong
        assert rows == []
    else:
        assert rows


def test_show_and_logs_tell_the_same_story(home: Path, report: dict, conn: Any):
    first = report["made"][0]["generation_id"]
    shown = json.loads(safelight(home, "generations", "show", first, "--json").stdout)
    assert shown["generation"]["mg_mma_status"] == "done"
    assert [step["mg_step_type"] for step in shown["steps"]][-1] == "postscan_output_still"
    lines = json.loads(safelight(home, "generations", "logs", first, "--json").stdout)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    listed = json.loads(safelight(home, "generations", "list", "--json").stdout)
    assert {row["mg_generation_id"] for row in listed} == {made["generation_id"] for made in report["made"]}
    text = safelight(home, "generations", "show", first).stdout
    assert "app_config:mma.ctx.gpt_reader.v1" in text


def test_the_dsn_is_printed_while_the_database_runs(home: Path, conn: Any):
    printed = safelight(home, "db", "url").stdout.strip()
    with psycopg.connect(printed) as other:
        assert other.execute("select count(*) from mega_customers").fetchone() == (1,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generations", "show", "nope"], "there is no generation 'nope'"),
        (["credits", "grant", "anonymous", "5"], "PASS_ID"),
        (["credits", "grant", "pass:user:1", "0"], "a whole number from 1 to"),
        (["demo", "--product", "/no/such/file"], "does not exist"),
        (["generations", "list", "--status", "odd"], "'odd' is not one of"),
        (["up", "--port", "99999"], "less than or equal to 65535"),
    ],
)
def test_bad_input_is_one_clear_line(home: Path, conn: Any, arguments: list[str], said: str):
    done = safelight(home, *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_grant_shows_in_the_ledger(home: Path, conn: Any):
    done = safelight(home, "credits", "grant", "pass:user:new", "25")
    assert "balance 25" in done.stdout
    rows = conn.execute("select mg_delta from mega_generations where mg_pass_id = 'pass:user:new'").fetchall()
    assert rows == [{"mg_delta": 25}]


def test_the_engine_benchmark_reports_a_ratio(home: Path, conn: Any):
    result = json.loads(safelight(home, "bench", "engine", "--pipelines", "20", "--json").stdout)
    assert result["ratio"] > 0
    assert result["floor_per_second"] > 0
    databases = conn.execute("select datname from pg_database where datname like 'safelight_bench%'").fetchall()
    assert databases == []
