"""Runs the parts of one process: the API, a worker, or both, until told to stop."""

import asyncio
import errno
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp

from safelight.api.http.connections import Bounds, ConnectionTable
from safelight.app import App
from safelight.config import Settings
from safelight.crashes import report_task_crashes
from safelight.db.embedded import DatabaseDown
from safelight.domain.errors.base import ConfigError, InvalidInput, SafelightError
from safelight.process.allocator import keep_little
from safelight.process.open_files import ListeningSocket

CONNECTIONS_WAITING_MAX = 2048
NOT_RESOLVED = (socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_NODATA)
ACCEPTED_AT_ONCE = 64  # connections that are taken before those that are too many are closed
GRACEFUL_SECONDS = 5
KEEP_ALIVE_SECONDS = 75  # where no setting says so


class _Server(uvicorn.Server):
    """Leaves signals to us, since one process may run more than the API, and says when it is up, and when it is about
    to end: what streams without an end must end by itself then."""

    def __init__(self, config: uvicorn.Config, leaving: asyncio.Event) -> None:
        super().__init__(config)
        self.tried_to_start = asyncio.Event()
        self._leaving = leaving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.tried_to_start.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leaving.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Raises InvalidInput where the port is taken, ConfigError where the host is none of ours."""
    try:
        made = socket.create_server((host, port), backlog=CONNECTIONS_WAITING_MAX)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL or (error.errno or 0) in NOT_RESOLVED:
            raise ConfigError(f"SAFELIGHT_HOST (--host): {host!r} is no address of this machine") from error
        raise InvalidInput(
            f"port {port} of {host} cannot be used: {error.strerror}; choose another with --port or SAFELIGHT_PORT"
        ) from error
    listening = ListeningSocket(made.detach())
    # Connections inherit it; without it, the body of each answer waits 40 ms for the client to confirm the headers.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def stop_on_signals() -> asyncio.Event:
    """An event that Ctrl-C and the usual request to end set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def database_kept(app: App, stop: asyncio.Event) -> AsyncIterator[None]:
    """The embedded database is brought back whenever it dies inside this context. DatabaseDown where it cannot be."""
    try:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(app.keep_database(stop))
            try:
                yield
            finally:
                keeping.cancel()
    except* DatabaseDown as failures:
        raise failures.exceptions[0] from None


@asynccontextmanager
async def serving(app: App, listening: socket.socket) -> AsyncIterator[None]:
    """The API answers inside this context."""
    report_task_crashes(app)
    keep_little()
    api, table = app.api(), ConnectionTable(bounds_of(app.settings))
    sweeping = asyncio.create_task(table.sweep_periodically())
    proxies = app.settings.trusted_proxies
    try:
        async with answering(api, listening, table.protocol, leaving=api.state.leaving, proxies=proxies):
            yield
    finally:
        sweeping.cancel()


def open_access_warnings(settings: Settings) -> list[str]:
    """Return warnings for operators about pass ids that are accepted without a token."""
    if settings.auth == "required":
        return []
    found = []
    if settings.jwt_secret.get_secret_value() or settings.jwks_url:
        found.append(
            "Keys of access tokens are set, but SAFELIGHT_AUTH is optional: whoever states the pass id of a customer"
            " who never signed in acts for them. Set SAFELIGHT_AUTH=required when every client sends a token."
        )
    if not is_loopback(settings.host):
        found.append(
            f"The API listens on {settings.host}, and SAFELIGHT_AUTH is optional: whoever reaches it may act under"
            " any pass id that has no user. Set SAFELIGHT_AUTH=required, or keep strangers out."
        )
    return found


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bounds_of(settings: Settings) -> Bounds:
    return Bounds(
        connections_max=settings.connections_max,
        per_address_max=settings.connections_per_address,
        header_seconds=settings.header_timeout_seconds,
        body_seconds=settings.body_timeout_seconds,
        write_seconds=settings.write_timeout_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        trusted_proxies=settings.trusted_proxies,
    )


@asynccontextmanager
async def answering(
    application: ASGIApp,
    listening: socket.socket,
    protocol: Any | Literal["auto"] = "auto",
    leaving: asyncio.Event | None = None,
    proxies: str = "",
) -> AsyncIterator[None]:
    """The application answers HTTP inside this context; what `proxies` say of a client's address is believed,
    and what nobody else says."""
    config = uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=ACCEPTED_AT_ONCE,
    )
    server = _Server(config, leaving or asyncio.Event())
    task = asyncio.create_task(server.serve(sockets=[listening]))
    task.add_done_callback(lambda _: server.tried_to_start.set())
    await server.tried_to_start.wait()
    try:
        if not server.started:
            raise SafelightError("the HTTP server could not start; the lines above say why")
        listening.listen(CONNECTIONS_WAITING_MAX)  # of what waits in the kernel more may be there
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def working(app: App) -> AsyncIterator[None]:
    """A worker runs inside this context; leaving it lets the steps under way end, and a worker that dies ends it."""
    report_task_crashes(app)
    keep_little()
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(app.work(stop))
            try:
                yield
            finally:
                stop.set()
    except ExceptionGroup as failures:
        if len(failures.exceptions) > 1:
            raise
        raise failures.exceptions[0] from failures
