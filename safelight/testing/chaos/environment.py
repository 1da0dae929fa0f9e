"""The environment of a chaos run: the simulated provider, in a vendor's wire format, and a database that uses it."""

import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from safelight import serve
from safelight.app import App
from safelight.config import Settings
from safelight.pipelines.registry import serve_engines_with, serve_every_engine_with
from safelight.providers.simulated import as_fal, as_replicate
from safelight.providers.simulated.as_fal import AsFal
from safelight.providers.simulated.as_replicate import AsReplicate
from safelight.providers.simulated.faults import Faults, Latency
from safelight.providers.simulated.server import HangUpProtocol, Simulation

PROVIDER_START_SECONDS = (
    20.0  # longer than a call of the simulated adapter; injected leave many starts to be waited for
)
CHECK_SECONDS = 0.5


class VendorFormat(StrEnum):
    """The vendor in whose wire format stills and videos are ordered."""

    SIMULATED = "simulated"
    REPLICATE = "replicate"
    FAL = "fal"


MODELS = {
    VendorFormat.SIMULATED: {},
    VendorFormat.REPLICATE: {"seedream": "bytedance/seedream-4", "kling": "kwaivgi/kling-v2.1"},
    VendorFormat.FAL: {
        "seedream": "fal-ai/bytedance/seedream/v4/edit",
        "kling": "fal-ai/kling-video/v2.1/standard/image-to-video",
    },
}


@asynccontextmanager
async def stage(home: Path, dsn: str, seed: int, provider: VendorFormat) -> AsyncIterator[tuple[Simulation, App]]:
    """The simulated service answers inside this context, and the database is made to use it."""
    listening, api_port = serve.listen("127.0.0.1", 0), _free_port()
    settings = _settings(home, dsn, f"127.0.0.1:{listening.getsockname()[1]}", api_port)
    app = App(settings)
    app.start_database()
    webhook_secret = settings.replicate_webhook_secret.get_secret_value()
    formats = (lambda of: AsReplicate(of, webhook_secret).routes(), lambda of: AsFal(of).routes())
    simulation = Simulation(seed, Faults.flaky(), Latency(), _webhook_url(settings), formats=formats)
    async with serve.answering(simulation.app, listening, HangUpProtocol):
        await app.migrate()
        async with app.database() as db, db.transaction() as conn:
            await serve_every_engine_with(conn, VendorFormat.SIMULATED)
            changes = {engine: {"adapter": str(provider), "model": model} for engine, model in MODELS[provider].items()}
            await serve_engines_with(conn, changes)
        yield simulation, app


def _settings(home: Path, dsn: str, service: str, api_port: int) -> Settings:
    return Settings(
        home=home,
        database_url=dsn,
        stand_in="allow",
        host="127.0.0.1",
        port=api_port,
        public_url=None,
        log_file=None,
        local_fault=None,
        provider_start_timeout_seconds=PROVIDER_START_SECONDS,
        provider_poll_interval_seconds=CHECK_SECONDS,
        fetch_allow_hosts=service,
        rate_limit_writes_per_minute=0,
        generations_in_progress_max=0,
        rate_limit_public_per_minute=0,
        webhook_url=f"http://127.0.0.1:{api_port}",
        simulated_url=f"http://{service}",
        replicate_url=f"http://{service}{as_replicate.PATH}",
        replicate_token=SecretStr("rehearsal"),
        replicate_webhook_secret=SecretStr(f"whsec_{b64encode(secrets.token_bytes(24)).decode()}"),
        fal_url=f"http://{service}{as_fal.PATH}",
        fal_key=SecretStr("rehearsal"),
        fal_webhook_keys_url=f"http://{service}{as_fal.KEYS_PATH}",
    )


def _webhook_url(settings: Settings) -> Callable[[str], str]:
    """An attempt key begins with its generation's id."""
    return lambda attempt_key: f"{settings.base_url}/webhooks/simulated/{attempt_key.split(':')[0]}"


def _free_port() -> int:
    with serve.listen("127.0.0.1", 0) as listening:
        return int(listening.getsockname()[1])
