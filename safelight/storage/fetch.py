"""Reads a file from a URL that came from outside: http and https only, public addresses only.

The address is resolved once, checked, and that very address is connected to, so a name cannot point elsewhere between
the check and the connection; each redirect goes through the same.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from safelight.domain.errors import RemoteFileRefused

FILE_BYTES_MAX = 100 * 1024 * 1024
REDIRECTS_MAX = 3
URL_CHARS_MAX = 2048
TOTAL_SECONDS = 120.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0


class GuardedFetcher:
    """`allow_hosts` are host:port pairs that may be read although they are private (tests, a storage of one's own)."""

    def __init__(self, allow_hosts: Iterable[str] = ()) -> None:
        self._backend = _PublicAddressesOnly(frozenset(host for host in allow_hosts if host))

    async def fetch(self, url: str, *, bytes_max: int = FILE_BYTES_MAX) -> bytes:
        """The file's bytes, whole.

        Raises:
            RemoteFileRefused: the URL may not be read, or could not be; the message names the reason.
        """
        try:
            async with (
                asyncio.timeout(TOTAL_SECONDS),
                httpcore.AsyncConnectionPool(network_backend=self._backend) as pool,
            ):
                return await self._follow(pool, url, bytes_max)
        except TimeoutError as error:
            raise RemoteFileRefused(f"The file did not arrive within {TOTAL_SECONDS:.0f} s.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise RemoteFileRefused(f"The file could not be read: {type(error).__name__}.") from error

    async def _follow(self, pool: httpcore.AsyncConnectionPool, url: str, bytes_max: int) -> bytes:
        for _ in range(REDIRECTS_MAX + 1):
            check_url(url)
            async with pool.stream("GET", url, headers=_headers(url), extensions=_timeouts()) as response:
                location = _header(response, b"location")
                if response.status in (301, 302, 303, 307, 308) and location:
                    url = urljoin(url, location)
                    continue
                if response.status != 200:
                    raise RemoteFileRefused(f"The server answered {response.status} instead of 200.")
                return await _read(response, bytes_max)
        raise RemoteFileRefused(f"The URL redirects more than {REDIRECTS_MAX} times.")


class _PublicAddressesOnly(httpcore.AsyncNetworkBackend):
    def __init__(self, allow_hosts: frozenset[str]) -> None:
        self._allow_hosts = allow_hosts
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        if f"{host}:{port}" in self._allow_hosts:
            return await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        address = await _public_address(host, port)
        return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _public_address(host: str, port: int) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RemoteFileRefused(f"The host {host!r} has no address.") from error
    addresses = [str(info[4][0]) for info in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise RemoteFileRefused(f"The host {host!r} is not a public address.")
    return addresses[0]


def is_public(address: str) -> bool:
    """False for loopback, private, link-local, CGNAT, multicast and reserved ranges, also inside an IPv6 address."""
    parsed = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or (None, None))[1] or _nat64(parsed)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def check_url(url: str) -> None:
    """Raises RemoteFileRefused for anything but a plain http or https URL."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.username or parts.password)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        plain = port_is_valid = False
    if not plain or not port_is_valid or len(url) > URL_CHARS_MAX or any(ord(char) <= 32 for char in url):
        raise RemoteFileRefused(
            "A URL must begin with http:// or https://, name a host, hold no password"
            f" and have at most {URL_CHARS_MAX} characters."
        )


async def _read(response: httpcore.Response, bytes_max: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_stream():
        content += chunk
        if len(content) > bytes_max:
            raise RemoteFileRefused(f"The file is larger than {bytes_max} bytes.")
    return bytes(content)


def _headers(url: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", urlsplit(url).netloc.encode()), (b"user-agent", b"safelight"), (b"accept", b"*/*")]


def _timeouts() -> dict[str, Any]:
    return {
        "timeout": {
            "connect": CONNECT_SECONDS,
            "read": READ_SECONDS,
            "write": READ_SECONDS,
            "pool": CONNECT_SECONDS,
        }
    }


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)
