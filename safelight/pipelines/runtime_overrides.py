"""Values that operators set at run time, as a process follows them: prices here, engines in `configuration.py`."""

from typing import Any

import psycopg

from safelight import telemetry
from safelight.db.configuration import app_config, runtime_config
from safelight.db.connection.database import Connection, Database
from safelight.db.operations import audit
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import InvalidInput
from safelight.domain.money.prices import Prices
from safelight.domain.runtime_config import Tree, at, checked, effective, known, put, without
from safelight.pipelines.registry import REGISTRY_KEY
from safelight.pipelines.settings import SettingsPolicy
from safelight.process.tasks import run_periodically

FOLLOW_SECONDS = 5.0  # how old what a process goes by may be
_GPT_DEFAULTS = {
    "editorial": {"temperature": 0.8, "max_tokens": 420, "system_text": "", "user_extra": ""},
    "motion_prompt": {"temperature": 0.8, "max_tokens": 280, "system_text": "", "user_extra": ""},
    "motion_suggest": {"temperature": 0.8, "max_tokens": 260, "system_text": "", "user_extra": ""},
}
_SETTINGS = {
    "seedream": ("size", "enhance_prompt", "sequential_image_generation"),
    "kling": ("mode", "negative_prompt"),
}


class RuntimeConfig:
    """`prices` are those that operators set, else the `stated` ones. They are replaced, never changed in place."""

    def __init__(self, db: Database, stated: Prices, settings: SettingsPolicy) -> None:
        self._db = db
        self._settings = settings
        self._stated = stated
        self.prices = stated

    async def refresh_periodically(self) -> None:
        """Reload every FOLLOW_SECONDS, until cancelled. Without the database the prices stay as they are."""

        def report(error: Exception) -> None:
            telemetry.warning(
                telemetry.Tag.DB_UPDATE, f"The runtime configuration could not be read; prices are unchanged: {error}"
            )

        await run_periodically(self.reload, every_seconds=FOLLOW_SECONDS, transient=(psycopg.Error,), report=report)

    async def reload(self) -> None:
        async with self._db.connection() as conn:
            self._take(await override_of(conn))

    async def replace(self, conn: Connection, override: Tree, *, by: Operator) -> Tree:
        """Set the whole override, which holds here once it is reloaded. Returns it as it is kept.

        Raises:
            InvalidInput: INVALID_OVERRIDE.
        """
        kept = checked(override)
        for engine_id in _SETTINGS:
            stated = at(kept, f"replicate.{engine_id}") or {}
            try:
                await self._settings.check(engine_id, stated, path=f"override.replicate.{engine_id}", by_customer=False)
            except InvalidInput as error:
                raise InvalidInput(str(error), code="INVALID_OVERRIDE") from error
        return await self._change(conn, "runtime_config.set", by, lambda _: kept)

    async def unset(self, conn: Connection, path: str, *, by: Operator) -> Tree:
        """As `replace`. Returns what is left of the override."""
        return await self._change(conn, "runtime_config.unset", by, lambda before: without(before, path))

    async def _change(self, conn: Connection, action: str, by: Operator, change: Any) -> Tree:
        row = await runtime_config.lock(conn)
        before: Tree = row.override or {}
        after: Tree = change(before)
        await runtime_config.write(conn, after, by=by.name)
        await audit.record(conn, by, action, target="app_config:runtime", before=before, after=after)
        return after

    def _take(self, override: Tree) -> None:
        image, motion = at(override, "credits.imageCost"), at(override, "credits.motionCost")
        self.prices = Prices(
            self._stated.still_credits if image is None else image,
            self._stated.video_credits if motion is None else motion,
            self._stated.image_credits,
        )

    async def defaults(self, conn: Connection) -> Tree:
        """The values that hold if nothing is set: settings, the registry and the engines' versioned defaults."""
        costs = {"imageCost": self._stated.still_credits, "motionCost": self._stated.video_credits}
        tree: Tree = {"models": await _models(conn), "credits": costs, "replicate": {}}
        for engine, names in _SETTINGS.items():
            row = await app_config.active(conn, f"mma.provider.{engine}.defaults")
            stated = row.value.get("defaults", {}) if row else {}
            for name in names:
                put(tree, f"replicate.{engine}.{name}", stated.get(name))
        return tree | {"gpt": _GPT_DEFAULTS}

    async def effective(self, conn: Connection) -> Tree:
        return effective(await self.defaults(conn), await override_of(conn))


async def override_of(conn: Connection) -> Tree:
    """The part of the stored override that can be acted on."""
    row = await runtime_config.read(conn)
    return known(row.override or {})


async def _models(conn: Connection) -> Tree:
    row = await app_config.active(conn, REGISTRY_KEY)
    entries = row.value.get("providers", ()) if row else ()
    stated = {entry.get("id"): entry.get("model") for entry in entries if entry.get("enabled", True)}
    return {engine: stated.get(engine) for engine in ("seedream", "kling", "gpt")}
