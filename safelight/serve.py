"""Runs the parts of one process: the API, a worker, or both, until told to stop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from safelight.allocator import keep_little
from safelight.app import App, report_task_crashes
from safelight.domain.errors import InvalidInput, SafelightError

CONNECTIONS_WAITING_MAX = 2048
GRACEFUL_SECONDS = 5
KEEP_ALIVE_SECONDS = 75  # longer than clients and proxies keep theirs, so that they close first


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
    """Raises InvalidInput where the address is taken."""
    try:
        listening = socket.create_server((host, port), backlog=CONNECTIONS_WAITING_MAX)
    except OSError as error:
        raise InvalidInput(
            f"port {port} of {host} cannot be used: {error.strerror}; choose another with --port"
        ) from error
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
async def serving(app: App, listening: socket.socket) -> AsyncIterator[None]:
    """The API answers inside this context."""
    report_task_crashes(app)
    keep_little()
    api = app.api()
    async with answering(api, listening, leaving=api.state.leaving, proxies=app.settings.trusted_proxies):
        yield


@asynccontextmanager
async def answering(
    application: ASGIApp,
    listening: socket.socket,
    protocol: type[asyncio.Protocol] | Literal["auto"] = "auto",
    leaving: asyncio.Event | None = None,
    proxies: str = "",
) -> AsyncIterator[None]:
    """The application answers HTTP inside this context; what `proxies` say of a client's address is believed."""
    config = uvicorn.Config(
        application,
        http=protocol,
        log_config=None,
        access_log=False,
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=CONNECTIONS_WAITING_MAX,
    )
    server = _Server(config, leaving or asyncio.Event())
    task = asyncio.create_task(server.serve(sockets=[listening]))
    task.add_done_callback(lambda _: server.tried_to_start.set())
    await server.tried_to_start.wait()
    try:
        if not server.started:
            raise SafelightError("the HTTP server could not start; the lines above say why")
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
    async with asyncio.TaskGroup() as group:
        group.create_task(app.work(stop))
        try:
            yield
        finally:
            stop.set()
