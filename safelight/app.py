"""The one place that wires settings to services: what an API process, a worker process or a command works with."""

import asyncio
import hashlib
import os
import secrets
import sys
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from fastapi import FastAPI

from safelight import telemetry
from safelight.adapters import adapters_of, local_fault, webhook_checks
from safelight.api.body_room import BodyRoom
from safelight.api.rates import Kind, Rates
from safelight.api.server import create_api
from safelight.api.services import Services
from safelight.api.tokens import Keys, PublicKeys, SharedSecret, TokenCheck
from safelight.config import Settings
from safelight.db import embedded, ops_rows
from safelight.db.database import TROUBLE, Database
from safelight.db.migrate import migrate
from safelight.db.ops_spool import OpsSpool
from safelight.db.statistics import CustomerCount
from safelight.db.wakeups import Announcer, Listener
from safelight.domain.categories import Category
from safelight.domain.errors import ConfigError, SafelightError
from safelight.domain.ids import new_id
from safelight.domain.orders import Prices
from safelight.domain.shop_orders import Shop, credit_products
from safelight.media import DECODE_BYTES_MAX
from safelight.media_pool import MediaPool
from safelight.ops.doctor import Doctor, LatestFindings
from safelight.pipelines.accept import Acceptance
from safelight.pipelines.configuration import Configuration, install_version_1
from safelight.pipelines.gate import Gate
from safelight.pipelines.import_inputs import InputImporter
from safelight.pipelines.inputs import Inputs
from safelight.pipelines.queue import Queue, WorkingHours
from safelight.pipelines.reaper import HEARTBEATS_MISSED, Reaper
from safelight.pipelines.retries import RetryPolicy
from safelight.pipelines.runtime import RuntimeConfig
from safelight.pipelines.sealing import Sealer
from safelight.pipelines.studio import Adapters, PictureReader, Studio
from safelight.pipelines.worker import Worker
from safelight.redaction import Redactor
from safelight.storage.assets import AssetStore
from safelight.storage.buckets import Bucket, S3Keys, open_bucket
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool

SECRET_BYTES = 32
SECRET_CHARS_MIN = 32
ADAPTERS_GROUP = "safelight.adapters"
DATABASE_START_SECONDS_MAX = 60.0
DATABASE_LOOK_SECONDS = 1.0
LEAVE_SECONDS = 5.0  # beyond the time that steps get to end
API_STALL_SECONDS = 1.4  # without a free connection: the answer is a 503


