"""What the stories work with: the adapters the registry names, our storage and the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from safelight.db.database import Database
from safelight.domain.errors import AssetUnreadable, ConfigError, NotFound, RemoteFileRefused
from safelight.pipelines.configuration import Configuration
from safelight.providers.base import ImageProvider, TextModel, VideoProvider
from safelight.storage.assets import AssetStore
from safelight.storage.fetch import GuardedFetcher


@dataclass(frozen=True, slots=True)
class Adapters:
    """Every installed adapter, by name."""

    text: Mapping[str, TextModel]
    image: Mapping[str, ImageProvider]
    video: Mapping[str, VideoProvider]


@dataclass(frozen=True, slots=True)
class Studio:
    db: Database
    configuration: Configuration
    adapters: Adapters
    assets: AssetStore
    fetcher: GuardedFetcher


Adapter = TypeVar("Adapter")


def adapter_named(adapters: Mapping[str, Adapter], name: str, engine_id: str) -> Adapter:
    """Raises ConfigError where the registry names an adapter that is not installed."""
    if name not in adapters:
        raise ConfigError(f"{engine_id}: no adapter {name!r} is installed; there are {', '.join(sorted(adapters))}")
    return adapters[name]


async def read_picture(assets: AssetStore, fetcher: GuardedFetcher, url: str) -> bytes:
    """The bytes behind an input URL: from our storage where it is ours, guarded from outside where it is not.

    Raises:
        AssetUnreadable: it cannot be read.
    """
    key = assets.key_of(url)
    try:
        return await assets.read(key) if key else await fetcher.fetch(url)
    except (NotFound, RemoteFileRefused) as error:
        raise AssetUnreadable(f"{url[:200]}: {error}") from error
