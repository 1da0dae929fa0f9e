"""Rate limits: requests per minute of one customer and of one address, on routes that cost work or need no identity.

Counted by each process for itself, one number a key, no row and no query: what is there against floods must cost less
than the flood. With N processes the bound is N times as wide; credits, not this, are what keeps spending exact.

Use `limited_route(RateLimitGroup.ERROR_REPORTS)` as a router's `route_class` (it refuses before the body is read),
`per_address(kind)` as a dependency where there is no body, and `RateLimiter.check_customer` once it is known who asks.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import Depends, Request

from safelight.api.http.bodies.json import Handler, StrictRequest, StrictRoute
from safelight.domain.errors.retries import TooManyRequests
from safelight.domain.identities import ActingCustomer

KEYS_MAX = 50_000
KEY_CHARS_MAX = 200
ORDERS_FACTOR = 10  # of an address: an office or a school is many customers behind one address
IPV6_NETWORK_BITS = 64  # what one line of one customer gets
REPORTED_SECONDS = 60.0
ROUNDING_SECONDS = 1e-6

Clock = Callable[[], float]


class RateLimitGroup(StrEnum):
    WRITES = "orders"  # what makes, stores or copies something
    PUBLIC = "visits"  # what strangers may ask and what costs little
    ERROR_REPORTS = "reports"  # errors of clients
    ADMIN_TOKENS = "wrong admin tokens"


@dataclass(slots=True)
class _Allowance:
    """All of it is there again at `whole_at`; the next refusal is reported from `report_at` on."""

    whole_at: float
    report_at: float = float("-inf")


class RateLimiter:
    """A minute's worth at once, then evenly (a leaky bucket). 0 a minute is no limit."""

    def __init__(self, per_minute: Mapping[RateLimitGroup, int], clock: Clock = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._allowances: OrderedDict[tuple[RateLimitGroup, str], _Allowance] = OrderedDict()

    def acquire(self, kind: RateLimitGroup, key: str, *, factor: int = 1) -> None:
        """Raises TooManyRequests, and then nothing is taken."""
        if per_minute := self._per_minute.get(kind, 0) * factor:
            now = self._clock()
            allowance = self._allowance(kind, key, now)
            allowance.whole_at = self._whole_at(kind, allowance, now, 60.0 / per_minute)

    def check_customer(self, kind: RateLimitGroup, customer: ActingCustomer | None) -> None:
        """Raises TooManyRequests. Nobody is counted by their address alone."""
        if customer:
            self.acquire(kind, f"pass {customer.pass_id}")

    def check(self, kind: RateLimitGroup, key: str) -> None:
        """Raises TooManyRequests where `acquire` would; takes nothing."""
        if per_minute := self._per_minute.get(kind, 0):
            now = self._clock()
            self._whole_at(kind, self._allowance(kind, key, now), now, 60.0 / per_minute)

    def is_news(self, kind: RateLimitGroup, key: str) -> bool:
        """True where operators were not told of this key within the last minute; they count as told then."""
        now = self._clock()
        return self._is_news(self._allowance(kind, key, now), now)

    def _whole_at(self, kind: RateLimitGroup, allowance: _Allowance, now: float, seconds_each: float) -> float:
        """Return the time at which all of the allowance will be there again after one more."""
        whole_at = max(allowance.whole_at, now) + seconds_each
        if (wait_seconds := whole_at - now - 60.0) > ROUNDING_SECONDS:
            is_news = self._is_news(allowance, now)
            raise TooManyRequests(f"Too many requests ({kind}).", retry_after_seconds=wait_seconds, is_news=is_news)
        return whole_at

    def _allowance(self, kind: RateLimitGroup, key: str, now: float) -> _Allowance:
        """The one that was longest unused is forgotten when there are too many."""
        found = self._allowances.setdefault((kind, key[:KEY_CHARS_MAX]), _Allowance(now))
        self._allowances.move_to_end((kind, key[:KEY_CHARS_MAX]))
        if len(self._allowances) > KEYS_MAX:
            self._allowances.popitem(last=False)
        return found

    @staticmethod
    def _is_news(allowance: _Allowance, now: float) -> bool:
        """A flood is told once a minute, not once a request."""
        is_news = now >= allowance.report_at
        if is_news:
            allowance.report_at = now + REPORTED_SECONDS
        return is_news


def check_address(request: Request, kind: RateLimitGroup) -> None:
    """Raises TooManyRequests."""
    factor = ORDERS_FACTOR if kind is RateLimitGroup.WRITES else 1
    rates: RateLimiter = request.app.state.services.rates
    rates.acquire(kind, f"address {address_of(request)}", factor=factor)


def per_address(kind: RateLimitGroup) -> Any:
    """A dependency, for routes without a body."""

    async def check(request: Request) -> None:
        check_address(request, kind)

    return Depends(check)


def limited_route(kind: RateLimitGroup, body: type[StrictRequest] = StrictRequest) -> type[StrictRoute]:
    """The class of routes that refuse by address before anything of the body is read. Reading is counted only where
    `kind` is PUBLIC."""

    class LimitedRoute(StrictRoute):
        request_class = body

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def limited(request: Request) -> Any:
                if kind is RateLimitGroup.PUBLIC or request.method != "GET":
                    check_address(request, kind)
                return await handle(request)

            return limited

    return LimitedRoute


def address_of(request: Request) -> str:
    """The client's address, as `network_of` counts it."""
    return network_of(request.client.host if request.client else "")


def network_of(host: str) -> str:
    """An address as it is counted: of IPv6 its network, since one line has more addresses than we could count."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "unknown"
    if address.version == 6:
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False).network_address)
    return str(address)
