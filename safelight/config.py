"""The sum of all settings, read from environment variables. The only reader of the environment."""

import os
from pathlib import Path
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AliasChoices, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from safelight.domain.errors.base import ConfigError
from safelight.settings import values
from safelight.settings.api import Connections, Http, RateLimits, SignInSettings
from safelight.settings.deployment import Deployment, Logging, Storage, Testing
from safelight.settings.fields import PREFIX
from safelight.settings.generations import Credits, Generations, ProviderSettings, Workers


class Settings(
    Deployment,
    Http,
    SignInSettings,
    Storage,
    Logging,
    ProviderSettings,
    Credits,
    Generations,
    Workers,
    RateLimits,
    Connections,
    Testing,
    BaseSettings,
):
    """The settings of a deployment, each a variable with the prefix `SAFELIGHT_`. docs/settings.md describes all, in
    the order of these groups."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", validate_by_name=True)

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
        keys = {"openai": self.openai_api_key, "replicate": self.replicate_token, "fal": self.fal_key}
        return frozenset(adapter for adapter, key in keys.items() if key.get_secret_value())

    def for_demo(self) -> "Settings":
        """Those of a demo, which is offline, costs nothing and has a home and a database of its own: of ours it has
        where it listens, what it logs and how the stand-in behaves."""
        kept = ("host", "port", "log_level", "log_file", "local_fault", "local_latency_seconds")
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
        """All values that must never be written."""
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
    """Names in the environment that have our prefix and are no setting, each with the most similar setting or ""."""
    known = [f"{PREFIX}{name}".upper() for name in Settings.model_fields]
    stated = [name for name in _stated() if name.upper() not in (*known, *_old_names())]
    return {name: values.nearest(name.upper(), known, PREFIX) for name in sorted(stated)}


def deprecated_settings() -> list[str]:
    """A line for each setting that the environment states by an old name."""
    old_names, stated = _old_names(), {name.upper() for name in _stated()}
    return [_deprecation(old, new, both=new in stated) for old, new in sorted(old_names.items()) if old in stated]


def _deprecation(old: str, new: str, *, both: bool) -> str:
    what = f"both are set, and {new} is used; remove the old one" if both else "rename it; the old name still works"
    return f"The setting {old} is deprecated and is now called {new}: {what}"


def _stated() -> list[str]:
    return [name for name in os.environ if name.upper().startswith(PREFIX)]


def _old_names() -> dict[str, str]:
    choices = [field.validation_alias for field in Settings.model_fields.values()]
    variables = [choice.choices for choice in choices if isinstance(choice, AliasChoices)]
    return {str(old): str(new) for new, *others in variables for old in others if str(old).startswith(PREFIX)}
