"""Every SQL block of tests/seeds/004.sql as written, on generations that really failed, were cancelled, got stuck or were done; on
the embedded PostgreSQL and on PostgreSQL 15."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from safelight.app import App
from safelight.config import Settings
from tests.conftest import blank_database, running

SEED_004 = (Path(__file__).parents[2] / "seeds" / "004.sql").read_text()
BLOCKS = dict(re.findall(r"^-- block: ([^\n]+)\n(.*?)(?=^-- block: |\Z)", SEED_004, re.M | re.S))
ALL_FAILED = "1. Get All Failed Generations (Last 24 Hours)"
OF_USER = "2. Get Failed Generations by User"
STUCK = "3. Get Stuck Generations (Processing > 10 Minutes)"
BY_MODEL = "4. Count Failed Generations by Model"
WITH_TYPES = "5. Get Failed Generations with Error Types"
FULL_CONTEXT = "6. Get Recent Failures with Full Error Context"
EMAILS = "7. Get User Email from Supabase Auth (Requires Admin Access)"
VIEW = "1. Create a View for Failed Generations"
FUNCTION = "2. Create a Function to Get Failure Stats"
RATE_LIMITS = "Example: Finding Rate Limit Errors"
QUERIES = [ALL_FAILED, OF_USER, STUCK, BY_MODEL, WITH_TYPES, FULL_CONTEXT, EMAILS, RATE_LIMITS]

ADA = "6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90"
ADA_PASS, BOB = "pass:user:ada", "pass:user:bob"


@dataclass
class Shop:
    """Ada is a signed-in user, Bob is a pass id alone."""

    dsn: str
    rate_limited: str = ""  # Ada's
    schema: str = ""  # Ada's
    unreadable: str = ""  # Bob's
    by_hand: str = ""  # Bob's, marked with the UPDATE of tests/seeds/000.sql
    done: str = ""  # Bob's
    stuck: str = ""  # Bob's
    cancelled: str = ""  # Bob's

    @property
    def failed(self) -> set[str]:
        return {self.rate_limited, self.schema, self.unreadable, self.by_hand}

    def ask(self, query: str) -> list[dict[str, Any]]:
        path = "-c search_path=public,procrastinate"
        with psycopg.connect(self.dsn, autocommit=True, row_factory=dict_row, options=path) as conn:
            cursor = conn.execute(query)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def trying(self) -> Iterator[Any]:
        """Nothing that is done inside remains."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as conn, conn.transaction(force_rollback=True):
            yield conn


@pytest.fixture(scope="module", params=["embedded", "15"])
async def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    with blank_database(request) as dsn:
        await App(Settings(database_url=dsn)).migrate()
        yield await furnished(Shop(dsn), tmp_path_factory.mktemp("home"))


async def furnished(shop: Shop, home: Path) -> Shop:
    shop.ask(f"insert into auth.users (id, email) values ('{ADA}', 'ada@example.com')")
    shop.ask(
        "insert into mega_customers (mg_pass_id, mg_user_id, mg_display_name, mg_first_name, mg_last_name) values"
        f" ('{ADA_PASS}', '{ADA}', 'Ada', null, null), ('{BOB}', null, null, 'Bob', 'Dylan')"
    )
    shop.rate_limited = await made(shop, home, ADA_PASS, local_fault="seedream_generate:rate_limited")
    shop.schema = await made(shop, home, ADA_PASS, local_fault="gpt_reader:bad_json")
    shop.unreadable = await made(shop, home, BOB, product="/assets/product/anon/gone.jpg")
    shop.done = await made(shop, home, BOB)
    shop.by_hand = await made(shop, home, BOB, worker=False)
    shop.stuck = await made(shop, home, BOB, worker=False)
    shop.cancelled = await made(shop, home, BOB, worker=False)
    shop.ask(
        "update mega_generations set mg_status = 'failed', mg_mma_status = 'error', mg_error = 'It did not work.'"
        f" where mg_id = 'generation:{shop.by_hand}'"
    )
    shop.ask(
        "update mega_generations set mg_mma_status = 'generating', mg_status = 'processing',"
        f" mg_created_at = now() - interval '30 minutes' where mg_id = 'generation:{shop.stuck}'"
    )
    shop.ask(
        "update mega_generations set mg_mma_status = 'cancelled', mg_status = 'cancelled'"
        f" where mg_id = 'generation:{shop.cancelled}'"
    )
    shop.ask("delete from procrastinate_jobs")
    return shop


async def made(shop: Shop, home: Path, pass_id: str, *, product: str | None = None, **settings: Any) -> str:
    async with running(shop.dsn, home, **settings) as backend:
        backend.client.headers["x-admin-secret"] = backend.app.admin_token()  # Ada's row needs it, or her token
        backend.pass_id = pass_id
        await backend.grant(1, pass_id)
        product = product and backend.app.settings.base_url + product
        accepted = await backend.create(product=product)
        if settings.get("worker", True):
            await backend.finished(accepted)
        return str(accepted["generation_id"])


