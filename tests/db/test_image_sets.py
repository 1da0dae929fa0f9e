"""Sets of positions as SQL shows and guards them: money in parts, the one way out of a final status, views, and lines of
the job log that others write."""

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from safelight.app import App
from safelight.config import Settings
from safelight.db.connection.sessions import connected
from safelight.db.money import invariants, ledger
from safelight.domain.ids import new_id
from tests.support.image_sets import make_set

Json = dict[str, Any]

ADA = "6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90"
BOB = "0b0a3c44-9b1f-4c62-8a54-3f1c58f0d9aa"
MONEY = {
    "charge_is_not_the_price",
    "refund_missing",
    "refund_too_high",
    "refunded_result_delivered",
    "refunded_result_named",
}
ADD_LINE = (
    "insert into image_generation_logs (job_id, user_id, level, step, message, details) values (%s, %s, %s, %s, %s, %s)"
)


@pytest.fixture
async def dsn_of_two(dsn: str) -> str:
    """A migrated database with two customers who signed in."""
    await App(Settings(database_url=dsn)).migrate()
    with psycopg.connect(dsn) as conn:
        for user_id in (ADA, BOB):
            conn.execute(
                "insert into mega_customers (mg_pass_id, mg_user_id) values (%s, %s)", [f"pass:user:{user_id}", user_id]
            )
    return dsn


def ask(dsn: str, query: str, *values: Any) -> list[Any]:
    with psycopg.connect(dsn) as conn:
        cursor = conn.execute(query, values)  # type: ignore[call-overload]
        return list(cursor.fetchall()) if cursor.description else []


async def problems(dsn: str) -> set[str]:
    app = App(Settings(database_url=dsn))
    async with app.database() as db, db.connection() as conn:
        found = await invariants.find(conn, examples=3, accepted_seconds=10, dead_after_seconds=15)
    return {violation.problem.name for violation in found} & MONEY


@pytest.mark.parametrize("mode", ["image_job", "model_run"])
async def test_a_set_that_ended_in_part_is_reopened(dsn_of_two: str, mode: str):
    job = make_set(dsn_of_two, f"pass:user:{ADA}", missing=2)
    ask(dsn_of_two, "update mega_generations set mg_mma_mode = %s where mg_id = %s", mode, f"generation:{job}")
    ask(dsn_of_two, "update mega_generations set mg_mma_status = 'queued' where mg_id = %s", f"generation:{job}")
    assert ask(dsn_of_two, "select mg_mma_status from mega_generations where mg_id = %s", f"generation:{job}") == [
        ("queued",)
    ]


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [
        ("still", "partial", "queued"),
        ("video", "partial", "queued"),
        ("image_job", "done", "queued"),
        ("image_job", "error", "queued"),
        ("model_run", "cancelled", "queued"),
        ("image_job", "partial", "generating"),
        ("image_job", "partial", "done"),
    ],
)
async def test_there_is_no_other_way_out_of_a_final_status(dsn_of_two: str, mode: str, before: str, after: str):
    key = f"generation:{new_id()}"
    ask(
        dsn_of_two,
        "insert into mega_generations (mg_id, mg_record_type, mg_mma_mode, mg_mma_status)"
        " values (%s, 'generation', %s, %s)",
        key,
        mode,
        before,
    )
    ask(dsn_of_two, "update mega_generations set mg_mma_status = %s where mg_id = %s", after, key)
    assert ask(dsn_of_two, "select mg_mma_status from mega_generations where mg_id = %s", key) == [(before,)]


async def test_each_round_is_charged_and_given_back_in_part_once(dsn_of_two: str):
    pass_id, job = f"pass:user:{ADA}", new_id()
    async with connected(dsn_of_two) as conn:
        await ledger.adjust(conn, pass_id, 20, ledger.Origin("gift", "test", ("gift", "1")))
        await ledger.charge(conn, pass_id=pass_id, generation_id=job, credits=12, reason="mma_image_job")
        for _ in range(2):
            await ledger.refund_part(conn, generation_id=job, round_no=0, credits=5)
        await ledger.charge(conn, pass_id=pass_id, generation_id=job, credits=5, reason="mma_image_job", round_no=1)
        for _ in range(2):
            await ledger.refund_part(conn, generation_id=job, round_no=1, credits=2)
        assert await ledger.balance_of(conn, pass_id) == 20 - 12 + 5 - 5 + 2
    references = (
        "select mg_ref_type, mg_ref_id, mg_delta from mega_generations where mg_generation_id = %s order by mg_id"
    )
    assert ask(dsn_of_two, references, job) == [
        ("mma_charge", f"mma:{job}", -12),
        ("mma_refund", f"mma:{job}:refund:1", 5),
        ("mma_charge", f"mma:{job}:retry:1", -5),
        ("mma_refund", f"mma:{job}:refund:2", 2),
    ]


async def test_refunds_together_are_at_most_what_was_charged(dsn_of_two: str):
    pass_id, job = f"pass:user:{ADA}", new_id()
    async with connected(dsn_of_two) as conn:
        await ledger.adjust(conn, pass_id, 20, ledger.Origin("gift", "test", ("gift", "1")))
        await ledger.charge(conn, pass_id=pass_id, generation_id=job, credits=10, reason="mma_image_job")
        await ledger.refund_part(conn, generation_id=job, round_no=0, credits=6)
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            await ledger.refund(conn, generation_id=job)
        assert await ledger.balance_of(conn, pass_id) == 16


async def test_the_doctor_is_silent_about_a_set_that_was_paid_for_what_was_made(dsn_of_two: str):
    make_set(dsn_of_two, f"pass:user:{ADA}")
    make_set(dsn_of_two, f"pass:user:{BOB}", missing=2)
    assert await problems(dsn_of_two) == set()


