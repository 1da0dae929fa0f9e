"""The limits of each provider: what the registry allows, kept by all workers together.

An adapter without limits in the registry has none. What is not admitted waits in the queue and holds no worker.
"""

import time
from collections.abc import Awaitable
from decimal import Decimal
from typing import TypeVar

from safelight import telemetry
from safelight.db.configuration import providers
from safelight.db.connection.database import Connection, Database
from safelight.domain.errors.base import (
    OutcomeUnknown,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    SafelightError,
    SpendCapReached,
)
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.run_store import OUTAGE_SECONDS_MAX
from safelight.pipelines.engine.snooze import Snooze
from safelight.pipelines.registry import Engine
from safelight.redaction import excerpt

Result = TypeVar("Result")

WAIT_SECONDS_MAX = 60.0
SLOW_DOWN_SECONDS_MAX = 120.0
TEXT_CHARS_MAX = 300
NOTHING = Decimal(0)

# What says that the provider itself is not well; everything else is about one request.
_OUTAGE_ERRORS = (ProviderUnavailable, ProviderTimeout, OutcomeUnknown)


class ProviderLimits:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def admit(self, conn: Connection, run: Run, engine: Engine, usd: Decimal = NOTHING) -> None:
        """Returns where one more start may be made now; it is counted. In the transaction that notes the start, what is
        under way is counted exactly.

        Raises:
            Snooze: later.
            SpendCapReached, ProviderUnavailable: the generation's time is over, and there was no place.
        """
        limits = engine.limits
        if limits is None:
            return
        refusal = await providers.admit(conn, engine.adapter, limits, usd)
        if refusal is None:
            return
        telemetry.info(
            "⏰",
            telemetry.Tag.GENERATION_PROCESSING,
            f"{engine.adapter}: start delayed by {refusal.wait_seconds:.1f} s ({refusal.reason})",
            generation_id=run.generation_id,
        )
        if run.store.deadline_passed(run.current):
            raise _too_late(engine, refusal.reason)
        raise Snooze(min(refusal.wait_seconds, WAIT_SECONDS_MAX))

    async def track_poll(self, engine: Engine, look: Awaitable[Result]) -> Result:
        """Like `track_start`, for status polls: failures count against the circuit breaker, success does not close
        it."""
        try:
            return await look
        except ProviderError as error:
            if engine.limits and isinstance(error, _OUTAGE_ERRORS):
                await self._note(engine, engine.limits, error, NOTHING, 0.0)
            raise

    async def track_start(self, engine: Engine, call: Awaitable[Result], *, usd: Decimal = NOTHING) -> Result:
        """The call's answer; all workers learn whether the provider is well. `usd` was counted for this call."""
        if engine.limits is None:
            return await call
        began = time.monotonic()
        try:
            answer = await call
        except ProviderError as error:
            await self._note(engine, engine.limits, error, usd, time.monotonic() - began)
            raise
        seconds = time.monotonic() - began
        await self._db.retry_transient(
            lambda conn: providers.succeeded(conn, engine.adapter, seconds), seconds=OUTAGE_SECONDS_MAX
        )
        return answer

    async def circuit_is_open(self, adapter: str) -> bool:
        async with self._db.connection() as conn:
            return await providers.circuit_is_open(conn, adapter)

    async def _note(
        self, engine: Engine, limits: providers.Limits, error: ProviderError, usd: Decimal, seconds: float
    ) -> None:
        async with self._db.transaction() as conn:
            if isinstance(error, _OUTAGE_ERRORS):
                text = excerpt(f"{type(error).__name__}: {error}", TEXT_CHARS_MAX)
                await providers.failed(conn, engine.adapter, limits, text)
            elif isinstance(error, ProviderRateLimited):
                pause = min(error.retry_after_seconds or limits.shut_seconds, SLOW_DOWN_SECONDS_MAX)
                await providers.back_off(conn, engine.adapter, pause)
            else:
                await providers.succeeded(conn, engine.adapter, seconds)
            if usd and not isinstance(error, OutcomeUnknown):  # not started, so not paid
                await providers.release_budget(conn, engine.adapter, usd)


def _too_late(engine: Engine, reason: str) -> SafelightError:
    if reason == "daily_cap":
        return SpendCapReached(f"{engine.adapter}: today's cap of {engine.limits and engine.limits.daily_usd_max} USD")
    return ProviderUnavailable(f"{engine.adapter}: no place in time ({reason})")
