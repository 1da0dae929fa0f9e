"""The rights of each role to read and write, on the embedded PostgreSQL and on PostgreSQL 15. What there is to guard is
read from the catalogue: a new table, view or function that nobody guards fails here."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from safelight.app import App
from safelight.config import Settings
from safelight.db.schema.migrate import available
from safelight.domain.ids import new_id
from tests.conftest import blank_database, running
from tests.support.image_sets import make_set

Json = dict[str, Any]

ROLES = ("anon", "authenticated", "service_role")
ADA = "6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90"
BOB = "0b0a3c44-9b1f-4c62-8a54-3f1c58f0d9aa"
PASS_IDS = {ADA: f"pass:user:{ADA}", BOB: "pass:shopify:4711"}

# What a signed-in user may read, and which rows of it are theirs as the owner of the tables sees it.
OWN_ROWS = {
    "public.mega_customers": "mg_pass_id = %(pass_id)s",
    "public.mega_generations": "mg_pass_id = %(pass_id)s"
    " and (mg_record_type <> 'mma_step' or mg_step_type = 'variant_creation')",
    "public.image_generation_logs": "job_id::text in (select mg_generation_id from mega_generations"
    " where mg_record_type = 'generation' and mg_pass_id = %(pass_id)s)",
    "public.profiles": "username = %(pass_id)s",
    "public.projects": "owner_id = %(user_id)s",
    "public.sessions": "user_id = %(user_id)s",
    "public.generations": "pass_id = %(pass_id)s",
    "public.failed_generations_view": "user_id = %(user_id)s",
    "public.image_generation_jobs": "user_id = %(user_id)s::uuid",
    "public.generated_images": "user_id = %(user_id)s::uuid",
    "public.generated_carousel_images": "user_id = %(user_id)s::uuid",
    "public.file_metadata": "user_id = %(user_id)s::uuid",
    "public.credit_transactions": "user_id = %(user_id)s::uuid",
}
USERS_MAY_CALL = {"generation_status(text,text)", "customers_read_steps()", "mega_result_is_delivered(text)"}

RELATIONS = """
    select format('%I.%I', nspname, relname) as name, relkind::text as kind, relrowsecurity as guarded,
      coalesce('security_invoker=true' = any (reloptions), false) as invoker,
      (select quote_ident(attname) from pg_attribute where attrelid = pg_class.oid and attnum > 0
        and not attisdropped and attidentity = '' and attgenerated = ''
        and pg_column_is_updatable(attrelid, attnum, false) order by attnum limit 1) as column_name,
      pg_relation_is_updatable(pg_class.oid, false) > 0 as updatable,
      array(select polname::text from pg_policy where polrelid = pg_class.oid order by 1) as policies
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relkind in ('r', 'p', 'v', 'm', 'f') and nspname in ('public', 'safelight', 'procrastinate') order by 1
"""
ROUTINES = """
    select pg_proc.oid::regprocedure::text as name,
      array(select rolname::text from pg_roles where rolname = any (%s)
        and has_function_privilege(pg_roles.oid, pg_proc.oid, 'execute') order by 1) as callers
    from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
    where nspname in ('public', 'safelight', 'procrastinate') order by 1
