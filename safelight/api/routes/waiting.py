"""Holds a request until its generation is final, for clients that neither follow a stream nor ask again."""

import asyncio
import time
from contextlib import suppress

from fastapi import Request

from safelight import telemetry
from safelight.api.http.services import Services
from safelight.api.routes.stream import POLL_SECONDS, SEQ_MAX
from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.db.generations import generations, job_log
from safelight.db.generations.generations import GenerationRow
from safelight.domain.errors.base import ResultPending
from safelight.domain.statuses import Status


async def wait_until_final(request: Request, services: Services, generation_id: str) -> GenerationRow:
    """The generation's row once it is final. Trouble with the database is waited out.

    Raises:
        ResultPending: it takes longer than a request is held, this process is about to end, or the client is gone.
    """
    give_up = time.monotonic() + services.wait_seconds
    async with services.listener.subscribe(generation_id) as changed:
        while True:
            changed.clear()
            row = await _if_ended(services, generation_id)
            if row is not None:
                return row
            left_seconds = give_up - time.monotonic()
            if left_seconds <= 0 or request.app.state.leaving.is_set() or await request.is_disconnected():
                raise ResultPending(generation_id)
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(POLL_SECONDS, left_seconds))


async def _if_ended(services: Services, generation_id: str) -> GenerationRow | None:
    """None: not yet, or the database does not say."""
    try:
        async with services.db.connection() as conn:
            now = await job_log.tail(conn, generation_id, SEQ_MAX)
            is_final = now is not None and Status(now.status).is_terminal
            return await generations.get(conn, generation_id) if is_final else None
    except TRANSIENT_ERRORS as error:
        telemetry.warning(
            telemetry.Tag.API,
            f"The database is unavailable; still waiting for {generation_id}: {error}",
            generation_id=generation_id,
        )
        return None
