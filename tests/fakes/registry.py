"""The settings by which a test's database says which adapter serves which engine."""

from safelight.app import App
from safelight.config import Settings
from safelight.pipelines.registry import serve_engines_with
from tests.conftest import Json


async def serve_with(dsn: str, changes: dict[str, Json]) -> None:
    """Only the registry's row changes: these values, of these engines, and no limits."""
    async with App(Settings(database_url=dsn)).database() as db, db.transaction() as conn:
        await serve_engines_with(conn, changes, limits={})