def test_every_block_is_known():
    assert sorted(BLOCKS) == sorted([*QUERIES, VIEW, FUNCTION])


def test_all_failed_generations_name_user_session_and_project(shop: Shop):
    rows = shop.ask(BLOCKS[ALL_FAILED])
    assert {row["id"] for row in rows} == shop.failed
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    assert all(row["status"] == "failed" and row["model_id"] and row["error_message"] for row in rows)
    of = {row["id"]: row for row in rows}
    ada = of[shop.rate_limited]
    assert (ada["user_id"], ada["user_display_name"], ada["username"]) == (ADA, "Ada", ADA_PASS)
    assert (of[shop.unreadable]["user_id"], of[shop.unreadable]["user_display_name"]) == (BOB, "Bob Dylan")
    assert (ada["session_name"], ada["project_name"]) == ("Image session", "All work")
    assert ada["prompt"] == "on pale stone, soft light"


def test_every_failure_has_its_context_and_no_stack(shop: Shop):
    of = {row["id"]: row["error_context"] for row in shop.ask(BLOCKS[ALL_FAILED])}
    assert {generation_id: context["type"] for generation_id, context in of.items()} == {
        shop.rate_limited: "RateLimitError",
        shop.schema: "SchemaMismatch",
        shop.unreadable: "AssetUnreadable",
        shop.by_hand: "UnknownError",
    }
    assert (
        of[shop.rate_limited].items()
        >= {
            "code": "SEEDREAM_RATE_LIMITED",
            "step": "seedream_generate",
            "category": "PROVIDER_ERROR",
            "httpStatus": 502,
            "isRetryable": True,
            "userId": ADA,
        }.items()
    )
    for context in of.values():
        assert context["message"] and context["userId"]
        assert datetime.fromisoformat(context["timestamp"]) <= datetime.now(UTC)
        assert "stack" not in context and "Traceback" not in str(context)


def test_failures_of_one_user_are_found_by_the_users_id(shop: Shop):
    assert shop.ask(BLOCKS[OF_USER]) == []
    of_ada = shop.ask(BLOCKS[OF_USER].replace("YOUR_USER_ID_HERE", ADA))
    assert [row["id"] for row in of_ada] == [shop.schema, shop.rate_limited]
    of_bob = shop.ask(BLOCKS[OF_USER].replace("YOUR_USER_ID_HERE", BOB))
    assert {row["id"] for row in of_bob} == {shop.unreadable, shop.by_hand}


def test_what_processes_for_more_than_ten_minutes_is_listed(shop: Shop):
    [row] = shop.ask(BLOCKS[STUCK])
    assert (row["id"], row["status"], row["username"]) == (shop.stuck, "processing", BOB)
    assert 30 <= row["age_minutes"] < 40


def test_failures_are_counted_by_model(shop: Shop):
    rows = shop.ask(BLOCKS[BY_MODEL])
    assert sum(row["failure_count"] for row in rows) == len(shop.failed)
    assert [row["failure_count"] for row in rows] == sorted((row["failure_count"] for row in rows), reverse=True)
    # A failure counts for the model that failed; what somebody marked by hand, under the engine's name.
    affected = {row["model_id"]: row["affected_users"] for row in rows}
    assert affected == {"darkroom-eyes-1": 2, "darkroom-still-1": 1, "seedream": 1}


def test_every_failure_has_an_error_type(shop: Shop):
    assert {row["id"] for row in shop.ask(BLOCKS[WITH_TYPES])} == shop.failed
    assert {row["id"] for row in shop.ask(BLOCKS[FULL_CONTEXT])} == shop.failed


def test_failures_come_with_the_emails_of_signed_in_users(shop: Shop):
    of = {row["generation_id"]: row["user_email"] for row in shop.ask(BLOCKS[EMAILS])}
    assert of.keys() == shop.failed
    assert (of[shop.rate_limited], of[shop.unreadable]) == ("ada@example.com", None)


def test_rate_limit_errors_are_found(shop: Shop):
    assert [row["id"] for row in shop.ask(BLOCKS[RATE_LIMITS])] == [shop.rate_limited]


def test_the_seeds_view_may_be_pasted_over_ours(shop: Shop):
    ask = "select * from failed_generations_view order by id"
    before = shop.ask(ask)
    assert {row["id"] for row in before} == shop.failed
    with shop.trying() as conn:
        conn.execute(BLOCKS[VIEW])
        assert conn.execute(ask).fetchall() == before


def test_failure_stats_have_the_seeds_columns_with_a_type_that_can_work(shop: Shop):
    usage = re.sub(r"CREATE OR REPLACE.*?plpgsql;", "", BLOCKS[FUNCTION], flags=re.S)
    first, last = shop.ask(usage.replace("SELECT * FROM get_failure_stats(168)", "")), shop.ask(usage)
    assert first == last
    assert {row["model_id"]: row["failure_count"] for row in last} == {
        row["model_id"]: row["failure_count"] for row in shop.ask(BLOCKS[BY_MODEL])
    }
    assert all(row["latest_failure"].tzinfo for row in last)
    with pytest.raises(psycopg.errors.InvalidFunctionDefinition):
        shop.ask(BLOCKS[FUNCTION])
    with shop.trying() as conn:
        conn.execute(BLOCKS[FUNCTION].replace("latest_failure TIMESTAMP", "latest_failure TIMESTAMPTZ"))
        assert conn.execute("select * from get_failure_stats(168)").fetchall() == last


