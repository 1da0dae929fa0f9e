"""Providers, as the API and the commands show them: who serves each engine, and circuit, load and cost of each."""

from dataclasses import asdict, dataclass
from typing import Any

from safelight.db.configuration import providers
from safelight.db.configuration.providers import ProviderHealth
from safelight.db.connection.database import Connection
from safelight.pipelines.serving import ServedEngine, Serving


@dataclass(frozen=True, slots=True)
class ProviderReport:
    """The engines that the registry enables, and the adapters that have limits and were asked for something."""

    engines: tuple[ServedEngine, ...]
    providers: tuple[ProviderHealth, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "engines": [engine.as_json() for engine in self.engines],
            "providers": [asdict(provider) for provider in self.providers],
        }


async def read(conn: Connection, serving: Serving) -> ProviderReport:
    return ProviderReport(tuple(await serving.engines()), tuple(await providers.health(conn)))