class App:
    """Everything one process needs, from its settings. `dsn` is the database it works on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home_path
        self.prices = Prices(still_credits=settings.still_credits, video_credits=settings.video_credits)
        self.dsn = settings.database_url or ""
        local_fault(settings)  # a wrong one is said at once
        self.tokens = _tokens(settings)
        self.shop = Shop(settings.shopify_webhook_secret.get_secret_value(), credit_products(settings.credit_products))
        self.redactor = Redactor(settings.secrets)
        self.media_pool = MediaPool(DECODE_BYTES_MAX)

    def start_database(self) -> str:
        """Returns the DSN; starts the embedded server where no other database is set."""
        self.dsn = self.settings.database_url or embedded.start(self.home)
        return self.dsn

    async def migrate(self) -> list[str]:
        """Bring the database up to date, with version 1 of our own configuration. Returns what was applied now."""
        applied = await migrate(self.dsn)
        db = Database(self.dsn, pool_size=1, redactor=self.redactor)
        await db.open()
        try:
            async with db.transaction() as conn:
                await install_version_1(conn)
        finally:
            await db.close()
        return applied

    async def migrate_when_there(self) -> list[str]:
        """As `migrate`; a database that starts, or restarts just now, is waited for."""
        give_up = time.monotonic() + DATABASE_START_SECONDS_MAX
        while True:
            try:
                return await self.migrate()
            except TROUBLE as error:
                if time.monotonic() > give_up:
                    raise
                telemetry.warning(telemetry.Tag.DB_UPDATE, f"Waiting for the database: {error}")
            await asyncio.sleep(DATABASE_LOOK_SECONDS)

    @asynccontextmanager
    async def database(self, pool_size: int = 2, **more: Any) -> AsyncIterator[Database]:
        """A pool that is open inside this context; `more` is what else `Database` takes."""
        db = Database(self.dsn, pool_size=pool_size, redactor=self.redactor, **more)
        await db.open()
        try:
            yield db
        finally:
            await db.close()

    # --- the API ---------------------------------------------------------------------------------------------------

    def api(self) -> FastAPI:
        return create_api(self._services, cors_origins=_listed(self.settings.cors_origins))

    @asynccontextmanager
    async def _services(self) -> AsyncIterator[Services]:
        pool = self.database(self.settings.api_pool_size, stall_seconds=API_STALL_SECONDS, check=True)
        async with pool as db:
            queue, listener, spool = Queue(db), Listener(self.dsn), self.spool()
            runtime = RuntimeConfig(db, self.prices)
            await queue.open()
            await listener.open()
            catching_up = asyncio.create_task(spool.catch_up_for_ever(db))
            following = asyncio.create_task(runtime.follow_for_ever())
            try:
                yield Services(
                    db=db,
                    spool=spool,
                    acceptance=Acceptance(
                        db,
                        queue,
                        self.prices,
                        self.settings.free_credits,
                        self.settings.start_within_seconds,
                        Inputs(self.assets(), Sealer(self.secret()), self.settings.input_fetches_per_customer),
                        self.settings.generations_in_progress_max,
                    ),
                    listener=listener,
                    assets=self.assets(),
                    fetcher=self.fetcher(),
                    spool_of_files=self.file_spool(),
                    bodies=BodyRoom(self.file_spool()),
                    prices=self.prices,
                    free_credits=self.settings.free_credits,
                    reaper=self.reaper(db, Announcer(db)),
                    admin_token=self.admin_token(),
                    findings=LatestFindings(self.doctor(db)),
                    webhook_checks=webhook_checks(self.settings),
                    rates=self.rates(),
                    tokens=self.tokens,
                    token_required=self.settings.auth == "required",
                    admin_emails=frozenset(email.lower() for email in _listed(self.settings.admin_emails)),
                    shop=self.shop,
                    credits_expire_days=self.settings.credits_expire_days,
                    runtime=runtime,
                    customer_count=CustomerCount(db),
                    wait_seconds=self.settings.legacy_wait_seconds,
                )
            finally:
                following.cancel()
                catching_up.cancel()
                await listener.close()
                await queue.close()

    def rates(self) -> Rates:
        settings = self.settings
        return Rates(
            {
                Kind.ORDERS: settings.orders_per_minute,
                Kind.VISITS: settings.visits_per_minute,
                Kind.REPORTS: settings.reports_per_minute,
            }
        )

    def spool(self) -> OpsSpool:
        return OpsSpool(self.home / "ops-spool", self.redactor)

    def assets(self) -> AssetStore:
        settings = self.settings
        return AssetStore(
            self._bucket("storage_url", "assets", is_public=True),
            self._bucket("private_storage_url", "private-assets", is_public=False),
            self.media_pool,
            base_url=settings.base_url,
            public_url=settings.public_assets_url and settings.public_assets_url.rstrip("/"),
            secret=self.secret(),
        )

    def secret(self) -> bytes:
        """What signs URLs and seals what rows must not show; every node has the same."""
        stated = self.settings.signing_secret.get_secret_value()
        if stated and len(stated) < SECRET_CHARS_MIN:
            raise ConfigError(f"SAFELIGHT_SIGNING_SECRET: {SECRET_CHARS_MIN} characters or more are needed")
        if stated:
            return hashlib.sha256(stated.encode()).digest()
        return bytes.fromhex(self._kept_secret(self.home / "secret"))

    def _bucket(self, setting: str, folder: str, *, is_public: bool) -> Bucket:
        settings = self.settings
        s3_keys = S3Keys(settings.s3_access_key_id.get_secret_value(), settings.s3_secret_access_key.get_secret_value())
        url = getattr(settings, setting) or (self.home / folder).as_uri()
        return open_bucket(url, s3_keys, is_public=is_public, setting=f"SAFELIGHT_{setting.upper()}")

    def admin_token(self) -> str:
        """What opens the operators' routes: the setting, else a token that is made once and kept in the home."""
        return self.settings.admin_token.get_secret_value() or self._kept_secret(self.admin_token_file)

    def _kept_secret(self, path: Path) -> str:
        secret = _kept_secret(path)
        self.redactor.learn(secret)
        return secret

    @property
    def admin_token_file(self) -> Path:
        return self.home / "admin-token"

    def fetcher(self) -> GuardedFetcher:
        return GuardedFetcher(_listed(self.settings.fetch_allow_hosts))

    # --- the worker ------------------------------------------------------------------------------------------------

    async def work(self, stop: asyncio.Event) -> None:
        """Run generations until `stop` is set; then let the steps under way end."""
        async with self.database(self.settings.worker_pool_size) as db:
            announcer = Announcer(db)
            worker = self._worker(db, announcer)
            queue = Queue(db, worker.run, self._importer(db, announcer, worker).run)
            await queue.open()
            working = asyncio.create_task(queue.work(self._working_hours()))
            reaping = asyncio.create_task(self.reaper(db, announcer).run())
            catching_up = asyncio.create_task(self.spool().catch_up_for_ever(db))
            try:
                stopped = asyncio.create_task(stop.wait())
                await asyncio.wait({working, reaping, stopped}, return_when=asyncio.FIRST_COMPLETED)
                queue.stop()
                await self._ended(working, db)
                if not stop.is_set():
                    raise SafelightError("the worker ended by itself; the lines above say why")
            finally:
                reaping.cancel()
                catching_up.cancel()
                await announcer.drain()
                await queue.close()

    async def _ended(self, working: asyncio.Task[None], db: Database) -> None:
        """Wait for the work to end; what then still waits for a database that is away is let go."""
        ended, _ = await asyncio.wait({working}, timeout=self.settings.worker_shutdown_seconds + LEAVE_SECONDS)
        if not ended:
            telemetry.warning(telemetry.Tag.GENERATION_PROCESSING, "The worker ends without the database")
            await db.close()
        await working

    def _working_hours(self) -> WorkingHours:
        return WorkingHours(
            concurrency=self.settings.worker_concurrency,
            imports=self.settings.input_fetches_at_once,
            poll_seconds=self.settings.worker_poll_seconds,
            shutdown_seconds=self.settings.worker_shutdown_seconds,
            heartbeat_seconds=self.settings.worker_heartbeat_seconds,
        )

    def _worker(self, db: Database, announcer: Announcer) -> Worker:
        policy = RetryPolicy(
            self.settings.retry_base_seconds,
            start_seconds=self.settings.provider_start_seconds,
            result_seconds=self.settings.result_url_seconds,
        )
        return Worker(self.studio(db), announcer, policy)

    def _importer(self, db: Database, announcer: Announcer, worker: Worker) -> InputImporter:
        return InputImporter(
            db=db,
            announcer=announcer,
            assets=self.assets(),
            fetcher=self.fetcher(),
            spool=self.file_spool(),
            sealer=Sealer(self.secret()),
            refuse=worker.refuse,
            seconds_max=self.settings.input_fetch_seconds,
        )

    def file_spool(self) -> Spool:
        return Spool(self.home / "spool")

    def reaper(self, db: Database, announcer: Announcer) -> Reaper:
        return Reaper(db, self._worker(db, announcer).give_up, heartbeat_seconds=self.settings.worker_heartbeat_seconds)

    def doctor(self, db: Database) -> Doctor:
        dead_after_seconds = HEARTBEATS_MISSED * self.settings.worker_heartbeat_seconds
        return Doctor(db, self.reaper(db, Announcer(db)), self.assets(), dead_after_seconds=dead_after_seconds)

    def studio(self, db: Database) -> Studio:
        return Studio(
            db,
            Configuration(db, self.settings.keyed_adapters),
            self._adapters(),
            self.assets(),
            self.fetcher(),
            Gate(db),
            self.file_spool(),
        )

    def _adapters(self) -> Adapters:
        reader = PictureReader(self.assets(), self.fetcher(), self.file_spool(), self.settings.input_fetch_seconds)
        return adapters_of(self.settings, reader.read, self.media_pool)


