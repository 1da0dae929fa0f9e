"""`safelight backfill`: an older backend's rows come over whole, once, with their credits."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from safelight.app import App
from safelight.cli import main
from safelight.config import Settings
from tests.conftest import Backend, blank_database, running

DATABASES = Path(__file__).parents[1] / "databases"
RUNBOOK = (Path(__file__).parents[2] / "docs" / "rollout.md").read_text()
BLOCKS = "\n".join(re.findall(r"^```sql\n(.*?)^```", RUNBOOK, re.M | re.S))
STATEMENTS = dict(re.findall(r"^-- ([^\n]+)\n(.*?)(?=^-- |\Z)", BLOCKS, re.M | re.S))
CUSTOMERS = 180  # about 1,200 old rows
FEW = 20
Json = dict[str, Any]


def old_tables(dsn: str, customers: int, schema: str = "legacy") -> None:
    """The tables of an older backend in this schema, with all that it got wrong."""
    files = ("base.sql", "patch.sql", "legacy.sql", "legacy_rows.sql")
    text = f"create schema if not exists {schema};" + "".join((DATABASES / file).read_text() for file in files)
    types = "('generation', 'session', 'feedback', 'credit_transaction')"
    text = (
        text.replace("public.", f"{schema}.")
        .replace("legacy.", f"{schema}.")
        .replace("{n}", str(customers))
        .replace(f"in {types}", "is not null")
    )
    text = text.replace("create unique index", "create index")
    text = text.replace("mg_record_type in ('admin_session'", "true or mg_record_type in ('admin_session'")
    text = text.replace("mg_record_type <> 'mma_step' or", "true or mg_record_type <> 'mma_step' or")
    with psycopg.connect(dsn, options="-c session_replication_role=replica -c timezone=UTC") as conn:
        conn.execute(text)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Move:
    """A database with old tables, and the command."""

    dsn: str
    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def sql(self, statement: str) -> list[Json]:
        with psycopg.connect(self.dsn, autocommit=True, row_factory=dict_row) as conn:
            cursor = conn.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str) -> Any:
        return next(iter(self.sql(query)[0].values()))

    def backfill(self, *arguments: str, status: int = 0) -> str:
        settings = {"SAFELIGHT_DATABASE_URL": self.dsn, "SAFELIGHT_HOME": str(self.home), **self.settings}
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
            for name, value in settings.items():
                patched.setenv(name, value)
            patched.setattr(sys, "argv", ["safelight", "backfill", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        said = ended.value.code
        assert (1 if isinstance(said, str) else said or 0) == status, f"{said} {err.getvalue()}"
        return out.getvalue() if "--json" in arguments else f"{out.getvalue()}{err.getvalue()}{said}"

    def taken(self, *arguments: str) -> dict[str, int]:
        """The number of rows of each table that were written."""
        return {one["table"]: one["written"] for one in json.loads(self.backfill("--json", *arguments))["tables"]}

    def check(self, *, status: int = 0) -> Json:
        return dict(json.loads(self.backfill("--check", "--json", status=status)))

    def tables(self) -> list[Json]:
        """Everything in our tables, as one hash each."""
        return [
            self.sql(f"select count(*), md5(string_agg(row, '' order by row)) from (select to_jsonb(t)::text as row from {table} t) r")[0]
            for table in ("mega_customers", "mega_generations", "mega_admin", "image_generation_logs")
        ]  # fmt: skip


@pytest.fixture(scope="module", params=["embedded", "15"])
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Move]:
    """After one backfill."""
    with blank_database(request) as dsn:
        old_tables(dsn, CUSTOMERS)
        move = Move(dsn, tmp_path_factory.mktemp("home"))
        assert all(move.taken("--batch", "97").values())
        yield move


@pytest.fixture
def move(request: pytest.FixtureRequest, empty_dsn: str, tmp_path: Path) -> Move:
    """Before any, with few rows."""
    old_tables(empty_dsn, FEW)
    return Move(empty_dsn, tmp_path)


def test_a_second_run_changes_nothing_and_both_sides_are_the_same(moved: Move):
    first = moved.tables()
    assert not any(moved.taken("--batch", "211").values())
    assert moved.tables() == first
    report = moved.check()
    assert report["ok"]
    assert report["differences"] == []
    assert sum(table["legacy"]["rows"] for table in report["tables"].values()) > 1000
    assert report["balances"]["legacy"] == report["balances"]["safelight"] > 0
    for table, both in report["tables"].items():
        assert both["legacy"] == both["safelight"], table
        assert both["legacy"]["rows"] == moved.value(f"select count(*) from legacy.{table}")


def test_every_old_row_is_kept_whole(moved: Move):
    for table in ("mega_generations", "generations", "sessions", "projects", "outputs"):
        kept = (
            f"select mg_payload #> '{{legacy,{table}}}' from mega_generations where mg_source_system = 'legacy.{table}'"
        )
        assert moved.sql(f"select from legacy.{table} old where to_jsonb(old) not in ({kept})") == [], table
    for table in ("mega_customers", "customers", "profiles"):
        kept = f"select mg_meta #> '{{legacy,{table}}}' from mega_customers where mg_meta->'legacy' ? '{table}'"
        assert moved.sql(f"select from legacy.{table} old where to_jsonb(old) not in ({kept})") == [], table


def test_ids_are_namespaced(moved: Move):
    assert moved.sql("select 1 from mega_generations where not starts_with(mg_id, mg_record_type || ':')") == []
    assert moved.sql("select 1 from mega_admin where not starts_with(mg_id, mg_record_type || ':')") == []
    [made] = moved.sql("select * from mega_generations where mg_id = 'generation:gen_7'")
    assert (made["mg_pass_id"], made["mg_prompt"], made["mg_generation_id"]) == ("pass_7", "a vase 7", "gen_7")
    assert made["mg_payload"]["brief"] == "a vase"
    assert moved.sql(f"select 1 from mega_generations where mg_id = 'session:{made['mg_session_id']}'") == [
        {"?column?": 1}
    ]
    assert moved.sql("select 1 from mega_generations where mg_id = 'credit_transaction:debit_gen_7'")


def test_the_ledger_explains_every_balance(moved: Move):
    wrong = moved.sql(
        "select mg_pass_id from mega_customers left join (select mg_pass_id, sum(mg_delta) as total from mega_generations"
        " where mg_record_type = 'credit_transaction' group by 1) ledger using (mg_pass_id) where mg_credits <> coalesce(total, 0)"
    )
    assert wrong == []
    assert moved.sql(
        "select mg_pass_id from legacy.mega_customers old join mega_customers ours using (mg_pass_id)"
        " where ours.mg_credits <> greatest(old.mg_credits, 0)"
    ) == []  # fmt: skip
    assert moved.value("select mg_credits from mega_customers where mg_pass_id = 'pass:shopify:only-here-3'") == 7


def test_an_identity_stated_twice_is_one_customers(moved: Move):
    assert (
        moved.sql("select mg_user_id from mega_customers group by 1 having mg_user_id is not null and count(*) > 1")
        == []
    )
    assert moved.value("select count(*) from mega_customers where mg_display_name = 'User 5'") == 1


def test_what_has_no_type_of_ours_is_an_event(moved: Move):
    events = moved.sql("select mg_id, mg_meta->>'event_type' as type from mega_generations where mg_id in"
                       " ('mma_event:note:1', 'mma_event:step-without-number') order by 1")  # fmt: skip
    assert [event["type"] for event in events] == ["legacy.legacy_note", "legacy.mma_step"]
    assert moved.value("select mg_record_type from mega_generations where mg_id = 'mma_step:gen_1:0'") == "mma_step"


def test_old_prompts_are_not_in_force(moved: Move):
    [old] = moved.sql("select * from mega_admin where mg_id = 'admin_audit:app_config:mma.ctx.gpt_reader.v9'")
    assert old["mg_action"] == "legacy.app_config"
    assert (
        moved.value("select mg_value #>> '{credits,imageCost}' from mega_admin where mg_id = 'app_config:runtime'")
        == "2"
    )


def test_the_recipes_of_seed_004_read_the_old_generations(moved: Move):
    failed = moved.sql("select * from failed_generations_view where model_id = 'flux'")
    assert len(failed) == CUSTOMERS // 15
    assert {row["error_type"] for row in failed} == {"RateLimitError"}
    assert all(row["session_name"] and row["user_display_name"] for row in failed)
    [made] = moved.sql("select * from generations where prompt = 'a jug 10'")
    assert (made["status"], made["output_url"]) == ("completed", "https://files.example/10-1.png")
    assert made["parameters"] == {"size": "1K"}
    assert moved.sql("select 1 from generations where parameters::text like '%provider.ts%'") == []


async def test_a_customer_who_came_over_goes_on(moved: Move, tmp_path: Path):
    async with running(moved.dsn, tmp_path) as backend:
        await prices_that_came_over(backend)
        backend.pass_id = "pass_39"  # 36 credits
        made = await backend.finished(await backend.create())
        assert made["status"] == "done"
        assert backend.balance() == backend.ledger_sum() == 34
        history = await backend.get("/history/pass/pass_39")
        assert any(item["generationId"] == "gen_39" for item in history["generations"])
    assert (await asyncio.to_thread(moved.check))["ok"]
    assert not any((await asyncio.to_thread(moved.taken)).values())
    assert moved.value("select mg_credits from mega_customers where mg_pass_id = 'pass_39'") == 34


async def prices_that_came_over(backend: Backend) -> None:
    """A still cost 2 credits there, and goes on to."""
    operator = {"x-admin-secret": backend.app.admin_token()}
    prices = (await backend.post("/admin/config/runtime/reload", {}, headers=operator))["effective"]["credits"]
    assert prices["imageCost"] == 2


async def test_the_doctor_finds_nothing(moved: Move, tmp_path: Path):
    app = App(Settings(database_url=moved.dsn, home=tmp_path))
    async with app.database() as db:
        assert (await app.on(db).doctor.check()).violations == ()


def test_a_dry_run_writes_nothing(move: Move):
    written = move.taken("--dry-run")
    assert written["mega_customers"] == move.value("select count(*) from legacy.mega_customers")
    assert move.value("select count(*) from mega_customers") == 0
    assert move.value("select count(*) from mega_generations") == 0
    assert "this was a dry run" in move.backfill("--dry-run")


def test_what_changes_in_the_old_tables_comes_over_with_the_next_run(move: Move):
    move.backfill()
    move.sql(
        "update mega_customers set mg_credits = mg_credits - 2 where mg_pass_id = 'pass_19'"
    )  # spent here: 16, then 14
    move.sql("insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_delta)"
             " values ('credit_transaction:spent', 'credit_transaction', 'pass_19', -2)")  # fmt: skip
    move.sql("update legacy.mega_customers set mg_credits = 26 where mg_pass_id = 'pass_19'")  # bought there
    move.sql("update legacy.mega_generations set mg_comment = 'lovely' where mg_id = 'gen_3'")
    move.sql("delete from legacy.generations where prompt = 'a jug 5'")
    written = move.taken()
    assert {table: rows for table, rows in written.items() if rows} == {"mega_customers": 1, "mega_generations": 1}
    assert move.value("select mg_credits from mega_customers where mg_pass_id = 'pass_19'") == 24
    assert move.value("select mg_comment from mega_generations where mg_id = 'generation:gen_3'") == "lovely"
    report = move.check(status=1)
    assert report["differences"] == ["generations"]
    assert report["tables"]["generations"]["legacy"]["rows"] == report["tables"]["generations"]["safelight"]["rows"] - 1


def test_differences_are_named_and_end_with_1(move: Move):
    move.backfill()
    assert "no difference" in move.backfill("--check")
    move.sql("update legacy.mega_admin set mg_email = 'x@example.com' where mg_id = 'login'")
    assert move.check(status=1)["differences"] == ["mega_admin"]
    move.sql("update mega_customers set mg_credits = mg_credits + 1 where mg_pass_id = 'pass_3'")
    assert move.check(status=1)["differences"] == ["mega_admin", "balances"]
    move.sql(
        "select safelight.amend_history('a test', 'a test'); update mega_generations set mg_delta = mg_delta + 1 where mg_id = 'credit_transaction:debit_gen_5'"
    )
    report = move.check(status=1)
    assert report["differences"] == ["mega_generations", "mega_admin", "balances"]
    assert report["balances"]["customers_that_differ"] == 1
    assert report["balances"]["balances_without_ledger"] == 2
    assert "different: mega_generations, mega_admin, balances" in move.backfill("--check", status=1)


def test_one_that_was_broken_off_goes_on_where_it_stopped(move: Move):
    move.sql("alter table legacy.mega_generations alter mg_latency_ms type text")
    move.sql("update legacy.mega_generations set mg_latency_ms = 'fast' where mg_id = 'gen_9'")
    told = move.backfill("--batch", "5", status=1)
    assert "mega_generations: a row between" in told
    assert "fast" in told
    assert "Traceback" not in told
    kept = move.value("select count(*) from mega_generations where mg_source_system = 'legacy.mega_generations'")
    assert kept > 0
    move.sql("update legacy.mega_generations set mg_latency_ms = null where mg_id = 'gen_9'")
    report = json.loads(move.backfill("--json", "--batch", "5"))["tables"]
    assert report[0]["table"] == "mega_generations"
    assert report[0]["rows"] == move.value("select count(*) from legacy.mega_generations") - kept
    assert move.check()["ok"]
    assert not any(move.taken().values())


async def test_the_runbook_leads_there_and_back(empty_dsn: str, tmp_path: Path):
    old_tables(empty_dsn, FEW, "public")
    move = Move(empty_dsn, tmp_path)
    move.sql(STATEMENTS["move aside"])
    await asyncio.to_thread(move.backfill)
    assert (await asyncio.to_thread(move.check))["ok"]
    for name in (
        "nothing is open",
        "balances without a ledger",
        "ids without a namespace",
        "rows of customers whom nobody knows",
    ):
        assert move.sql(STATEMENTS[name]) == [], name
    assert move.value("select count(*) from generations where status = 'processing'") == 2
    move.sql(STATEMENTS["end what was under way"])
    assert move.value("select count(*) from generations where status in ('queued', 'processing')") == 0
    async with running(empty_dsn, tmp_path) as backend:
        await prices_that_came_over(backend)
        backend.pass_id = "pass_19"  # 16 credits
        assert (await backend.finished(await backend.create()))["status"] == "done"
    move.sql(STATEMENTS["credits go back"])
    move.sql(STATEMENTS["move back"])
    assert move.value("select mg_credits from public.mega_customers where mg_pass_id = 'pass_19'") == 14
    assert move.value("select relkind::text from pg_class where oid = 'public.generations'::regclass") == "r"
    assert move.value("select mg_id from public.mega_generations where mg_id = 'gen_3'") == "gen_3"
    assert move.value("select count(*) from set_aside.mega_generations where mg_id = 'generation:gen_3'") == 1


def test_another_database_is_read_where_it_is(move: Move, request: pytest.FixtureRequest):
    with blank_database_of(request) as other:
        there = Move(other, move.home)
        there.backfill("--from", move.dsn, "--schema", "legacy")
        assert json.loads(there.backfill("--from", move.dsn, "--check", "--json"))["ok"]
        kept = there.value("select count(*) from mega_customers where mg_meta->'legacy' ? 'mega_customers'")
        assert kept == move.value("select count(*) from legacy.mega_customers")
    assert move.value("select to_regclass('public.mega_customers')") is None


def blank_database_of(request: pytest.FixtureRequest) -> Any:
    request.param = "embedded"
    return blank_database(request)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--schema", "public"), "--schema: 'public' holds our own tables"),
        (("--schema", "elsewhere"), "--schema: there is no old table in 'elsewhere'; it may hold mega_customers"),
        (("--check", "--dry-run"), "--check: it writes nothing"),
        (("--from", "postgresql://127.0.0.1:1/none"), "safelight: --from: connection failed"),
    ],
)
def test_a_wrong_option_is_named(move: Move, arguments: tuple[str, ...], says: str):
    assert says in move.backfill(*arguments, status=1)


def test_a_wrong_size_is_refused(move: Move):
    assert "--batch" in move.backfill("--batch", "0", status=2)


def test_only_one_runs_at_a_time(move: Move):
    move.backfill("--dry-run")
    with psycopg.connect(move.dsn, autocommit=True) as conn:
        conn.execute("select pg_advisory_lock(%s)", [0x5AFE11648])
        assert "a backfill is running on this database" in move.backfill(status=1)
