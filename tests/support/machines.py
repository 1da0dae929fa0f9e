"""Several machines on one: nodes that share a PostgreSQL over TCP, each by a line of its own that a test can silence.

By links, each node lives in a network namespace and its link goes down: packets vanish, and nobody is told. By
proxies, for where namespaces may not be made, a node's proxy keeps its connections open and forwards nothing.
"""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx2

from safelight.app import App
from safelight.config import Settings
from safelight.db import embedded
from safelight.pipelines.engine.queue import IMPORTS, WORK
from tests.conftest import WAIT_SECONDS, Backend
from tests.support.commands import Started

API_NAMES = ("api-1", "api-2")
WORKER_NAMES = ("worker-1", "worker-2")
PUBLIC_URL = "http://safelight.test"  # what a load balancer in front of the API nodes would be called
HEARTBEAT_SECONDS = 1.0
REGISTRATIONS_PER_WORKER = len((WORK, IMPORTS))  # one for each queue it takes from
CHUNK_BYTES = 65_536


@dataclass(frozen=True)
class Place:
    """The place of a node: the namespace of its network, the address of its database, and its own."""

    network: str | None
    database: str
    host: str
    port: int


class Network(Protocol):
    postgres_addresses: Sequence[str]
    places: dict[str, Place]

    def cut_off(self, name: str) -> None: ...
    def mend(self, name: str) -> None: ...


# --- links -----------------------------------------------------------------------------------------------------------


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def namespaces_are_possible() -> bool:
    name = f"sl{os.getpid()}-probe"
    if (
        not shutil.which("ip")
        or subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode
    ):
        return False
    try:
        ip("-n", name, "link", "add", "probe", "type", "veth")
        ip("netns", "exec", name, "true")
    except subprocess.CalledProcessError:
        return False
    finally:
        ip("netns", "del", name)
    return True


@dataclass
class Links:
    """Each node has two links to us: one to its clients, one to the database."""

    places: dict[str, Place] = field(default_factory=dict)
    postgres_addresses: list[str] = field(default_factory=lambda: ["127.0.0.1"])
    _database_links: dict[str, str] = field(default_factory=dict)

    def cut_off(self, name: str) -> None:
        ip("link", "set", self._database_links[name], "down")

    def mend(self, name: str) -> None:
        ip("link", "set", self._database_links[name], "up")

    def join(self, name: str, number: int, port: int, made: ExitStack) -> None:
        namespace = f"sl{os.getpid()}-{name}"
        ip("netns", "add", namespace)
        made.callback(ip, "netns", "del", namespace)  # its links go with it
        ip("-n", namespace, "link", "set", "lo", "up")
        _, _, its_address = self._link(namespace, 2 * number)
        link, our_address, _ = self._link(namespace, 2 * number + 1)
        self._database_links[name] = link
        self.postgres_addresses.append(our_address)
        self.places[name] = Place(namespace, f"{our_address}:{port}", its_address, 8787)

    def _link(self, namespace: str, number: int) -> tuple[str, str, str]:
        """Its name at our end, and the addresses of our end and of the node's."""
        ours, its = f"s{os.getpid()}-{number}", f"e{number}"
        our_address, its_address = (f"10.77.{os.getpid() % 256}.{4 * number + end}" for end in (1, 2))
        ip("link", "add", ours, "type", "veth", "peer", "name", its, "netns", namespace)
        ip("addr", "add", f"{our_address}/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", namespace, "addr", "add", f"{its_address}/30", "dev", its)
        ip("-n", namespace, "link", "set", its, "up")
        return ours, our_address, its_address


@asynccontextmanager
async def links(names: Sequence[str], postgres_port: int) -> AsyncIterator[Network]:
    with ExitStack() as made:
        network = Links()
        for number, name in enumerate(names):
            network.join(name, number, postgres_port, made)
        yield network


# --- proxies ---------------------------------------------------------------------------------------------------------