def report_crashes(app: App) -> None:
    """Process-level crashes reach the ops plane too: 💥 what nothing caught, 🧵 what a background task left behind."""

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, Exception):
            _write_crash(app, Category.UNCAUGHT_EXCEPTION, "process.uncaughtException", error)
        text = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(app.redactor.text(text))

    sys.excepthook = uncaught


def report_task_crashes(app: App) -> None:
    """As `report_crashes`, for the running event loop."""

    def unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            _write_crash(app, Category.UNHANDLED_REJECTION, "process.unhandledRejection", error)
        loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(unhandled)


def _write_crash(app: App, category: Category, action: str, error: BaseException) -> None:
    telemetry.error(category.emoji, telemetry.Tag.API, f"{action}: {error!r}", error)
    row = ops_rows.OpsError(
        category=category,
        code=category.value,
        message=f"{type(error).__name__}: {error}",
        request_id=f"process_{os.getpid()}_{new_id()}",
        route="process",
        method=Path(sys.argv[0]).name,
        http_status=500,
        action=action,
        stack="".join(traceback.format_exception(error)),
    )
    try:
        ops_rows.insert_now(app.dsn, row, app.redactor)
    except psycopg.Error:
        app.spool().keep(row)


def _tokens(settings: Settings) -> TokenCheck | None:
    """None where no kind of key is set: then nobody can sign in."""
    secret = settings.jwt_secret.get_secret_value()
    if secret and settings.jwks_url:
        raise ConfigError("set SAFELIGHT_JWT_SECRET or SAFELIGHT_JWKS_URL, not both: one kind of key is believed")
    if not secret and not settings.jwks_url:
        if settings.auth == "required":
            raise ConfigError("SAFELIGHT_AUTH=required needs SAFELIGHT_JWT_SECRET or SAFELIGHT_JWKS_URL")
        return None
    keys: Keys = PublicKeys(settings.jwks_url) if settings.jwks_url else SharedSecret(secret)
    return TokenCheck(keys, settings.jwt_audience, settings.jwt_issuer, settings.jwt_leeway_seconds)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _kept_secret(path: Path) -> str:
    """Made once for a home, whole or not at all, readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(SECRET_BYTES))
        with suppress(FileExistsError):  # another process of this home was faster: its secret holds
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text().strip()
