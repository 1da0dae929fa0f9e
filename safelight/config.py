"""Every setting: name, type, default, help. The only reader of the environment (prefix `SAFELIGHT_`)."""

import os
from pathlib import Path
from typing import Any, Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from safelight import setting_values as values
from safelight.domain.errors.base import ConfigError

PREFIX = "SAFELIGHT_"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", validate_by_name=True)

    home: values.Folder = Field(
        Path("~/.safelight"), description="Where all state lives: the embedded database and the files."
    )
    database_url: values.DatabaseUrl | None = Field(
        None,
        description="A PostgreSQL 15+ to use instead of the embedded one, e.g. postgresql://user@host/db.",
    )
    host: values.Host = Field("127.0.0.1", description="The address the API listens on.")
    port: int = Field(8787, ge=0, le=65535, description="The port the API listens on; 0 takes a free one.")
    public_url: values.PublicUrl | None = Field(
        None,
        description="The API's address as clients see it; stored URLs begin with it. Default: http://HOST:PORT.",
    )
    cors_origins: values.CorsOrigins = Field(
        "*", description="Comma-separated origins that browsers may call from; * for any."
    )
    admin_token: SecretStr = Field(
        SecretStr(""),
        description="What opens the operators' routes: at least 32 characters. Where it is not set, one is made and"
        " kept in HOME/admin-token.",
    )
    secret: SecretStr = Field(
        SecretStr(""),
        description="The secret of the deployment, 32 characters or more: it signs URLs and tokens, and keys the hashes"
        " in object keys. Default: one that the first node makes, kept in the database for all nodes.",
    )
    admin_emails: values.Emails = Field(
        "", description="Comma-separated e-mails of users who, signed in, are operators. Sign-ups must confirm theirs."
    )
    auth: Literal["optional", "required"] = Field(
        "optional",
        description="`required`: ids that a request states count for nothing without a user's access token or the"
        " admin token. `optional`: a token goes before them.",
    )
    jwt_secret: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices(f"{PREFIX}JWT_SECRET", "SUPABASE_JWT_SECRET"),
        description="The secret that Supabase signs access tokens with (HS256); SUPABASE_JWT_SECRET is read too.",
    )
    jwks_url: str | None = Field(
        None,
        pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])",
        description="Where the public keys of access tokens are (ES256, RS256), e.g."
        " https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json; with a secret too, tokens of either kind hold.",
    )
    jwt_audience: str = Field("authenticated", min_length=1, description="Whom access tokens must be for.")
    jwt_issuer: str | None = Field(
        None, description="Who must have issued them, e.g. https://PROJECT.supabase.co/auth/v1. Default: not looked at."
    )
    jwt_leeway_seconds: float = Field(
        30.0, ge=0, le=300, description="How far our clock and that of their issuer may be apart."
    )
    customers_read_steps: bool = Field(
        False,
        description="If customers who read the database themselves (Supabase) see the step rows of their generations:"
        " prompt parts, adapter names and providers' errors. `safelight migrate` writes it to the database.",
    )
    storage_url: values.StorageUrl | None = Field(
        None,
        description="Where public files are kept: file:///PATH, or s3://BUCKET/PREFIX?endpoint=https://…&region=…"
        "&path_style=true|false. Default: HOME/assets.",
    )
    private_storage_url: values.StorageUrl | None = Field(
        None, description="Where private files are kept, written the same way. Default: HOME/private-assets."
    )
    public_assets_url: values.PublicUrl | None = Field(
        None,
        pattern="^https?://",
        description="What permanent URLs of public files begin with, e.g. a CDN before the bucket."
        " Default: PUBLIC_URL/assets, where the API answers.",
    )
    s3_access_key_id: SecretStr = Field(SecretStr(""), description="The access key of s3:// storage.")
    s3_secret_access_key: SecretStr = Field(SecretStr(""), description="The secret of s3:// storage.")
    log_level: values.LogLevel = Field(
        "INFO", description="The least level that is written to the console and the file."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="How lines are written to standard error: for eyes, or each as a JSON object."
    )
    log_file: values.LogFile | None = Field(
        None, description="A file that also gets every log line, as JSON, rotating."
    )

    still_credits: int = Field(1, ge=0, le=100, description="Credits charged for a still or a tweak of it.")
    video_credits: int = Field(5, ge=0, le=100, description="Credits charged for a video or a tweak of it.")
    free_credits: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Credits granted to each new customer who signed in, or whose anonymous pass id we issued.",
    )
    welcomes_per_day: int = Field(
        3,
        ge=0,
        le=1_000_000,
        description="How many new customers a day at one network address (of IPv6 a /64) get them; 0 is no limit.",
    )
    free_suggestions_per_day: int = Field(
        5,
        ge=0,
        le=1_000_000,
        description="How many suggestions a day are free for a customer without credits; 0 is no limit.",
    )
    free_suggestions_per_address: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="How many of these a day all customers at one network address have together; 0 is no limit.",
    )
    credits_expire_days: int = Field(
        30,
        ge=0,
        le=3650,
        description="How long a top-up makes the whole balance good for; 0 is for ever. Welcome credits alone do not"
        " expire.",
    )
    shopify_webhook_secret: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices(f"{PREFIX}SHOPIFY_WEBHOOK_SECRET", "SHOPIFY_ORDER_WEBHOOK_SECRET"),
        description="What Shopify signs its order webhooks with; without it none are taken."
        " SHOPIFY_ORDER_WEBHOOK_SECRET is read too.",
    )
    credit_products: str = Field(
        "{}",
        validation_alias=AliasChoices(f"{PREFIX}CREDIT_PRODUCTS", "CREDIT_PRODUCT_MAP"),
        description="A JSON object from SKU or variant id to credits, for what is not named MINA-<credits>;"
        " CREDIT_PRODUCT_MAP is read too.",
    )

    result_url_seconds: float = Field(
        3600.0,
        gt=0,
        le=604_800,
        description="How long a provider keeps a result that we could not copy yet; for so long it is tried again.",
    )

    worker_concurrency: int = Field(8, ge=1, le=500, description="Generations one worker process runs side by side.")
    input_fetch_seconds: float = Field(
        15.0,
        gt=0,
        le=120,
        description="How long fetching all input pictures of an order from other servers may take; then the order"
        " fails, refunded, as ASSET_UNREACHABLE.",
    )
    input_fetches_per_customer: int = Field(
        4, ge=1, le=100, description="Orders of one customer whose input pictures are fetched side by side."
    )
    input_fetches_at_once: int = Field(
        16,
        ge=1,
        le=500,
        description="Orders whose input pictures one worker process fetches side by side, beside its generations.",
    )
    generations_in_progress_max: int = Field(
        20,
        ge=0,
        le=10_000,
        description="Unfinished generations that one customer may have; further orders are answered with 429. 0 is no"
        " limit.",
    )
    worker_poll_seconds: float = Field(
        1.0, gt=0, le=60, description="How often a worker looks for scheduled work that nobody announced."
    )
    retry_base_seconds: float = Field(
        2.0, ge=0, le=60, description="The first pause before a failed call is tried again; each further one doubles."
    )
    provider_start_seconds: float = Field(
        120.0,
        gt=0,
        le=600,
        description="How long asking a provider to start something may take; a start it does not know of is made again"
        " only after a quarter more.",
    )
    worker_heartbeat_seconds: float = Field(
        3.0, gt=0, le=60, description="How often a worker says that it lives; after three missed it is taken over."
    )
    worker_shutdown_seconds: float = Field(
        10.0, ge=0, le=600, description="How long a worker that is told to stop lets its steps go on."
    )
    start_within_seconds: float = Field(
        3600.0,
        gt=0,
        le=604_800,
        description="How long a generation may wait for a worker; then it fails, refunded, as never started.",
    )
    legacy_wait_seconds: float = Field(
        900.0,
        gt=0,
        le=3600,
        description="How long the legacy routes wait for a result; then they answer 503, and it goes on.",
    )
    api_pool_size: int = Field(10, ge=2, le=100, description="Database connections of one API process.")
    worker_pool_size: int = Field(6, ge=2, le=100, description="Database connections of one worker process.")

    orders_per_minute: int = Field(
        60,
        ge=0,
        le=1_000_000,
        description="How often a minute one customer may order, upload or copy, and ten times that one address;"
        " 0 is no limit. Each API process counts for itself.",
    )
    visits_per_minute: int = Field(
        600,
        ge=0,
        le=1_000_000,
        description="How often a minute one address may ask what strangers may ask; 0 is no limit.",
    )
    reports_per_minute: int = Field(
        30,
        ge=0,
        le=1_000_000,
        description="How many errors a minute the clients at one address may report; 0 is no limit.",
    )
    admin_guesses_per_minute: int = Field(
        60,
        ge=1,
        le=1_000_000,
        description="How many wrong admin tokens a minute one address may state; then it gets 429 for them. Each API"
        " process counts for itself.",
    )
    trusted_proxies: values.Networks = Field(
        "",
        description="Comma-separated addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and"
        " X-Forwarded-Proto are believed; * for any. Default: none.",
    )

    connections_max: int = Field(
        10_000,
        ge=8,
        le=60_000,
        description="Clients' connections that one API process keeps open; fewer where it may open fewer files.",
    )
    connections_per_address: int = Field(
        2_000,
        ge=1,
        le=60_000,
        description="How many of them one address may have. An IPv6 network is one; trusted proxies do not count.",
    )
    streams_max: int = Field(5_000, ge=1, le=60_000, description="Live streams that one API process serves at once.")
    streams_per_address: int = Field(
        200, ge=1, le=60_000, description="How many live streams one address may follow at once, in one API process."
    )
    header_timeout_seconds: float = Field(
        15.0, gt=0, le=600, description="How long a client may take to connect and send a request's headers."
    )
    body_timeout_seconds: float = Field(
        20.0,
        gt=0,
        le=600,
        description="How long a request's body may pause; after as long it must have come at 2 KB/s on average.",
    )
    write_timeout_seconds: float = Field(
        60.0, gt=0, le=3600, description="How long a client may leave unread what we send, before it is cut off."
    )
    keep_alive_seconds: float = Field(
        75.0,
        gt=0,
        le=3600,
        description="How long a connection without a request is kept; longer than clients and proxies keep theirs.",
    )
    body_buffer_mb: int = Field(
        512,
        ge=32,
        le=4096,
        description="Disk for large request bodies that one API process receives at once; beyond it, 503.",
    )

    fetch_allow_hosts: values.HostPorts = Field(
        "",
        description="Comma-separated host:port pairs that may be read although they are private (for tests).",
    )
    stand_in: Literal["allow", "refuse"] | None = Field(
        None,
        description="Whether the offline stand-in may serve engines without a vendor's key. Default: refuse where"
        " DATABASE_URL is set, else allow.",
    )
    local_fault: str | None = Field(
        None, description="Makes the local adapter fail: STEP:ERROR, e.g. seedream_generate:timeout."
    )
    local_wait_seconds: float = Field(
        0.0, ge=0, le=3600, description="How long the local adapter pretends to need for a still or a video."
    )
    simulated_url: str | None = Field(
        None,
        pattern="^https?://",
        description="Where a simulated service runs; installs the adapter `simulated`, as `safelight chaos` does.",
    )
    openai_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices(f"{PREFIX}OPENAI_API_KEY", "OPENAI_API_KEY"),
        description="The key for the adapter `openai`; OPENAI_API_KEY is read where this is not set.",
    )
    openai_url: str = Field(
        "https://api.openai.com/v1",
        pattern="^https?://",
        description="Where the adapter `openai` finds its service.",
    )
    replicate_token: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SAFELIGHT_REPLICATE_TOKEN", "REPLICATE_API_TOKEN"),
        description="Our token at Replicate, for the adapter `replicate`; REPLICATE_API_TOKEN is read too.",
    )
    replicate_url: str = Field(
        "https://api.replicate.com/v1", pattern="^https?://", description="Where Replicate's HTTP API is."
    )
    replicate_webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="What Replicate signs its webhooks with (whsec_…); without it none are asked for or taken.",
    )
    fal_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SAFELIGHT_FAL_KEY", "FAL_KEY"),
        description="Our key at fal, for the adapter `fal`; FAL_KEY is read too.",
    )
    fal_url: str = Field("https://queue.fal.run", pattern="^https?://", description="Where fal's queue is.")
    fal_webhook_keys_url: str = Field(
        "https://rest.alpha.fal.ai/.well-known/jwks.json",
        pattern="^https?://",
        description="Where the public keys are that fal signs its webhooks with.",
    )
    webhook_url: values.PublicUrl | None = Field(
        None,
        pattern="^https?://",
        description="The API's address for the webhooks of providers. Default: PUBLIC_URL where that begins with https;"
        " else none are asked for.",
    )
    provider_check_seconds: float = Field(
        2.5, gt=0, le=60, description="How long after a look at a provider's work the next one is due."
    )

    @field_validator("*", mode="before")
    @classmethod
    def is_not_quoted(cls, stated: Any) -> Any:
        return values.unquoted(stated)

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def assets_base_url(self) -> str:
        """Under which vendors find the public files."""
        return self.public_assets_url or self.base_url

    @property
    def keyed_adapters(self) -> frozenset[str]:
        """The adapters whose key is set."""
        keys = {"openai": self.openai_api_key, "replicate": self.replicate_token, "fal": self.fal_key}
        return frozenset(adapter for adapter, key in keys.items() if key.get_secret_value())

    def for_demo(self) -> "Settings":
        """Those of a demo, which is offline, costs nothing and has a home and a database of its own: of ours it has
        where it listens, what it logs and how the stand-in behaves."""
        kept = ("host", "port", "log_level", "log_file", "local_fault", "local_wait_seconds")
        same = {name: getattr(self, name) for name in kept}
        return Settings.model_construct(
            **same, home=self.home_path / "demo", stand_in="allow", worker_shutdown_seconds=0.5
        )

    @property
    def webhook_base_url(self) -> str | None:
        public = self.public_url if (self.public_url or "").startswith("https://") else None
        return (self.webhook_url or public or "").rstrip("/") or None

    @property
    def home_path(self) -> Path:
        try:
            return self.home.expanduser().resolve()
        except (RuntimeError, OSError) as error:  # the account has no home of its own, or a link leads to itself
            raise ConfigError(f"SAFELIGHT_HOME: {self.home} leads nowhere: {error}") from error

    @property
    def secrets(self) -> list[str]:
        """The values that must never be written anywhere."""
        stated = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        return [*stated, _password(self.database_url)]

    def as_environment(self) -> dict[str, str]:
        """The environment of a process of our own that is to have just these settings."""
        ours = {f"{PREFIX}{name}".upper(): _plain(value) for name, value in self if value is not None}
        return {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)} | ours


def _password(dsn: str | None) -> str:
    try:
        return str(conninfo_to_dict(dsn or "").get("password", ""))
    except ProgrammingError:  # whoever connects with it says what is wrong
        return ""


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def unknown_settings() -> dict[str, str]:
    """Names in the environment that begin as ours do and are none, each with the nearest that is one, or nothing."""
    known = [f"{PREFIX}{name}".upper() for name in Settings.model_fields]
    stated = [name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known]
    return {name: values.nearest(name.upper(), known, PREFIX) for name in sorted(stated)}
