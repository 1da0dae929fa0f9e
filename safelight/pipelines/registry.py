"""The versioned rows a step runs under: contexts (prompts), provider defaults and the registry.

Our own texts are version 1, in `prompts/`; every later version is a row somebody added. A step records which version
it used.
"""

import re
import time
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from safelight.db.configuration import app_config, runtime_config
from safelight.db.configuration.providers import Limits
from safelight.db.connection.database import Connection, Database, Row
from safelight.domain.errors.base import ConfigError
from safelight.domain.runtime_config import at, known
from safelight.providers.catalogue import ParameterTables

CACHE_SECONDS = 5.0
DEADLINE_SECONDS = 1800.0  # for a result, from its start, where the registry states no deadline_seconds
REGISTRY_KEY = "mma.provider.registry"
MODELS_KEY = "mma.provider.models"
CREDITS_MAX = 1_000_000  # of one result
PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
START_USD_MAX = Decimal(100)  # what the registry may say that one start costs
SECOND_USD_MAX = Decimal(10)  # and each second of its result

ENGINES = ("seedream", "kling", "image_edit")
MODES = frozenset({"text", "still", "video", "image_job", "model_run"})
# What each template may have filled: a version with another placeholder is refused when it is saved.
_OF_MOTION = ("still_crt", "motion_brief", "movement_style", "avoid")
PLACEHOLDERS: Mapping[str, Collection[str]] = {
    "mma.ctx.gpt_scanner": ("role",),
    "mma.ctx.like_history": ("liked_prompts",),
    "mma.ctx.gpt_reader": ("input_gpt_reader",),
    "mma.ctx.gpt_feedback_still": ("previous_prompt", "output_crt", "feedback", "avoid"),
    "mma.ctx.motion_suggestion": _OF_MOTION,
    "mma.ctx.gpt_reader_motion": _OF_MOTION,
    "mma.ctx.image_edit": ("prompt",),
    "mma.ctx.gpt_feedback_motion": ("still_crt", "previous_prompt", "feedback", "avoid"),
}

_VERSION_1 = Path(__file__).with_name("prompts")


@dataclass(frozen=True, slots=True)
class Version:
    """The row that was used and the hash of its content, as every step stores them (docs/contract/rows.md)."""

    key: str
    version: int
    id: str
    hash: str

    def as_input(self, name: str) -> Row:
        """As a step's input holds it: `ctx_key`, `ctx_version`, … where the name is `ctx`."""
        return {
            f"{name}_key": self.key,
            f"{name}_version": self.version,
            f"{name}_id": self.id,
            f"{name}_hash": self.hash,
        }


@dataclass(frozen=True, slots=True)
class Context:
    """A prompt template and the JSON Schema its answer must match."""

    version: Version
    system: str
    user_template: str
    output_schema: Mapping[str, Any]

    def render(self, values: Mapping[str, str]) -> str:
        """The template with its placeholders filled, in one pass: a value is text, whatever it looks like.

        Raises:
            ConfigError: the template has a placeholder that nothing fills.
        """

        def value_of(placeholder: re.Match[str]) -> str:
            if placeholder[1] not in values:
                raise ConfigError(f"{self.version.id}: nothing fills the placeholder {placeholder[1]!r}")
            return values[placeholder[1]] or "(none)"

        return PLACEHOLDER.sub(value_of, self.user_template.strip())


