"""The adapter and model that serve each engine, whether that costs money, and whether it is the offline stand-in."""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from safelight.db.connection.database import Row
from safelight.pipelines.registry import Configuration
from safelight.storage.addresses import is_public

STAND_IN = "local"
UNPAID = frozenset({STAND_IN, "simulated"})
KEY_NAMES = {"openai": "OPENAI_API_KEY", "replicate": "REPLICATE_API_TOKEN", "fal": "FAL_KEY"}
_MADE = {"text": "Texts", "still": "Stills", "video": "Videos", "image_job": "Image jobs"}
_PRIVATE_NAMES = (".local", ".localhost", ".internal", ".lan", ".home", ".test", ".invalid")


@dataclass(frozen=True, slots=True)
class ServedEngine:
    """`missing_keys` are the settings any of which would have a vendor serve it; `fallback` is the adapter that does
    while its own does not answer."""

    engine: str
    mode: str
    adapter: str
    model: str
    missing_keys: tuple[str, ...] = ()
    fallback: str | None = None

    @property
    def is_stand_in(self) -> bool:
        return self.adapter == STAND_IN

    @property
    def is_paid(self) -> bool:
        return self.adapter not in UNPAID

    @property
    def line(self) -> str:
        """`Stills: local stand-in (no REPLICATE_API_TOKEN)`, or `Stills: replicate, MODEL (paid)`."""
        made = _MADE.get(self.mode, self.engine)
        if not self.is_stand_in:
            return f"{made}: {self.adapter}, {self.model} ({'paid' if self.is_paid else 'not paid'})"
        reason = f"no {' or '.join(self.missing_keys)}" if self.missing_keys else "the registry says so"
        return f"{made}: local stand-in ({reason})"

    def as_json(self) -> dict[str, str | bool]:
        return {
            "engine": self.engine,
            "mode": self.mode,
            "adapter": self.adapter,
            "model": self.model,
            "paid": self.is_paid,
            "stand_in": self.is_stand_in,
        }


class Serving:
    """`keyed` are the adapters whose key is set."""

    def __init__(self, configuration: Configuration, keyed: Collection[str]) -> None:
        self._configuration = configuration
        self._keyed = keyed

    async def engines(self) -> list[ServedEngine]:
        """All that the registry enables. Raises ConfigError where it cannot be used."""
        return [await self._served(entry) for entry in await self._configuration.entries()]

    async def _served(self, entry: Row) -> ServedEngine:
        engine = await self._configuration.engine(entry["id"])
        offered = [one["adapter"] for one in entry.get("with_key", ())]
        missing = tuple(KEY_NAMES.get(one, one) for one in offered if one not in self._keyed)
        mode = next(iter(entry.get("modes", ())), "")
        fallback = engine.fallback["adapter"] if engine.fallback else None
        return ServedEngine(engine.id, mode, engine.adapter, engine.model, missing, fallback)


def unreachable_warnings(engines: list[ServedEngine], webhook_url: str | None, assets_url: str) -> list[str]:
    """The URLs that do not work for vendors: they are elsewhere, and must reach them."""
    vendors = sorted({engine.adapter for engine in engines if engine.is_paid and engine.mode != "text"})
    if not vendors:
        return []
    named, found = " and ".join(vendors), []
    if webhook_url and not is_reachable(webhook_url):
        found.append(
            f"{named} cannot reach the webhook URL {webhook_url}: results are looked for every few seconds instead."
            " Set SAFELIGHT_WEBHOOK_URL or SAFELIGHT_PUBLIC_URL to an address on the public internet."
        )
    if not is_reachable(assets_url):
        found.append(
            f"{named} cannot reach input pictures under {assets_url}, an address of this machine or network."
            " Set SAFELIGHT_PUBLIC_URL (or SAFELIGHT_PUBLIC_ASSETS_URL) to one on the public internet."
        )
    return found


def is_reachable(url: str) -> bool:
    """True if the URL's host may be on the public internet; names are judged by their look, without asking for them."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE_NAMES)
    return is_public(host)
