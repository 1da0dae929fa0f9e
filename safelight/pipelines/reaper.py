"""Finds what dead workers left behind and gives it back to the living. Every worker runs one; it does not matter how
many there are."""

import asyncio

import psycopg

from safelight import telemetry
from safelight.db import jobs
from safelight.db.database import Database
from safelight.db.failures import Patience
from safelight.pipelines.queue import QUEUE_NAME, TASK

HEARTBEATS_MISSED = 3
ADOPT_AFTER_SECONDS = 10.0  # longer than any transaction that accepts an order may take
ADOPTED_AT_ONCE = 1000


def patience_with(heartbeat_seconds: float) -> Patience:
    return Patience(HEARTBEATS_MISSED * heartbeat_seconds, ADOPT_AFTER_SECONDS)


class Reaper:
    """`heartbeat_seconds` is how often a living worker says so; it counts as dead after HEARTBEATS_MISSED of them."""

    def __init__(self, db: Database, *, heartbeat_seconds: float) -> None:
        self._db = db
        self._heartbeat_seconds = heartbeat_seconds
        self.patience = patience_with(heartbeat_seconds)

    async def run(self) -> None:
        """Look again at every heartbeat, until cancelled. Trouble with the database is waited out."""
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self.reap()
            except psycopg.OperationalError as error:
                telemetry.warning(telemetry.Tag.DB_UPDATE, f"The reaper waits for the database: {error}")

    async def reap(self) -> tuple[list[str], list[str]]:
        """Returns the generations taken back from dead workers, and those that had no job at all."""
        async with self._db.connection() as conn:
            taken_back = await jobs.take_back(
                conn, queue_name=QUEUE_NAME, dead_after_seconds=self.patience.dead_after_seconds
            )
            adopted = await jobs.adopt(
                conn,
                queue_name=QUEUE_NAME,
                task_name=TASK,
                older_than_seconds=self.patience.newborn_seconds,
                most=ADOPTED_AT_ONCE,
            )
        for generation_id in taken_back:
            _say(f"Taking generation {generation_id} over from a worker that stopped answering", generation_id)
        for generation_id in adopted:
            _say(f"Generation {generation_id} had no job and gets one", generation_id)
        return taken_back, adopted


def _say(text: str, generation_id: str) -> None:
    telemetry.info("🔄", telemetry.Tag.GENERATION_PROCESSING, text, generation_id=generation_id)
