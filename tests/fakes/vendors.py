"""A vendor for a test's database: the registry names its adapter and models for stills and videos."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.conftest import Json
from tests.fakes import fal, replicate
from tests.fakes.registry import serve_with
from tests.fakes.wire import Wire

MODELS: dict[str, dict[str, str]] = {
    "replicate": {"seedream": "bytedance/seedream-4", "kling": "kwaivgi/kling-v2.1"},
    "fal": {
        "seedream": "fal-ai/bytedance/seedream/v4/edit",
        "kling": "fal-ai/kling-video/v2.1/standard/image-to-video",
    },
}


def settings_for(adapter: str, wire: Wire) -> Json:
    """The settings that let a backend reach the fake."""
    shared = {"fetch_allow_hosts": wire.address, "provider_poll_interval_seconds": 0.05}
    if adapter == "fal":
        return shared | {
            "fal_url": wire.url,
            "fal_key": fal.KEY,
            "fal_webhook_keys_url": f"{wire.url}/.well-known/jwks.json",
        }
    return shared | {
        "replicate_url": f"{wire.url}/v1",
        "replicate_token": replicate.TOKEN,
        "replicate_webhook_secret": replicate.SECRET,
    }


@asynccontextmanager
async def vendor(dsn: str, adapter: str, **more: Any) -> AsyncIterator[tuple[Any, Json]]:
    """The fake, and the settings that let a backend reach it."""
    wire: Wire = fal.Fal() if adapter == "fal" else replicate.Replicate()
    async with wire.answering():
        await serve_with(
            dsn, {engine: {"adapter": adapter, "model": model} | more for engine, model in MODELS[adapter].items()}
        )
        yield wire, settings_for(adapter, wire)
