"""The one place that wires settings to services: what an API process, a worker process or a command works with."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from safelight import telemetry
from safelight.adapters import local_fault, webhook_checks
from safelight.api.app import create_api
from safelight.api.http.bodies.in_flight import InFlightLimit
from safelight.api.http.bodies.spooling import RequestBodies
from safelight.api.http.rate_limits import RateLimiter, RateLimitGroup, address_of
from safelight.api.http.services import AuthPolicy, Services
from safelight.config import Settings
from safelight.database_app import DatabaseApp
from safelight.db import embedded
from safelight.db.configuration import deployment_secret
from safelight.db.connection.database import TRANSIENT_ERRORS, Database
from safelight.db.connection.notifications import Listener
from safelight.db.embedded.supervisor import Restarted, Supervisor
from safelight.db.operations.ops_rows import process_error
from safelight.db.schema.migrate import MigrationBlocked
from safelight.domain.errors.base import SafelightError
from safelight.domain.errors.categories import Category
from safelight.domain.shared_secrets import strong_secret
from safelight.domain.shop_orders import Shop, credit_products
from safelight.ops.doctor import LatestFindings
from safelight.ops.queue_watch import QueueWatch
from safelight.ops.retry import GenerationRetry
from safelight.pipelines.engine.queue import WorkerOptions
from safelight.private_files import open_home
from safelight.process.tasks import end_tasks
from safelight.reports.totals import CustomerCount
from safelight.resources import PoolResources, ProcessResources
from safelight.security import secret_files
from safelight.setting_checks import ADMIN_TOKEN_SETTING, SECRET_SETTING, check_secret_settings, token_check
from safelight.settings.values import listed
from safelight.storage.remote_files import RemoteFiles

DATABASE_START_SECONDS_MAX = 60.0
DATABASE_LOOK_SECONDS = 1.0
LEAVE_SECONDS = 5.0  # beyond the time that steps get to end
MEGABYTE = 1024 * 1024
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
        self.resources = ProcessResources(settings, self.ops_outbox, self.parameter_tables, self.secret)

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
        row = process_error(
            Category.API_ERROR,
            "DATABASE_RESTARTED",
            f"The embedded database runs again after {restarted.seconds:.1f} s: {restarted.reason}",
            action="database.restarted",
            level="warn",
            extra={"tries": restarted.tries},
        )
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
            on, resources, settings = self.on(db), self.resources, self.settings
            queue, listener, findings = on.queue(), Listener(self.dsn), LatestFindings(on.doctor)
            acceptance = on.acceptance(queue)
            queues = QueueWatch(db, dead_after_seconds=resources.dead_after_seconds)
            bodies = RequestBodies(settings.body_buffer_mb * MEGABYTE, address_of, resources.file_spool)
            rates = {
                RateLimitGroup.WRITES: settings.rate_limit_writes_per_minute,
                RateLimitGroup.PUBLIC: settings.rate_limit_public_per_minute,
                RateLimitGroup.ERROR_REPORTS: settings.rate_limit_error_reports_per_minute,
                RateLimitGroup.ADMIN_TOKENS: settings.admin_guesses_per_minute,
            }
            streams_max, streams_per_address = settings.streams_max, settings.streams_per_address
            admin_emails = frozenset(email.lower() for email in listed(settings.admin_emails))
            await queue.open()
            await listener.open()
            flushing = asyncio.create_task(self.ops_outbox.flush_periodically(db))
            refreshing = asyncio.create_task(on.runtime.refresh_periodically())
            watching = asyncio.create_task(queues.run())
            try:
                yield Services(
                    db=db,
                    spool=self.ops_outbox,
                    acceptance=acceptance,
                    listener=listener,
                    assets=resources.assets,
                    remote_files=RemoteFiles(resources.assets, resources.fetcher, resources.file_spool),
                    welcome_credits=settings.signup_credits,
                    welcomes_per_day=settings.welcomes_per_day,
                    reaper=on.reaper,
                    signer=resources.signer,
                    findings=findings,
                    queues=queues,
                    webhook_checks=webhook_checks(settings),
                    rates=RateLimiter(rates),
                    auth=AuthPolicy(self.tokens, settings.auth == "required", self.admin_token(), admin_emails),
                    shop=self.shop,
                    credits_expire_days=settings.credits_expire_days,
                    runtime=on.runtime,
                    customer_count=CustomerCount(db),
                    wait_seconds=settings.sync_result_timeout_seconds,
                    bodies=bodies,
                    streams=InFlightLimit("live streams", total_max=streams_max, per_address_max=streams_per_address),
                    serving=on.serving,
                    retries=GenerationRetry(db, acceptance, resources.assets, resources.sealer),
                    configuration=on.configuration,
                    tables=self.parameter_tables,
                )
            finally:
                bodies.close()
                await end_tasks(refreshing, flushing, watching, seconds=LEAVE_SECONDS)
                await findings.close()
                await listener.close()
                await queue.close()

    # --- what commands and tests ask for ---------------------------------------------------------------------------

    def on(self, db: Database) -> PoolResources:
        """Return the resources that work on this pool: keep what is returned, so that each is built once."""
        return PoolResources(self.resources, db)

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
            queue = on.queue(on.worker.run, on.importer.run)
            await queue.open()
            working = asyncio.create_task(queue.work(self._worker_options()))
            reaping = asyncio.create_task(on.reaper.run())
            flushing = asyncio.create_task(self.ops_outbox.flush_periodically(db))
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
                await end_tasks(working, reaping, flushing, stopped, seconds=seconds)
                await on.notifier.drain()
                await queue.close()

    async def _ended(self, working: asyncio.Task[None], db: Database) -> None:
        """Wait for the work to end; what then still waits for a database that is away is let go."""
        ended, _ = await asyncio.wait({working}, timeout=self.settings.worker_shutdown_seconds + LEAVE_SECONDS)
        if not ended:
            telemetry.warning(telemetry.Tag.GENERATION_PROCESSING, "The worker stops while the database is unavailable")
            await db.close()
        await working

    def _worker_options(self) -> WorkerOptions:
        return WorkerOptions(
            concurrency=self.settings.worker_concurrency,
            imports=self.settings.input_fetches_at_once,
            poll_seconds=self.settings.worker_poll_seconds,
            shutdown_seconds=self.settings.worker_shutdown_seconds,
            heartbeat_seconds=self.settings.worker_heartbeat_seconds,
        )
