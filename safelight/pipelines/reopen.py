"""Makes what is missing of a set that ended in part: the same generation goes on in a new round, which is charged for
the missing positions alone. Reopening, charge, event, line and queue job are one transaction, or nothing."""

from dataclasses import dataclass
from typing import Any

from safelight import telemetry
from safelight.db.connection.database import Connection
from safelight.db.generations import generations, rounds
from safelight.db.generations.rounds import LockedSet
from safelight.db.money import customers, ledger
from safelight.db.operations import audit
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import InsufficientCredits, NotFound
from safelight.domain.errors.retries import NothingToRetry
from safelight.domain.identities import ActingCustomer
from safelight.domain.ids import new_id
from safelight.domain.orders import Order, read_order
from safelight.domain.statuses import Status
from safelight.pipelines.accept import ANSWER_SECONDS_MAX, Acceptance, AcceptedOrder, Retry
from safelight.pipelines.engine.sealing import SEALED, restored
from safelight.redaction import DEFAULT_REDACTOR

Json = dict[str, Any]

REOPENED_LINE = "We are making the pictures that are missing."
IN_PROGRESS = "It is still being made. Wait for its end, or cancel it."
COPY_SECONDS = 3600  # how long the URL of a private file that is still to be copied passes


@dataclass(frozen=True, slots=True)
class Reopened:
    """`missing` positions are made in this round, which is charged `credits_cost`. `repeated`: the same request began
    it before."""

    generation_id: str
    round_no: int
    missing: int
    credits_cost: int
    balance: int
    repeated: bool


async def retry_missing(
    acceptance: Acceptance,
    generation_id: str,
    by: ActingCustomer | Operator,
    *,
    idempotency_key: str | None,
    request: Json,
) -> Reopened:
    """Begin a round for what is missing. A customer must be the owner; for an operator, the owner pays, and it is
    recorded in the audit.

    Raises:
        NotFound: there is no such generation, or it is somebody else's, or deleted.
        NothingToRetry: it is no set that ended in part.
        InsufficientCredits, TooManyInProgress: nothing was written.
    """
    key = DEFAULT_REDACTOR.safe_id(idempotency_key) if idempotency_key else new_id()
    reopened = await acceptance.db.retry_transient(
        lambda conn: _reopen(acceptance, conn, generation_id, by, key, request), seconds=ANSWER_SECONDS_MAX
    )
    if reopened.credits_cost and not reopened.repeated:
        _log("💳", f"Successfully deducted {reopened.credits_cost} credits", generation_id)
    telemetry.info(
        "🔄",
        telemetry.Tag.GENERATION,
        f"Generation {generation_id} is reopened for {reopened.missing} pictures, for {reopened.credits_cost} credits",
        generation_id=generation_id,
    )
    return reopened


async def redo_all(
    acceptance: Acceptance,
    generation_id: str,
    customer: ActingCustomer,
    *,
    idempotency_key: str | None,
    request: Json,
) -> AcceptedOrder:
    """Order all of a set again, as a new generation that names the first as `retry_of`.

    Raises:
        NotFound: there is no such generation of the customer.
        NothingToRetry: it is no set, or not final.
        ConfigError: another secret sealed the order.
        Exception: as `Acceptance.accept`.
    """
    async with acceptance.db.connection() as conn:
        row = await generations.get(conn, generation_id)
    if row is None or row.pass_id != customer.pass_id or row.deleted_at is not None:
        raise NotFound(f"There is no generation {generation_id!r}.")
    if row.status is None or not Status(row.status).is_terminal:
        raise NothingToRetry(IN_PROGRESS)
    return await acceptance.accept(
        await _order_again(acceptance, row.payload or {}),
        customer,
        idempotency_key=idempotency_key,
        request=request,
        retry=Retry(generation_id),
    )


async def _order_again(acceptance: Acceptance, payload: Json) -> Order:
    """The order as it was written, with the addresses of pictures that could not be imported as they were stated."""
    inputs = acceptance.inputs
    order = read_order(restored(inputs.sealer if inputs else None, payload["order"], payload.get(SEALED, {})))
    if not order.flow.is_set:
        raise NothingToRetry("It is no set of pictures.")
    noted = [one for one in payload.get("imported") or () if "error" in one]
    if inputs is None:
        return order
    urls = {one["field"]: await _stated_url(acceptance, one) for one in noted}
    return order.with_pictures(urls)


