"""The resources of the flows: the adapters the registry names, our storage and the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from safelight.db.connection.database import Database
from safelight.db.money import customers
from safelight.domain.errors.base import AssetUnreadable, ConfigError, InvalidInput
from safelight.domain.flows import Mode
from safelight.media import decode
from safelight.pipelines.engine.sealing import Sealer
from safelight.pipelines.provider_limits import ProviderLimits
from safelight.pipelines.registry import Configuration, Engine
from safelight.pipelines.settings import ModelCatalogue, SettingsPolicy
from safelight.providers.base import Adapter, MediaProvider, ReferenceImage, TextModel
from safelight.redaction import excerpt
from safelight.storage.assets import UPLOAD_BYTES_MAX, AssetStore
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool
from safelight.storage.vendor_pictures import VendorPictures


class Adapters:
    """The installed adapters, by the name that the registry uses. An adapter is made when an engine first needs it:
    some bring large libraries. Each question raises ConfigError where the engine's adapter has no answer to it."""

    def __init__(self, makers: Mapping[str, Callable[[], Adapter]]) -> None:
        self._makers = makers
        self._made: dict[str, Adapter] = {}

    def text(self, engine: Engine) -> TextModel:
        engine.must_make("text")
        return _offered(self._of(engine).text, engine, "words")

    def media(self, engine: Engine, mode: Mode) -> MediaProvider:
        return _offered(self._of(engine).media(mode), engine, f"{mode}s")

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
class PipelineContext:
    db: Database
    configuration: Configuration
    adapters: Adapters
    assets: AssetStore
    fetcher: GuardedFetcher
    limits: ProviderLimits
    settings: SettingsPolicy
    spool: Spool
    vendor_pictures: VendorPictures
    sealer: Sealer | None = None  # None: what redaction changes in a record is not kept
    models: ModelCatalogue | None = None  # None: no model runs are made

    async def serving(self, engine_id: str) -> Engine:
        """The adapter and model that serve the engine now: its fallback while its own adapter does not answer."""
        return await self.reachable(await self.configuration.engine(engine_id))

    async def reachable(self, engine: Engine) -> Engine:
        """The engine, or as its fallback serves it while its own adapter does not answer."""
        if engine.fallback and engine.limits and await self.limits.circuit_is_open(engine.adapter):
            limits = await self.configuration.limits(engine.fallback["adapter"])
            return engine.instead(engine.fallback, limits)
        return engine

    async def presign(self, customer: str, images: tuple[ReferenceImage, ...]) -> tuple[ReferenceImage, ...]:
        """The pictures as an adapter is given them: upright and in sRGB, private files of the customer under URLs that
        pass for now."""
        pass_ids: tuple[str, ...] = ()
        if any(self.assets.is_private_address(image.url) for image in images):
            async with self.db.connection() as conn:
                pass_ids = tuple(await customers.pass_ids_of(conn, customer))
        return tuple([await self._as_given(image, customer, pass_ids) for image in images])

    async def _as_given(self, image: ReferenceImage, customer: str, pass_ids: tuple[str, ...]) -> ReferenceImage:
        if image.content is not None:
            return image
        url = await self.vendor_pictures.url_for(image.url, customer, pass_ids)
        return replace(image, url=await self.assets.presign(url, {*pass_ids, customer}))


@dataclass(frozen=True, slots=True)
class PictureReader:
    """Reads pictures for adapters, made smaller where they are large. Those of an order are ours by then; what else is
    named, such as by an order of an older version, is fetched within `seconds_max`."""

    assets: AssetStore
    fetcher: GuardedFetcher
    spool: Spool
    seconds_max: float

    async def read(self, url: str) -> bytes:
        """Raises:
        AssetUnreadable: it cannot be read, or is no picture.
        """
        key, private_key = self.assets.key_of(url), self.assets.private_key_of(url)
        try:
            if private_key:
                return await self.assets.read_whole(self.assets.private, private_key, decode.reduced)
            if key:
                return await self.assets.read_whole(self.assets.public, key, decode.reduced)
            return await self._fetched(url)
        except InvalidInput as error:
            raise AssetUnreadable(f"{excerpt(url, 200)}: {error}") from error

    async def _fetched(self, url: str) -> bytes:
        stream = self.fetcher.stream(url, bytes_max=UPLOAD_BYTES_MAX, seconds_max=self.seconds_max)
        async with stream as chunks:
            file = await self.spool.receive(chunks)
        with file:
            return await self.assets.pool.run(
                decode.DECODE_BYTES_MAX, lambda: decode.reduced(file.read(UPLOAD_BYTES_MAX))
            )
