"""Services of the routes, handed in by `app.py`."""

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
from safelight.domain.money.shop_orders import Shop
from safelight.ops.doctor import LatestFindings
from safelight.ops.queue_watch import QueueWatch
from safelight.ops.retry import GenerationRetry
from safelight.pipelines.accept import Acceptance
from safelight.pipelines.engine.reaper import Reaper
from safelight.pipelines.registry import Configuration
from safelight.pipelines.runtime_overrides import RuntimeConfig
from safelight.pipelines.serving import Serving
from safelight.providers.catalogue import ParameterTables
from safelight.reports.progress import Estimates
from safelight.reports.totals import CustomerCount
from safelight.security.jwt import TokenCheck
from safelight.security.signing import Signer
from safelight.security.webhook_signatures import WebhookCheck
from safelight.storage.assets import AssetStore
from safelight.storage.remote_files import RemoteFiles


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """Rules by which callers show who they are: `tokens` checks access tokens, and with `token_required` nothing else
    counts; operators know the admin token, or sign in with one of the e-mail addresses."""

    tokens: TokenCheck | None
    token_required: bool
    admin_token: str
    admin_emails: frozenset[str]


@dataclass(frozen=True, slots=True)
class Services:
    db: Database
    spool: OpsOutbox
    acceptance: Acceptance
    listener: Listener
    assets: AssetStore
    remote_files: RemoteFiles
    welcome_credits: int  # of a new customer
    welcomes_per_day: int  # of one address
    reaper: Reaper
    signer: Signer
    findings: LatestFindings
    queues: QueueWatch
    webhook_checks: Mapping[str, WebhookCheck]
    rates: RateLimiter
    auth: AuthPolicy
    shop: Shop
    credits_expire_days: int
    runtime: RuntimeConfig
    customer_count: CustomerCount
    wait_seconds: float
    bodies: RequestBodies
    streams: InFlightLimit
    serving: Serving
    retries: GenerationRetry
    configuration: Configuration
    tables: ParameterTables
    allowances: Allowances = field(default_factory=Allowances)
    estimates: Estimates = field(default_factory=Estimates)


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


FromApp = Annotated[Services, Depends(services_of)]
