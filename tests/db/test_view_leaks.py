"""Views that show customers rows of others: found by what a signed-in user can read, and closed by `doctor --fix`."""

import psycopg
import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.db.schema import view_leaks
from safelight.ops.doctor import Report
from tests.conftest import Backend, StartBackend
from tests.pipelines.engine.test_failed_generations import safelight

GRANT = "grant select on {} to authenticated;"
OWN = "create view public.inner_view with (security_invoker) as select * from mega_generations;"

# What was made, and the views that leak then.
LEAKS = {
    "a view of ours that was reset": ("alter view generations reset (security_invoker)", ["public.generations"]),
    "a view that was made anew": (
        "drop view profiles cascade; create view profiles as select mg_pass_id from mega_customers",
        ["public.profiles"],
    ),
    "a view of somebody else": ("create view public.report as select * from mega_customers", ["public.report"]),
    "a view with a name to quote": ('create view public."Re port" as select * from mega_admin', ['public."Re port"']),
    "a view in another schema": (
        "create schema apps; grant usage on schema apps to authenticated;"
        "create view apps.report as select * from mega_generations;" + GRANT.format("apps.report"),
        ["apps.report"],
    ),
    "a view over a view that reads as its owner": (
        "create schema inside; create view inside.all_rows as select * from mega_generations;"
        "create view public.report as select * from inside.all_rows",
        ["public.report"],
    ),
    "a materialized view": (
        "create materialized view public.report as select * from mega_generations;" + GRANT.format("public.report"),
        ["public.report"],
    ),
    "a materialized view over one that reads as whoever asks": (
        OWN + "create materialized view public.report as select * from inner_view;" + GRANT.format("public.report"),
        ["public.report"],
    ),
}
SOUND = {
    "all as migrations make it": "select 1",
    "a view over views that read as whoever asks": OWN
    + "create view public.report with (security_invoker) as select * from inner_view;" + GRANT.format("public.report"),
    "a view without it over one that has it": OWN
    + "create view public.report as select * from inner_view;" + GRANT.format("public.report"),
    "a view of nothing of ours": "create table public.weather (t int); create view public.report as select * from weather;"
    + GRANT.format("public.report"),
    "a view that nobody but its owner may read": (
        "create schema inside; create view inside.all_rows as select * from mega_generations"
    ),
    "a materialized view that nobody but its owner may read": (
        "create materialized view public.report as select * from mega_generations"
    ),
}  # fmt: skip


@pytest.fixture
async def shop(start: StartBackend) -> Backend:
    """Two customers with a generation each, none of whom is who asks."""
    backend: Backend = await start(worker=False)
    for pass_id in ("pass:user:1", "pass:user:2"):
        await backend.grant(1, pass_id)
        await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}, "passId": pass_id})
    return backend


async def leaks(backend: Backend) -> list[str]:
    app = App(Settings(database_url=backend.dsn, home=backend.app.home))
    async with app.database() as db:
        findings: Report = await app.on(db).doctor.check()
    return [id for found in findings.violations if found.problem.name == "view_shows_all_rows" for id in found.ids]


def rows_read(backend: Backend, view: str) -> int:
    """The number of others' rows that a signed-in user reads there; 0 for one who may not read it."""
    with psycopg.connect(backend.dsn) as conn:
        conn.execute("set role authenticated")
        try:
            return len(conn.execute(f"select * from {view}").fetchall())  # type: ignore[call-overload]
        except psycopg.errors.InsufficientPrivilege:
            return 0


@pytest.mark.parametrize("case", LEAKS)
async def test_a_view_that_leaks_is_found_and_closed(shop: Backend, case: str):
    made, names = LEAKS[case]
    shop.sql(made)
    shop.sql(GRANT.format(names[0]))
    assert rows_read(shop, names[0]) > 0 or "admin" in made
    assert await leaks(shop) == names
    async with shop.app.database() as db, db.connection() as conn:
        assert await view_leaks.close(conn) == len(names)
    assert rows_read(shop, names[0]) == 0
    assert await leaks(shop) == []


@pytest.mark.parametrize("case", SOUND)
async def test_a_view_that_shows_no_rows_of_others_is_no_leak(shop: Backend, case: str):
    shop.sql(SOUND[case])
    assert await leaks(shop) == []
    if "public.report" in SOUND[case] and "nothing of ours" not in case:
        assert rows_read(shop, "public.report") == 0


async def test_the_command_ends_with_1_and_mends_it(shop: Backend):
    shop.sql("create view public.report as select * from mega_customers")
    said = safelight(shop, "doctor")
    assert (said.returncode, "public.report" in said.stdout) == (1, True)
    mended = safelight(shop, "doctor", "--fix")
    assert mended.returncode == 0
    assert "1 views set to security_invoker" in mended.stdout
