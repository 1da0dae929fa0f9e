"""Accepts an order: generation, charge, event, first line and queue job in one transaction, or nothing.

The same idempotency key with the same request gives the generation that was accepted first; with another request it
is refused.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from safelight import telemetry
from safelight.db.connection.database import Connection, Database
from safelight.db.generations import generations, job_log
from safelight.db.generations.generations import AcceptedGeneration, NewGeneration
from safelight.db.generations.jobs import Turn
from safelight.db.money import customers, ledger
from safelight.db.money.customers import CustomerRow
from safelight.db.operations import audit, daily_counts
from safelight.db.operations.audit import Operator
from safelight.domain import variables
from safelight.domain.errors.base import IdempotencyConflict, InsufficientCredits
from safelight.domain.errors.retries import FreeSuggestionsUsedUp, TooManyInProgress
from safelight.domain.identities import ActingCustomer
from safelight.domain.ids import new_id
from safelight.domain.job_log import LogLine
from safelight.domain.orders import Order, Prices
from safelight.pipelines.engine.queue import Queue
from safelight.pipelines.inputs import Inputs
from safelight.pipelines.settings import SettingsPolicy
from safelight.redaction import DEFAULT_REDACTOR

Json = dict[str, Any]

PIPELINE_VERSION = 1
ANSWER_SECONDS_MAX = 1.5
IN_PROGRESS_RETRY_SECONDS = 15.0
ACCEPTED_LINE = "We have your order and are getting started."


@dataclass(frozen=True, slots=True)
class AcceptedOrder:
    generation_id: str
    credits_cost: int
    balance: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class FreeSuggestions:
    """The suggestions a day that are free for one customer without credits, and for all of them at one network address;
    0 is no limit."""

    per_customer: int = 0
    per_address: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """The new generation is a retry of `generation_id`, as `operator` asked, or its owner. With `is_free` nothing is
    charged."""

    generation_id: str
    operator: Operator | None
    is_free: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """An order that is to be accepted. The same request has the same `fingerprint`, whichever spelling of a field it
    used."""

    order: Order
    customer: ActingCustomer
    generation_id: str
    fingerprint: str
    key: str | None
    request: Json
    retry: Retry | None

    @property
    def request_id(self) -> str | None:
        return self.request.get("request_id")


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Accepts orders for one process. `in_progress_max` is how many unfinished generations one customer may have; 0 is
    no limit."""

    db: Database
    queue: Queue
    prices: Callable[[], Prices]
    start_within_seconds: float
    inputs: Inputs | None = None  # None: pictures are taken as they are named
    settings: SettingsPolicy | None = None  # None: settings are taken as they are stated
    free_suggestions: FreeSuggestions = FreeSuggestions()
    in_progress_max: int = 0

    async def accept(
        self,
        order: Order,
        customer: ActingCustomer,
        *,
        idempotency_key: str | None,
        request: Json,
        retry: Retry | None = None,
    ) -> AcceptedOrder:
        """`request` is what the ops plane should know of where the order came from: id, route, method. A retry is
        recorded in the operators' audit.

        Raises:
            InvalidInput: a provider setting is not allowed; nothing was written.
            InsufficientCredits: nothing was written.
            FreeSuggestionsUsedUp: nothing was written.
            TooManyInProgress: nothing was written.
            IdempotencyConflict: the key was used for another request.
        """
        telemetry.info("🔍", telemetry.Tag.GENERATION, f"Starting credit check for user {order.pass_id}")
        telemetry.note(pass_id=order.pass_id)
        asked = _Asked(
            order,
            customer,
            new_id(),  # one for all tries: where a commit's answer was lost, the next try finds it
            hashlib.sha256(order.hashed()).hexdigest(),
            DEFAULT_REDACTOR.safe_id(idempotency_key) if idempotency_key else None,
            request,
            retry,
        )
        if self.settings:
            await self.settings.check_order(order)
        accepted = await self.db.retry_transient(lambda conn: self._accept(conn, asked), seconds=ANSWER_SECONDS_MAX)
        telemetry.note(generation_id=accepted.generation_id)
        if accepted.credits_cost and not accepted.repeated:
            text = f"Successfully deducted {accepted.credits_cost} credits"
            telemetry.info("💳", telemetry.Tag.GENERATION, text, pass_id=order.pass_id)
        telemetry.info("✅", telemetry.Tag.DB_CREATE, f"Generation created successfully: {accepted.generation_id}")
        return accepted

    async def _accept(self, conn: Connection, asked: _Asked) -> AcceptedOrder:
        order, generation_id, retry = asked.order, asked.generation_id, asked.retry
        cost = 0 if retry and retry.is_free else self.prices().of(order)
        async with conn.transaction():
            row = await self._locked_customer(conn, asked.customer)
            balance = row.credits
            first = await generations.accepted_before(conn, generation_id, pass_id=order.pass_id, key=asked.key)
            if first:
                return _repeated(first, asked, balance)
            if balance < cost:
                raise InsufficientCredits(required=cost, balance=balance)
            turn = await self._turn(conn, asked)
            if order.is_free and balance <= 0 and retry is None:
                await self._take_free_suggestion(conn, asked.customer)
            order, imports = self.inputs.noted(order, in_progress=turn.unfinished) if self.inputs else (order, None)
            if retry and retry.operator:
                await _record_retry(conn, retry, retry.operator, generation_id, cost)
            await self._insert(conn, asked, order, imports, row, cost)
            if cost:
                balance = await ledger.charge(
                    conn,
                    pass_id=order.pass_id,
                    generation_id=generation_id,
                    credits=cost,
                    reason=f"mma_{order.flow.mode}",
                    request_id=asked.request_id,
                )
            if imports:
                await self.queue.defer_import(conn, generation_id, lock=imports["lock"], turn=turn)
            else:
                await self.queue.defer(conn, generation_id, customer=order.pass_id, turn=turn)
        return AcceptedOrder(generation_id, cost, balance, repeated=False)

    async def _turn(self, conn: Connection, asked: _Asked) -> Turn:
        """The place in the queue of an order of the customer, who is locked: no other order comes in between."""
        turn = await self.queue.turn(conn, asked.generation_id, asked.order.pass_id)
        if self.in_progress_max and turn.unfinished >= self.in_progress_max:
            raise TooManyInProgress(self.in_progress_max, retry_after_seconds=IN_PROGRESS_RETRY_SECONDS)
        return turn

    async def _locked_customer(self, conn: Connection, customer: ActingCustomer) -> CustomerRow:
        """The customer's row, locked until the transaction ends; a new one is made on the way."""
        row = await customers.lock(conn, customer.pass_id)
        if row is None:
            await customers.ensure(conn, customer.pass_id, welcome=customer.welcome)
            row = await customers.lock(conn, customer.pass_id)
        assert row is not None  # it was made in this transaction
        return row

    async def _take_free_suggestion(self, conn: Connection, customer: ActingCustomer) -> None:
        """Raises FreeSuggestionsUsedUp, if the customer or the network address had all of today's."""
        limits = self.free_suggestions
        for purpose, key, most in (
            ("suggestion of customer", customer.pass_id, limits.per_customer),
            ("suggestion at address", customer.address, limits.per_address),
        ):
            if not await daily_counts.take(conn, purpose, key, limit=most):
                left_seconds = await daily_counts.seconds_left(conn)
                raise FreeSuggestionsUsedUp(f"The {purpose}: all {most} of today", retry_after_seconds=left_seconds)

    async def _insert(
        self, conn: Connection, asked: _Asked, order: Order, imports: Json | None, customer: CustomerRow, cost: int
    ) -> None:
        """`order` is the one that was asked for, with addresses that may be stored."""
        named: Json = {
            "pass_id": order.pass_id,
            "session_id": order.session_id,
            "platform": order.platform,
            "title": order.title,
        }
        flow, parent_id = order.flow, order.parent.generation_id if order.parent else None
        source = {"source": "mma", "flow": flow.value, "request_id": asked.request_id}
        await generations.insert_session(conn, **named, meta=source)
        meta: Json = {"flow": flow.value, "cost": cost, "request": asked.request}
        as_written = self.inputs.as_written(order) if self.inputs else {}
        first = variables.initial(order)
        first["userMessages"]["scan_lines"] = [{"index": 0, "text": ACCEPTED_LINE}]
        new = NewGeneration(
            **named,
            generation_id=asked.generation_id,
            parent_generation_id=parent_id,
            mode=flow.mode,
            provider=flow.engine,
            variables=first,
            meta=meta | ({"retry_of": asked.retry.generation_id} if asked.retry else {}),
            payload={"order": order.model_dump(mode="json")} | as_written | ({"imports": imports} if imports else {}),
            pipeline_version=PIPELINE_VERSION,
            idempotency_key=asked.key,
            request_hash=asked.fingerprint,
            start_within_seconds=self.start_within_seconds,
            project_id=order.project_id,
        )
        await generations.insert(conn, new)
        await generations.insert_event(
            conn,
            event_id=new_id(),
            event_type="tweak" if flow.is_tweak else "create",
            pass_id=order.pass_id,
            generation_id=asked.generation_id,
            payload={"flow": flow.value, "parent_generation_id": parent_id},
            request_id=asked.request_id,
        )
        line = LogLine("info", "initialization", ACCEPTED_LINE)
        await job_log.insert_first(conn, asked.generation_id, customer.user_id, line)


async def _record_retry(conn: Connection, retry: Retry, operator: Operator, generation_id: str, cost: int) -> None:
    after = {"generation_id": generation_id, "credits": cost}
    await audit.record(conn, operator, "generations.retry", target=retry.generation_id, before={}, after=after)


def _repeated(first: AcceptedGeneration, asked: _Asked, balance: int) -> AcceptedOrder:
    if first.request_hash != asked.fingerprint:
        raise IdempotencyConflict(f"The idempotency key {asked.key!r} was used for another request.")
    return AcceptedOrder(first.generation_id, first.price_credits, balance, repeated=True)
