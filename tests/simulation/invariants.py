"""The invariants that hold when a world has come to rest (docs/doctor.md)."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from safelight.domain.statuses import Status
from tests.simulation import clock
from tests.simulation.server import Rows, Server
from tests.simulation.service import Service, Work
from tests.simulation.story import ITEM, ITEMS, PARALLEL_STEPS, STEPS, place_of

Json = dict[str, Any]


def broken(server: Server, service: Service, price: int, *, is_parallel: bool = False) -> list[str]:
    """A sentence for each thing that does not hold."""
    rows = server.tables.rows
    payloads = {number: json.loads(step["mg_payload"]) for number, step in rows.steps.items()}
    return [
        *_ended(rows, payloads, PARALLEL_STEPS if is_parallel else STEPS),
        *(_items(rows, payloads) if is_parallel else ()),
        *_credits(rows, price),
        *_numbers(rows, payloads),
        *_said(rows, payloads),
        *_planes(rows, payloads),
        *_starts(rows, payloads, service),
        *_fence(server),
    ]


def broken_results(world: Any) -> Iterator[str]:
    """Nobody gets both the result and the refund, and whoever cancels is told the truth."""
    rows = world.server.tables.rows
    status = rows.generation["mg_mma_status"]
    is_refunded = status in (Status.ERROR, Status.CANCELLED)
    made = [step for step in rows.steps.values() if "_generate" in step["mg_step_type"]]
    if is_refunded and any(step["mg_status"] == "succeeded" for step in made):
        yield f"{status}, and its result had been stored"
    if world.server.shown_too_early:
        yield "the result was shown before the generation was done"
    if is_refunded and rows.generation["mg_output_url"]:
        yield f"{status}, and the row names a result"
    is_withdrawn = "result_withdrawn_at" in rows.generation["mg_meta"]
    if is_refunded and is_withdrawn and world.files and not world.has_stored_after_withdrawal:
        yield f"{status}, said to be withdrawn, and files are left: {world.files}"
    if status == Status.DONE and not world.files:
        yield "done, and its file is gone"
    for told in world.cancellings:
        if told.too_late is not None and told.too_late != (status != Status.CANCELLED):
            yield f"whoever cancelled was told too_late={told.too_late}, and it is {status}"


def _ended(rows: Rows, payloads: dict[int, Json], steps: Sequence[str]) -> Iterator[str]:
    if not rows.is_final:
        yield f"the generation is still {rows.generation['mg_mma_status']}"
        return
    unfinished = [number for number, payload in payloads.items() if not payload["timing"]["ended_at"]]
    if unfinished:
        yield f"the generation is {rows.generation['mg_mma_status']}, and the steps {unfinished} have not ended"
    if rows.generation["mg_mma_status"] != Status.DONE:
        return
    ended = [
        step["mg_step_type"]
        for number, step in sorted(rows.steps.items())
        if _is_well(payloads[number]) or "item" in payloads[number]
    ]
    if ended != list(steps):
        yield f"done, and these steps alone have ended well: {ended}"
    if not rows.generation["mg_output_url"]:
        yield "done without a result"


def _items(rows: Rows, payloads: dict[int, Json]) -> Iterator[str]:
    """An item that failed is told once; what one that ended well has set is there."""
    told = Counter(row["detail"]["item"] for row in rows.ops.values() if "item" in row["detail"])
    failed = Counter(payload["item"] for payload in payloads.values() if "item" in payload and payload["error"])
    if told != failed:
        yield f"the items {dict(failed)} failed, and the ops plane has {dict(told)}"
    variables = json.loads(rows.generation["mg_mma_vars"])
    for item in ITEMS:
        is_well = item in payloads and _is_well(payloads[item])
        if is_well and variables["scans"].get(place_of(item).split(".")[1]) != "a cup":
            yield f"item {item} has ended well, and what it set is lost"
        if item in payloads and rows.steps[item]["mg_step_type"] == ITEM and payloads[item].get("item") != item:
            yield f"step {item} is the item {payloads[item].get('item')}"


def _is_well(payload: Json) -> bool:
    return bool(payload["timing"]["ended_at"]) and payload["error"] is None


STORAGE_TOLD = ("ASSET_AT_RISK", "STORAGE_AWAY")


def _credits(rows: Rows, price: int) -> Iterator[str]:
    delivered = price if rows.generation["mg_mma_status"] == Status.DONE else 0
    kept = -sum(delta for (kind, _), delta in rows.entries.items() if kind.startswith("mma_"))
    if rows.is_final and kept != delivered:
        yield f"{kept} credits kept for what was worth {delivered}"
    if rows.credits != sum(rows.entries.values()):
        yield f"the balance is {rows.credits}, the ledger says {sum(rows.entries.values())}"


def _numbers(rows: Rows, payloads: dict[int, Json]) -> Iterator[str]:
    if sorted(rows.steps) != list(range(len(rows.steps))):
        yield f"step numbers {sorted(rows.steps)}"
    sequence = [line["seq"] for line in rows.lines]
    if sequence != list(range(1, rows.generation["mg_log_seq"] + 1)):
        yield f"log seq {sequence}, and the log is said to be {rows.generation['mg_log_seq']} long"
    told = json.loads(rows.generation["mg_mma_vars"])["userMessages"]["scan_lines"]
    if rows.is_final and [line["text"] for line in told] != [line["message"] for line in rows.lines]:
        yield "the variable map tells other lines than the log"
    for number, payload in payloads.items():
        attempts = [attempt["attempt"] for attempt in payload["attempts"]]
        if attempts != list(range(1, len(attempts) + 1)):
            yield f"step {number} has the attempts {attempts}"


def _said(rows: Rows, payloads: dict[int, Json]) -> Iterator[str]:
    """Each step that ended well has said so once."""
    well = [payload for payload in payloads.values() if _is_well(payload) and "degraded" not in payload]
    ended = Counter("Developed." if "operation" in payload else "Seen." for payload in well)
    said = Counter(line["message"] for line in rows.lines if line["message"] in ("Developed.", "Seen."))
    if said != ended:
        yield f"the steps have ended {dict(ended)}, and the log says {dict(said)}"


def _planes(rows: Rows, payloads: dict[int, Json]) -> Iterator[str]:
    failed = [
        number
        for number, step in rows.steps.items()
        if step["mg_status"] == "failed" and "item" not in payloads[number]
    ]
    status = rows.generation["mg_mma_status"]
    codes = [row["error_code"] for row in rows.ops.values()]
    ends = Counter(
        row["record_type"]
        for row in rows.ops.values()
        if not any(told in row["error_code"] for told in ("POSSIBLE_DOUBLE", *STORAGE_TOLD))
        and not row["detail"].get("delivered")
        and "item" not in row["detail"]
    )
    expected = {Status.ERROR: {"error": 1}, Status.CANCELLED: {"warn": 1}}.get(status, {})
    if ends != Counter(expected):
        yield f"{status}, and the ops plane has {dict(ends)}"
    waits = sum("storage_away" in payload for payload in payloads.values())
    if sum(any(told in code for told in STORAGE_TOLD) for code in codes) != waits:
        yield f"{waits} steps waited for the storage, and the ops plane has {codes}"
    if len(failed) != len(expected):
        yield f"{status}, and the steps {failed} failed"
    if status == Status.CANCELLED and not rows.generation["cancel_requested"]:
        yield "cancelled, and nobody asked"
    is_degraded = any("degraded" in payload for payload in payloads.values())
    is_told = any(row["detail"].get("delivered") for row in rows.ops.values())
    if status == Status.DONE and is_degraded and not is_told:
        yield "a step ended with a stand-in, and the ops plane does not say so"
    for payload in payloads.values():
        risk = payload.get("possible_double_spend")
        if risk and risk["attempt_key"] not in _at_risk(rows):
            yield f"the step says that {risk['attempt_key']} may be paid for, and the ops plane does not"


def _starts(rows: Rows, payloads: dict[int, Json], service: Service) -> Iterator[str]:
    by_key = Counter(work.attempt_key for work in service.accepted)
    for key, count in by_key.items():
        if count > 1:
            yield f"the attempt key {key} was accepted {count} times"
    noted = {start["attempt_key"] for payload in payloads.values() for start in payload.get("starts", [])}
    if by_key.keys() - noted:
        yield f"accepted and not noted: {sorted(by_key.keys() - noted)}"
    for number in payloads:
        yield from _starts_of(number, rows, payloads, service)


def _starts_of(number: int, rows: Rows, payloads: dict[int, Json], service: Service) -> Iterator[str]:
    accepted = [work for work in service.accepted if work.step_no == number]
    silent = [work for work in accepted if work.attempt_key not in _at_risk(rows) and _can_be_known(work, payloads)]
    if len(accepted) > 1 and service.can_be_asked:
        yield f"{len(accepted)} starts accepted, and the service could be asked"
    if len(silent) > 1:
        stale = sum(work.is_stale for work in silent)
        yield f"{len(silent)} starts accepted ({stale} from workers taken over), and nothing says so"


def _at_risk(rows: Rows) -> set[str]:
    """The attempt keys of which operators are told that they may be paid for beside another."""
    risks = [row["detail"].get("possible_double_spend") for row in rows.ops.values()]
    return {risk["attempt_key"] for risk in risks if risk}


def _can_be_known(work: Work, payloads: dict[int, Json]) -> bool:
    """Nobody is left to hear of a start that arrives later than any should, whose worker has died, after the step has ended."""
    ended_at = payloads[work.step_no]["timing"]["ended_at"]
    has_ended = ended_at and datetime.fromisoformat(ended_at) <= clock.EPOCH + timedelta(seconds=work.accepted_at)
    return work.is_in_time or work.is_answered or not has_ended


def _fence(server: Server) -> Iterator[str]:
    for writer, holder in server.writes:
        if writer != holder:
            yield f"a worker with lease {writer} wrote while {holder} had it"
            return
