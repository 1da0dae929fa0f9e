"""Parameter tables of engines: that of the serving model if its vendor has models files, else that of the engine, in
`engines/`."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from safelight.domain.errors.base import ConfigError
from safelight.providers.parameters import Model, Models, Parameter

_HERE = Path(__file__).parent
VENDORS = ("replicate", "fal")
ENGINES = "engines"


class ParameterTables:
    """Reads files when a table is first needed, and keeps them."""

    def __init__(self) -> None:
        self._models = cache(Models)

    def of_engine(self, engine_id: str) -> Model:
        return self._models(_HERE / ENGINES).named(engine_id)

    def of_model(self, engine_id: str, adapter: str, model: str) -> Model:
        """Raises ConfigError if the adapter has models files, and none describes the model."""
        if adapter not in VENDORS:
            return self.of_engine(engine_id)
        return self._models(_HERE / adapter / "models").named(model.partition(":")[0])

    def of_run(self, model_id: str) -> Model:
        """The table of a model that customers may choose. Raises ConfigError if no vendor's files describe it."""
        found = (self._models(_HERE / vendor / "models").get(model_id) for vendor in VENDORS)
        table = next(filter(None, found), None)
        if table is None:
            raise ConfigError(f"no models file describes {model_id!r}")
        return table

    def rules(self, engine_ids: Collection[str]) -> list[dict[str, Any]]:
        """The engines' tables as rows, one for each name of a setting."""
        return [
            _rule(engine_id, stated, parameter)
            for engine_id in engine_ids
            for name, parameter in self.of_engine(engine_id).parameters.items()
            for stated in (name, *parameter.aliases)
        ]


def _rule(engine_id: str, name: str, parameter: Parameter) -> dict[str, Any]:
    minimum, maximum = parameter.bounds
    return {
        "engine": engine_id,
        "name": name,
        "type": parameter.type,
        "least": minimum,
        "most": maximum,
        "words": list(parameter.choices),
        "pattern": parameter.pattern,
        "single_output": parameter.single_output,
    }
