"""What the stories work with: the adapters the registry names, our storage and the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from safelight.db import customers
from safelight.db.database import Database
from safelight.domain.errors import AssetUnreadable, ConfigError, NotFound, RemoteFileRefused
from safelight.pipelines.configuration import Configuration, Engine
from safelight.pipelines.gate import Gate
from safelight.providers.base import Adapter, ImageProvider, ReferenceImage, TextModel, VideoProvider
from safelight.redaction import excerpt
from safelight.storage.assets import AssetStore
from safelight.storage.fetch import GuardedFetcher


class Adapters:
    """What is installed, by the name that the registry uses. An adapter is made when an engine first needs it: some
    bring large libraries. Each question raises ConfigError where the engine's adapter has no answer to it."""

    def __init__(self, makers: Mapping[str, Callable[[], Adapter]]) -> None:
        self._makers = makers
        self._made: dict[str, Adapter] = {}

    def text(self, engine: Engine) -> TextModel:
        return _offered(self._of(engine).text, engine, "words")

    def image(self, engine: Engine) -> ImageProvider:
        return _offered(self._of(engine).image, engine, "images")

    def video(self, engine: Engine) -> VideoProvider:
        return _offered(self._of(engine).video, engine, "videos")

    def _of(self, engine: Engine) -> Adapter:
        name = engine.adapter
        if name not in self._makers:
            there_are = ", ".join(sorted(self._makers))
            raise ConfigError(f"{engine.id}: no adapter {name!r} is installed; there are {there_are}")
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]


Offer = TypeVar("Offer")


def _offered(offer: Offer | None, engine: Engine, what: str) -> Offer:
    if offer is None:
        raise ConfigError(f"{engine.id}: the adapter {engine.adapter!r} makes no {what}")
    return offer


@dataclass(frozen=True, slots=True)
class Studio:
    db: Database
    configuration: Configuration
    adapters: Adapters
    assets: AssetStore
    fetcher: GuardedFetcher
    gate: Gate

    async def serving(self, engine_id: str) -> Engine:
        """Who serves the engine now: its fallback while its own adapter does not answer."""
        engine = await self.configuration.engine(engine_id)
        if engine.fallback and engine.limits and await self.gate.is_shut(engine.adapter):
            limits = await self.configuration.limits(engine.fallback["adapter"])
            return engine.instead(engine.fallback, limits)
        return engine

    async def passing(self, customer: str, images: tuple[ReferenceImage, ...]) -> tuple[ReferenceImage, ...]:
        """The pictures as an adapter is given them: private files of the customer under URLs that pass for now."""
        if not any(self.assets.is_private_address(image.url) for image in images):
            return images
        async with self.db.connection() as conn:
            pass_ids = await customers.pass_ids_of(conn, customer)
        return tuple([replace(image, url=await self.assets.passing(image.url, pass_ids)) for image in images])


async def read_picture(assets: AssetStore, fetcher: GuardedFetcher, url: str) -> bytes:
    """The bytes behind an input URL: from our storage where it is ours, guarded from outside where it is not.

    Raises:
        AssetUnreadable: it cannot be read.
    """
    key, private_key = assets.key_of(url), assets.private_key_of(url)
    try:
        if private_key:
            return await assets.private.read(private_key)
        return await assets.read(key) if key else await fetcher.fetch(url)
    except (NotFound, RemoteFileRefused) as error:
        raise AssetUnreadable(f"{excerpt(url, 200)}: {error}") from error
