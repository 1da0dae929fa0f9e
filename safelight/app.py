"""The one place that wires settings to services: what an API process, a worker process or a command works with."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from safelight import request_limits, telemetry
from safelight.adapters import adapters_of, local_fault, webhook_checks
from safelight.api.app import create_api
from safelight.api.http.services import Services
from safelight.config import Settings
from safelight.database_app import DatabaseApp
from safelight.db import embedded
from safelight.db.configuration import deployment_secret
from safelight.db.connection.database import TRANSIENT_ERRORS, Database
from safelight.db.connection.notifications import Listener, Notifier
from safelight.db.embedded.supervisor import Restarted, Supervisor
from safelight.db.operations.statistics import CustomerCount
from safelight.db.schema.migrate import MigrationBlocked
from safelight.domain.errors.base import SafelightError
from safelight.domain.orders import Prices
from safelight.domain.shared_secrets import strong_secret
from safelight.domain.shop_orders import Shop, credit_products
from safelight.media.decode import DECODE_BYTES_MAX
from safelight.media.decoding_pool import MediaPool
from safelight.ops.doctor import Doctor, LatestFindings
from safelight.ops.queue_watch import QueueWatch
from safelight.ops.restarts import restart_row
from safelight.pipelines.accept import Acceptance, FreeSuggestions
from safelight.pipelines.context import Adapters, PictureReader, PipelineContext
from safelight.pipelines.engine.queue import Queue, WorkerOptions
from safelight.pipelines.engine.reaper import HEARTBEATS_MISSED, Reaper
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.sealing import Sealer
from safelight.pipelines.import_inputs import InputImporter
from safelight.pipelines.inputs import Inputs
from safelight.pipelines.provider_limits import ProviderLimits
from safelight.pipelines.registry import Configuration
from safelight.pipelines.runtime_overrides import RuntimeConfig
from safelight.pipelines.serving import Serving
from safelight.pipelines.settings import SettingsPolicy
from safelight.pipelines.vendor_pictures import VendorPictures
from safelight.pipelines.worker import Worker
from safelight.private_files import open_home
from safelight.process.tasks import end_tasks
from safelight.security import secret_files
from safelight.security.signing import Signer
from safelight.setting_checks import ADMIN_TOKEN_SETTING, SECRET_SETTING, check_secret_settings, token_check
from safelight.storage.assets import AssetStore
from safelight.storage.buckets import Bucket, S3Keys, open_bucket
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool

DATABASE_START_SECONDS_MAX = 60.0
DATABASE_LOOK_SECONDS = 1.0
LEAVE_SECONDS = 5.0  # beyond the time that steps get to end
API_STALL_SECONDS = 1.4  # without a free connection: the answer is a 503


class App(DatabaseApp):
    """Everything one process needs, from its settings."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.prices = Prices(still_credits=settings.still_credits, video_credits=settings.video_credits)
        local_fault(settings)  # a wrong one is said at once
        check_secret_settings(settings)
        self.tokens = token_check(settings)
        self.shop = Shop(settings.shopify_webhook_secret.get_secret_value(), credit_products(settings.credit_products))
        self._secret = ""
        self._fetcher = GuardedFetcher(_listed(settings.fetch_allow_hosts))
        self.media_pool = MediaPool(DECODE_BYTES_MAX)

    async def migrate_when_there(self) -> list[str]:
        """As `migrate`; a database that starts, or restarts just now, is waited for."""
        give_up = time.monotonic() + DATABASE_START_SECONDS_MAX
        while True:
            try:
                return await self.migrate()
            except (*TRANSIENT_ERRORS, MigrationBlocked) as error:
                if time.monotonic() > give_up:
                    raise
                telemetry.warning(telemetry.Tag.DB_UPDATE, f"Waiting for the database: {error}")
            await asyncio.sleep(DATABASE_LOOK_SECONDS)

    async def keep_database(self, stop: asyncio.Event) -> None:
        """Bring the embedded server back whenever it dies, until `stop` is set. A database of another's is let be."""
        if self.settings.database_url is None:
            await Supervisor(embedded.server_of(self.home), self._report_restart).run(stop)

    def _report_restart(self, restarted: Restarted) -> None:
        row = restart_row(restarted)
        telemetry.warning(telemetry.Tag.DB_STATUS, row.message)
        self.write_now(row)

    # --- the API ---------------------------------------------------------------------------------------------------

    def api(self) -> FastAPI:
        return create_api(
            self._services, cors_origins=_listed(self.settings.cors_origins), server=lambda: self.settings.base_url
        )

    @asynccontextmanager
    async def _services(self) -> AsyncIterator[Services]:
        pool = self.database(self.settings.api_pool_size, stall_seconds=API_STALL_SECONDS, check=True)
        await asyncio.to_thread(self.secret)  # it asks the database, once
        async with pool as db:
            queue, listener, spool = Queue(db), Listener(self.dsn), self.spool()
            policy, bodies = self.settings_policy(db), request_limits.bodies(self.settings, self.file_spool())
            runtime = RuntimeConfig(db, self.prices, policy)
            await queue.open()
            await listener.open()
            catching_up = asyncio.create_task(spool.flush_periodically(db))
            following = asyncio.create_task(runtime.refresh_periodically())
            queues, findings = (
                QueueWatch(db, dead_after_seconds=self.dead_after_seconds),
                LatestFindings(self.doctor(db)),
            )
            watching = asyncio.create_task(queues.run())
            try:
                yield Services(
                    db=db,
                    spool=spool,
                    acceptance=self.acceptance(db, queue, policy),
                    listener=listener,
                    assets=self.assets(),
                    fetcher=self.fetcher(),
                    spool_of_files=self.file_spool(),
                    prices=self.prices,
                    signup_credits=self.settings.signup_credits,
                    welcomes_per_day=self.settings.welcomes_per_day,
                    reaper=self.reaper(db, Notifier(db)),
                    admin_token=self.admin_token(),
                    signer=self.signer(),
                    findings=findings,
                    queues=queues,
                    webhook_checks=webhook_checks(self.settings),
                    rates=request_limits.rates(self.settings),
                    tokens=self.tokens,
                    token_required=self.settings.auth == "required",
                    admin_emails=frozenset(email.lower() for email in _listed(self.settings.admin_emails)),
                    shop=self.shop,
                    credits_expire_days=self.settings.credits_expire_days,
                    runtime=runtime,
                    customer_count=CustomerCount(db),
                    wait_seconds=self.settings.sync_result_timeout_seconds,
                    bodies=bodies,
                    streams=request_limits.streams(self.settings),
                    serving=self.serving(db),
                )
            finally:
                bodies.close()
                await end_tasks(following, catching_up, watching, seconds=LEAVE_SECONDS)
                await findings.close()
                await listener.close()
                await queue.close()

    def acceptance(self, db: Database, queue: Queue, policy: SettingsPolicy) -> Acceptance:
        settings = self.settings
        return Acceptance(
            db,
            queue,
            self.prices,
            settings.queue_timeout_seconds,
            Inputs(self.assets(), self.sealer(), settings.input_fetches_per_customer),
            policy,
            FreeSuggestions(settings.free_suggestions_per_day, settings.free_suggestions_per_address),
            settings.generations_in_progress_max,
        )

    def sealer(self) -> Sealer:
        return Sealer(self.secret().encode())

    def assets(self) -> AssetStore:
        settings = self.settings
        return AssetStore(
            self._bucket("storage_url", "assets", is_public=True),
            self._bucket("private_storage_url", "private-assets", is_public=False),
            self.media_pool,
            base_url=settings.base_url,
            public_url=settings.public_assets_url and settings.public_assets_url.rstrip("/"),
            secret=self.secret().encode(),
        )

    def signer(self) -> Signer:
        return Signer(self.secret().encode())

    def secret(self) -> str:
        """The deployment's secret: the setting, else the one in the database, which the first node's home brings.

        Raises:
            ConfigError: it is too short, its file cannot be used, or the database was not migrated yet.
        """
        if not self._secret:
            stated = self.settings.secret.get_secret_value()
            own = strong_secret(stated, SECRET_SETTING) if stated else self._file_secret("secret")
            self._secret = own if stated or not self.dsn else deployment_secret.shared(self.dsn, own)
            self.redactor.learn(self._secret)
        return self._secret

    def _bucket(self, setting: str, folder: str, *, is_public: bool) -> Bucket:
        settings = self.settings
        s3_keys = S3Keys(settings.s3_access_key_id.get_secret_value(), settings.s3_secret_access_key.get_secret_value())
        url = getattr(settings, setting) or (self.home / folder).as_uri()
        return open_bucket(url, s3_keys, is_public=is_public, setting=f"SAFELIGHT_{setting.upper()}")

    def check_storage(self) -> None:
        """Raises ConfigError where a storage URL cannot be used."""
        for setting in ("storage_url", "private_storage_url"):
            if getattr(self.settings, setting):
                self._bucket(setting, "", is_public=False)

    def admin_token(self) -> str:
        """The token for the operators' routes: the setting, else a token that is created once and kept in the home.

        Raises:
            ConfigError: it is empty or too short, or its file cannot be used.
        """
        stated = self.settings.admin_token.get_secret_value()
        if stated:
            return self._learned(strong_secret(stated, ADMIN_TOKEN_SETTING))
        return self._file_secret(self.admin_token_file.name)

    def check_secrets(self) -> None:
        """Make the secrets of this home where they are missing. Raises ConfigError where one cannot be used."""
        if not self.home.is_dir():
            open_home(self.home)
        self.admin_token()
        self._file_secret("secret")

    def _file_secret(self, name: str) -> str:
        """The secret in this file of the home, made if it is missing. Raises ConfigError."""
        path = self.home / name
        return self._learned(strong_secret(secret_files.read_or_create(path), str(path), secret_files.remedy(path)))

    def _learned(self, secret: str) -> str:
        self.redactor.learn(secret)
        return secret

    @property
    def admin_token_file(self) -> Path:
        return self.home / "admin-token"

    def fetcher(self) -> GuardedFetcher:
        return self._fetcher

    # --- the worker ------------------------------------------------------------------------------------------------

    async def work(self, stop: asyncio.Event) -> None:
        """Run generations until `stop` is set; then let the steps under way end."""
        await asyncio.to_thread(self.secret)
        async with self.database(self.settings.worker_pool_size) as db:
            notifier = Notifier(db)
            worker = self._worker(db, notifier)
            queue = Queue(db, worker.run, self._importer(db, notifier, worker).run)
            await queue.open()
            working = asyncio.create_task(queue.work(self._working_hours()))
            reaping = asyncio.create_task(self.reaper(db, notifier).run())
            catching_up = asyncio.create_task(self.spool().flush_periodically(db))
            stopped = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({working, reaping, stopped}, return_when=asyncio.FIRST_COMPLETED)
                queue.stop()
                await self._ended(working, db)
                if not stop.is_set():
                    raise SafelightError("the worker ended by itself; the lines above say why")
            finally:
                queue.stop()
                seconds = self.settings.worker_shutdown_seconds + LEAVE_SECONDS
                await end_tasks(working, reaping, catching_up, stopped, seconds=seconds)
                await notifier.drain()
                await queue.close()

    async def _ended(self, working: asyncio.Task[None], db: Database) -> None:
        """Wait for the work to end; what then still waits for a database that is away is let go."""
        ended, _ = await asyncio.wait({working}, timeout=self.settings.worker_shutdown_seconds + LEAVE_SECONDS)
        if not ended:
            telemetry.warning(telemetry.Tag.GENERATION_PROCESSING, "The worker stops while the database is unavailable")
            await db.close()
        await working

    def _working_hours(self) -> WorkerOptions:
        return WorkerOptions(
            concurrency=self.settings.worker_concurrency,
            imports=self.settings.input_fetches_at_once,
            poll_seconds=self.settings.worker_poll_seconds,
            shutdown_seconds=self.settings.worker_shutdown_seconds,
            heartbeat_seconds=self.settings.worker_heartbeat_seconds,
        )

    def _worker(self, db: Database, notifier: Notifier) -> Worker:
        policy = RetryPolicy(
            self.settings.retry_base_seconds,
            start_seconds=self.settings.provider_start_timeout_seconds,
            result_seconds=self.settings.provider_result_ttl_seconds,
        )
        return Worker(self.studio(db), notifier, policy)

    def _importer(self, db: Database, notifier: Notifier, worker: Worker) -> InputImporter:
        return InputImporter(
            db=db,
            notifier=notifier,
            assets=self.assets(),
            fetcher=self.fetcher(),
            spool=self.file_spool(),
            sealer=self.sealer(),
            refuse=worker.refuse,
            seconds_max=self.settings.input_fetch_seconds,
        )

    def file_spool(self) -> Spool:
        return Spool(self.home / "spool")

    def reaper(self, db: Database, notifier: Notifier) -> Reaper:
        return Reaper(db, self._worker(db, notifier).give_up, heartbeat_seconds=self.settings.worker_heartbeat_seconds)

    def doctor(self, db: Database) -> Doctor:
        reaper = self.reaper(db, Notifier(db))
        return Doctor(db, reaper, self.assets(), self.spool(), dead_after_seconds=self.dead_after_seconds)

    @property
    def dead_after_seconds(self) -> float:
        return HEARTBEATS_MISSED * self.settings.worker_heartbeat_seconds

    def studio(self, db: Database) -> PipelineContext:
        configuration = self._configuration(db)
        return PipelineContext(
            db,
            configuration,
            self._adapters(),
            self.assets(),
            self.fetcher(),
            ProviderLimits(db),
            SettingsPolicy(configuration, self.parameter_tables),
            self.file_spool(),
            VendorPictures(self.assets()),
            self.sealer(),
        )

    def _configuration(self, db: Database) -> Configuration:
        return Configuration(db, self.settings.keyed_adapters)

    def serving(self, db: Database) -> Serving:
        return Serving(self._configuration(db), self.settings.keyed_adapters)

    def settings_policy(self, db: Database) -> SettingsPolicy:
        return SettingsPolicy(self._configuration(db), self.parameter_tables)

    def _adapters(self) -> Adapters:
        reader = PictureReader(self.assets(), self.fetcher(), self.file_spool(), self.settings.input_fetch_seconds)
        return adapters_of(self.settings, reader.read, self.media_pool)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
