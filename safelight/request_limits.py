"""Limits of request bodies and connections, made from the settings."""

from safelight.api.http.bodies.in_flight import InFlightLimit
from safelight.api.http.bodies.spooling import RequestBodies
from safelight.api.http.rate_limits import RateLimiter, RateLimitGroup, address_of
from safelight.config import Settings
from safelight.storage.spool import Spool

MEGABYTE = 1024 * 1024


def rates(settings: Settings) -> RateLimiter:
    return RateLimiter(
        {
            RateLimitGroup.WRITES: settings.rate_limit_writes_per_minute,
            RateLimitGroup.PUBLIC: settings.rate_limit_public_per_minute,
            RateLimitGroup.ERROR_REPORTS: settings.rate_limit_error_reports_per_minute,
            RateLimitGroup.ADMIN_TOKENS: settings.admin_guesses_per_minute,
        }
    )


def bodies(settings: Settings, spool: Spool) -> RequestBodies:
    return RequestBodies(settings.body_buffer_mb * MEGABYTE, address_of, spool)


def streams(settings: Settings) -> InFlightLimit:
    return InFlightLimit("live streams", total_max=settings.streams_max, per_address_max=settings.streams_per_address)
