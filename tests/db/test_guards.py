"""The database itself refuses what must never happen, whoever writes it."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from safelight.db.connection.sessions import APPLICATION_NAME
from tests.conftest import Backend, running

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def made(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Backend, Json, Json]]:
    """A finished still and a failed one."""
    home = tmp_path_factory.mktemp("home")
    async with running(module_dsn, home) as backend:
        await backend.grant(3)
        done = await backend.finished(await backend.create())
    async with running(module_dsn, home, local_fault="gpt_reader:refused") as other:
        other.pass_id = backend.pass_id
        failed = await other.finished(await other.create())
        yield other, done, failed


def write(backend: Backend, name: str, *statements: str) -> None:
    with psycopg.connect(backend.dsn, application_name=name) as conn:
        for statement in statements:
            conn.execute(statement)  # type: ignore[call-overload]


def refused(backend: Backend, error: type[psycopg.Error], *statements: str, name: str = "psql") -> None:
    with pytest.raises(error):
        write(backend, name, *statements)


@pytest.mark.parametrize("status", ["error", "cancelled", "queued", "generating", "partial"])
async def test_a_final_status_stays(made: tuple[Backend, Json, Json], status: str):
    backend, done, _ = made
    with psycopg.connect(backend.dsn, row_factory=dict_row, autocommit=True) as conn:
        said: list[str] = []
        conn.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        key = f"generation:{done['generation_id']}"
        conn.execute("update mega_generations set mg_mma_status = %s where mg_id = %s", [status, key])
        [row] = conn.execute("select mg_mma_status from mega_generations where mg_id = %s", [key]).fetchall()
    assert row["mg_mma_status"] == "done"
    assert said == [f"{key} is done and stays so"]


async def test_what_people_keep_about_a_finished_generation_may_change(made: tuple[Backend, Json, Json]):
    backend, done, _ = made
    key = f"generation:{done['generation_id']}"
    backend.sql("update mega_generations set mg_title = 'For the autumn' where mg_id = %s", key)
    assert backend.value("select mg_title from mega_generations where mg_id = %s", key) == "For the autumn"


@pytest.mark.parametrize(
    "change",
    [
        "mg_payload = mg_payload || '{\"output\": {}}'",
        "mg_payload = jsonb_set(mg_payload, '{timing,ended_at}', 'null')",
        "mg_step_no = mg_step_no + 100",
        "mg_step_type = 'scan_logo'",
        "mg_generation_id = 'another'",
    ],
)
async def test_a_finished_step_is_never_written_again(made: tuple[Backend, Json, Json], change: str):
    backend, _, _ = made
    refused(
        backend,
        psycopg.errors.RestrictViolation,
        f"update mega_generations set {change} where mg_step_type = 'seedream_generate'",
    )


GENERATION = (
    "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_mma_status, mg_pipeline_version)"
    " values ('generation:g', 'generation', 'g', 'prompting', 1)"
)
FAIL = "update mega_generations set mg_mma_status = 'error', mg_status = 'failed' where mg_id = 'generation:g'"
STEP = (
    "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_step_no, mg_step_type,"
    " mg_status) values ('mma_step:g:0', 'mma_step', 'g', 'generation:g', 0, 'gpt_reader', 'failed')"
)
OPS = (
    "insert into mega_admin (mg_id, mg_record_type, mg_detail)"
    " values ('error:g', 'error', '{\"generation_id\": \"g\"}')"
)


@pytest.mark.parametrize(
    "statements", [(FAIL,), (FAIL, OPS), (FAIL, STEP), (STEP,)], ids=["none", "no step", "no ops", "step"]
)
async def test_our_engine_cannot_fail_a_generation_on_one_plane(
    made: tuple[Backend, Json, Json], statements: tuple[str, ...]
):
    backend, _, _ = made
    broken = psycopg.errors.IntegrityConstraintViolation
    refused(backend, broken, GENERATION, *statements, name=APPLICATION_NAME)


async def test_both_planes_may_be_written_in_any_order(made: tuple[Backend, Json, Json]):
    backend, _, _ = made
    with psycopg.connect(backend.dsn, application_name=APPLICATION_NAME) as conn, conn.transaction(force_rollback=True):
        for statement in (GENERATION, FAIL, STEP, OPS, "set constraints all immediate"):
            conn.execute(statement)


async def test_our_engine_is_known_by_its_name(made: tuple[Backend, Json, Json]):
    backend, _, _ = made
    async with backend.app.database() as db, db.connection() as conn:
        row = await (await conn.execute("select current_setting('application_name') as name")).fetchone()
    assert row == {"name": APPLICATION_NAME}


LINE = "insert into image_generation_logs (job_id, step, message, seq) values (%s, 'x', 'x', %s)"


async def test_the_log_has_no_hole(made: tuple[Backend, Json, Json]):
    backend, done, _ = made
    last = backend.value("select max(seq) from image_generation_logs where job_id = %s", done["generation_id"])
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        backend.sql(LINE, done["generation_id"], last + 2)
    with pytest.raises(psycopg.errors.UniqueViolation):
        backend.sql(LINE, done["generation_id"], last)


async def test_a_refund_needs_its_charge(made: tuple[Backend, Json, Json]):
    backend, done, _ = made
    refund = (
        "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_delta, mg_ref_type, mg_ref_id)"
        " values ('credit_transaction:x', 'credit_transaction', %s, %s, 'mma_refund', %s)"
    )
    for credits, of in ((1, "mma:unknown"), (2, f"mma:{done['generation_id']}")):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            backend.sql(refund, backend.pass_id, credits, of)


async def test_a_generation_is_charged_and_refunded_once(made: tuple[Backend, Json, Json]):
    backend, _, failed = made
    for kind in ("mma_charge", "mma_refund"):
        with pytest.raises(psycopg.errors.UniqueViolation):
            backend.sql(
                "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_delta, mg_ref_type, mg_ref_id)"
                " values ('credit_transaction:x', 'credit_transaction', %s, 1, %s, %s)",
                backend.pass_id,
                kind,
                f"mma:{failed['generation_id']}",
            )


async def test_a_customer_has_one_generation_for_a_key(made: tuple[Backend, Json, Json]):
    backend, _, _ = made
    with pytest.raises(psycopg.errors.UniqueViolation):
        backend.sql(
            "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_idempotency_key)"
            " select 'generation:' || id, 'generation', %s, 'click' from unnest(array['a', 'b']) id",
            backend.pass_id,
        )


@pytest.mark.parametrize(
    "statement",
    [
        "insert into mega_generations (mg_id, mg_record_type) values ('g', 'generation')",
        "insert into mega_generations (mg_id, mg_record_type) values ('session:g', 'generation')",
        "insert into mega_admin (mg_id, mg_record_type) values ('warn:x', 'error')",
        "update mega_customers set mg_credits = -1",
    ],
)
async def test_rows_have_the_name_of_their_kind_and_balances_are_not_negative(
    made: tuple[Backend, Json, Json], statement: str
):
    refused(made[0], psycopg.errors.CheckViolation, statement)
