"""Image jobs written by hand, as the engine leaves them: for tests of what SQL shows of them."""

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from safelight.domain.ids import new_id

Json = dict[str, Any]


def make_set(
    dsn: str, pass_id: str, *, sources: int = 2, variants: int = 3, missing: int = 0, refunded: int | None = None
) -> str:
    """Write an image job that has ended, and its money. The last `missing` positions were not made; `refunded` credits
    were given back for them: one each, unless it is stated. Returns its id."""
    job_id = new_id()
    positions = [(variant, source) for variant in range(variants) for source in range(sources)]
    made = positions[: len(positions) - missing]
    order = {
        "flow": "image_job",
        "variants": variants,
        "aspect_ratio": "auto",
        "sources": [{"url": f"https://shop.test/{source}.jpg", "prompt": "a cup"} for source in range(sources)],
    }
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_title, mg_mma_mode,"
            " mg_mma_status, mg_status, mg_payload, mg_meta, mg_mma_vars, mg_pipeline_version)"
            " values (%s, 'generation', %s, %s, 'Spring', 'image_job', %s, %s, %s, %s, %s, 1)",
            [
                f"generation:{job_id}",
                job_id,
                pass_id,
                "partial" if missing else "done",
                "completed_partial" if missing else "succeeded",
                Jsonb({"order": order}),
                Jsonb({"cost": len(positions), "price_each": 1}),
                Jsonb({"progress": {"bases": sources, "made": len(made), "expected": len(positions)}}),
            ],
        )
        for variant in range(variants):
            slides = [_slide(job_id, *position) for position in made if position[0] == variant]
            error = None if len(slides) == sources else {"type": "StorageError", "code": "STORAGE_UNAVAILABLE"}
            conn.execute(
                "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id,"
                " mg_mma_mode, mg_step_no, mg_step_type, mg_status, mg_payload)"
                " values (%s, 'mma_step', %s, %s, %s, 'image_job', %s, 'variant_creation', %s, %s)",
                [
                    f"mma_step:{job_id}:{variant}",
                    job_id,
                    f"generation:{job_id}",
                    pass_id,
                    variant,
                    "failed" if error else "succeeded",
                    Jsonb(
                        {
                            "item": variant,
                            "input": {"settings": {"preset": "standard", "seed": 7}},
                            "output": {"slides": slides},
                            "error": error,
                            "timing": {"ended_at": "2025-12-30T09:00:00Z"},
                        }
                    ),
                ],
            )
        _move(conn, None, pass_id, len(positions), "grant", job_id)
        _move(conn, job_id, pass_id, -len(positions), "mma_charge", f"mma:{job_id}")
        given_back = missing if refunded is None else refunded
        if given_back:
            _move(conn, job_id, pass_id, given_back, "mma_refund", f"mma:{job_id}:refund:1")
        if missing:
            _note_failure(conn, job_id)
    return job_id


def _slide(job_id: str, variant: int, source: int) -> Json:
    key = f"mma/still/{job_id}/{variant:03}-{source:03}.jpg"
    return {
        "variant": variant,
        "source": source,
        "key": key,
        "url": f"https://files.test/{key}",
        "media_type": "image/jpeg",
        "width": 1024,
        "height": 1024,
        "bytes": 200_000,
        "sha256": "0" * 64,
    }


def _move(
    conn: psycopg.Connection[Any], job_id: str | None, pass_id: str, delta: int, ref_type: str, ref_id: str
) -> None:
    conn.execute(
        "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_generation_id, mg_delta, mg_reason,"
        " mg_source, mg_ref_type, mg_ref_id)"
        " values (%s, 'credit_transaction', %s, %s, %s, 'mma_image_job', 'mma', %s, %s)",
        [f"credit_transaction:{new_id()}", pass_id, job_id, delta, ref_type, ref_id],
    )
    conn.execute("update mega_customers set mg_credits = mg_credits + %s where mg_pass_id = %s", [delta, pass_id])


def _note_failure(conn: psycopg.Connection[Any], job_id: str) -> None:
    conn.execute(
        "insert into mega_admin (mg_id, mg_record_type, mg_action, mg_detail, mg_source_system)"
        " values (%s, 'error', 'mma.step', %s, 'safelight')",
        [f"error:{new_id()}", Jsonb({"generation_id": job_id, "step_type": "variant_creation"})],
    )