class Proxy:
    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._carrying: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.flowing.wait()
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        for one, other in ((reader, to_writer), (to_reader, writer)):
            self._carrying.add(asyncio.create_task(self._carry(one, other)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
            await self.flowing.wait()  # its end is not told either
        except ConnectionError:
            pass  # the other direction says so too
        finally:
            writer.close()

    async def close(self) -> None:
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


@dataclass
class Proxies:
    places: dict[str, Place] = field(default_factory=dict)
    postgres_addresses: tuple[str, ...] = ("127.0.0.1",)
    _proxies: dict[str, Proxy] = field(default_factory=dict)

    def cut_off(self, name: str) -> None:
        self._proxies[name].flowing.clear()

    def mend(self, name: str) -> None:
        self._proxies[name].flowing.set()

    async def join(self, name: str, postgres_port: int, made: AsyncExitStack) -> None:
        proxy = self._proxies[name] = Proxy(postgres_port)
        made.push_async_callback(proxy.close)
        server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
        made.callback(server.close)
        database = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.places[name] = Place(None, database, "127.0.0.1", free_port())


@asynccontextmanager
async def proxies(names: Sequence[str], postgres_port: int) -> AsyncIterator[Network]:
    async with AsyncExitStack() as made:
        network = Proxies()
        for name in names:
            await network.join(name, postgres_port, made)
        yield network


WAYS = {"links": links, "proxies": proxies} if namespaces_are_possible() else {"proxies": proxies}


# --- the database and the nodes --------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def postgres_on(addresses: Sequence[str], port: int, home: Path) -> Iterator[str]:
    """A home's own server, listening on these addresses. Gives the DSN of its database by the first of them."""
    embedded.start(home)
    embedded.halt(home)
    with (home / "postgres" / "pg_hba.conf").open("a") as access:
        access.write("host all postgres samenet trust\n")
    embedded.server_of(home).launch("-h", ",".join(addresses), "-p", str(port), "-k", "", "-c", "fsync=off")
    try:
        yield f"postgresql://postgres@{addresses[0]}:{port}/{embedded.DATABASE_NAME}"
    finally:
        embedded.halt(home)


@dataclass
class Node:
    process: Started
    log: Path

    def has_said(self, text: str) -> bool:
        return text in self.log.read_text()

    async def stop(self) -> int:
        """Proxies go on meanwhile: they are ours."""
        self.process.terminate()
        code = await asyncio.to_thread(self.process.wait, WAIT_SECONDS)
        assert code is not None
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Site:
    """Two API nodes and two workers. `apis` are what clients of each see."""

    network: Network
    home: Path
    apis: dict[str, Backend] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    def start(self, name: str) -> None:
        place, log = self.network.places[name], self.home / f"{name}.log"
        settings = {
            "SAFELIGHT_DATABASE_URL": f"postgresql://postgres@{place.database}/{embedded.DATABASE_NAME}",
            "SAFELIGHT_HOME": str(self.home),
            "SAFELIGHT_PUBLIC_URL": PUBLIC_URL,
            "SAFELIGHT_HOST": place.host,
            "SAFELIGHT_PORT": str(place.port),
            "SAFELIGHT_WORKER_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "SAFELIGHT_WORKER_POLL_SECONDS": "0.1",
            "SAFELIGHT_RATE_LIMIT_WRITES_PER_MINUTE": "0",
            "SAFELIGHT_RATE_LIMIT_PUBLIC_PER_MINUTE": "0",
        }
        part = name.partition("-")[0]
        self.nodes[name] = Node(Started(part, environment=os.environ | settings, log=log, network=place.network), log)

    async def until(self, query: str, *values: object) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.apis[API_NAMES[0]].value(query, *values):
                await asyncio.sleep(0.05)

    async def until_said(self, name: str, text: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.nodes[name].has_said(text):
                await asyncio.sleep(0.05)

    async def start_workers(self) -> None:
        """One after the other, so that their registrations are in the order of their names."""
        for number, name in enumerate(WORKER_NAMES, 1):
            self.start(name)
            await self.until("select count(*) = %s from procrastinate_workers", number * REGISTRATIONS_PER_WORKER)

    async def who_runs(self, generation_id: str) -> str:
        """The worker that has the generation's job, as they registered at their start."""
        api = self.apis[API_NAMES[0]]
        workers = [row["id"] for row in api.sql("select id from procrastinate_workers order by id")]
        has = api.value("select worker_id from procrastinate_jobs where queueing_lock = %s", generation_id)
        return WORKER_NAMES[workers.index(has) // REGISTRATIONS_PER_WORKER]


def other(names: Sequence[str], name: str) -> str:
    return next(one for one in names if one != name)


@asynccontextmanager
async def site(way: str, home: Path) -> AsyncIterator[Site]:
    port = free_port()
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(WAYS[way]((*API_NAMES, *WORKER_NAMES), port))
        dsn = stack.enter_context(postgres_on(network.postgres_addresses, port, home))
        app = App(Settings(database_url=dsn, home=home))
        await app.migrate()
        made = Site(network, home)
        stack.callback(lambda: [node.kill() for node in made.nodes.values()])
        for name in API_NAMES:
            made.apis[name] = await stack.enter_async_context(_client_of(app, network.places[name]))
            made.apis[name].pass_id = made.apis[API_NAMES[0]].pass_id
            made.start(name)
        for api in made.apis.values():
            await _answers(api)
        yield made


@asynccontextmanager
async def _client_of(app: App, place: Place) -> AsyncIterator[Backend]:
    base_url = f"http://{place.host}:{place.port}"
    async with httpx2.AsyncClient(base_url=base_url, timeout=WAIT_SECONDS, trust_env=False) as client:
        backend = Backend(app, client, AsyncExitStack())
        try:
            yield backend
        finally:
            backend.queries.close()


async def _answers(api: Backend) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await api.get("/health")
            except httpx2.TransportError:
                await asyncio.sleep(0.1)
            else:
                return
