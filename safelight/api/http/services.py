"""What the routes work with, handed in by `app.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from safelight.api.http.bodies.in_flight import InFlightLimit
from safelight.api.http.bodies.spooling import RequestBodies
from safelight.api.http.ops_row_limits import Allowances
from safelight.api.http.rate_limits import RateLimiter
from safelight.db.connection.database import Database
from safelight.db.connection.notifications import Listener
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.domain.orders import Prices
from safelight.domain.shop_orders import Shop
from safelight.ops.doctor import LatestFindings
from safelight.ops.queue_watch import QueueWatch
from safelight.pipelines.accept import Acceptance
from safelight.pipelines.engine.reaper import Reaper
from safelight.pipelines.runtime_overrides import RuntimeConfig
from safelight.pipelines.serving import Serving
from safelight.reports.totals import CustomerCount
from safelight.security.jwt import TokenCheck
from safelight.security.signing import Signer
from safelight.security.webhook_signatures import WebhookCheck
from safelight.storage.assets import AssetStore
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class Services:
    db: Database
    spool: OpsOutbox
    acceptance: Acceptance
    listener: Listener
    assets: AssetStore
    fetcher: GuardedFetcher
    spool_of_files: Spool
    prices: Prices
    signup_credits: int
    welcomes_per_day: int
    reaper: Reaper
    admin_token: str
    signer: Signer
    findings: LatestFindings
    queues: QueueWatch
    webhook_checks: Mapping[str, WebhookCheck]
    rates: RateLimiter
    tokens: TokenCheck | None
    token_required: bool
    admin_emails: frozenset[str]
    shop: Shop
    credits_expire_days: int
    runtime: RuntimeConfig
    customer_count: CustomerCount
    wait_seconds: float
    bodies: RequestBodies
    streams: InFlightLimit
    serving: Serving
    allowances: Allowances = field(default_factory=Allowances)


def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


FromApp = Annotated[Services, Depends(_services)]
