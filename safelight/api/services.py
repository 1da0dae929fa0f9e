"""What the routes work with, handed in by `app.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request

from safelight.api.allowance import Allowances
from safelight.api.in_flight import InFlightLimit
from safelight.api.rates import Rates
from safelight.api.request_bodies import RequestBodies
from safelight.api.tokens import TokenCheck
from safelight.db.database import Database
from safelight.db.ops_spool import OpsSpool
from safelight.db.statistics import CustomerCount
from safelight.db.wakeups import Listener
from safelight.domain.orders import Prices
from safelight.domain.shop_orders import Shop
from safelight.ops.doctor import LatestFindings
from safelight.ops.queue_watch import QueueWatch
from safelight.pipelines.accept import Acceptance
from safelight.pipelines.reaper import Reaper
from safelight.pipelines.runtime import RuntimeConfig
from safelight.pipelines.serving import Serving
from safelight.providers.webhooks import WebhookCheck
from safelight.signing import Signer
from safelight.storage.assets import AssetStore
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class Services:
    db: Database
    spool: OpsSpool
    acceptance: Acceptance
    listener: Listener
    assets: AssetStore
    fetcher: GuardedFetcher
    spool_of_files: Spool
    prices: Prices
    free_credits: int
    welcomes_per_day: int
    reaper: Reaper
    admin_token: str
    signer: Signer
    findings: LatestFindings
    queues: QueueWatch
    webhook_checks: Mapping[str, WebhookCheck]
    rates: Rates
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
