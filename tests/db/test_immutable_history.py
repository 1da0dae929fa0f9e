"""History is immutable: ledger rows, finished steps, events, feedback, configuration versions, operators' actions and log
lines are neither changed nor deleted, whoever asks; what must be done all the same is done by one way, on record."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tests.conftest import Backend, running

REFUSED = psycopg.errors.RestrictViolation
AMEND = "select safelight.amend_history('erasure asked for by the customer', 'support@example.com')"

# kind of row: (table, which rows, changes)
KINDS: dict[str, tuple[str, str, list[str]]] = {
    "ledger row": (
        "mega_generations",
        "mg_record_type = 'credit_transaction'",
        ["mg_delta = 100", "mg_pass_id = null", "mg_reason = 'gift'", "mg_deleted_at = now()", "mg_id = mg_id"],
    ),
    "finished step": (
        "mega_generations",
        "mg_record_type = 'mma_step'",
        [
            "mg_payload = mg_payload || '{\"output\": {}}'",
            "mg_payload = jsonb_set(mg_payload, '{timing,ended_at}', 'null')",
            "mg_model = 'better'",
            "mg_step_no = mg_step_no + 100",
            "mg_status = 'succeeded'",
            "mg_created_at = now()",
            "mg_row_hash = null",
        ],
    ),
    "event": (
        "mega_generations",
        "mg_record_type = 'mma_event'",
        ["mg_meta = '{}'", "mg_pass_id = null", "mg_record_type = 'session', mg_id = 'session:x'"],
    ),
    "feedback": ("mega_generations", "mg_record_type = 'feedback'", ["mg_comment = 'lovely'", "mg_meta = '{}'"]),
    "configuration version": (
        "mega_admin",
        "mg_record_type = 'app_config'",
        [
            "mg_value = mg_value || '{\"enabled\": false}'",
            "mg_key = 'x'",
            "mg_deleted_at = now()",
            "mg_content_hash = ''",
        ],
    ),
    "operator's action": (
        "mega_admin",
        "mg_record_type = 'admin_audit'",
        ["mg_detail = '{}'", "mg_action = 'nothing'", "mg_record_type = 'warn', mg_id = 'warn:x'"],
    ),
    "log line": (
        "image_generation_logs",
        "true",
        ["message = 'All was well.'", "level = 'success'", "details = '{}'", "created_at = now()", "row_hash = null"],
    ),
}
CHANGES = [(kind, change) for kind, (_, _, changes) in KINDS.items() for change in changes]
TABLES = ("mega_generations", "mega_admin", "image_generation_logs")
# Who asks, and how: by what is set before. The test's user is the owner of the tables, and a superuser.
WHO = {
    "the owner": "select 1",
    "the service role": "set local role service_role",
    "a replica": "set local session_replication_role = replica",
}


@pytest.fixture(scope="module")
async def made(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    """A still that is done and one that failed, liked and talked about, and credits that an operator gave."""
    home = tmp_path_factory.mktemp("home")
    async with running(module_dsn, home, admin_token="t" * 40) as backend:
        await backend.grant(3)
        done = await backend.finished(await backend.create())
        await backend.post("/mma/events", {"event_type": "like", "generation_id": done["generation_id"]})
        backend.sql(
            "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_comment)"
            " values ('feedback:1', 'feedback', %s, 'too dark')",
            backend.pass_id,
        )
        await backend.post(
            "/admin/credits/adjust",
            {"customerId": backend.pass_id, "delta": 1},
            headers={"x-admin-secret": "t" * 40},
        )
    async with running(module_dsn, home, local_fault="gpt_reader:refused") as other:
        other.pass_id = backend.pass_id
        await other.finished(await other.create())
        yield other


@contextmanager
def trying(backend: Backend, *before: str) -> Iterator[Any]:
    """A transaction that is taken back."""
    with psycopg.connect(backend.dsn, row_factory=dict_row) as conn, conn.transaction(force_rollback=True):
        for statement in before:
            conn.execute(statement)  # type: ignore[call-overload]
        yield conn


def test_there_are_rows_of_every_kind(made: Backend):
    for table, where, _ in KINDS.values():
        assert made.value(f"select count(*) from {table} where {where}")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("kind", "change"), CHANGES)
def test_history_is_not_changed(made: Backend, kind: str, change: str, who: str):
    table, where, _ = KINDS[kind]
    with trying(made, WHO[who]) as conn, pytest.raises(REFUSED):
        conn.execute(f"update {table} set {change} where {where}")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("kind", KINDS)
def test_history_is_not_deleted(made: Backend, kind: str, who: str):
    table, where, _ = KINDS[kind]
    with trying(made, WHO[who]) as conn, pytest.raises(REFUSED):
        conn.execute(f"delete from {table} where {where}")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    "statement",
    [*(f"truncate {table}" for table in TABLES), "truncate mega_customers cascade", "truncate mega_admin, pg_temp.x"],
)
def test_history_is_not_truncated(made: Backend, statement: str, who: str):
    with (
        trying(made, "create temp table x (y int)", "grant all on x to public", WHO[who]) as conn,
        pytest.raises(REFUSED),
    ):
        conn.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "update mega_customers set mg_pass_id = 'pass:user:another'",
        "insert into mega_generations select * from mega_generations where mg_record_type = 'credit_transaction'"
        " on conflict (mg_id) do update set mg_delta = 100",
        "merge into mega_generations kept using mega_generations other on kept.mg_id = other.mg_id"
        " and kept.mg_record_type = 'mma_event' when matched then update set mg_meta = '{}'",
        "with gone as (delete from image_generation_logs returning seq) select count(*) from gone",
        "update generations set prompt = 'x'",
    ],
    ids=["cascade", "upsert", "merge", "in a query", "view"],
)
def test_no_other_statement_does_it(made: Backend, statement: str):
    with trying(made) as conn, pytest.raises((REFUSED, psycopg.errors.ObjectNotInPrerequisiteState)):
        conn.execute(statement)


def test_what_is_no_history_yet_may_change(made: Backend):
    with trying(made) as conn:
        conn.execute(
            "update mega_generations set mg_title = 'Autumn' where mg_record_type in ('generation', 'session')"
        )
        conn.execute(
            "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_step_no, mg_step_type)"
            " values ('mma_step:g:0', 'mma_step', 'g', 'generation:g', 0, 'gpt_reader')"
        )
        conn.execute("update mega_generations set mg_payload = '{\"output\": 1}' where mg_id = 'mma_step:g:0'")
        ended = 'update mega_generations set mg_payload = \'{"timing": {"ended_at": "now"}}\' where mg_id = \'mma_step:g:0\''
        conn.execute(ended)
        assert unsealed(conn) == []
        with pytest.raises(REFUSED):
            conn.execute(ended)


async def test_what_operators_set_for_the_moment_may_change(made: Backend):
    with trying(made) as conn:
        for price in (1, 2):
            conn.execute(
                "insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value) values ('app_config:runtime', 'app_config',"
                " 'runtime', to_jsonb(%s::int)) on conflict (mg_id) do update set mg_value = excluded.mg_value",
                [price],
            )


def test_feedback_may_be_withdrawn(made: Backend):
    with trying(made) as conn:
        withdrawn = conn.execute("update mega_generations set mg_deleted_at = now() where mg_record_type = 'feedback'")
        assert withdrawn.rowcount == 1
        assert unsealed(conn) == []


UNSEALED = """
    select mg_id as id from mega_generations r where mg_row_hash is distinct from safelight.row_hash(r)
      and mg_record_type not in ('generation', 'session')
    union all select mg_id from mega_admin r where mg_row_hash is distinct from safelight.row_hash(r)
      and mg_record_type in ('app_config', 'admin_audit')
    union all select id::text from image_generation_logs r where row_hash is distinct from safelight.row_hash(r)
