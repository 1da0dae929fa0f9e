"""Bounds of what clients send and hold open, as the settings say."""

from safelight.api.in_flight import InFlightLimit
from safelight.api.rates import Kind, Rates, address_of
from safelight.api.request_bodies import RequestBodies
from safelight.config import Settings
from safelight.storage.spool import Spool

MEGABYTE = 1024 * 1024


def rates(settings: Settings) -> Rates:
    return Rates(
        {
            Kind.ORDERS: settings.orders_per_minute,
            Kind.VISITS: settings.visits_per_minute,
            Kind.REPORTS: settings.reports_per_minute,
            Kind.ADMIN_TOKENS: settings.admin_guesses_per_minute,
        }
    )


def bodies(settings: Settings, spool: Spool) -> RequestBodies:
    return RequestBodies(settings.body_buffer_mb * MEGABYTE, address_of, spool)


def streams(settings: Settings) -> InFlightLimit:
    return InFlightLimit("live streams", total_max=settings.streams_max, per_address_max=settings.streams_per_address)
