"""The adapters, made from the settings, and the checks of their webhooks."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from safelight.config import Settings
from safelight.domain.errors.base import ConfigError
from safelight.extras import Extra, MissingExtra, origin_of
from safelight.media.decoding_pool import MediaPool
from safelight.pipelines.context import Adapters
from safelight.providers.base import Adapter, AdapterContext, ReadImage
from safelight.providers.fault_injection import Fault
from safelight.providers.http_client import WebhookUrl
from safelight.providers.simulated.adapter import simulated_adapter
from safelight.security.webhook_signatures import FalSignatures, StandardWebhooks, WebhookCheck, unsigned

ADAPTERS_GROUP = "safelight.adapters"
LOCAL_DISTRIBUTION = "safelight-local"


def adapters_of(settings: Settings, read: ReadImage, pool: MediaPool) -> Adapters:
    """Makers of all adapters by name. `read` reads input pictures for adapters that need their bytes; pictures are
    decoded in `pool`."""
    context = AdapterContext(read, pool)
    local = replace(context, fault=local_fault(settings), latency_seconds=settings.local_latency_seconds)
    makers = installed_adapters(context) | {
        "local": lambda: _local(local),
        "openai": lambda: _openai(settings, read, pool),
        "replicate": lambda: _replicate(settings),
        "fal": lambda: _fal(settings),
    }
    if url := settings.simulated_url:
        makers["simulated"] = lambda: simulated_adapter(url)
    return Adapters(makers)


def webhook_checks(settings: Settings) -> dict[str, WebhookCheck]:
    """The check that a webhook of each provider must pass."""
    checks: dict[str, WebhookCheck] = {"fal": FalSignatures(settings.fal_webhook_keys_url).check}
    if secret := settings.replicate_webhook_secret.get_secret_value():
        checks["replicate"] = StandardWebhooks(secret).check
    if settings.simulated_url:
        checks["simulated"] = unsigned
    return checks


def installed_adapters(context: AdapterContext) -> dict[str, Callable[[], Adapter]]:
    """Adapters of other packages: each entry point of the group is a function that takes the context and returns an
    Adapter."""
    points = importlib.metadata.entry_points(group=ADAPTERS_GROUP)
    return {point.name: partial(_loaded, point, context) for point in points}


def _loaded(point: importlib.metadata.EntryPoint, context: AdapterContext) -> Adapter:
    try:
        make = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the adapter {point.name!r} of {point.value} cannot be loaded: {error!r}") from error
    adapter = make(context)
    if not isinstance(adapter, Adapter):
        raise ConfigError(f"the adapter {point.name!r}: {point.value} must return an Adapter, not {adapter!r}")
    return adapter


def _local(context: AdapterContext) -> Adapter:
    """The offline renderer, which is a distribution of its own: no other one may take its name."""
    points = importlib.metadata.entry_points(group=ADAPTERS_GROUP, name=Extra.LOCAL)
    own = [point for point in points if point.dist is not None and point.dist.name == LOCAL_DISTRIBUTION]
    if not own:
        raise MissingExtra("the adapter 'local'", Extra.LOCAL)
    return _loaded(own[0], context)


def _openai(settings: Settings, read: ReadImage, pool: MediaPool) -> Adapter:
    origin_of(Extra.OPENAI, "the adapter 'openai'")
    from safelight.providers.openai.adapter import openai_adapter  # noqa: PLC0415 - its library, for who needs it

    return openai_adapter(settings.openai_api_key.get_secret_value(), settings.openai_url, read, pool)


def _replicate(settings: Settings) -> Adapter:
    from safelight.providers.replicate.adapter import replicate_adapter  # noqa: PLC0415 - its tables, for who needs them

    token = settings.replicate_token.get_secret_value()
    if not token:
        raise ConfigError("the adapter 'replicate' needs SAFELIGHT_REPLICATE_TOKEN")
    is_told = bool(settings.replicate_webhook_secret.get_secret_value())
    webhook_url = _webhook_url(settings, "replicate") if is_told else None
    check_after_seconds = settings.provider_poll_interval_seconds
    return replicate_adapter(settings.replicate_url, token, webhook_url, check_after_seconds=check_after_seconds)


def _fal(settings: Settings) -> Adapter:
    from safelight.providers.fal.adapter import fal_adapter  # noqa: PLC0415 - its tables, for who needs them

    key = settings.fal_key.get_secret_value()
    if not key:
        raise ConfigError("the adapter 'fal' needs SAFELIGHT_FAL_KEY")
    check_after_seconds = settings.provider_poll_interval_seconds
    return fal_adapter(settings.fal_url, key, _webhook_url(settings, "fal"), check_after_seconds=check_after_seconds)


def _webhook_url(settings: Settings, adapter: str) -> WebhookUrl | None:
    base = settings.webhook_base_url
    return (lambda attempt_key: f"{base}/webhooks/{adapter}/{attempt_key}") if base else None


def local_fault(settings: Settings) -> Fault | None:
    """Raises ConfigError."""
    text = settings.local_fault
    try:
        return Fault.parse(text) if text else None
    except ValueError as error:
        raise ConfigError(f"SAFELIGHT_LOCAL_FAULT: {error}") from error
