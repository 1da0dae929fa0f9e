"""Settings of the HTTP API: address, sign-in, rate limits and connections."""

from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from safelight.settings import values
from safelight.settings.fields import PREFIX, ReadBy, names, secret_setting, setting


def _per_minute(default: int, description: str, name: str, old_name: str) -> Any:
    old = names(name, f"{PREFIX}{old_name}")
    return setting(default, description, ReadBy.API, names=old, ge=0, le=1_000_000)


class Http(BaseModel):
    """The address of the API, and the proxies and web pages in front of it."""

    host: values.Host = setting("127.0.0.1", "Address the API listens on.", ReadBy.API)
    port: int = setting(8787, "Port the API listens on; 0 chooses a free port.", ReadBy.API, ge=0, le=65535)
    public_url: values.PublicUrl | None = setting(
        None,
        "Base URL of the API as clients see it. Stored URLs begin with it. Default: http://HOST:PORT.",
        production=True,
    )
    cors_origins: values.CorsOrigins = setting(
        "*", "Comma-separated origins that may call the API from a browser; * allows every origin.", ReadBy.API
    )
    trusted_proxies: values.Networks = setting(
        "",
        "Comma-separated addresses or networks (10.0.0.0/8) of reverse proxies whose X-Forwarded-For and"
        " X-Forwarded-Proto headers are trusted; * trusts every peer. Default: none.",
        ReadBy.API,
        production=True,
    )


class SignInSettings(BaseModel):
    """Customers who sign in, and operators."""

    auth: Literal["optional", "required"] = setting(
        "optional",
        "`required`: a request acts for a customer only with that user's access token or the admin token. `optional`:"
        " a pass id in the request is accepted too; an access token takes precedence.",
        ReadBy.API,
        production=True,
    )
    jwt_secret: SecretStr = secret_setting(
        "Secret that access tokens are signed with (HS256). SUPABASE_JWT_SECRET is read if this is not set.",
        ReadBy.API,
        names=names("JWT_SECRET", "SUPABASE_JWT_SECRET"),
    )
    jwks_url: str | None = setting(
        None,
        "URL of the public keys of access tokens (ES256, RS256), e.g."
        " https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json. If a secret is set too, both kinds of token are"
        " accepted.",
        ReadBy.API,
        production=True,
        pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])",
    )
    jwt_audience: str = setting(
        "authenticated", "Expected audience (`aud`) of access tokens.", ReadBy.API, min_length=1
    )
    jwt_issuer: str | None = setting(
        None,
        "Expected issuer (`iss`) of access tokens, e.g. https://PROJECT.supabase.co/auth/v1. Default: not checked.",
        ReadBy.API,
    )
    jwt_leeway_seconds: float = setting(
        30.0, "Tolerated clock difference to the issuer of access tokens.", ReadBy.API, ge=0, le=300
    )
    admin_token: SecretStr = secret_setting(
        "Token for the operators' routes, at least 32 characters. Default: generated and stored in HOME/admin-token.",
        ReadBy.API,
        production=True,
    )
    admin_emails: values.Emails = setting(
        "",
        "Comma-separated e-mail addresses of users who are operators after signing in. The sign-in service must verify"
        " e-mail addresses.",
        ReadBy.API,
    )


class RateLimits(BaseModel):
    """Rate limits. Each API process counts for itself: with N processes a limit is N times as high."""

    rate_limit_writes_per_minute: int = _per_minute(
        60,
        "Orders, uploads and copies per minute for each customer, and ten times as many for each IP address; 0 disables"
        " the limit.",
        "RATE_LIMIT_WRITES_PER_MINUTE",
        "ORDERS_PER_MINUTE",
    )
    rate_limit_public_per_minute: int = _per_minute(
        600,
        "Requests per minute for each IP address on unauthenticated routes; 0 disables the limit.",
        "RATE_LIMIT_PUBLIC_PER_MINUTE",
        "VISITS_PER_MINUTE",
    )
    rate_limit_error_reports_per_minute: int = _per_minute(
        30,
        "Error reports of clients per minute for each IP address; 0 disables the limit.",
        "RATE_LIMIT_ERROR_REPORTS_PER_MINUTE",
        "REPORTS_PER_MINUTE",
    )
    admin_guesses_per_minute: int = setting(
        60,
        "Wrong admin tokens per minute for each IP address; further ones get 429.",
        ReadBy.API,
        ge=1,
        le=1_000_000,
    )


class Connections(BaseModel):
    """Connections and streams of one API process."""

    connections_max: int = setting(
        10_000,
        "Open client connections; fewer if the process may open fewer files.",
        ReadBy.API,
        ge=8,
        le=60_000,
    )
    connections_per_address: int = setting(
        2_000,
        "Open connections for each IP address (IPv6: /64 network). Trusted proxies are not counted.",
        ReadBy.API,
        ge=1,
        le=60_000,
    )
    streams_max: int = setting(5_000, "Live streams served at the same time.", ReadBy.API, ge=1, le=60_000)
    streams_per_address: int = setting(
        200, "Live streams served at the same time for each IP address.", ReadBy.API, ge=1, le=60_000
    )
    header_timeout_seconds: float = setting(
        15.0, "Time limit for a client to connect and send the headers of a request.", ReadBy.API, gt=0, le=600
    )
    body_timeout_seconds: float = setting(
        20.0,
        "Longest pause within a request body. After this time a body must also arrive at 2 KB/s on average.",
        ReadBy.API,
        gt=0,
        le=600,
    )
    write_timeout_seconds: float = setting(
        60.0, "Time after which a client that does not read its answer is disconnected.", ReadBy.API, gt=0, le=3600
    )
    keep_alive_seconds: float = setting(
        75.0,
        "Time an idle connection is kept open. Choose more than clients and proxies keep theirs.",
        ReadBy.API,
        gt=0,
        le=3600,
    )
    body_buffer_mb: int = setting(
        512,
        "Disk space, in MB, for large request bodies that are received at the same time; beyond it requests get 503.",
        ReadBy.API,
        ge=32,
        le=4096,
    )
