"""Declares one setting: its default, its limits and the processes that read it."""

from enum import StrEnum
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, SecretStr

PREFIX = "SAFELIGHT_"


class ReadBy(StrEnum):
    """The processes that read a setting."""

    API = "API"
    WORKER = "worker"
    BOTH = "both"


class SettingsGroup(BaseModel):
    """The help text of a setting is the docstring below it."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def setting(
    default: Any,
    read_by: ReadBy = ReadBy.BOTH,
    *,
    production: bool = False,
    names: AliasChoices | None = None,
    **checks: Any,
) -> Any:
    """A field of a group. `production` marks what a public deployment has to set; `checks` are pydantic's."""
    about: dict[str, JsonValue] = {"read_by": read_by.value, "production": production}
    return Field(default, validation_alias=names, json_schema_extra=about, **checks)


def secret_setting(read_by: ReadBy = ReadBy.BOTH, **more: Any) -> Any:
    return setting(SecretStr(""), read_by, **more)


def names(name: str, *others: str) -> AliasChoices:
    """The variables that hold a setting: if several are set, the first counts. Others with our prefix are old names."""
    return AliasChoices(f"{PREFIX}{name}", *others)