@dataclass(frozen=True, slots=True)
class Engine:
    """The registry's entry for an engine name such as `seedream`: who serves it, with which model."""

    id: str
    adapter: str
    model: str
    deadline_seconds: float
    check_every_seconds: float  # at least; 0 leaves it to the adapter
    limits: Limits | None = None  # of its adapter
    usd: Decimal = Decimal(0)  # what one start costs
    usd_per_second: Decimal = Decimal(0)  # and each second of what is made
    fallback: Mapping[str, str] | None = None  # adapter and model, while its own adapter does not answer
    modes: tuple[str, ...] = ()  # of MODES; none stated: all

    def must_make(self, mode: str) -> None:
        """Raises ConfigError: the registry's `modes` say that it makes something else."""
        if self.modes and mode not in self.modes:
            raise ConfigError(f"{self.id}: the registry says that it makes {', '.join(self.modes)}, and not {mode}")

    def usd_of(self, seconds: float) -> Decimal:
        """The cost of one start whose result is so long."""
        return self.usd + self.usd_per_second * Decimal(str(seconds))

    def instead(self, fallback: Mapping[str, str], limits: Limits | None) -> "Engine":
        """The engine as its fallback serves it."""
        return replace(self, adapter=fallback["adapter"], model=fallback["model"], limits=limits, fallback=None)


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that customers may choose, with the credits of each result and the version that says so."""

    id: str
    name: str
    credits: int
    engine: Engine
    version: Version


class Configuration:
    """`keyed` are the adapters whose key is set."""

    def __init__(self, db: Database, keyed: Collection[str] = ()) -> None:
        self._db = db
        self._keyed = keyed
        self._cache: dict[str, tuple[float, Version, Row]] = {}
        self._set: tuple[float, Row] = (float("-inf"), {})

    async def context(self, key: str) -> Context:
        """Raises ConfigError where no enabled row has a usable context under this key."""
        version, value = await self._active(key)
        try:
            return Context(version, value["system"].strip(), value["user_template"], value["output_schema"])
        except (KeyError, AttributeError) as error:
            raise ConfigError(f"{version.id}: a context needs system, user_template and output_schema") from error

    async def provider_defaults(self, engine_id: str) -> tuple[Version, Row]:
        """Only `.defaults` counts: version and enabled flag are ours and never reach a provider. What operators have
        set for the moment goes over it."""
        version, value = await self._active(f"mma.provider.{engine_id}.defaults")
        defaults = value.get("defaults")
        if not isinstance(defaults, dict):
            raise ConfigError(f"{version.id}: defaults must be an object")
        return version, defaults | (at(await self._override(), f"replicate.{engine_id}") or {})

    async def entries(self) -> list[Row]:
        """The registry's entry of each engine that is enabled."""
        _, value = await self._active(REGISTRY_KEY)
        return [entry for entry in value.get("providers", ()) if entry.get("enabled", True)]

    async def engine(self, engine_id: str) -> Engine:
        version, value = await self._active(REGISTRY_KEY)
        for entry in value.get("providers", ()):
            if entry.get("id") == engine_id and entry.get("enabled", True):
                served = entry | self._served_with_key(version, entry)
                model = at(await self._override(), f"models.{engine_id}")
                return _engine(version, value, served | ({"model": model} if model else {}))
        raise ConfigError(f"{version.id}: no enabled provider serves {engine_id!r}")

    async def offered_models(self) -> list[OfferedModel]:
        """The models that customers may choose. Raises ConfigError if the row cannot be used."""
        version, value = await self._active(MODELS_KEY)
        _, registry = await self._active(REGISTRY_KEY)
        entries = [entry for entry in value.get("models", ()) if entry.get("enabled", True)]
        return [self._offered(version, registry, entry) for entry in entries]

    def _offered(self, version: Version, registry: Row, entry: Row) -> OfferedModel:
        engine = _engine(version, registry, entry | self._served_with_key(version, entry))
        credits = entry.get("credits")
        if not isinstance(credits, int) or isinstance(credits, bool) or not 0 <= credits <= CREDITS_MAX:
            raise ConfigError(f"{version.id}: credits of {engine.id} must be a whole number from 0 to {CREDITS_MAX}")
        return OfferedModel(engine.id, str(entry.get("name") or engine.id), credits, engine, version)

    def _served_with_key(self, version: Version, entry: Row) -> Row:
        try:
            return next((one for one in entry.get("with_key", ()) if one["adapter"] in self._keyed), {})
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{version.id}: with_key of {entry['id']!r} must list adapters and models") from error

    async def limits(self, adapter: str) -> Limits | None:
        version, value = await self._active(REGISTRY_KEY)
        return _limits(version, value, adapter)

    async def _override(self) -> Row:
        """The values that operators have set for the moment."""
        if time.monotonic() - self._set[0] >= CACHE_SECONDS:
            async with self._db.connection() as conn:
                row = await runtime_config.read(conn)
            self._set = (time.monotonic(), known(row.override or {}))
        return self._set[1]

    async def _active(self, key: str) -> tuple[Version, Row]:
        cached = self._cache.get(key)
        if cached and time.monotonic() - cached[0] < CACHE_SECONDS:
            return cached[1], cached[2]
        async with self._db.connection() as conn:
            row = await app_config.active(conn, key)
        if row is None:
            raise ConfigError(f"no enabled app_config row has the key {key!r}")
        value = row.value
        version = Version(key, int(value.get("version", 1)), row.id, row.content_hash)
        self._cache[key] = (time.monotonic(), version, value)
        return version, value


