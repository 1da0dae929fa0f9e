"""A real PostgreSQL for every test: one embedded server, one migrated template, one fresh database a test."""

import asyncio
import base64
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi.dependencies import models as dependencies
from psycopg import sql

from safelight import serve
from safelight.api.auth.identity import HEADER
from safelight.app import App
from safelight.config import Settings
from safelight.db import embedded
from safelight.domain.ids import new_id
from safelight.media import decode
from safelight.storage.buckets import S3Keys
from tests.support import openapi, quick_starts, scope
from tests.support.drafts import drafts
from tests.support.queries import Queries
from tests.support.s3_servers import seaweedfs

Json = dict[str, Any]

COFFEE = Path(__file__).parents[1] / "safelight" / "samples" / "coffee.jpg"
TEMPLATE = "safelight_template"
# A developer's own keys must not make a test ask, and pay, a real service.
for _key in ("OPENAI_API_KEY", "REPLICATE_API_TOKEN", "FAL_KEY"):
    os.environ.pop(_key, None)
os.environ["SAFELIGHT_STAND_IN"] = "allow"  # tests have databases of their own, and no vendor
POSTGRES_15 = Path(os.environ.get("POSTGRES_15_BIN", "/usr/lib/postgresql/15/bin"))
WAIT_SECONDS = 120
CLOSING_LOOKS_MAX, CLOSING_LOOK_SECONDS = 20, 0.002
SERVER_SETTINGS = (
    "fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off", "max_wal_size = '128MB'",
)  # fmt: skip
MEMORY_FOLDER = Path("/dev/shm")
MEMORY_FREE_BYTES_MIN = 4 * 1024**3


def memory_folder() -> str | None:
    """A folder whose files lie in memory, if there is room for the servers and the files of all pytest processes."""
    has_room = MEMORY_FOLDER.is_dir() and shutil.disk_usage(MEMORY_FOLDER).free >= MEMORY_FREE_BYTES_MIN
    return str(MEMORY_FOLDER) if has_room else None


quick_starts.install()
if _memory := memory_folder():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _memory)  # files of tests need not wait for a disk
pytest.register_assert_rewrite("safelight.testing.adapter_contract")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Remove the tests that the scope leaves out: they count neither as skipped nor as deselected."""
    items[:] = sorted(filter(scope.takes, items), key=scope.rank)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of the session's server (its maintenance database)."""
    with tempfile.TemporaryDirectory(prefix="sl", dir=memory_folder()) as folder:
        dsn = embedded.start(Path(folder))
        with psycopg.connect(dsn, autocommit=True) as conn:
            # Nothing here outlives the session, so the disk need not be waited for.
            for setting in SERVER_SETTINGS:
                conn.execute(sql.SQL(f"alter system set {setting}"))
            conn.execute("select pg_reload_conf()")
        yield dsn
        embedded.stop(Path(folder))


def dsn_of(server: str, database: str) -> str:
    return server.replace(f"/{embedded.DATABASE_NAME}?", f"/{database}?")


@pytest.fixture(scope="session")
async def template(postgres: str) -> str:
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
    app = App(Settings(database_url=dsn_of(postgres, TEMPLATE)))
    await app.migrate()
    return TEMPLATE


@pytest.fixture
def dsn(postgres: str, template: str) -> Iterator[str]:
    """A fresh, migrated database."""
    yield from _database(postgres, template)


@pytest.fixture(scope="module")
def module_dsn(postgres: str, template: str) -> Iterator[str]:
    """A fresh, migrated database that the tests of one file share."""
    yield from _database(postgres, template)


@pytest.fixture
def empty_dsn(postgres: str) -> Iterator[str]:
    yield from _database(postgres, "template0")


def _database(server: str, template: str) -> Iterator[str]:
    name = f"test_{new_id().replace('-', '')}"
    with psycopg.connect(server, autocommit=True) as conn:
        # Copying the files takes half as long as the default, which logs every page.
        copy = sql.SQL("create database {} template {} strategy file_copy")
        conn.execute(copy.format(sql.Identifier(name), sql.Identifier(template)))
        yield dsn_of(server, name)
        _drop(conn, name)


