"""Maps errors of providers to our error tree by the table in `errors.toml`, for all adapters."""

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from safelight.domain.errors import base as tree
from safelight.domain.errors.base import ConfigError, OutcomeUnknown, ProviderError
from safelight.domain.errors.categories import Category
from safelight.redaction import excerpt

Call = Literal["answer", "start", "check", "result", "cancel", "find"]

TABLE = Path(__file__).with_suffix(".toml")
TEXT_CHARS_MAX = 300
TEXT_CHARS_READ = 20_000  # by the table's patterns
WITHHELD = "withheld_by_content_filter"  # our own code for a result that a flag of the answer withholds
FINGERPRINT_CHARS = 12


@dataclass(frozen=True, slots=True)
class VendorError:
    """An error as a provider states it. `status` 0 is a failed result, stated in a successful answer."""

    provider: str
    call: Call
    status: int
    text: str
    codes: frozenset[str] = frozenset()
    retry_after_seconds: float | None = None

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for errors that differ only in ids, numbers, URLs and the like."""
        shape = "|".join([self.provider, self.call, str(self.status), *sorted(self.codes), _without_details(self.text)])
        return hashlib.sha256(shape.encode()).hexdigest()[:FINGERPRINT_CHARS]


class ErrorRow(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str | None = None
    call: frozenset[Call] | None = None
    status: frozenset[int] | None = None
    codes: frozenset[str] | None = None
    pattern: re.Pattern[str] | None = None
    error: str = Field(alias="type")
    category: Category
    retryable: bool
    code: str
    message: str = Field(max_length=200)
    accepted: Literal["unknown"] | None = None
    known: bool = True

    @property
    def error_type(self) -> type[ProviderError]:
        """Raises ConfigError if there is no such type, or the row contradicts it."""
        found = getattr(tree, self.error, None)
        if not (isinstance(found, type) and issubclass(found, ProviderError)):
            raise ConfigError(f"{TABLE.name}: {self.error!r} is no ProviderError")
        if (found.category, found.retryable) != (self.category, self.retryable):
            raise ConfigError(f"{TABLE.name}: {self.error} is {found.category}, retryable={found.retryable}")
        if "try again" in self.message and not self.retryable:
            raise ConfigError(f"{TABLE.name}: {self.code} asks to try again, and is not retryable")
        return found

    def matches(self, said: VendorError) -> bool:
        return (
            self.provider in (None, said.provider)
            and (self.call is None or said.call in self.call)
            and (self.status is None or said.status in self.status)
            and (self.codes is None or bool(self.codes & said.codes))
            and (self.pattern is None or self.pattern.search(said.text[:TEXT_CHARS_READ]) is not None)
        )


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    flags: re.Pattern[str]
    rows: tuple[ErrorRow, ...]

    def is_flag(self, name: str) -> bool:
        """True if the field is a flag of a successful answer that says that results are withheld."""
        return self.flags.fullmatch(re.sub(r"[^a-z0-9]", "", name.lower())) is not None


@cache
def table() -> Table:
    """The rows of `errors.toml`. Raises ConfigError if a row contradicts the type it names."""
    content = tomllib.loads(TABLE.read_text())
    content["flags"] = re.compile(content["flags"])
    for row in content["rows"]:
        if "pattern" in row:
            row["pattern"] = re.compile(row["pattern"], re.IGNORECASE)
    loaded = Table.model_validate(content)
    for row in loaded.rows:
        row.error_type  # noqa: B018 - looked at for its check
    return loaded


def map_error(said: VendorError) -> ProviderError:
    """The provider's error as one of our types. `details` hold the values by which operators group errors."""
    row = next(row for row in table().rows if row.matches(said))
    message = f"{said.provider} {said.call}: {said.status or 'failed'} {excerpt(said.text, TEXT_CHARS_MAX)!r}"
    details: dict[str, object] = {
        "fingerprint": said.fingerprint,
        "known": row.known,
        "provider_codes": sorted(said.codes),
        "table_version": table().version,
    }
    if said.call == "start" and row.accepted == "unknown":
        return OutcomeUnknown(message, provider_http_status=said.status or None, details=details)
    return row.error_type(
        message,
        provider_http_status=said.status or None,
        code=row.code,
        safe_message=row.message,
        retry_after_seconds=said.retry_after_seconds or _stated_seconds(row, said),
        details=details,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The pause that an answer states, in seconds."""
    thousandths = _number(headers.get("Retry-After-Ms"))
    return thousandths / 1000 if thousandths else _number(headers.get("Retry-After"))


def _stated_seconds(row: ErrorRow, said: VendorError) -> float | None:
    """The pause that the text of a rate limit states, e.g. "try again in 1m2.5s"."""
    found = re.search(row.pattern, said.text) if row.pattern else None
    parts = found.groupdict() if found else {}
    return sum(seconds * (_number(parts.get(unit)) or 0.0) for unit, seconds in _UNITS.items()) or None


def _number(text: str | None) -> float | None:
    try:
        stated = float(text or "")
    except ValueError:
        return None
    return stated if math.isfinite(stated) and stated > 0 else None


_UNITS = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0, "thousandths": 0.001}

_DETAILS = (
    (re.compile(r"https?://\S+"), "<url>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?=\w*\d)[a-z0-9]{12,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(\.\d+)?"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def _without_details(text: str) -> str:
    for pattern, name in _DETAILS:
        text = pattern.sub(name, text)
    return text.strip().lower()
