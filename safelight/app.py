"""The one place that wires settings to services: what an API process, a worker process or a command works with."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from safelight import request_limits, telemetry
from safelight.adapters import local_fault, webhook_checks
from safelight.api.app import create_api
from safelight.api.http.bodies.spooling import RequestBodies
from safelight.api.http.services import AuthPolicy, Services, WelcomePolicy
from safelight.config import Settings
from safelight.database_app import DatabaseApp
from safelight.db import embedded
from safelight.db.configuration import deployment_secret
from safelight.db.connection.database import TRANSIENT_ERRORS, Database
from safelight.db.connection.notifications import Listener, Notifier
from safelight.db.embedded.supervisor import Restarted, Supervisor
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.db.schema.migrate import MigrationBlocked
from safelight.domain.errors.base import SafelightError
from safelight.domain.money.prices import Prices
from safelight.domain.money.shop_orders import Shop, credit_products
from safelight.domain.shared_secrets import strong_secret
from safelight.ops.doctor import Doctor, LatestFindings
from safelight.ops.queue_watch import QueueWatch
from safelight.ops.restarts import restart_row
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.queue import Queue, WorkerOptions
from safelight.pipelines.engine.reaper import Reaper
from safelight.pipelines.engine.sealing import Sealer
from safelight.pipelines.serving import Serving
from safelight.private_files import open_home
from safelight.process.tasks import end_tasks
from safelight.reports.totals import CustomerCount
from safelight.resources import PoolResources, ProcessResources, listed
from safelight.security import secret_files
from safelight.security.signing import Signer
from safelight.setting_checks import ADMIN_TOKEN_SETTING, SECRET_SETTING, check_secret_settings, token_check
from safelight.storage.assets import AssetStore
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.remote_files import RemoteFiles
from safelight.storage.spool import Spool

DATABASE_START_SECONDS_MAX = 60.0
DATABASE_LOOK_SECONDS = 1.0
LEAVE_SECONDS = 5.0  # beyond the time that steps get to end
API_STALL_SECONDS = 1.4  # without a free connection: the answer is a 503


class App(DatabaseApp):
    """Everything one process needs, from its settings."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        local_fault(settings)  # a wrong one is said at once
        check_secret_settings(settings)
        self.tokens = token_check(settings)
        self.shop = Shop(settings.shopify_webhook_secret.get_secret_value(), credit_products(settings.credit_products))
        self._secret = ""
        self.resources = ProcessResources(settings, self.redactor, self.parameter_tables, self.secret)

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
            self._services, cors_origins=listed(self.settings.cors_origins), server=lambda: self.settings.base_url
        )

    @asynccontextmanager
    async def _services(self) -> AsyncIterator[Services]:
        pool = self.database(self.settings.api_pool_size, stall_seconds=API_STALL_SECONDS, check=True)
        await asyncio.to_thread(self.secret)  # it asks the database, once
        async with pool as db:
            on, resources = self.on(db), self.resources
            queue, listener, findings = Queue(db), Listener(self.dsn), LatestFindings(on.doctor)
            queues = QueueWatch(db, dead_after_seconds=resources.dead_after_seconds)
            bodies = request_limits.bodies(self.settings, resources.file_spool)
            await queue.open()
            await listener.open()
            catching_up = asyncio.create_task(resources.ops_spool.flush_periodically(db))
            following = asyncio.create_task(on.runtime.refresh_periodically())
            watching = asyncio.create_task(queues.run())
            try:
                yield self._services_of(on, queue, listener, bodies, queues, findings)
            finally:
                bodies.close()
                await end_tasks(following, catching_up, watching, seconds=LEAVE_SECONDS)
                await findings.close()
                await listener.close()
                await queue.close()

    def _services_of(
        self,
        on: PoolResources,
        queue: Queue,
        listener: Listener,
        bodies: RequestBodies,
        queues: QueueWatch,
        findings: LatestFindings,
    ) -> Services:
        settings, resources = self.settings, self.resources
        admin_emails = frozenset(email.lower() for email in listed(settings.admin_emails))
        return Services(
            db=on.db,
            spool=resources.ops_spool,
            acceptance=on.acceptance(queue),
            listener=listener,
            assets=resources.assets,
            remote_files=RemoteFiles(resources.assets, resources.fetcher, resources.file_spool),
            welcome=WelcomePolicy(settings.signup_credits, settings.welcomes_per_day),
            reaper=on.reaper,
            signer=resources.signer,
            findings=findings,
            queues=queues,
            webhook_checks=webhook_checks(settings),
            rates=request_limits.rates(settings),
            auth=AuthPolicy(self.tokens, settings.auth == "required", self.admin_token(), admin_emails),
            shop=self.shop,
            credits_expire_days=settings.credits_expire_days,
            runtime=on.runtime,
            customer_count=CustomerCount(on.db),
            wait_seconds=settings.sync_result_timeout_seconds,
            bodies=bodies,
            streams=request_limits.streams(settings),
            serving=on.serving,
        )

    # --- what commands and tests ask for ---------------------------------------------------------------------------

    def on(self, db: Database, notifier: Notifier | None = None) -> PoolResources:
        """Return the resources that work on this pool: keep what is returned, so that each is built once."""
        return PoolResources(self.resources, db, notifier)

    @property
    def prices(self) -> Prices:
        """Prices as the settings state them; operators may have set others (`RuntimeConfig.prices`)."""
        return self.resources.prices

    def sealer(self) -> Sealer:
        return self.resources.sealer

    def spool(self) -> OpsOutbox:
        return self.resources.ops_spool

    def file_spool(self) -> Spool:
        return self.resources.file_spool

    def fetcher(self) -> GuardedFetcher:
        return self.resources.fetcher

    def assets(self) -> AssetStore:
        return self.resources.assets

    def signer(self) -> Signer:
        return self.resources.signer

    def reaper(self, db: Database, notifier: Notifier) -> Reaper:
        return self.on(db, notifier).reaper

    def doctor(self, db: Database) -> Doctor:
        return self.on(db).doctor

    def context(self, db: Database) -> PipelineContext:
        return self.on(db).context

    def serving(self, db: Database) -> Serving:
        return self.on(db).serving

    # --- secrets ---------------------------------------------------------------------------------------------------

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

    def check_storage(self) -> None:
        """Raises ConfigError where a storage URL cannot be used."""
        for setting in ("storage_url", "private_storage_url"):
            if getattr(self.settings, setting):
                self.resources.bucket(setting, "", is_public=False)

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

    # --- the worker ------------------------------------------------------------------------------------------------

    async def work(self, stop: asyncio.Event) -> None:
        """Run generations until `stop` is set; then let the steps under way end."""
        await asyncio.to_thread(self.secret)
        async with self.database(self.settings.worker_pool_size) as db:
            on = self.on(db)
            queue = Queue(db, on.worker.run, on.importer.run)
            await queue.open()
            working = asyncio.create_task(queue.work(self._working_hours()))
            reaping = asyncio.create_task(on.reaper.run())
            catching_up = asyncio.create_task(self.resources.ops_spool.flush_periodically(db))
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
                await on.notifier.drain()
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