"""
NOT_ALLOWED = psycopg.errors.InsufficientPrivilege
NOT_POSSIBLE = psycopg.errors.ObjectNotInPrerequisiteState  # a view over several tables, whoever asks


@dataclass
class Shop:
    """Ada and Bob are signed-in users; each has a still that is done and one that failed, and a like."""

    dsn: str

    @contextmanager
    def acting(self, role: str | None = None, user_id: str | None = None, *before: str) -> Iterator[Any]:
        """A connection that is the role, after what the owner does `before`; nothing remains."""
        with psycopg.connect(self.dsn, row_factory=dict_row) as conn, conn.transaction(force_rollback=True):
            for statement in before:
                conn.execute(statement)  # type: ignore[call-overload]
            if user_id:
                conn.execute("select set_config('request.jwt.claims', %s, true)", [f'{{"sub": "{user_id}"}}'])
            if role:
                conn.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
            yield conn

    def ask(self, query: str, values: Any = ()) -> list[Json]:
        with self.acting() as conn:
            return list(conn.execute(query, values or None).fetchall())

    def relations(self) -> list[Json]:
        return self.ask(RELATIONS)

    def rows_of(self, user_id: str, relation: str) -> set[str]:
        query = f"select to_jsonb(r)::text as row from {relation} r where {OWN_ROWS[relation]}"
        found = self.ask(query, {"user_id": user_id, "pass_id": PASS_IDS[user_id]})
        return {row["row"] for row in found}


@pytest.fixture(scope="module", params=["embedded", "15"])
async def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    with blank_database(request) as dsn:
        await App(Settings(database_url=dsn)).migrate()
        with psycopg.connect(dsn) as conn:
            for user_id, pass_id in PASS_IDS.items():
                conn.execute("insert into mega_customers (mg_pass_id, mg_user_id) values (%s, %s)", [pass_id, user_id])
        home = tmp_path_factory.mktemp("home")
        await furnish(dsn, home, {})
        await furnish(dsn, home, {"local_fault": "gpt_reader:refused"})
        yield Shop(dsn)


async def furnish(dsn: str, home: Path, settings: Json) -> None:
    """Their rows have users, so that a server of ours speaks for them."""
    async with running(dsn, home, **settings) as backend:
        backend.client.headers["x-admin-secret"] = backend.app.admin_token()
        for pass_id in PASS_IDS.values():
            backend.pass_id = pass_id
            await backend.grant(2)
            session = await backend.post("/sessions/start", {"title": "Autumn"})
            made = await backend.finished(await backend.create(sessionId=session["session"]["id"]))
            await backend.post("/mma/events", {"event_type": "like", "generation_id": made["generation_id"]})
            make_set(dsn, backend.pass_id)


def statement(verb: str, relation: Json) -> str:
    name, column = relation["name"], relation["column_name"] or "id"
    return {
        "select": f"select * from {name}",
        "insert": f"insert into {name} default values",
        "update": f"update {name} set {column} = {column}",
        "delete": f"delete from {name}",
    }[verb]


def is_allowed(shop: Shop, role: str, query: str) -> bool:
    with shop.acting(role, ADA if role == "authenticated" else None) as conn:
        try:
            conn.execute(query)
        except (NOT_ALLOWED, NOT_POSSIBLE):
            return False
        except psycopg.errors.IntegrityError:  # it was allowed, and then the row was wrong
            return True
        return True


@pytest.mark.parametrize("verb", ["select", "insert", "update", "delete"])
@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_to_each_relation_what_is_meant_for_it(shop: Shop, role: str, verb: str):
    for relation in shop.relations():
        name = relation["name"]
        meant = {
            "anon": False,
            "authenticated": verb == "select" and name in OWN_ROWS,
            "service_role": verb == "select" or relation["updatable"],
        }[role]
        assert is_allowed(shop, role, statement(verb, relation)) == meant, f"{role}: {verb} {name}"


async def test_no_role_has_a_privilege_by_another_way(shop: Shop):
    for relation in shop.relations():
        found = shop.ask(
            "select grantee::regrole::text as role, privilege_type as privilege from pg_class, aclexplode(relacl)"
            " where pg_class.oid = %s::regclass and grantee <> relowner",
            [relation["name"]],
        )
        everything = {(row["role"], row["privilege"]) for row in found if row["role"] == "service_role"}
        others = {(row["role"], row["privilege"]) for row in found if row["role"] != "service_role"}
        assert len(everything) >= 7
        assert others == ({("authenticated", "SELECT")} if relation["name"] in OWN_ROWS else set()), relation["name"]


async def test_every_table_is_guarded_and_every_view_asks_as_its_reader(shop: Shop):
    relations = shop.relations()
    assert {relation["kind"] for relation in relations} == {"r", "v"}
    for relation in relations:
        if relation["kind"] == "v":
            assert relation["invoker"], relation["name"]
        else:
            assert relation["guarded"], relation["name"]
            assert "safelight_service" in relation["policies"], relation["name"]


async def test_every_function_is_for_the_service_role_or_the_views(shop: Shop):
    routines = shop.ask(ROUTINES, [list(ROLES)])
    assert {routine["name"] for routine in routines} >= USERS_MAY_CALL
    for routine in routines:
        users = ["authenticated"] if routine["name"] in USERS_MAY_CALL else []
        assert routine["callers"] == [*users, "service_role"], routine["name"]


@pytest.mark.parametrize("relation", OWN_ROWS)
async def test_a_user_sees_exactly_what_is_theirs(shop: Shop, relation: str):
    seen = {}
    for user_id in PASS_IDS:
        with shop.acting("authenticated", user_id) as conn:
            rows = conn.execute(f"select to_jsonb(r)::text as row from {relation} r").fetchall()
        seen[user_id] = {row["row"] for row in rows}
        assert seen[user_id] == shop.rows_of(user_id, relation) != set()
        assert len(rows) == len(seen[user_id])
    assert not seen[ADA] & seen[BOB]


async def test_the_rows_are_those_of_a_real_run(shop: Shop):
    with shop.acting("authenticated", ADA) as conn:
        found = conn.execute("select distinct mg_record_type as type from mega_generations order by 1").fetchall()
        assert [row["type"] for row in found] == [
            "credit_transaction",
            "generation",
            "mma_event",
            "mma_step",
            "session",
        ]
        statuses = conn.execute("select status from generations order by 1").fetchall()
        assert [row["status"] for row in statuses] == ["completed", "completed", "completed", "failed"]


# Kinds of what the step rows hold and a customer does not read; each is text that stands in them.
INTERNAL = {
    "parts of prompts": "select jsonb_path_query(mg_payload, '$.input.* ? (@.type() == \"string\")') #>> '{}' as text"
    " from mega_generations where mg_step_type = 'gpt_reader'",
    "who serves a step": "select jsonb_build_object('adapter', mg_payload #> '{input,adapter}')::text as text"
    " from mega_generations where mg_payload #> '{input,adapter}' is not null",
    "who answers a question": "select 'provider\": \"' || mg_provider || '\"' as text from mega_generations"
    " where mg_record_type = 'mma_step' and mg_provider not in ('seedream', 'kling')",
    "what a provider said of an error": "select mg_payload #>> '{error,message}' as text from mega_generations"
    " where mg_payload #>> '{error,message}' is not null",
    "which configuration was used": "select mg_payload #>> '{input,ctx_hash}' as text from mega_generations"
    " where mg_payload #>> '{input,ctx_hash}' is not null",
}
# What the variable map, which is the customer's, names too.
NAMES = {"mma.ctx.gpt_reader", ""}
STEPS_OF = "select mg_id from mega_generations where mg_record_type = 'mma_step' and mg_pass_id = %s"
OF_POSITIONS = (
    " and mg_step_type = 'variant_creation'"  # files, seeds and settings of a set, nothing of prompts or providers
)


@pytest.mark.parametrize("kind", INTERNAL)
@pytest.mark.parametrize("relation", OWN_ROWS)
async def test_nothing_internal_is_in_what_a_user_reads(shop: Shop, relation: str, kind: str):
    internal = {row["text"] for row in shop.ask(INTERNAL[kind])} - NAMES
    with shop.acting("authenticated", ADA, *GENEROUS) as conn:
        rows = conn.execute(f"select to_jsonb(r)::text as row from {relation} r").fetchall()
    own_words = shop.ask("select mg_payload::text as text from mega_generations where mg_record_type = 'generation'")
    internal -= {text for text in internal for own in own_words if text in own["text"]}
    assert internal
    for text in internal:
        assert not [row for row in rows if text in row["row"]], text


@pytest.mark.parametrize("filter", ["mg_generation_id is not null", "mg_step_no = 0", "mg_id like 'mma_step:%%'"])
async def test_no_way_of_asking_shows_a_step(shop: Shop, filter: str):
    with shop.acting("authenticated", ADA, *GENEROUS) as conn:
        rows = conn.execute(f"select mg_step_type as type from mega_generations where {filter}").fetchall()
    assert {row["type"] for row in rows} <= {None, "variant_creation"}


async def test_a_setting_shows_users_their_own_steps(shop: Shop):
    own = {row["mg_id"] for row in shop.ask(STEPS_OF, [PASS_IDS[ADA]])}
    open_ones = {row["mg_id"] for row in shop.ask(STEPS_OF + OF_POSITIONS, [PASS_IDS[ADA]])}
    for setting, seen in ((True, own), (False, open_ones)):
        await App(Settings(database_url=shop.dsn, customers_read_steps=setting)).migrate()
        with shop.acting("authenticated", ADA) as conn:
            steps = conn.execute("select mg_id from mega_generations where mg_record_type = 'mma_step'").fetchall()
            assert {row["mg_id"] for row in steps} == seen
            with pytest.raises(NOT_ALLOWED):
                conn.execute("update safelight.settings set value = 'true'")


READING_STEPS = ("update safelight.settings set value = 'true' where name = 'customers_read_steps'",)
UNDELIVERED = (
    "set local session_replication_role = replica",
    "update mega_generations set mg_mma_status = 'STATUS'"
    " where mg_record_type = 'generation' and mg_mma_status = 'done'",
)


@pytest.mark.parametrize("status", ["generating", "postscan", "cancelled", "error"])
async def test_a_user_reads_where_a_result_is_when_it_is_delivered(shop: Shop, status: str):
    """Steps that make or look at a result name its file; without the file's name nobody finds it."""
    steps = (
        "select mg_step_type as type, mg_payload::text as row from mega_generations where mg_record_type = 'mma_step'"
    )
    with shop.acting("authenticated", ADA, *READING_STEPS) as conn:
        delivered = conn.execute(steps).fetchall()
    before = [*READING_STEPS, *(statement.replace("STATUS", status) for statement in UNDELIVERED)]
    with shop.acting("authenticated", ADA, *before) as conn:
        undelivered = conn.execute(steps).fetchall()
    hidden = {row["type"] for row in delivered} - {row["type"] for row in undelivered}
    assert hidden == {"seedream_generate", "postscan_output_still"}
    others = [row["row"] for row in undelivered if row["type"] != "like_history"]  # it names what was liked before
    assert "/assets/mma/" in str(delivered) and "/assets/mma/" not in str(others)