async def _stated_url(acceptance: Acceptance, noted: Json) -> str:
    assert acceptance.inputs
    if "key" in noted:
        return await acceptance.inputs.assets.signed_url(noted["key"], COPY_SECONDS)
    return acceptance.inputs.sealer.unseal(noted["sealed"]) if "sealed" in noted else str(noted["url"])


async def _reopen(
    acceptance: Acceptance,
    conn: Connection,
    generation_id: str,
    by: ActingCustomer | Operator,
    key: str,
    request: Json,
) -> Reopened:
    async with conn.transaction():
        row = await rounds.lock(conn, generation_id)
        if row is None or row.is_deleted or (isinstance(by, ActingCustomer) and row.pass_id != by.pass_id):
            raise NotFound(f"There is no generation {generation_id!r}.")
        customer = await customers.lock(conn, row.pass_id)
        assert customer is not None  # a generation has one
        for earlier in row.rounds:
            if earlier["key"] == key:
                return Reopened(
                    generation_id, earlier["round"], earlier["expected"], earlier["cost"], customer.credits, True
                )
        _check(row)
        _log("🔍", f"Starting credit check for user {row.pass_id}", generation_id)
        turn = await acceptance.turn(conn, generation_id, row.pass_id)
        made = await rounds.progress(conn, generation_id)
        missing = read_order((row.payload or {})["order"]).positions - made.made
        cost = missing * row.price_each
        if customer.credits < cost:
            raise InsufficientCredits(required=cost, balance=customer.credits)
        _log("✅", f"Credit check passed for user {row.pass_id}", generation_id)
        round_no = len(row.rounds) + 1
        noted = {"round": round_no, "key": key, "expected": missing, "cost": cost, "lease_no": row.lease_no}
        await _write(acceptance, conn, generation_id, row, noted | {"first_step": made.next_step_no}, request)
        balance = customer.credits
        if cost:
            balance = await ledger.charge(
                conn,
                pass_id=row.pass_id,
                generation_id=generation_id,
                credits=cost,
                reason="mma_retry_missing",
                request_id=request.get("request_id"),
                round_no=round_no,
            )
        if isinstance(by, Operator):
            after = {"round": round_no, "missing": missing, "credits": cost}
            await audit.record(
                conn, by, "generations.retry_missing", target=generation_id, before={"status": row.status}, after=after
            )
        await acceptance.queue.defer(conn, generation_id, customer=row.pass_id, turn=turn)
    return Reopened(generation_id, round_no, missing, cost, balance, repeated=False)


def _log(emoji: str, message: str, generation_id: str) -> None:
    telemetry.info(emoji, telemetry.Tag.GENERATION, message, generation_id=generation_id)


def _check(row: LockedSet) -> None:
    """Raises NothingToRetry: nothing is missing of it, or it did not end in part."""
    if row.status is not None and not Status(row.status).is_terminal:
        raise NothingToRetry(IN_PROGRESS)
    is_set = "order" in (row.payload or {}) and read_order((row.payload or {})["order"]).flow.is_set
    if not is_set or row.status != Status.PARTIAL:
        raise NothingToRetry(f"Only a set of pictures that ended in part can be completed; this one is {row.status}.")


async def _write(
    acceptance: Acceptance, conn: Connection, generation_id: str, row: LockedSet, noted: Json, request: Json
) -> None:
    told = {"missing": noted["expected"], "round": noted["round"], "credits": noted["cost"]}
    await rounds.reopen(
        conn,
        generation_id,
        row.user_id,
        noted=noted,
        message=REOPENED_LINE,
        details=told,
        start_within_seconds=acceptance.start_within_seconds,
    )
    await generations.insert_event(
        conn,
        event_id=new_id(),
        event_type="retry_missing",
        pass_id=row.pass_id,
        generation_id=generation_id,
        payload=told,
        request_id=request.get("request_id"),
    )