def _engine(version: Version, registry: Row, entry: Row) -> Engine:
    try:
        return Engine(
            id=entry["id"],
            adapter=entry["adapter"],
            model=entry["model"],
            deadline_seconds=float(entry.get("deadline_seconds", DEADLINE_SECONDS)),
            check_every_seconds=float(entry.get("check_every_seconds", 0)),
            limits=_limits(version, registry, entry["adapter"]),
            usd=_usd(entry, "usd", START_USD_MAX),
            usd_per_second=_usd(entry, "usd_per_second", SECOND_USD_MAX),
            fallback=entry.get("fallback"),
            modes=_modes(entry),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"{version.id}: the entry of {entry.get('id')!r} cannot be used: {error!r}") from error


def _modes(entry: Row) -> tuple[str, ...]:
    modes = entry.get("modes", [])
    if not isinstance(modes, list) or not set(modes) <= MODES:
        raise ValueError(f"modes must be a list of {', '.join(sorted(MODES))}")
    return tuple(modes)


def _usd(entry: Row, name: str, most: Decimal) -> Decimal:
    usd = Decimal(str(entry.get(name, 0)))
    if not 0 <= usd <= most:  # not a number is neither
        raise ValueError(f"{name} must be from 0 to {most}")
    return usd


def _limits(version: Version, registry: Row, adapter: str) -> Limits | None:
    stated = (registry.get("adapters") or {}).get(adapter)
    if stated is None:
        return None
    try:
        cap = stated.get("daily_usd_max")
        return Limits(**{**stated, "daily_usd_max": None if cap is None else Decimal(str(cap))})
    except (AttributeError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"{version.id}: the limits of {adapter!r} cannot be used: {error!r}") from error


async def install_version_1(conn: Connection, tables: ParameterTables) -> int:
    """Have the database hold every version to what we know, and add our own texts where a key has no version 1 yet.
    Returns how many were added."""
    await app_config.set_rules(conn, PLACEHOLDERS, tables.rules(ENGINES))
    files = sorted(_VERSION_1.glob("*.toml"))
    added = [await app_config.insert_version(conn, file.stem, 1, tomllib.loads(file.read_text())) for file in files]
    return sum(added) + await _add_new_engines(conn)


async def _add_new_engines(conn: Connection) -> int:
    """Add the engines that came after the active version of the registry was written, as a new version of it."""
    active = await app_config.active(conn, REGISTRY_KEY)
    if active is None:  # all versions are switched off: who did that knows why
        return 0
    registry = dict(active.value)
    ours = tomllib.loads((_VERSION_1 / f"{REGISTRY_KEY}.toml").read_text())["providers"]
    known = {entry.get("id") for entry in registry["providers"]}
    new = [entry for entry in ours if entry["id"] not in known]
    if new:
        await _register(conn, registry, [*registry["providers"], *new])
    return len(new)


async def serve_every_engine_with(conn: Connection, adapter: str, **more: float) -> None:
    """Write a new version of the registry in which this adapter serves all; `more` is set for each of them."""
    registry = await _registry(conn)
    served = {"adapter": adapter, "with_key": []}
    await _register(conn, registry, [entry | served | more for entry in registry["providers"]])
    await serve_models_with(conn, served | more)


async def serve_models_with(conn: Connection, values: Row) -> None:
    """Write a new version of the list of models in which each of them has these values, e.g. another adapter."""
    row = await _registry(conn, MODELS_KEY)
    version = int(row.get("version", 1)) + 1
    models = [entry | values for entry in row["models"]]
    await app_config.insert_version(conn, MODELS_KEY, version, row | {"version": version, "models": models})


async def serve_engines_with(conn: Connection, changes: Mapping[str, Row], *, limits: Row | None = None) -> None:
    """Write a new version of the registry in which these engines have these values, e.g. another adapter and model:
    these serve, whatever keys are set. `limits` replace those of all adapters."""
    registry = await _registry(conn)
    if limits is not None:
        registry["adapters"] = limits
    unknown = set(changes) - {entry["id"] for entry in registry["providers"]}
    if unknown:
        raise ConfigError(f"the registry has no engine {', '.join(sorted(unknown))}")
    named: dict[str, Row] = {engine: {"with_key": []} | values for engine, values in changes.items()}
    await _register(conn, registry, [entry | named.get(entry["id"], {}) for entry in registry["providers"]])


async def _registry(conn: Connection, key: str = REGISTRY_KEY) -> Row:
    registered = await app_config.active(conn, key)
    if registered is None:
        raise ConfigError(f"no enabled app_config row has the key {key!r}")
    return dict(registered.value)


async def _register(conn: Connection, registry: Row, entries: list[Row]) -> None:
    version = int(registry.get("version", 1)) + 1
    await app_config.insert_version(conn, REGISTRY_KEY, version, registry | {"version": version, "providers": entries})
