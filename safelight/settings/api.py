"""Settings of the HTTP API: address, sign-in, rate limits and connections."""

from typing import Any, Literal

from pydantic import SecretStr

from safelight.settings import values
from safelight.settings.fields import PREFIX, ReadBy, SettingsGroup, names, secret_setting, setting


def _per_minute(default: int, name: str, old_name: str) -> Any:
    old = names(name, f"{PREFIX}{old_name}")
    return setting(default, ReadBy.API, names=old, ge=0, le=1_000_000)


class Http(SettingsGroup):
    """The address of the API, and the proxies and web pages in front of it."""

    host: values.Host = setting("127.0.0.1", ReadBy.API)
    """Address the API listens on."""
    port: int = setting(8787, ReadBy.API, ge=0, le=65535)
    """Port the API listens on; 0 chooses a free port."""
    public_url: values.PublicUrl | None = setting(None, production=True)
    """Base URL of the API as clients see it. Stored URLs begin with it. Default: http://HOST:PORT."""
    cors_origins: values.CorsOrigins = setting("*", ReadBy.API)
    """Comma-separated origins that may call the API from a browser; * allows every origin."""
    trusted_proxies: values.Networks = setting("", ReadBy.API, production=True)
    """Comma-separated addresses or networks (10.0.0.0/8) of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto
    headers are trusted; * trusts every peer. Default: none."""


class SignInSettings(SettingsGroup):
    """Customers who sign in, and operators."""

    auth: Literal["optional", "required"] = setting("optional", ReadBy.API, production=True)
    """`required`: a request acts for a customer only with that user's access token or the admin token. `optional`: a
    pass id in the request is accepted too; an access token takes precedence."""
    jwt_secret: SecretStr = secret_setting(ReadBy.API, names=names("JWT_SECRET", "SUPABASE_JWT_SECRET"))
    """Secret that access tokens are signed with (HS256). SUPABASE_JWT_SECRET is read if this is not set."""
    jwks_url: str | None = setting(
        None, ReadBy.API, production=True, pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])"
    )
    """URL of the public keys of access tokens (ES256, RS256), e.g.
    https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json. If a secret is set too, both kinds of token are
    accepted."""
    jwt_audience: str = setting("authenticated", ReadBy.API, min_length=1)
    """Expected audience (`aud`) of access tokens."""
    jwt_issuer: str | None = setting(None, ReadBy.API)
    """Expected issuer (`iss`) of access tokens, e.g. https://PROJECT.supabase.co/auth/v1. Default: not checked."""
    jwt_leeway_seconds: float = setting(30.0, ReadBy.API, ge=0, le=300)
    """Tolerated clock difference to the issuer of access tokens."""
    admin_token: SecretStr = secret_setting(ReadBy.API, production=True)
    """Token for the operators' routes, at least 32 characters. Default: generated and stored in HOME/admin-token."""
    admin_emails: values.Emails = setting("", ReadBy.API)
    """Comma-separated e-mail addresses of users who are operators after signing in. The sign-in service must verify
    e-mail addresses."""


class RateLimits(SettingsGroup):
    """Rate limits. Each API process counts for itself: with N processes a limit is N times as high."""

    rate_limit_writes_per_minute: int = _per_minute(60, "RATE_LIMIT_WRITES_PER_MINUTE", "ORDERS_PER_MINUTE")
    """Orders, uploads and copies per minute for each customer, and ten times as many for each IP address; 0 disables
    the limit."""
    rate_limit_public_per_minute: int = _per_minute(600, "RATE_LIMIT_PUBLIC_PER_MINUTE", "VISITS_PER_MINUTE")
    """Requests per minute for each IP address on unauthenticated routes; 0 disables the limit."""
    rate_limit_error_reports_per_minute: int = _per_minute(
        30, "RATE_LIMIT_ERROR_REPORTS_PER_MINUTE", "REPORTS_PER_MINUTE"
    )
    """Error reports of clients per minute for each IP address; 0 disables the limit."""
    admin_guesses_per_minute: int = setting(60, ReadBy.API, ge=1, le=1_000_000)
    """Wrong admin tokens per minute for each IP address; further ones get 429."""


class Connections(SettingsGroup):
    """Connections and streams of one API process."""

    connections_max: int = setting(10_000, ReadBy.API, ge=8, le=60_000)
    """Open client connections; fewer if the process may open fewer files."""
    connections_per_address: int = setting(2_000, ReadBy.API, ge=1, le=60_000)
    """Open connections for each IP address (IPv6: /64 network). Trusted proxies are not counted."""
    streams_max: int = setting(5_000, ReadBy.API, ge=1, le=60_000)
    """Live streams served at the same time."""
    streams_per_address: int = setting(200, ReadBy.API, ge=1, le=60_000)
    """Live streams served at the same time for each IP address."""
    header_timeout_seconds: float = setting(15.0, ReadBy.API, gt=0, le=600)
    """Time limit for a client to connect and send the headers of a request."""
    body_timeout_seconds: float = setting(20.0, ReadBy.API, gt=0, le=600)
    """Longest pause within a request body. After this time a body must also arrive at 2 KB/s on average."""
    write_timeout_seconds: float = setting(60.0, ReadBy.API, gt=0, le=3600)
    """Time after which a client that does not read its answer is disconnected."""
    keep_alive_seconds: float = setting(75.0, ReadBy.API, gt=0, le=3600)
    """Time an idle connection is kept open. Choose more than clients and proxies keep theirs."""
    body_buffer_mb: int = setting(512, ReadBy.API, ge=32, le=4096)
    """Disk space, in MB, for large request bodies that are received at the same time; beyond it requests get 503."""
