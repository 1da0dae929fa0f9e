"""Settings of generations: credits, limits, workers and providers."""

from pydantic import SecretStr

from safelight.settings import values
from safelight.settings.fields import PREFIX, ReadBy, SettingsGroup, names, secret_setting, setting


class Credits(SettingsGroup):
    """Prices, and credits that customers get."""

    still_credits: int = setting(1, ReadBy.API, ge=0, le=100)
    """Price of a still or a tweak of one, in credits."""
    video_credits: int = setting(5, ReadBy.API, ge=0, le=100)
    """Price of a video or a tweak of one, in credits."""
    image_credits: int = setting(1, ReadBy.API, ge=0, le=100)
    """Price of each picture of an image job (variants x sources), in credits."""
    signup_credits: int = setting(
        0, ReadBy.API, names=names("SIGNUP_CREDITS", f"{PREFIX}FREE_CREDITS"), ge=0, le=10_000
    )
    """Credits granted once to each new customer who signed in or whose anonymous pass id was issued by the API."""
    welcomes_per_day: int = setting(3, ReadBy.API, ge=0, le=1_000_000)
    """New customers a day and IP address (IPv6: /64 network) who are granted SIGNUP_CREDITS; 0 disables the limit."""
    free_suggestions_per_day: int = setting(5, ReadBy.API, ge=0, le=1_000_000)
    """Free suggestions a day for each customer without credits; 0 disables the limit."""
    free_suggestions_per_address: int = setting(10, ReadBy.API, ge=0, le=1_000_000)
    """Free suggestions a day for all customers of one IP address together; 0 disables the limit."""
    credits_expire_days: int = setting(30, ReadBy.API, ge=0, le=3650)
    """Days after a top-up when the whole balance expires; 0 means never. Signup credits alone do not expire."""
    shopify_webhook_secret: SecretStr = secret_setting(
        ReadBy.API, names=names("SHOPIFY_WEBHOOK_SECRET", "SHOPIFY_ORDER_WEBHOOK_SECRET")
    )
    """Secret that Shopify signs order webhooks with; without it they are refused. SHOPIFY_ORDER_WEBHOOK_SECRET is read
    if this is not set."""
    credit_products: str = setting("{}", ReadBy.API, names=names("CREDIT_PRODUCTS", "CREDIT_PRODUCT_MAP"))
    """JSON object that maps SKUs or variant ids to credits, for products that are not named MINA-<credits>.
    CREDIT_PRODUCT_MAP is read if this is not set."""


class Generations(SettingsGroup):
    """Limits and time limits of generations."""

    generations_in_progress_max: int = setting(20, ReadBy.API, ge=0, le=10_000)
    """Unfinished generations of one customer; further orders get 429. 0 disables the limit."""
    generations_at_once_per_customer: int = setting(0, ge=0, le=10_000)
    """Generations of one customer that all workers together have begun at the same time; further ones wait until one of
    them ends. 0 disables the limit."""
    queue_timeout_seconds: float = setting(
        3600.0, ReadBy.API, names=names("QUEUE_TIMEOUT_SECONDS", f"{PREFIX}START_WITHIN_SECONDS"), gt=0, le=604_800
    )
    """Time a generation may wait for a worker. Then it fails with NEVER_STARTED and is refunded."""
    sync_result_timeout_seconds: float = setting(
        900.0, ReadBy.API, names=names("SYNC_RESULT_TIMEOUT_SECONDS", f"{PREFIX}LEGACY_WAIT_SECONDS"), gt=0, le=3600
    )
    """Time the synchronous legacy routes wait for a result. Then they answer 503 and the generation continues."""
    input_fetch_seconds: float = setting(15.0, ReadBy.WORKER, gt=0, le=120)
    """Time limit for importing all input images of an order from other servers. Then the order fails with
    ASSET_UNREACHABLE and is refunded."""
    input_fetches_per_customer: int = setting(4, ReadBy.API, ge=1, le=100)
    """Orders of one customer whose input images are imported at the same time."""


