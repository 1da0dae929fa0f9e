"""An S3 server for tests: our own simulation, or any other that S3_TEST_URL names (http://KEY:SECRET@HOST:PORT)."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from safelight import serve
from safelight.domain.ids import new_id
from safelight.storage.buckets import S3Keys
from safelight.storage.simulated import SimulatedS3

KEYS = S3Keys("TESTKEY", "test/secret+key")
OTHER_SERVER = os.environ.get("S3_TEST_URL")


@asynccontextmanager
async def s3_server(*, keep: bool = True) -> AsyncIterator[tuple[SimulatedS3, dict[str, str]]]:
    """The simulation, and the settings that let a backend keep its files there."""
    simulation, listening = SimulatedS3(KEYS, keep=keep), serve.listen("127.0.0.1", 0)
    async with serve.answering(simulation.app, listening):
        yield simulation, settings_for(f"http://127.0.0.1:{listening.getsockname()[1]}", KEYS)


@asynccontextmanager
async def any_s3_server() -> AsyncIterator[dict[str, str]]:
    """The settings for the server that is to be tested with."""
    if OTHER_SERVER:
        parts = urlsplit(OTHER_SERVER)
        yield settings_for(f"http://{parts.hostname}:{parts.port}", S3Keys(parts.username or "", parts.password or ""))
        return
    async with s3_server() as (_, settings):
        yield settings


def settings_for(endpoint: str, keys: S3Keys) -> dict[str, str]:
    """Folders of their own, so that tests may share a server."""
    options, name = f"?endpoint={endpoint}&region=us-east-1", new_id()
    return {
        "storage_url": f"s3://assets/{name}/public{options}",
        "private_storage_url": f"s3://assets/{name}/private{options}",
        "s3_access_key_id": keys.access_key_id,
        "s3_secret_access_key": keys.secret_access_key,
    }
