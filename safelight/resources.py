"""Each resource of a process, built once: `ProcessResources` for all of it, `PoolResources` for each pool of database
connections (the API has one, and the worker another)."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from safelight.adapters import adapters_of
from safelight.config import Settings
from safelight.db.connection.database import Database
from safelight.db.connection.notifications import Notifier
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.domain.money.prices import Prices
from safelight.media.decode import DECODE_BYTES_MAX
from safelight.media.decoding_pool import MediaPool
from safelight.ops.doctor import Doctor
from safelight.pipelines.accept import Acceptance, FreeSuggestions
from safelight.pipelines.context import Adapters, PictureReader, PipelineContext
from safelight.pipelines.engine.queue import Queue
from safelight.pipelines.engine.reaper import HEARTBEATS_MISSED, Reaper
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.sealing import Sealer
from safelight.pipelines.import_inputs import InputImporter, PictureImport
from safelight.pipelines.inputs import Inputs
from safelight.pipelines.provider_limits import ProviderLimits
from safelight.pipelines.registry import Configuration
from safelight.pipelines.runtime_overrides import RuntimeConfig
from safelight.pipelines.serving import Serving
from safelight.pipelines.settings import ModelCatalogue, SettingsPolicy
from safelight.pipelines.worker import Worker
from safelight.providers.catalogue import ParameterTables
from safelight.security.signing import Signer
from safelight.settings.values import listed
from safelight.storage.assets import AssetStore
from safelight.storage.buckets import Bucket, S3Keys, open_bucket
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool
from safelight.storage.vendor_pictures import VendorPictures


class ProcessResources:
    """Resources that know no database. `secret` gives the deployment's secret, which may have to be read from one."""

    def __init__(
        self, settings: Settings, ops_outbox: OpsOutbox, parameter_tables: ParameterTables, secret: Callable[[], str]
    ) -> None:
        self.settings = settings
        self.ops_outbox = ops_outbox
        self._secret = secret
        self.fetcher = GuardedFetcher(listed(settings.fetch_allow_hosts))
        self.parameter_tables = parameter_tables
        self.media_pool = MediaPool(DECODE_BYTES_MAX)
        self.prices = Prices(settings.still_credits, settings.video_credits, settings.image_credits)

    @cached_property
    def assets(self) -> AssetStore:
        settings = self.settings
        return AssetStore(
            self.bucket("storage_url", "assets", is_public=True),
            self.bucket("private_storage_url", "private-assets", is_public=False),
            self.media_pool,
            base_url=settings.base_url,
            public_url=settings.public_assets_url and settings.public_assets_url.rstrip("/"),
            secret=self._secret().encode(),
        )

    def bucket(self, setting: str, folder: str, *, is_public: bool) -> Bucket:
        """Open the bucket that a setting names. Raises ConfigError if its URL cannot be used."""
        settings = self.settings
        s3_keys = S3Keys(settings.s3_access_key_id.get_secret_value(), settings.s3_secret_access_key.get_secret_value())
        url = getattr(settings, setting) or (settings.home_path / folder).as_uri()
        return open_bucket(url, s3_keys, is_public=is_public, setting=f"SAFELIGHT_{setting.upper()}")

    @cached_property
    def file_spool(self) -> Spool:
        return Spool(self.settings.home_path / "spool")

    @cached_property
    def sealer(self) -> Sealer:
        return Sealer(self._secret().encode())

    @cached_property
    def signer(self) -> Signer:
        return Signer(self._secret().encode())

    @cached_property
    def adapters(self) -> Adapters:
        reader = PictureReader(self.assets, self.fetcher, self.file_spool, self.settings.input_fetch_seconds)
        return adapters_of(self.settings, reader.read, self.media_pool)

    @property
    def dead_after_seconds(self) -> float:
        return HEARTBEATS_MISSED * self.settings.worker_heartbeat_seconds


class PoolResources:
    """Resources that work on one pool of database connections, and share what they are built of."""

    def __init__(self, process: ProcessResources, db: Database) -> None:
        self._process = process
        self._settings = process.settings
        self.db = db
        self.notifier = Notifier(db)

    @cached_property
    def configuration(self) -> Configuration:
        """The registry, the prompts and the defaults of providers."""
        return Configuration(self.db, self._settings.keyed_adapters)

    @cached_property
    def serving(self) -> Serving:
        return Serving(self.configuration, self._settings.keyed_adapters)

    @cached_property
    def models(self) -> ModelCatalogue:
        """The models that customers may choose."""
        return ModelCatalogue(self.configuration, self._process.parameter_tables)

    @cached_property
    def settings_policy(self) -> SettingsPolicy:
        return SettingsPolicy(self.configuration, self._process.parameter_tables)

    @cached_property
    def runtime(self) -> RuntimeConfig:
        return RuntimeConfig(self.db, self._process.prices, self.settings_policy)

    def queue(self, handler: Any = None, importer: Any = None) -> Queue:
        return Queue(self.db, handler, importer, places_max=self._settings.generations_at_once_per_customer)

    def acceptance(self, queue: Queue) -> Acceptance:
        settings = self._settings
        return Acceptance(
            self.db,
            queue,
            lambda: self.runtime.prices,
            settings.queue_timeout_seconds,
            Inputs(self._process.assets, self._process.sealer, settings.input_fetches_per_customer),
            self.settings_policy,
            FreeSuggestions(settings.free_suggestions_per_day, settings.free_suggestions_per_address),
            settings.generations_in_progress_max,
            self.models,
        )

    @cached_property
    def context(self) -> PipelineContext:
        process = self._process
        return PipelineContext(
            self.db,
            self.configuration,
            process.adapters,
            process.assets,
            process.fetcher,
            ProviderLimits(self.db),
            self.settings_policy,
            process.file_spool,
            VendorPictures(process.assets),
            process.sealer,
            self.models,
        )

    @cached_property
    def worker(self) -> Worker:
        settings = self._settings
        policy = RetryPolicy(
            settings.retry_base_seconds,
            start_seconds=settings.provider_start_timeout_seconds,
            result_seconds=settings.provider_result_ttl_seconds,
        )
        return Worker(self.context, self.notifier, policy)

    @cached_property
    def importer(self) -> InputImporter:
        process = self._process
        return InputImporter(
            db=self.db,
            notifier=self.notifier,
            pictures=PictureImport(
                process.assets,
                process.fetcher,
                process.file_spool,
                process.sealer,
                self._settings.input_fetch_seconds,
            ),
            refuse=self.worker.refuse,
        )

    @cached_property
    def reaper(self) -> Reaper:
        settings = self._settings
        return Reaper(
            self.db,
            self.worker.give_up,
            heartbeat_seconds=settings.worker_heartbeat_seconds,
            places_max=settings.generations_at_once_per_customer,
        )

    @cached_property
    def doctor(self) -> Doctor:
        process, dead_after_seconds = self._process, self._process.dead_after_seconds
        return Doctor(self.db, self.reaper, process.assets, process.ops_outbox, dead_after_seconds=dead_after_seconds)
