"""Checks of several settings together, and of secrets, done before anything starts."""

from pydantic import SecretStr

from safelight.config import Settings
from safelight.domain.errors.base import ConfigError
from safelight.domain.shared_secrets import strong_secret
from safelight.extras import OF_ADAPTERS, origin_of
from safelight.pipelines.serving import ServedEngine
from safelight.security.jwt import TokenCheck, TokenKeys

ADMIN_TOKEN_SETTING = "SAFELIGHT_ADMIN_TOKEN"  # noqa: S105 - its name
SECRET_SETTING = "SAFELIGHT_SECRET"  # noqa: S105 - its name


def token_check(settings: Settings) -> TokenCheck | None:
    """None if no key is set: then nobody can sign in."""
    secret = settings.jwt_secret.get_secret_value()
    if not secret and not settings.jwks_url:
        if settings.auth == "required":
            raise ConfigError("SAFELIGHT_AUTH=required needs SAFELIGHT_JWT_SECRET or SAFELIGHT_JWKS_URL")
        return None
    return TokenCheck(
        TokenKeys(secret, settings.jwks_url), settings.jwt_audience, settings.jwt_issuer, settings.jwt_leeway_seconds
    )


def check_stand_in(settings: Settings, served: list[ServedEngine]) -> None:
    """Raises ConfigError if the offline stand-in would serve customers without being allowed to."""
    is_allowed = settings.stand_in == "allow" or (settings.stand_in is None and not settings.database_url)
    if is_allowed or not any(engine.is_stand_in for engine in served):
        return
    lines = "; ".join(engine.line for engine in served if engine.is_stand_in)
    why = "SAFELIGHT_STAND_IN=refuse" if settings.stand_in else "SAFELIGHT_DATABASE_URL is set"
    raise ConfigError(
        f"{why}, and the offline stand-in would serve customers ({lines}): set the vendors' keys, or"
        " SAFELIGHT_STAND_IN=allow"
    )


def check_extras(served: list[ServedEngine]) -> None:
    """Raises MissingExtra if an engine is served by an adapter whose packages are not installed."""
    for engine in served:
        for adapter in (engine.adapter, engine.fallback):
            if extra := OF_ADAPTERS.get(adapter or ""):
                origin_of(extra, f"the adapter {adapter!r}, which serves the engine {engine.engine!r},")


def check_secret_settings(settings: Settings) -> None:
    """Raises ConfigError for a secret that is blank or too weak."""
    for name, value in settings:
        if isinstance(value, SecretStr) and value.get_secret_value() and not value.get_secret_value().strip():
            raise ConfigError(f"SAFELIGHT_{name.upper()} holds only white space; set a secret, or leave it out")
    for value, name in ((settings.admin_token, ADMIN_TOKEN_SETTING), (settings.secret, SECRET_SETTING)):
        if stated := value.get_secret_value():
            strong_secret(stated, name)
