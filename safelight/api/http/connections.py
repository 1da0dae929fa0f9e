"""The connections of one API process: limits of their number, their speed and the size of their headers.

All limits are enforced below the routes, before the application sees a request. A connection is idle while none of
its requests waits for an answer: silent, still sending headers, or kept alive. When there are too many connections, the
one that has been idle the longest makes room for a new one; when none is idle, the new one is refused with 503.
"""

import asyncio
import ipaddress
import json
import math
import socket
import struct
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from safelight.api.http.rate_limits import network_of
from safelight.process.open_files import room_for_connections
from safelight.process.tasks import run_periodically

REQUEST_TARGET_BYTES_MAX = 8 * 1024
HEADER_BYTES_MAX = 32 * 1024  # of the headers of one request, with its target
HEADERS_MAX = 100  # of one request
UNPARSED_BYTES_MAX = 32 * 1024 * 1024  # incomplete headers of all connections together
PIPELINED_MAX = 16  # pipelined requests of one connection
CHUNKS_FREE = 1000  # chunks of a body that may have any size;
CHUNK_BYTES_MIN = 64  # beyond that, their minimum average size
BODY_BYTES_PER_SECOND_MIN = 2 * 1024
BODY_SECONDS_MAX = 900.0
LINGER_SECONDS = 5.0  # for a client to read the refusal and to stop sending
RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)  # linger: on, for 0 s
SWEEP_SECONDS = 0.5
RETRY_AFTER_SECONDS = 2
_BODY_HEADERS = (b"content-length", b"transfer-encoding")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of connections. `trusted_proxies` may have any number of connections, since they stand for many
    clients."""

    connections_max: int
    per_address_max: int
    header_seconds: float
    body_seconds: float
    write_seconds: float
    keep_alive_seconds: float
    trusted_proxies: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionRefusal:
    status: int
    code: str
    message: str

    def content(self) -> bytes:
        """The whole answer, after which the connection is closed."""
        is_later = self.status == 503
        fields = {"ok": False, "error": self.code, "message": self.message}
        body = json.dumps(fields | ({"retry_after_seconds": RETRY_AFTER_SECONDS} if is_later else {})).encode()
        later = b"retry-after: %d\r\n" % RETRY_AFTER_SECONDS if is_later else b""
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
        return STATUS_LINE[self.status] + head + later + b"\r\n" + body


BAD_REQUEST = ConnectionRefusal(400, "BAD_REQUEST", "This is not an HTTP/1.1 request.")
BODY_IN_PIECES = ConnectionRefusal(
    400, "BAD_REQUEST", f"The chunks of a body must have {CHUNK_BYTES_MIN} bytes on average."
)
UPGRADE_WITH_BODY = ConnectionRefusal(
    400, "BAD_REQUEST", "No other protocol is spoken here: send bodies without `Upgrade`."
)
PIPELINED = ConnectionRefusal(400, "BAD_REQUEST", f"At most {PIPELINED_MAX} requests may wait for their answers.")
TOO_SLOW = ConnectionRefusal(408, "REQUEST_TIMEOUT", "The request did not arrive in time.")
TARGET_TOO_LONG = ConnectionRefusal(414, "URI_TOO_LONG", f"A URL may have at most {REQUEST_TARGET_BYTES_MAX} bytes.")
HEADERS_TOO_LARGE = ConnectionRefusal(
    431, "HEADERS_TOO_LARGE", f"Headers may have at most {HEADER_BYTES_MAX} bytes in {HEADERS_MAX} lines."
)
TOO_MANY_CONNECTIONS = ConnectionRefusal(
    503, "TOO_MANY_CONNECTIONS", "There are too many connections. Please try again in a moment."
)


class _Refused(Exception):
    """Ends the parsing of a request. The parser wraps it, so the refusal itself is kept on the connection."""


class Connection(HttpToolsProtocol):
    """One client's connection. `deadline` limits the time for sending, `write_deadline` that for reading the answer."""

    def __init__(self, *given: Any, table: "ConnectionTable", **named: Any) -> None:
        super().__init__(*given, **named)
        self.table = table
        self.address = ""
        self.deadline = self.write_deadline = math.inf
        self.running: RequestResponseCycle | None = None
        self._refusal: ConnectionRefusal | None = None
        self._is_refused = False
        self._has_headers = self._has_message = True  # of the request that is arriving
        self._headers = self._header_bytes = self._chunks = self._body_bytes = 0
        self._body_since = 0.0
        self._unparsed = 0  # bytes of an incomplete request

    # --- from the transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = network_of(self.client[0] if self.client else "")
        self.deadline = self.loop.time() + self.table.bounds.header_seconds
        if not self.table.admit(self):
            self._is_refused = True
            transport.write(TOO_MANY_CONNECTIONS.content())
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.table.leave(self)
        self._count_unparsed(0)
        self.pipeline.clear()
        self._disconnect_running()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._count_unparsed(self._unparsed + len(data))
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # no upgrade is supported: the request is answered as plain HTTP
        except httptools.HttpParserError:
            self.refuse(self._refusal or BAD_REQUEST)
        else:
            self._check_unparsed()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.write_deadline = self.loop.time() + self.table.bounds.write_seconds

    def resume_writing(self) -> None:
        super().resume_writing()
        self.write_deadline = math.inf

    # --- from the parser ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._has_headers = self._has_message = False
        self._headers = self._header_bytes = self._chunks = self._body_bytes = 0
        self.deadline = self.loop.time() + self.table.bounds.header_seconds

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._header_bytes += len(url)
        if len(self.url) > REQUEST_TARGET_BYTES_MAX:
            self._stop(TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts the bytes of headers, and of trailers too, which nobody reads."""
        self._headers += 1
        self._header_bytes += len(name) + len(value)
        if self._headers > HEADERS_MAX or self._header_bytes > HEADER_BYTES_MAX:
            self._stop(HEADERS_TOO_LARGE)
        if not self._has_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED_MAX:
            self._stop(PIPELINED)
        if self.parser.should_upgrade() and any(name in _BODY_HEADERS for name, _ in self.headers):
            self._stop(UPGRADE_WITH_BODY)  # the parser would read the body as the other protocol
        super().on_headers_complete()
        self._has_headers = True
        self._count_unparsed(0)
        self._body_since = self.loop.time()
        self.deadline = self._body_since + self.table.bounds.body_seconds
        self.table.set_idle(self, False)

    def on_body(self, body: bytes) -> None:
        self._chunks += 1
        self._body_bytes += len(body)
        if self._chunks > CHUNKS_FREE and self._body_bytes < self._chunks * CHUNK_BYTES_MIN:
            self._stop(BODY_IN_PIECES)
        self._count_unparsed(0)
        if not self.cycle.response_complete:  # otherwise it is only drained, for a limited time
            self.deadline = self.loop.time() + self.table.bounds.body_seconds
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_message = True
        self._count_unparsed(0)
        super().on_message_complete()
        self.deadline = math.inf
        if self.cycle.response_complete:
            self._wait_for_next()

    # --- from the application ----------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        waits = bool(self.pipeline)
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the deadline replaces uvicorn's timer
        if waits or self._is_refused:
            return
        if self._has_message:
            self._wait_for_next()
        else:
            self.deadline = self.loop.time() + LINGER_SECONDS
            self.table.set_idle(self, True)

    def _wait_for_next(self) -> None:
        self.deadline = self.loop.time() + self.table.bounds.keep_alive_seconds
        self.table.set_idle(self, True)

    # --- bounds ------------------------------------------------------------------------------------------------------

    def sweep(self, now: float, elapsed: float) -> None:
        """Close the connection if one of its deadlines has passed. `elapsed` is the time since the last sweep."""
        if self.flow.read_paused:  # the client waits for us, not we for the client
            self.deadline += elapsed
            self._body_since += elapsed
        if self.transport.is_closing() and self.write_deadline == math.inf:
            self.write_deadline = now + self.table.bounds.write_seconds
        if now > self.write_deadline:
            self._reset()
        elif now > self.deadline or self._is_too_slow(now):
            self._time_out()

    def refuse(self, refusal: ConnectionRefusal) -> None:
        """Answer in place of the application, and close. An earlier complete request still gets its answer."""
        if self._is_refused:
            return
        self._is_refused = True
        self.pipeline.clear()
        running = self.running if self.running and not self.running.response_complete else None
        if running and not running.more_body:
            running.keep_alive = False
            self.deadline = math.inf
        elif running and running.response_started:
            self.transport.abort()
        else:
            self._answer(refusal)

    def _answer(self, refusal: ConnectionRefusal) -> None:
        self._disconnect_running()
        self.transport.write(refusal.content())
        with suppress(OSError):  # the client has closed it already
            self.transport.write_eof()
        self.flow.resume_reading()  # further data is discarded
        self.table.set_idle(self, True)
        self.deadline = self.loop.time() + LINGER_SECONDS

    def drop(self) -> None:
        """Close at once, to make room."""
        self._is_refused = True
        self.transport.abort()

    def _reset(self) -> None:
        """Close, and let the kernel discard unread data, which it would keep for minutes."""
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)
        self.transport.abort()

    def _stop(self, refusal: ConnectionRefusal) -> None:
        self._refusal = refusal
        raise _Refused(refusal.code)

    def _time_out(self) -> None:
        is_silent = self._has_message and not self._unparsed
        is_answered = self._has_headers and self.running is not None and self.running.response_complete
        if self._is_refused or is_silent or is_answered:
            self.transport.abort()
        else:
            self.refuse(TOO_SLOW)

    def _is_too_slow(self, now: float) -> bool:
        if self._has_message or not self._has_headers:
            return False
        seconds = now - self._body_since
        expected = (seconds - self.table.bounds.body_seconds) * BODY_BYTES_PER_SECOND_MIN
        return seconds > BODY_SECONDS_MAX or self._body_bytes < expected

    def _count_unparsed(self, count: int) -> None:
        self.table.unparsed += count - self._unparsed
        self._unparsed = count

    def _check_unparsed(self) -> None:
        if self._unparsed > HEADER_BYTES_MAX:
            self.refuse(HEADERS_TOO_LARGE)
        elif self._unparsed and self.table.unparsed > UNPARSED_BYTES_MAX:
            self.refuse(TOO_MANY_CONNECTIONS)

    def _disconnect_running(self) -> None:
        """Tell the application that the client is gone, and discard the rest of its answer."""
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.message_event.set()


class ConnectionTable:
    """All connections of this process by address, and the idle ones, longest idle first."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.unparsed = 0
        self._total_max = min(bounds.connections_max, room_for_connections())
        self._proxies = _Networks(bounds.trusted_proxies)
        self._members: dict[Connection, bool] = {}
        self._counts: dict[str, int] = {}
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._idle_of: dict[str, OrderedDict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._members)

    @property
    def protocol(self) -> Any:
        """Create the protocol of a new connection; uvicorn calls this."""
        return partial(Connection, table=self)

    def admit(self, connection: Connection) -> bool:
        """Returns False if there is no room for the connection."""
        address = connection.address
        is_limited = not self._proxies.have(connection.client[0] if connection.client else "")
        if is_limited and self._counts.get(address, 0) >= self.bounds.per_address_max:
            self._drop_first(self._idle_of.get(address))
            if self._counts.get(address, 0) >= self.bounds.per_address_max:
                return False
        if len(self._members) >= self._total_max:
            self._drop_first(self._idle)
            if len(self._members) >= self._total_max:
                return False
        self._members[connection] = True
        self._counts[address] = self._counts.get(address, 0) + 1
        self.set_idle(connection, True)
        return True

    def leave(self, connection: Connection) -> None:
        if self._members.pop(connection, None):
            self.set_idle(connection, False)
            self._counts[connection.address] -= 1
            if not self._counts[connection.address]:
                del self._counts[connection.address]

    def set_idle(self, connection: Connection, is_idle: bool) -> None:
        of_address = self._idle_of.setdefault(connection.address, OrderedDict())
        if is_idle and (connection in self._members):
            self._idle[connection] = of_address[connection] = None
        else:
            self._idle.pop(connection, None)
            of_address.pop(connection, None)
        if not of_address:
            del self._idle_of[connection.address]

    def _drop_first(self, idle: OrderedDict[Connection, None] | None) -> None:
        if idle:
            longest = next(iter(idle))
            self.leave(longest)
            longest.drop()

    async def sweep_periodically(self) -> None:
        """Sweep all connections every SWEEP_SECONDS, until cancelled."""
        loop = asyncio.get_running_loop()
        swept_at = loop.time()

        async def sweep() -> None:
            nonlocal swept_at
            now = loop.time()
            for connection in list(self._members):
                connection.sweep(now, now - swept_at)
            swept_at = now

        await run_periodically(sweep, every_seconds=SWEEP_SECONDS, wait_first=True)


class _Networks:
    """Addresses and networks, separated by commas; `*` is all of them. The settings have checked them."""

    def __init__(self, listed: str) -> None:
        parts = [part.strip() for part in listed.split(",") if part.strip()]
        self._all = parts == ["*"]
        self._networks = [] if self._all else [ipaddress.ip_network(part) for part in parts]

    def have(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return self._all
        return self._all or any(address in network for network in self._networks)
