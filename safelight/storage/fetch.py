"""Fetches files from foreign URLs: http and https only, public addresses only.

The host is resolved once, the address is checked, and exactly that address is connected to, so that the name cannot
point elsewhere between check and connection (DNS rebinding). Each redirect is checked in the same way.
"""

import asyncio
import socket
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property
from ssl import SSLContext
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore2
import httpx2

from safelight.domain.errors import base as errors
from safelight.storage.addresses import FETCHED_URL_CHARS_MAX, PORTS, is_public, plain_url
from safelight.storage.unpack import unpacked

FILE_BYTES_MAX = 100 * 1024 * 1024
REDIRECTS_MAX = 3
TOTAL_SECONDS = 120.0
STREAM_SECONDS_MAX = 1800.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
RESOLVE_SECONDS = 5.0
RESOLVER_THREADS = 8
RESOLVING_MAX = 64  # names that are being resolved, or wait for it

_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429)
_TIMEOUTS = {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS, "pool": CONNECT_SECONDS}


class GuardedFetcher:
    """`allow_hosts` are host:port pairs that may be fetched from although they are private (tests, a private
    storage)."""

    def __init__(self, allow_hosts: Iterable[str] = ()) -> None:
        self._backend = _PublicAddressesOnly(frozenset(host for host in allow_hosts if host))

    @cached_property
    def _tls(self) -> SSLContext:
        """The certificate authorities of the machine, read once. The environment cannot replace them."""
        return httpx2.create_ssl_context(trust_env=False)

    async def fetch(self, url: str, *, bytes_max: int = FILE_BYTES_MAX) -> bytes:
        """All bytes of a small file. Raises as `stream`."""
        content = bytearray()
        async with self.stream(url, bytes_max=bytes_max, seconds_max=TOTAL_SECONDS) as chunks:
            async for chunk in chunks:
                content += chunk
        return bytes(content)

    @asynccontextmanager
    async def stream(
        self, url: str, *, bytes_max: int, seconds_max: float = STREAM_SECONDS_MAX
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The file's bytes as they arrive. `seconds_max` includes the time that the caller spends on them. Raises
        RemoteFileRefused if the URL may not be read, or could not be; the type and the message name the reason."""
        try:
            async with (
                asyncio.timeout(seconds_max) as bound,
                httpcore2.AsyncConnectionPool(self._tls, network_backend=self._backend) as pool,
                self._answer(pool, url) as response,
            ):
                yield _bounded(response, bytes_max)
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise errors.RemoteFileUnavailable(f"The file did not arrive within {seconds_max:.0f} s.") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            raise errors.RemoteFileUnavailable(f"The file could not be read: {type(error).__name__}.") from error

    @asynccontextmanager
    async def _answer(self, pool: httpcore2.AsyncConnectionPool, url: str) -> AsyncIterator[httpcore2.Response]:
        for _ in range(REDIRECTS_MAX + 1):
            url = plain_url(url, chars_max=FETCHED_URL_CHARS_MAX)
            async with pool.stream("GET", url, headers=_headers(url), extensions={"timeout": _TIMEOUTS}) as response:
                location = _header(response, b"location")
                if response.status not in _REDIRECTS or not location:
                    _refuse_problem(response)
                    yield response
                    return
            url = urljoin(url, _browser_text(location))
        raise errors.RemoteFileRefused(f"The URL redirects more than {REDIRECTS_MAX} times.")


class _PublicAddressesOnly(httpcore2.AnyIOBackend):
    def __init__(self, allow_hosts: frozenset[str]) -> None:
        self._allow_hosts = allow_hosts
        self._resolver = _Resolver()

    async def connect_tcp(self, host: str, port: int, *more: Any, **named: Any) -> httpcore2.AsyncNetworkStream:
        if f"{host}:{port}" not in self._allow_hosts:
            host = _public_address(host, port, await self._resolver.addresses(host, port))
        return await super().connect_tcp(host, port, *more, **named)


class _Resolver:
    """Resolves names in threads of its own, so that a name server that does not answer blocks no other work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")
        self._room = BoundedSemaphore(RESOLVING_MAX)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Raises RemoteFileRefused if the host has none, or the answer takes too long."""
        if not self._room.acquire(blocking=False):
            raise errors.RemoteFileUnavailable("Too many names are looked up just now.")
        looking = self._threads.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        looking.add_done_callback(lambda _: self._room.release())  # an abandoned look-up still holds its thread
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await asyncio.wrap_future(looking)
        except TimeoutError as error:
            raise errors.RemoteHostUnknown(
                f"The host {host!r} was not found within {RESOLVE_SECONDS:.0f} s."
            ) from error
        except (OSError, UnicodeError) as error:
            passing = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            problem = errors.RemoteHostUnknown if passing else errors.RemoteAddressRefused
            raise problem(f"The host {host!r} has no address: {error}.") from error
        return [str(info[4][0]) for info in found]


def _public_address(host: str, port: int, addresses: list[str]) -> str:
    """One address of the host. Raises RemoteFileRefused unless all of its addresses are public."""
    if port not in PORTS:
        allowed = ", ".join(map(str, sorted(PORTS)))
        raise errors.RemotePortRefused(f"The port {port} is not one that files are read from: {allowed}.")
    if not addresses or not all(is_public(address) for address in addresses):
        raise errors.RemoteAddressRefused(f"The host {host!r} is not a public address.")
    return addresses[0]


def _refuse_problem(response: httpcore2.Response) -> None:
    status = response.status
    if status == 200:
        return
    problem = errors.RemoteFileUnavailable if status >= 500 or status in _PASSING else errors.RemoteFileGone
    raise problem(f"The server answered {status} instead of 200.")


async def _bounded(response: httpcore2.Response, bytes_max: int) -> AsyncIterator[bytes]:
    """The file's bytes, counted as they are transferred and again as they are unpacked."""
    stated = _header(response, b"content-length") or ""
    if stated.isdecimal():
        _must_fit(int(stated), bytes_max)
    transferred = _counted(response.aiter_stream(), bytes_max)
    async for chunk in _counted(unpacked(transferred, _header(response, b"content-encoding") or ""), bytes_max):
        yield chunk


async def _counted(chunks: AsyncIterable[bytes], bytes_max: int) -> AsyncIterator[bytes]:
    seen = 0
    async for chunk in chunks:
        seen += len(chunk)
        _must_fit(seen, bytes_max)
        yield chunk


def _must_fit(size: int, bytes_max: int) -> None:
    if size > bytes_max:
        raise errors.RemoteFileTooLarge(f"The file is larger than {bytes_max} bytes.")


def _browser_text(location: str) -> str:
    """The address of a redirect, which may be UTF-8 although headers are Latin-1."""
    try:
        return location.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return location


def _headers(url: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"host", urlsplit(url).netloc.encode()),
        (b"user-agent", b"safelight"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
    ]


def _header(response: httpcore2.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)