"""


def unsealed(conn: Any) -> list[Any]:
    return list(conn.execute(UNSEALED).fetchall())


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kathmandu"])
def test_every_row_of_history_has_its_hash_wherever_it_is_looked_at(made: Backend, timezone: str):
    with trying(made, f"set local timezone = '{timezone}'", "set local datestyle = 'German'") as conn:
        assert unsealed(conn) == []


# --- the one way around ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_history_is_amended_by_one_way_and_on_record(made: Backend, kind: str):
    table, where, changes = KINDS[kind]
    before = made.sql("select * from mega_admin where mg_action = 'history.amend'")
    with trying(made, AMEND, AMEND) as conn:
        conn.execute(f"update {table} set {changes[0]} where {where} and not {amendment(table)}")
        assert unsealed(conn) == []
        conn.execute(f"delete from {table} where {where} and not {amendment(table)}")
        [row] = conn.execute("select * from mega_admin where mg_action = 'history.amend'").fetchall()
    assert before == []
    assert (row["mg_record_type"], row["mg_detail"]["actor"]) == ("admin_audit", "support@example.com")
    assert row["mg_detail"]["reason"] == "erasure asked for by the customer"
    assert row["mg_detail"]["role"] == "postgres"


def test_the_guide_for_operators_erases_what_a_customer_wrote(made: Backend):
    guide = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    [erasure] = re.findall(r"```sql\nbegin;\n(select safelight\.amend_history.*?)commit;\n```", guide, re.DOTALL)
    lines = "select l.message, l.details from image_generation_logs l join mega_generations g on g.mg_generation_id"
    mine = f"{lines} = l.job_id::text where g.mg_record_type = 'generation' and g.mg_pass_id = %s"
    with trying(made, erasure.replace("PASS_ID", made.pass_id)) as conn:
        erased = conn.execute(mine, [made.pass_id]).fetchall()  # type: ignore[call-overload]
        assert erased
        assert {(row["message"], row["details"]) for row in erased} == {("(erased)", None)}
        assert unsealed(conn) == []


def amendment(table: str) -> str:
    return "mg_action = 'history.amend'" if table == "mega_admin" else "false"


def test_the_service_role_may_amend_history_and_a_user_may_not(made: Backend):
    with trying(made, "set local role service_role", AMEND) as conn:
        conn.execute("delete from image_generation_logs")
    with trying(made, "set local role authenticated") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(AMEND)


@pytest.mark.parametrize("change", ["delete from mega_admin", "update mega_admin set mg_detail = '{}'"])
def test_the_record_of_an_amendment_stays(made: Backend, change: str):
    with trying(made, AMEND) as conn, pytest.raises(REFUSED):
        conn.execute(f"{change} where mg_action = 'history.amend'")


@pytest.mark.parametrize("arguments", ["''", "'   '", "null", "'a reason', ''"])
def test_an_amendment_has_its_reason_and_somebody_who_makes_it(made: Backend, arguments: str):
    with trying(made) as conn, pytest.raises(psycopg.errors.InvalidParameterValue):
        conn.execute(f"select safelight.amend_history({arguments})")


@pytest.mark.parametrize(
    "forged",
    [
        "select set_config('safelight.erasing', 'on', true)",
        "insert into mega_admin (mg_id, mg_record_type, mg_action, mg_event_at, mg_detail) values ('admin_audit:x',"
        " 'admin_audit', 'history.amend', now() - interval '1 s', jsonb_build_object('transaction', pg_current_xact_id()::text))",
        "insert into mega_admin (mg_id, mg_record_type, mg_action, mg_event_at, mg_detail) values ('admin_audit:x',"
        " 'admin_audit', 'history.amend', now(), '{\"transaction\": \"1\"}')",
    ],
)
def test_another_transactions_permission_is_none(made: Backend, forged: str):
    with trying(made, forged) as conn, pytest.raises(REFUSED):
        conn.execute("delete from image_generation_logs")


async def test_the_permission_ends_with_its_transaction(dsn: str):
    with psycopg.connect(dsn) as conn:
        conn.execute(AMEND)
        conn.commit()
        assert conn.execute("select safelight.amends_history()").fetchone() == (False,)
        conn.execute("insert into mega_customers (mg_pass_id) values ('p')")
        conn.execute(
            "insert into mega_generations (mg_id, mg_record_type, mg_pass_id) values ('mma_event:1', 'mma_event', 'p')"
        )
        with pytest.raises(REFUSED):
            conn.execute("delete from mega_generations")


# --- the content hash of configurations ------------------------------------------------------------------------------


def test_a_configuration_version_has_the_hash_of_its_content(made: Backend):
    rows = made.sql(
        "select mg_id, mg_value::text as content, mg_content_hash from mega_admin where mg_record_type = 'app_config'"
    )
    assert len(rows) > 5
    for row in rows:
        assert row["mg_content_hash"] == hashlib.sha256(row["content"].encode()).hexdigest(), row["mg_id"]


def test_the_same_content_has_the_same_hash_however_it_is_written(made: Backend):
    one, other = '{"a": 1, "b": {"x": [1, 2], "y": null}}', '{"b":{"y":null,"x":[1,2]},  "a":1}'
    hashes = {made.value("select safelight.content_hash(%s::jsonb)", value) for value in (one, other)}
    assert len(hashes) == 1
    assert hashes != {made.value("select safelight.content_hash(%s::jsonb)", '{"a": 2}')}


@pytest.mark.parametrize("name", ["ctx", "settings"])
def test_a_step_names_the_hash_of_what_it_ran_under(made: Backend, name: str):
    steps = made.sql(
        sql.SQL(
            "select step.mg_payload #>> {} as said, config.mg_content_hash as hash from mega_generations step"
            " join mega_admin config on config.mg_id = step.mg_payload #>> {} where step.mg_record_type = 'mma_step'"
        )
        .format(f"{{input,{name}_hash}}", f"{{input,{name}_id}}")
        .as_string()
    )
    assert steps
    assert all(step["said"] == step["hash"] for step in steps)