@pytest.mark.parametrize("user_id", [None, "01a1fede-58ba-7384-8f8a-8ece3089eeb5"])
@pytest.mark.parametrize("relation", OWN_ROWS)
async def test_a_user_whom_nobody_knows_sees_nothing(shop: Shop, relation: str, user_id: str | None):
    with shop.acting("authenticated", user_id) as conn:
        assert conn.execute(f"select * from {relation}").fetchall() == []


async def test_the_service_role_sees_everything(shop: Shop):
    for relation in shop.relations():
        count = f"select count(*) as rows from {relation['name']}"
        with shop.acting("service_role") as conn:
            assert conn.execute(count).fetchall() == shop.ask(count), relation["name"]


GENEROUS = (
    "grant all on all tables in schema public to anon, authenticated",
    "create policy \"Everybody reads\" on mega_generations for select to public using (true)",
    "create policy \"Everybody reads\" on mega_customers for select to public using (true)",
    "create policy \"Everybody reads\" on image_generation_logs for select to public using (true)",
)  # fmt: skip


async def test_what_a_dashboard_grants_shows_a_user_no_more(shop: Shop):
    for relation in OWN_ROWS:
        with shop.acting("authenticated", ADA, *GENEROUS) as conn:
            rows = conn.execute(f"select to_jsonb(r)::text as row from {relation} r").fetchall()
        assert {row["row"] for row in rows} == shop.rows_of(ADA, relation)


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_what_a_dashboard_grants_lets_nobody_write(shop: Shop, role: str):
    for relation in (one for one in shop.relations() if one["name"].startswith("public.") and one["kind"] == "r"):
        for verb in ("update", "delete"):
            with shop.acting(role, ADA, *GENEROUS) as conn:
                assert conn.execute(statement(verb, relation)).rowcount == 0
        row = f"insert into {relation['name']} select * from jsonb_populate_record(null::{relation['name']}, %s)"
        with shop.acting(role, ADA, *GENEROUS) as conn, pytest.raises((NOT_ALLOWED, psycopg.errors.GeneratedAlways)):
            conn.execute(row, ['{"mg_pass_id": "pass:user:new", "mg_id": "generation:new"}'])