@pytest.mark.parametrize(
    ("missing", "refunded", "problem"),
    [(2, 1, "refund_missing"), (2, 3, "refund_too_high"), (0, 1, "refund_too_high"), (3, 0, "refund_missing")],
)
async def test_the_doctor_finds_a_wrong_partial_refund(dsn_of_two: str, missing: int, refunded: int, problem: str):
    make_set(dsn_of_two, f"pass:user:{ADA}", missing=missing, refunded=refunded)
    assert await problems(dsn_of_two) == {problem}


async def test_the_views_show_each_position_where_it_belongs(dsn_of_two: str):
    job = make_set(dsn_of_two, f"pass:user:{ADA}", sources=2, variants=3, missing=1)
    [shown] = ask(dsn_of_two, "select status, variants, progress, name from image_generation_jobs where id = %s", job)
    assert shown == ("completed_partial", 3, 100, "Spring")
    places = ask(
        dsn_of_two,
        "select carousel_index, image_index, source_image_url, generated_image_url from generated_images"
        " where job_id = %s order by 1, 2",
        job,
    )
    assert [place[:2] for place in places] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert all(place[2] == f"https://shop.test/{place[1]}.jpg" for place in places)
    assert all(f"{place[0]:03}-{place[1]:03}.jpg" in place[3] for place in places)
    assert ask(dsn_of_two, "select count(*) from file_metadata where generation_id = %s", job) == [(5,)]
    entries = (
        "select transaction_type, amount from credit_transactions where metadata->>'generation_id' = %s order by 2"
    )
    assert ask(dsn_of_two, entries, job) == [("usage", -6), ("refund", 1)]


# --- lines that others write ---------------------------------------------------------------------------------------------


async def test_a_line_without_a_number_gets_the_next_one(dsn_of_two: str):
    job = make_set(dsn_of_two, f"pass:user:{ADA}")
    for number in range(3):
        ask(dsn_of_two, ADD_LINE, job, ADA, "info", "processing", f"line {number}", Jsonb({"imageIndex": number}))
    lines = ask(dsn_of_two, "select seq, message from image_generation_logs where job_id = %s order by seq", job)
    assert lines == [(1, "line 0"), (2, "line 1"), (3, "line 2")]
    assert ask(dsn_of_two, "select mg_log_seq from mega_generations where mg_id = %s", f"generation:{job}") == [(3,)]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"level": "debug"}, psycopg.errors.CheckViolation),
        ({"step": "gpt_reader"}, psycopg.errors.CheckViolation),
        ({"job_id": new_id()}, psycopg.errors.ForeignKeyViolation),
        ({"message": "x" * 4001}, psycopg.errors.CheckViolation),
        ({"details": Jsonb({"text": "x" * 70_000})}, psycopg.errors.CheckViolation),
    ],
)
async def test_a_line_that_does_not_fit_is_refused(dsn_of_two: str, change: Json, error: type[psycopg.Error]):
    job = make_set(dsn_of_two, f"pass:user:{ADA}")
    line = {
        "job_id": job,
        "user_id": ADA,
        "level": "info",
        "step": "upload",
        "message": "sent",
        "details": None,
    } | change
    with pytest.raises(error):
        ask(dsn_of_two, ADD_LINE, *line.values())
    assert ask(dsn_of_two, "select mg_log_seq from mega_generations where mg_id = %s", f"generation:{job}") == [(0,)]


def ask_as(dsn: str, user_id: str, query: str, *values: Any) -> list[Any]:
    with psycopg.connect(dsn) as conn:
        conn.execute("select set_config('request.jwt.claims', %s, true)", [f'{{"sub": "{user_id}"}}'])
        conn.execute("set local role authenticated")
        cursor = conn.execute(query, values)  # type: ignore[call-overload]
        return list(cursor.fetchall()) if cursor.description else []


async def test_a_user_adds_lines_to_their_own_job_in_their_own_name(dsn_of_two: str):
    job = make_set(dsn_of_two, f"pass:user:{ADA}")
    ask_as(dsn_of_two, ADA, ADD_LINE, job, ADA, "success", "upload", "Sent from the browser", None)
    seen = "select seq, message from image_generation_logs where job_id = %s"
    assert ask_as(dsn_of_two, ADA, seen, job) == [(1, "Sent from the browser")]
    assert ask_as(dsn_of_two, BOB, seen, job) == []


@pytest.mark.parametrize(("asking", "named"), [(BOB, BOB), (ADA, BOB), (BOB, ADA)])
async def test_nobody_writes_in_another_name_or_to_another_job(dsn_of_two: str, asking: str, named: str):
    job = make_set(dsn_of_two, f"pass:user:{ADA}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask_as(dsn_of_two, asking, ADD_LINE, job, named, "info", "upload", "not theirs", None)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask_as(
            dsn_of_two,
            ADA,
            "insert into image_generation_logs (job_id, user_id, step, message, seq) values (%s, %s, 'upload', 'x', 9)",
            job,
            ADA,
        )
    assert ask(dsn_of_two, "select mg_log_seq from mega_generations where mg_id = %s", f"generation:{job}") == [(0,)]


async def test_status_of_what_is_partial_already_is_found_after_migrating(dsn: str):
    """The index of before holds it under the old word."""
    await App(Settings(database_url=dsn)).migrate()
    ask(dsn, "insert into mega_customers (mg_pass_id, mg_user_id) values (%s, %s)", f"pass:user:{ADA}", ADA)
    job = make_set(dsn, f"pass:user:{ADA}", missing=1)
    found = "select id from generations where status = 'completed_partial'"
    assert ask(dsn, found) == [(job,)]
    assert ask(dsn, "select count(*) from safelight.online_work") == [(0,)]
