"""The effect of each SQL statement of the runner, on the model. Names and parameters are those of the .sql files."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from safelight.domain.statuses import Status
from tests.simulation import clock
from tests.simulation.server import JOBS, ROWS, Connection, Job, Row, Rows, Server, Tables


def _written(generation: Row) -> Row:
    return {
        "log_seq": generation["mg_log_seq"],
        "cancelling": generation["cancel_requested"],
        "deadline_at": generation["mg_deadline_at"],
        "written_at": clock.now(),
    }


def _is_held(server: Server, rows: Rows, lease_no: int) -> bool:
    if rows.is_final:
        return False
    holder = rows.generation["mg_lease_no"]
    is_held = holder == lease_no or server.ignores_fence
    if is_held:
        server.writes.append((lease_no, holder))
    return is_held


def _is_next(server: Server, rows: Rows, given: Row) -> bool:
    """True if the write is the next one of a step that has not ended."""
    if server.counts_repeated_writes:
        return True
    step = rows.steps.get(given["number"])
    before = json.loads(step["mg_payload"]) if step else {"writes": 0, "timing": {"ended_at": None}}
    return not before["timing"]["ended_at"] and given["payload"]["writes"] == before["writes"] + 1


def _append(rows: Rows, lines: list[Row]) -> None:
    for line in lines:
        rows.generation["mg_log_seq"] += 1
        rows.lines.append(line | {"seq": rows.generation["mg_log_seq"]})


LEASED = (
    "generation_id", "pass_id", "lease_no", "pipeline_version", "log_seq", "takeovers", "deadline_at", "user_id",
)  # fmt: skip
LEASED_JSON = {"payload": "mg_payload", "variables": "mg_mma_vars", "meta": "mg_meta"}


class RunStatements:
    async def take_lease(
        self, conn: Connection, *, generation_key: str, pipeline_versions: list[int], if_lease_no: int | None
    ) -> Row | None:
        def act(tables: Tables) -> Row | None:
            generation = tables.rows.generation
            if tables.rows.is_final or if_lease_no not in (None, generation["mg_lease_no"]):
                return None
            generation["mg_lease_no"] += 1
            stored = {name: generation[f"mg_{name}"] for name in LEASED}
            read = {name: json.loads(generation[column]) for name, column in LEASED_JSON.items()}
            status, cancelling = generation["mg_mma_status"], generation["cancel_requested"]
            more = {"status": status, "cancelling": cancelling, "preferences": {}, "taken_at": clock.now()}
            return stored | read | more

        return await conn.ask("take_lease", act, writes=ROWS)

    async def checkpoints(self, conn: Connection, *, generation_id: str, whole_types: list[str]) -> AsyncIterator[Row]:
        steps = await conn.ask("checkpoints", lambda tables: sorted(tables.rows.steps.items()))
        for number, step in steps:
            payload = json.loads(step["mg_payload"])
            if step["mg_status"] != "processing" and step["mg_step_type"] not in whole_types:
                payload = {name: payload[name] for name in payload.keys() - {"input", "attempts", "starts"}}
            yield {"number": number, "type": step["mg_step_type"], "payload": payload}

    async def payload_of_step(self, conn: Connection, *, step_key: str) -> Row | None:
        def act(tables: Tables) -> Row | None:
            step = tables.rows.steps.get(int(step_key.rsplit(":", maxsplit=1)[-1]))
            return json.loads(step["mg_payload"]) if step else None

        return await conn.ask("payload_of_step", act)

    async def write_steps(self, conn: Connection, *, lease_no: int, **values: Any) -> Row | None:
        given, lines = values["steps"].obj, values["lines"].obj

        def act(tables: Tables) -> Row | None:
            rows = tables.rows
            if not _is_held(conn.server, rows, lease_no) or not all(_is_next(conn.server, rows, one) for one in given):
                return None
            _begin_write(rows.generation, values)
            if any(one["status"] != "processing" for one in given):
                rows.generation["mg_takeovers"] = 0
            rows.steps |= {one["number"]: _step(one) for one in given}
            _append(rows, lines)
            return _written(rows.generation)

        steps = ", ".join(f"{one['number']} {one['type']} {one['status']}" for one in given)
        said = [line["message"] for line in lines]
        return await conn.ask(f"write_steps {steps} lease {lease_no} {said}", act, writes=ROWS)

    async def finish(self, conn: Connection, *, lease_no: int, **values: Any) -> Row | None:
        def act(tables: Tables) -> Row | None:
            rows = tables.rows
            if not _is_held(conn.server, rows, lease_no):
                return None
            generation = rows.generation
            generation["mg_meta"] = json.dumps(json.loads(generation["mg_meta"]) | values["meta"].obj)
            generation["mg_mma_status"], generation["mg_status"] = values["status"], values["record_status"]
            generation["mg_mma_vars"], generation["mg_deadline_at"] = json.dumps(values["variables"].obj), None
            generation["mg_output_url"] = values["output_url"]
            _append(rows, values["lines"].obj)
            return _written(generation)

        return await conn.ask(f"finish {values['status']} lease {lease_no}", act, writes=ROWS)

    async def written_before(self, conn: Connection, *, lease_no: int, steps: Any, **_: Any) -> Row | None:
        def act(tables: Tables) -> Row | None:
            written = {number: json.loads(step["mg_payload"])["writes"] for number, step in tables.rows.steps.items()}
            same = all(written.get(one["number"]) == one["payload"]["writes"] for one in steps.obj)
            return _written(tables.rows.generation) if same and _has_lease(tables, lease_no) else None

        return await conn.ask("written_before", act)

    async def finished_before(self, conn: Connection, *, lease_no: int, status: str, **_: Any) -> Row | None:
        def act(tables: Tables) -> Row | None:
            same = tables.rows.generation["mg_mma_status"] == status
            return _written(tables.rows.generation) if same and _has_lease(tables, lease_no) else None

        return await conn.ask("finished_before", act)


def _has_lease(tables: Tables, lease_no: int) -> bool:
    return bool(tables.rows.generation["mg_lease_no"] == lease_no)


def _begin_write(generation: Row, values: Row) -> None:
    generation["mg_mma_status"], generation["mg_status"] = values["status"], "processing"
    if values["variables"] is not None:
        generation["mg_mma_vars"] = json.dumps(values["variables"].obj)
    if values["deadline_seconds"] is not None:
        generation["mg_deadline_at"] = clock.now() + timedelta(seconds=values["deadline_seconds"])


def _step(given: Row) -> Row:
    return {
        "mg_step_type": given["type"],
        "mg_payload": json.dumps(given["payload"]),
        "mg_status": given["status"],
    }


class LogStatements:
    async def lines_after(self, conn: Connection, *, job_id: str, after: int, limit: int) -> AsyncIterator[Row]:
        lines = await conn.ask("lines_after", lambda tables: [one for one in tables.rows.lines if one["seq"] > after])
        for line in lines[:limit]:
            yield line


class LedgerStatements:
    async def charge_of_generation(self, conn: Connection, *, ref_id: str) -> Row | None:
        def act(tables: Tables) -> Row | None:
            delta = tables.rows.entries.get(("mma_charge", ref_id))
            lasting = {"expires_at": None, "has_expired": False}
            return None if delta is None else {"pass_id": "p", "credits": -delta, **lasting}

        return await conn.ask("charge_of_generation", act)

    async def expire(self, conn: Connection, **_: Any) -> int | None:
        """Credits in here are good for ever."""
        return await conn.ask("expire", lambda _: None)

    async def insert_entry(self, conn: Connection, *, ref_type: str, ref_id: str, delta: int, **_: Any) -> int:
        def act(tables: Tables) -> int:
            if (ref_type, ref_id) in tables.rows.entries:
                return 0
            tables.rows.entries[ref_type, ref_id] = delta
            return 1

        return await conn.ask(f"insert_entry {ref_type} {delta:+}", act, writes=ROWS)

    async def lock_balance(self, conn: Connection, **_: Any) -> int:
        return await conn.ask("lock_balance", lambda tables: tables.rows.credits, writes=ROWS)

    async def give_credits(self, conn: Connection, *, pass_id: str, credits: int, expires_at: None) -> int:
        def act(tables: Tables) -> int:
            tables.rows.credits += credits
            return tables.rows.credits

        return await conn.ask(f"give_credits {credits}", act, writes=ROWS)


class OpsStatements:
    async def insert_row(self, conn: Connection, **values: Any) -> int:
        def act(tables: Tables) -> int:
            is_new = values["id"] not in tables.rows.ops
            if is_new:
                tables.rows.ops[values["id"]] = values | {"detail": values["detail"].obj}
            return int(is_new)

        return await conn.ask(f"insert_row {values['record_type']} {values['error_code']}", act, writes=ROWS)


def _has_result(rows: Rows) -> bool:
    return any("_generate" in step["mg_step_type"] and step["mg_status"] == "succeeded" for step in rows.steps.values())


class GenerationStatements:
    async def lock_generation(self, conn: Connection, **_: Any) -> None:
        await conn.ask("lock_generation", lambda _: None, writes=ROWS)

    async def request_cancelling(self, conn: Connection, **_: Any) -> Row:
        def act(tables: Tables) -> Row:
            if not tables.rows.is_final and not _has_result(tables.rows):
                tables.rows.generation["cancel_requested"] = True
            return {"status": tables.rows.generation["mg_mma_status"]}

        return await conn.ask("request_cancelling", act, writes=ROWS)

    async def cancelling(self, conn: Connection, **_: Any) -> Row:
        def act(tables: Tables) -> Row:
            return {
                "status": tables.rows.generation["mg_mma_status"],
                "refunded": sum(delta for (kind, _), delta in tables.rows.entries.items() if kind == "mma_refund"),
                "balance": tables.rows.credits,
                "has_result": _has_result(tables.rows),
            }

        return await conn.ask("cancelling", act)

    async def ended_without_result(self, conn: Connection, **_: Any) -> bool:
        def act(tables: Tables) -> bool:
            return tables.rows.generation["mg_mma_status"] in (Status.ERROR, Status.CANCELLED)

        return await conn.ask("ended_without_result", act)

    async def unnamed_keys(self, conn: Connection, *, keys: list[str], **_: Any) -> AsyncIterator[Row]:
        """Each file belongs to the one result, which a withdrawn generation does not name."""
        for key in await conn.ask("unnamed_keys", lambda _: keys):
            yield {"key": key}

    async def note_withdrawn(self, conn: Connection, **_: Any) -> None:
        def act(tables: Tables) -> None:
            meta = json.loads(tables.rows.generation["mg_meta"])
            tables.rows.generation["mg_meta"] = json.dumps(meta | {"result_withdrawn_at": f"{clock.now()}"})

        await conn.ask("note_withdrawn", act, writes=ROWS)


class QueueStatements:
    """Log lines decide nothing: no fault befalls them."""

    async def alive_registrations(self, conn: Connection, *, dead_after_seconds: float) -> int:
        alive_after = clock.now() - timedelta(seconds=dead_after_seconds)
        return sum(at > alive_after for at in conn.server.tables.workers.values())


class RoundStatements:
    async def unbegun_lease_no(self, conn: Connection, **_: Any) -> int:
        """The generation is no set: it has no second round."""
        return await conn.ask("unbegun_lease_no", lambda _: 0)


class JobStatements:
    async def wake(self, conn: Connection, *, generation_id: str, **_: Any) -> bool:
        def act(tables: Tables) -> bool:
            for job in tables.jobs.values():
                if job.worker is None:
                    tables.jobs[job.number] = Job(job.number, None, clock.now())
            return True

        return await conn.ask("wake", act, writes=JOBS)

    async def release_all(self, conn: Connection) -> None:
        """No customer here has a bound of the generations begun at once."""
        await conn.ask("release_all", lambda _: None)

    async def requeue_stalled(
        self, conn: Connection, *, dead_after_seconds: float, hung_after_seconds: float, **_: Any
    ) -> AsyncIterator[Row]:
        def act(tables: Tables) -> int:
            deadline = tables.rows.generation["mg_deadline_at"]
            hangs = deadline is not None and deadline < clock.now() - timedelta(seconds=hung_after_seconds)
            alive = {
                name for name, at in tables.workers.items() if at > clock.now() - timedelta(seconds=dead_after_seconds)
            }
            dead = [job for job in tables.jobs.values() if job.worker and (hangs or job.worker not in alive)]
            for job in dead:
                if not tables.rows.is_final and not conn.server.locks[ROWS].locked():  # else it is passed over
                    tables.rows.generation["mg_takeovers"] += 1
                del tables.jobs[job.number]
                if all(other.worker for other in tables.jobs.values()):
                    conn.server.add_job(tables.jobs, clock.now())
            return len(dead)

        for _no in range(await conn.ask("requeue_stalled", act, writes=JOBS)):
            yield {"generation_id": conn.server.tables.rows.generation["mg_generation_id"]}

    async def enqueue_orphaned(self, conn: Connection, *, older_than_seconds: float, **_: Any) -> AsyncIterator[Row]:
        def act(tables: Tables) -> bool:
            is_old = clock.now() - timedelta(seconds=older_than_seconds) > clock.EPOCH
            if not is_old or tables.jobs or tables.rows.is_final:
                return False
            conn.server.add_job(tables.jobs, clock.now())
            return True

        if await conn.ask("enqueue_orphaned", act, writes=JOBS):
            yield {"generation_id": conn.server.tables.rows.generation["mg_generation_id"]}

    async def expired_in_queue(self, conn: Connection, *, limit: int) -> AsyncIterator[Row]:
        def act(tables: Tables) -> bool:
            generation = tables.rows.generation
            deadline = generation["mg_deadline_at"]
            is_untouched = generation["mg_mma_status"] == Status.QUEUED and generation["mg_lease_no"] == 0
            return is_untouched and deadline is not None and deadline < clock.now()

        if await conn.ask("expired_in_queue", act):
            yield {"generation_id": conn.server.tables.rows.generation["mg_generation_id"]}