async def test_a_users_rows_are_found_by_index(shop: Shop):
    with shop.acting("authenticated", ADA, "set local enable_seqscan = off") as conn:
        plan = conn.execute("explain select * from mega_generations").fetchall()
    lines = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "Index Cond: (mg_pass_id = ANY" in lines, lines
    assert "Index Cond: (mg_user_id = " in lines, lines


@pytest.mark.parametrize("rights", ["bypassrls", "nobypassrls"])
async def test_the_application_works_as_the_service_role(shop: Shop, tmp_path: Path, rights: str):
    name = f"node_{rights}_{new_id().replace('-', '')}"
    with psycopg.connect(shop.dsn, autocommit=True) as conn:
        conn.execute(f"create role {name} login {rights} in role service_role")  # type: ignore[call-overload]
    try:
        async with running(make_conninfo(shop.dsn, user=name), tmp_path) as backend:
            await backend.grant(1)
            made = await backend.finished(await backend.create())
            assert made["status"] == "done"
            assert backend.sql("select current_user::text as name") == [{"name": name}]
    finally:
        with psycopg.connect(shop.dsn, autocommit=True) as conn:
            conn.execute(f"drop role {name}")  # type: ignore[call-overload]


async def test_what_the_other_tool_applies_is_guarded_too(blank: str):
    with psycopg.connect(blank) as conn:
        for migration in available():
            conn.execute(migration.text)  # type: ignore[call-overload]
    other = Shop(blank)
    await test_every_table_is_guarded_and_every_view_asks_as_its_reader(other)
    await test_no_role_has_a_privilege_by_another_way(other)
    await test_every_function_is_for_the_service_role_or_the_views(other)
    assert other.ask("select customers_read_steps() as steps") == [{"steps": False}]
    await App(Settings(database_url=blank)).migrate()
    assert any(relation["name"].startswith("procrastinate.") for relation in other.relations())
    await test_no_role_has_a_privilege_by_another_way(other)


