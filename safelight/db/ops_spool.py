"""Ops rows that could not be written because the database was away: kept as files, and written when it is back."""

import asyncio
import json
import os
from pathlib import Path

from psycopg.types.json import Jsonb

from safelight import telemetry
from safelight.db import ops_rows
from safelight.db.database import TROUBLE, Database
from safelight.db.ops_rows import OpsError
from safelight.private_files import make_private_folder, write_private
from safelight.redaction import KNOWN_FORMS, Redactor

LOOK_SECONDS = 5.0
SPOOLED_MAX = 10_000
WRITTEN_AT_ONCE = 200


class OpsSpool:
    def __init__(self, folder: Path, redactor: Redactor = KNOWN_FORMS) -> None:
        self._folder = folder
        self._redactor = redactor

    def keep(self, error: OpsError) -> None:
        """Keep the row. Where that is not possible either, the log line keeps what it would have said."""
        try:
            make_private_folder(self._folder)
            if len(os.listdir(self._folder)) >= SPOOLED_MAX:
                raise OSError(f"{SPOOLED_MAX} rows wait already")
            columns = ops_rows.columns(error)
            text = self._redactor.dumps(columns | {"detail": columns["detail"].obj, "at": error.at.isoformat()})
            unfinished = self._folder / f"{error.id}.part"
            write_private(unfinished, text)
            unfinished.rename(self._folder / f"{error.id}.json")
        except OSError as failure:
            telemetry.error("🔥", telemetry.Tag.API, f"Ops row lost ({failure}): {error.detail()}")

    async def catch_up(self, db: Database) -> int:
        """Write what was kept. Returns how many rows that were."""
        files = await asyncio.to_thread(self._oldest)
        for file in files:
            columns = json.loads(await asyncio.to_thread(file.read_text))
            async with db.connection() as conn:
                await ops_rows.insert_columns(conn, columns | {"detail": Jsonb(columns["detail"])})
            await asyncio.to_thread(file.unlink, missing_ok=True)
        return len(files)

    async def catch_up_for_ever(self, db: Database) -> None:
        """Until cancelled. Trouble with the database is waited out."""
        while True:
            try:
                written = await self.catch_up(db)
                if written:
                    telemetry.info("🔄", telemetry.Tag.DB_UPDATE, f"{written} ops rows written that had waited")
            except TROUBLE as error:
                telemetry.warning(telemetry.Tag.DB_UPDATE, f"Ops rows wait for the database: {error}")
            await asyncio.sleep(LOOK_SECONDS)

    def _oldest(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))[:WRITTEN_AT_ONCE]
