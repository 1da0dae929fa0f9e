"""The engine's benchmark compares like with like."""

from typing import Any

from safelight.db.connection.database import Database
from safelight.testing.bench import scratch
from safelight.testing.bench.engine import run_with_engine, write_by_hand

OWN = ("mg_id", "mg_generation_id", "mg_parent_id", "mg_latency_ms", "mg_row_hash", "id", "job_id", "row_hash")
TIMES = ("mg_created_at", "mg_updated_at", "mg_event_at", "created_at")
OF_THE_LEASE = ("mg_lease_no",)
TIMES_OF_PAYLOAD = {"started_at", "ended_at", "duration_ms", "completed_at"}


async def test_the_floor_of_the_engine_benchmark_writes_the_rows_that_the_engine_writes(dsn: str):
    db = Database(dsn, pool_size=4)
    await db.open()
    await scratch.give_credits(db, 2)
    written = []
    for run in (write_by_hand, run_with_engine):
        ids = await scratch.order_many(db, 1)
        await run(db, ids)
        written.append(await _rows(db, ids[0]))
    await db.close()
    by_hand, by_engine = written
    assert by_hand == by_engine
    assert len([row for row in by_hand if row.get("mg_row_hash")]) == 7, "finished steps are sealed"


async def _rows(db: Database, generation_id: str) -> list[dict[str, Any]]:
    async with db.connection() as conn:
        found = await conn.execute(
            "select * from mega_generations where mg_generation_id = %s and mg_record_type in ('generation', 'mma_step')"
            " order by mg_step_no nulls first",
            [generation_id],
        )
        lines = await conn.execute(
            "select * from image_generation_logs where job_id = %s order by seq", [generation_id]
        )
        return [_comparable(row) for row in [*await found.fetchall(), *await lines.fetchall()]]


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    """The row without what differs between any two generations: of ids, times and hashes it tells only if they are."""
    differing = {*OWN, *TIMES}
    return {
        name: value is not None if name in differing else _timeless(value)
        for name, value in row.items()
        if name not in OF_THE_LEASE
    }


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: name in TIMES_OF_PAYLOAD or _timeless(part) for name, part in value.items()}
    return [_timeless(part) for part in value] if isinstance(value, list) else value