def make_roles(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        for role in ROLES:
            if not conn.execute("select from pg_roles where rolname = %s", [role]).fetchall():
                conn.execute(sql.SQL("create role {}").format(sql.Identifier(role)))


SUPABASE = """
    create schema auth;
    create function auth.uid() returns uuid language sql stable as 'select null::uuid';
    create publication supabase_realtime;
    create table public.notes (id int primary key);
    create function public.note() returns int language sql as 'select 1';
    grant all on public.notes to authenticated;
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
"""


async def test_on_supabase_only_what_is_ours_changes(blank: str):
    make_roles(blank)
    with psycopg.connect(blank) as conn:
        conn.execute(SUPABASE)
        was = conn.execute("select prosrc from pg_proc where oid = 'auth.uid()'::regprocedure").fetchall()
    await App(Settings(database_url=blank)).migrate()
    with psycopg.connect(blank) as conn:
        assert conn.execute("select prosrc from pg_proc where oid = 'auth.uid()'::regprocedure").fetchall() == was
        assert conn.execute("select has_table_privilege('authenticated', 'notes', 'delete'),"
                            " has_function_privilege('anon', 'note()', 'execute')").fetchall() == [(True, True)]  # fmt: skip
        assert conn.execute("select has_table_privilege('anon', 'mega_customers', 'select'),"
                            " has_function_privilege('anon', 'get_failure_stats(int)', 'execute')"
                            ).fetchall() == [(False, False)]  # fmt: skip
        published = conn.execute("select tablename from pg_publication_tables order by 1").fetchall()
        assert published == [("image_generation_logs",), ("mega_generations",)]
        [(rows,)] = conn.execute(
            "select rowfilter from pg_publication_tables where tablename = 'mega_generations'"
        ).fetchall()
        told = (
            "select mg_id from (values ('generation:1'), ('mma_step:1:0'), ('credit_transaction:1')) row (mg_id) where "
        )
        assert conn.execute(told + rows).fetchall() == [("generation:1",)]
        conn.execute("insert into mega_generations (mg_id, mg_record_type) values ('session:1', 'session')")
        conn.execute("update mega_generations set mg_title = 'It can be changed.'")


@contextmanager
def without_roles(dsn: str) -> Iterator[str]:
    """The DSN of an owner who may make no roles, on a server that has none of them."""
    owner = f"owner_{new_id().replace('-', '')}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        found = conn.execute("select rolname from pg_roles where rolname = any (%s)", [list(ROLES)]).fetchall()
        there = [role for (role,) in found]
        for role in there:
            conn.execute(f"alter role {role} rename to away_{role}")  # type: ignore[call-overload]
        try:
            conn.execute(f"create role {owner} login")  # type: ignore[call-overload]
            conn.execute(f"alter database {conn.info.dbname} owner to {owner}")  # type: ignore[call-overload]
            yield make_conninfo(dsn, user=owner)
        finally:
            conn.execute(f"reassign owned by {owner} to current_user")  # type: ignore[call-overload]
            conn.execute(f"drop owned by {owner}")  # type: ignore[call-overload]
            conn.execute(f"drop role {owner}")  # type: ignore[call-overload]
            for role in there:
                conn.execute(f"alter role away_{role} rename to {role}")  # type: ignore[call-overload]


async def test_roles_that_may_not_be_made_stop_nothing(blank: str, tmp_path: Path):
    other = Shop(blank)
    with psycopg.connect(blank) as conn:
        conn.execute("create publication supabase_realtime")
    with without_roles(blank) as dsn:
        await App(Settings(database_url=dsn)).migrate()
        assert all(one["guarded"] or one["kind"] == "v" for one in other.relations())
        assert not other.ask("select 1 from pg_policies where schemaname = 'public'")
        async with running(dsn, tmp_path) as backend:
            await backend.grant(1)
            assert (await backend.finished(await backend.create()))["status"] == "done"
    make_roles(blank)
    with psycopg.connect(blank) as conn:
        conn.execute("select safelight.guard_rows()")
    await test_every_table_is_guarded_and_every_view_asks_as_its_reader(other)
    await test_no_role_has_a_privilege_by_another_way(other)