def _drop(conn: psycopg.Connection, name: str) -> None:
    """The server looks every 100 ms for connections that are about to close: look more often, and force what stays."""
    for _ in range(CLOSING_LOOKS_MAX):
        if conn.execute("select from pg_stat_activity where datname = %s", [name]).rowcount == 0:
            break
        time.sleep(CLOSING_LOOK_SECONDS)
    conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def postgres_15() -> Iterator[str]:
    """A PostgreSQL 15 of its own; it refuses to run as root, so root lends it to another account."""
    account = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="pg15"))
    shutil.chown(folder, account)

    def run(*command: str) -> None:
        as_account = ["runuser", "-u", account, "--"] if os.geteuid() == 0 else []
        subprocess.run([*as_account, *command], check=True, capture_output=True, cwd=folder)

    run(str(POSTGRES_15 / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "--auth=trust", "--encoding=utf8")
    options = f"-h '' -k {folder} -c fsync=off"
    run(
        str(POSTGRES_15 / "pg_ctl"), "-w", "-D", str(folder / "data"), "-o", options, "-l", str(folder / "log"), "start"
    )
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        run(str(POSTGRES_15 / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def real_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, S3Keys]]:
    """The address and keys of the session's S3 server."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


def _server(name: str, request: pytest.FixtureRequest) -> str:
    if name == "15" and not (POSTGRES_15 / "initdb").exists():
        pytest.skip("PostgreSQL 15 is not installed (apt-get install postgresql-15, or set POSTGRES_15_BIN)")
    return str(request.getfixturevalue("postgres_15" if name == "15" else "postgres"))


@contextmanager
def blank_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of an empty database, on the server that `request.param` names: embedded or 15."""
    server, name = _server(request.param, request), f"m_{new_id().replace('-', '')}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        head, _, options = server.partition("?")
        yield f"{head.rsplit('/', 1)[0]}/{name}?{options}"
        _drop(conn, name)


@pytest.fixture(params=["embedded", "15"])
def blank(request: pytest.FixtureRequest) -> Iterator[str]:
    with blank_database(request) as dsn:
        yield dsn


class Backend:
    """A running API, with a worker unless a test says otherwise, and what tests do with it."""

    def __init__(self, app: App, client: httpx2.AsyncClient, work: AsyncExitStack) -> None:
        self.app = app
        self._work = work
        self.dsn = app.dsn
        self.client = client
        self.queries = Queries(app.dsn)
        self.pass_id = f"pass:user:{new_id()}"

    def sql(self, query: str, *values: Any) -> list[Json]:
        return self.queries.rows(query, values)

    def value(self, query: str, *values: Any) -> Any:
        return next(iter(self.sql(query, *values)[0].values()))

    async def grant(self, credits: int, pass_id: str | None = None) -> None:
        from safelight.db.money import customers, ledger  # noqa: PLC0415

        stated = pass_id or self.pass_id
        async with self.app.database() as db, db.transaction() as conn:
            await customers.ensure(conn, stated)
            origin = ledger.Origin("manual-topup", "admin", ("manual", new_id()))
            await ledger.adjust(conn, stated, credits, origin)

    async def upload(self, path: Path = COFFEE, kind: str = "product", *, without_lines: int = 0) -> str:
        """The same photo is stored once; one `without_lines` at its end is another."""
        content = path.read_bytes()
        if without_lines:
            content = decode.encode_jpeg(decode.decode_image(content)[:-without_lines])
        data_url = "data:image/jpeg;base64," + base64.b64encode(content).decode()
        answer = await self.post("/api/r2/upload-signed", {"dataUrl": data_url, "kind": kind, "filename": path.name})
        return str(answer["publicUrl"])

    async def upload_private(self) -> Json:
        """A private photo of the customer; its `url` lets whoever has it read it."""
        data_url = "data:image/jpeg;base64," + base64.b64encode(COFFEE.read_bytes()).decode()
        return await self.post("/api/r2/upload-signed", {"dataUrl": data_url, "private": True, "kind": "product"})

    async def stop_working(self) -> None:
        await self._work.aclose()

    async def post(self, path: str, body: Json, *, status: int = 200, **more: Any) -> Json:
        answer = await self.client.post(path, json={"passId": self.pass_id, **body}, **more)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def get(self, path: str, *, status: int = 200, **more: Any) -> Json:
        answer = await self.client.get(path, **more)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def create(self, **more: Any) -> Json:
        """Order a small still of the sample product."""
        product = more.pop("product", None) or await self.upload()
        body = {
            "assets": {"product_image_url": product},
            "inputs": {"brief": "on pale stone, soft light", "aspect_ratio": "1:1", **more.pop("inputs", {})},
            "settings": {"seedream": {"size": "1K"}},
            **more,
        }
        return await self.post("/mma/still/create", body)

    async def finished(self, accepted: Json) -> Json:
        """The generation as fetched once its stream has said done."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.events(accepted["sse_url"])
        return await self.generation(accepted["generation_id"], accepted.get("passId"))

    async def generation(self, generation_id: str, owner: str | None = None, **more: Any) -> Json:
        """The generation as its owner sees it."""
        return await self.get(f"/mma/generations/{generation_id}", headers={HEADER: owner or self.pass_id}, **more)

    async def events(self, url: str, **more: Any) -> list[tuple[str, str | None, Json]]:
        """(event, id, data) of a whole stream."""
        found = []
        async with self.client.sse(url, **more) as stream:
            async for event in stream:
                openapi.hold_event(event.event, event.json())
                found.append((event.event, event.id or None, event.json()))
        return found

    def steps(self, generation_id: str) -> list[Json]:
        return self.sql(
            "select * from mega_generations where mg_record_type = 'mma_step' and mg_generation_id = %s"
            " order by mg_step_no",
            generation_id,
        )

    def step_types(self, generation_id: str) -> list[str]:
        return [step["mg_step_type"] for step in self.steps(generation_id)]

    def ops_rows(self, generation_id: str | None = None) -> list[Json]:
        return self.sql(
            "select * from mega_admin where mg_record_type in ('error', 'warn')"
            " and (%s::text is null or mg_detail->>'generation_id' = %s) order by mg_created_at",
            generation_id,
            generation_id,
        )

    def balance(self, pass_id: str | None = None) -> int:
        return int(self.value("select mg_credits from mega_customers where mg_pass_id = %s", pass_id or self.pass_id))

    def ledger_sum(self, pass_id: str | None = None) -> int:
        return int(
            self.value(
                "select coalesce(sum(mg_delta), 0) from mega_generations"
                " where mg_record_type = 'credit_transaction' and mg_pass_id = %s",
                pass_id or self.pass_id,
            )
        )


StartBackend = Callable[..., Any]


@asynccontextmanager
async def running(
    dsn: str, home: Path, *, worker: bool = True, full_size: bool = False, **settings: Any
) -> AsyncIterator[Backend]:
    """`full_size`: its pictures are as large as customers get them."""
    assert settings.keys() <= Settings.model_fields.keys(), "a setting of that name would be ignored"
    app = App(
        Settings(
            home=home,
            **{
                "database_url": dsn,
                "port": 0,
                "worker_poll_seconds": 0.1,
                "retry_base_seconds": 0.02,
                "rate_limit_writes_per_minute": 0,  # tests hurry; tests of the limits set some
                "rate_limit_public_per_minute": 0,
                "rate_limit_error_reports_per_minute": 0,
                "admin_guesses_per_minute": 1_000_000,
                "streams_per_address": 5_000,
                "free_suggestions_per_day": 0,
                "free_suggestions_per_address": 0,
                "generations_in_progress_max": 0,
                **settings,
            },
        )
    )
    listening = serve.listen("127.0.0.1", app.settings.port)
    app.settings.port = listening.getsockname()[1]
    async with AsyncExitStack() as stack, AsyncExitStack() as work:
        if not full_size:
            stack.enter_context(drafts())
        await stack.enter_async_context(serve.serving(app, listening))
        if worker:
            await work.enter_async_context(serve.working(app))
        stack.callback(forget_apps)
        backend = Backend(app, await stack.enter_async_context(client_of(app.settings.base_url)), work)
        stack.callback(backend.queries.close)
        yield backend


def forget_apps() -> None:
    """FastAPI remembers the functions of thousands of apps, and with them each app; no process has that many but ours."""
    for cached in vars(dependencies).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


def client_of(base_url: str) -> httpx2.AsyncClient:
    """With as many connections as there are requests; hundreds at once are slow in one client."""
    limits = httpx2.Limits(max_connections=None)
    hooks = {"response": [openapi.holding(base_url)]}
    # Nothing here is asked by TLS, and reading the certificates of all authorities would take longer than the rest.
    options: Json = {"trust_env": False, "verify": False, "limits": limits, "event_hooks": hooks}
    return httpx2.AsyncClient(base_url=base_url, timeout=WAIT_SECONDS, **options)


@pytest.fixture
async def backend(dsn: str, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(dsn, tmp_path) as started:
        yield started


@pytest.fixture
async def start(dsn: str, tmp_path: Path) -> AsyncIterator[StartBackend]:
    """Starts backends with settings of the test's own, on the test's database."""
    async with AsyncExitStack() as stack:

        async def start_one(**settings: Any) -> Backend:
            return await stack.enter_async_context(running(dsn, tmp_path, **settings))

        yield start_one