class Workers(SettingsGroup):
    """Worker processes."""

    worker_concurrency: int = setting(8, ReadBy.WORKER, ge=1, le=500)
    """Generations that one worker process runs at the same time."""
    input_fetches_at_once: int = setting(16, ReadBy.WORKER, ge=1, le=500)
    """Orders whose input images one worker process imports at the same time, in addition to its generations."""
    worker_poll_seconds: float = setting(1.0, ReadBy.WORKER, gt=0, le=60)
    """Interval at which a worker polls the queue, in addition to notifications."""
    worker_heartbeat_seconds: float = setting(3.0, gt=0, le=60)
    """Interval of a worker's heartbeat. After three missed heartbeats its generations are taken over."""
    worker_shutdown_seconds: float = setting(10.0, ReadBy.WORKER, ge=0, le=600)
    """Time that running steps get to finish when a worker is stopped."""
    retry_base_seconds: float = setting(2.0, ReadBy.WORKER, ge=0, le=60)
    """Delay before the first retry of a failed call; it doubles with each further retry."""


class ProviderSettings(SettingsGroup):
    """Providers: keys, addresses and timing. An adapter is used if its key is set."""

    openai_api_key: SecretStr = secret_setting(production=True, names=names("OPENAI_API_KEY", "OPENAI_API_KEY"))
    """API key of OpenAI. OPENAI_API_KEY is read if this is not set."""
    openai_url: str = setting("https://api.openai.com/v1", ReadBy.WORKER, pattern="^https?://")
    """Base URL of OpenAI's API."""
    replicate_token: SecretStr = secret_setting(production=True, names=names("REPLICATE_TOKEN", "REPLICATE_API_TOKEN"))
    """API token of Replicate. REPLICATE_API_TOKEN is read if this is not set."""
    replicate_url: str = setting("https://api.replicate.com/v1", ReadBy.WORKER, pattern="^https?://")
    """Base URL of Replicate's API."""
    replicate_webhook_secret: SecretStr = secret_setting()
    """Secret that Replicate signs webhooks with (whsec_…). Without it webhooks are neither requested nor accepted."""
    fal_key: SecretStr = secret_setting(production=True, names=names("FAL_KEY", "FAL_KEY"))
    """API key of fal. FAL_KEY is read if this is not set."""
    fal_url: str = setting("https://queue.fal.run", ReadBy.WORKER, pattern="^https?://")
    """Base URL of fal's queue."""
    fal_webhook_keys_url: str = setting(
        "https://rest.alpha.fal.ai/.well-known/jwks.json", ReadBy.API, pattern="^https?://"
    )
    """URL of the public keys that fal signs webhooks with."""
    webhook_url: values.PublicUrl | None = setting(None, ReadBy.WORKER, pattern="^https?://")
    """Base URL of the API for webhooks of providers. Default: PUBLIC_URL if it begins with https; otherwise no webhooks
    are requested."""
    provider_start_timeout_seconds: float = setting(
        120.0,
        ReadBy.WORKER,
        names=names("PROVIDER_START_TIMEOUT_SECONDS", f"{PREFIX}PROVIDER_START_SECONDS"),
        gt=0,
        le=600,
    )
    """Time limit of the request that starts work at a provider. If the answer is lost and the provider does not know
    the request, it is repeated after 1.25 times this time."""
    provider_poll_interval_seconds: float = setting(
        2.5,
        ReadBy.WORKER,
        names=names("PROVIDER_POLL_INTERVAL_SECONDS", f"{PREFIX}PROVIDER_CHECK_SECONDS"),
        gt=0,
        le=60,
    )
    """Interval of status polls for work in progress at a provider."""
    provider_result_ttl_seconds: float = setting(
        3600.0,
        ReadBy.WORKER,
        names=names("PROVIDER_RESULT_TTL_SECONDS", f"{PREFIX}RESULT_URL_SECONDS"),
        gt=0,
        le=604_800,
    )
    """Time that providers keep results. A result that cannot be copied to our storage is retried for so long."""