def test_statuses_are_the_seeds_words(shop: Shop):
    rows = shop.ask("select id, status, parameters from generations")
    of = {row["id"]: row["status"] for row in rows}
    assert (of[shop.done], of[shop.stuck], of[shop.cancelled]) == ("completed", "processing", "cancelled")
    parameters = {row["id"]: row["parameters"] for row in rows}
    assert parameters[shop.cancelled]["errorContext"]["type"] == "Cancelled"
    assert "error" not in parameters[shop.done]
    assert parameters[shop.done]["aspect_ratio"] == "1:1"
    assert parameters[shop.done]["assets"]["product"].endswith(".jpg")


def test_a_visitor_who_signs_in_keeps_what_was_made_before(shop: Shop):
    with shop.trying() as conn:
        user_id = "0b6e5d8a-3f7c-4c1e-8f0d-2d9a6b1c4e55"
        conn.execute("update mega_customers set mg_user_id = %s where mg_pass_id = %s", [user_id, BOB])
        rows = conn.execute(BLOCKS[OF_USER].replace("YOUR_USER_ID_HERE", user_id)).fetchall()
        assert {(row["id"], row["username"]) for row in rows} == {(shop.unreadable, BOB), (shop.by_hand, BOB)}


def test_the_views_show_what_the_asking_role_may_read(shop: Shop):
    rows = shop.ask(
        "select relname, reloptions from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace"
    )
    assert {row["relname"] for row in rows} >= {"generations", "profiles", "sessions", "failed_generations_view"}
    assert all("security_invoker=true" in row["reloptions"] for row in rows)


# --- many rows -------------------------------------------------------------------------------------------------------

MANY = """
insert into mega_customers (mg_pass_id) select 'pass:user:' || i from generate_series(1, 2000) i;
insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_session_id, mg_title, mg_created_at)
select 'session:' || i, 'session', 'pass:user:' || (1 + i % 2000), i, 'A sitting', now() - i * interval '2 minutes'
from generate_series(1, 15000) i;
insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_session_id, mg_provider,
  mg_mma_status, mg_status, mg_error, mg_payload, mg_pipeline_version, mg_created_at)
select 'generation:' || i, 'generation', i, 'pass:user:' || (1 + i % 2000), 1 + i % 15000, 'seedream',
  case when i % 50 = 0 then 'error' when i % 1500 = 1 then 'generating' else 'done' end,
  case when i % 50 = 0 then 'failed' when i % 1500 = 1 then 'processing' else 'succeeded' end,
  case when i % 50 = 0 then 'The picture service had a problem.' end,
  jsonb_build_object('order', jsonb_build_object('brief', repeat('soft light ', 20))), 1,
  now() - i * interval '1 minute'
from generate_series(1, 30000) i;
insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id, mg_session_id,
  mg_step_no, mg_step_type, mg_status, mg_created_at)
select 'mma_step:' || i || ':' || no, 'mma_step', i, 'generation:' || i, 'pass:user:' || (1 + i % 2000), 1 + i % 15000,
  no, 'gpt_reader', 'succeeded', now() - i * interval '1 minute'
from generate_series(1, 30000) i, generate_series(0, 2) no;
analyze
"""


@pytest.fixture(scope="module", params=["embedded", "15"])
async def many(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    with blank_database(request) as dsn:
        await App(Settings(database_url=dsn)).migrate()
        with psycopg.connect(dsn, autocommit=True) as conn:
            for statement in MANY.split(";\n"):
                conn.execute(statement)  # type: ignore[call-overload]
            yield conn


def plan(conn: Any, query: str) -> Iterator[str]:
    return (row[0] for row in conn.execute(f"explain {query}").fetchall())


@pytest.mark.parametrize("block", QUERIES)
async def test_no_block_reads_all_generations(many: Any, block: str):
    query = BLOCKS[block].replace("YOUR_USER_ID_HERE", "pass:user:51")
    assert not [line for line in plan(many, query) if "Seq Scan on mega_generations" in line]


async def test_the_view_and_the_stats_read_no_more_than_the_blocks(many: Any):
    read = "select seq_scan from pg_stat_xact_user_tables where relname = 'mega_generations'"
    with many.transaction():
        before = many.execute(read).fetchone()
        many.execute("select * from get_failure_stats(24)").fetchall()
        many.execute("select * from failed_generations_view order by created_at desc limit 50").fetchall()
        many.execute("select * from unfinished_generations()").fetchall()
        assert many.execute(read).fetchone() == before
