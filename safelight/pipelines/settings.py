"""The settings of a provider call: what may be set is a table (`providers/parameters.py`), and nothing else reaches a
provider.

They are judged twice. When an order is accepted, before it is charged, a setting that the table does not allow is
refused by name. When the step begins, everything that is merged (defaults, preferences, what a tweak inherits, the
request) is fitted to the model that serves now: what does not fit is left out with a warning, and the cost of the start
is computed from what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from safelight import telemetry
from safelight.domain.errors.base import ConfigError, InvalidInput
from safelight.domain.orders import ModelRun, Order
from safelight.pipelines.registry import Configuration, Engine, OfferedModel
from safelight.providers.base import Kind
from safelight.providers.catalogue import ParameterTables
from safelight.providers.parameters import Model, Parameter, SettingRefused, allowed
from safelight.providers.run_parameters import (
    NEGATIVE_PROMPT,
    RunRequest,
    check_run,
    needs_reference,
    takes_reference,
)
from safelight.redaction import excerpt

Json = dict[str, Any]

NAME_CHARS_MAX = 60
NAMES_WARNED_OF_MAX = 20


@dataclass(frozen=True, slots=True)
class FittedSettings:
    """`usd` is what a start with them costs; `stated` are the names that the customer has set."""

    settings: Json
    warnings: tuple[str, ...]
    usd: Decimal
    stated: frozenset[str]


class SettingsPolicy:
    """Decides which settings an engine is given."""

    def __init__(self, configuration: Configuration, tables: ParameterTables) -> None:
        self._configuration = configuration
        self._tables = tables

    async def check_order(self, order: Order) -> None:
        """Raises InvalidInput: a setting of the request is not allowed; the message names it and what is."""
        for engine_id, stated in order.settings.items():
            if stated:
                await self.check(engine_id, stated, path=f"settings.{engine_id}", by_customer=True)

    async def check(self, engine_id: str, stated: Mapping[str, Any], *, path: str, by_customer: bool) -> None:
        """Raises InvalidInput. A name that no table knows is no error: it is left out when the step begins."""
        served, known = await self._serving(engine_id), self._tables.of_engine(engine_id)
        for name, value in stated.items():
            parameter = served.setting(name) or known.setting(name)
            if parameter is None or _is_absent(value):
                continue
            try:
                allowed(name, parameter, value, by_customer=by_customer)
            except SettingRefused as refusal:
                raise InvalidInput(f"{path}.{name}: {refusal}.") from refusal

    async def _serving(self, engine_id: str) -> Model:
        """The table of the model that serves now. What is wrong with the registry is said by the step that needs it."""
        try:
            engine = await self._configuration.engine(engine_id)
            return self._tables.of_model(engine_id, engine.adapter, engine.model)
        except ConfigError:
            return self._tables.of_engine(engine_id)

    def fit(
        self,
        engine: Engine,
        *,
        defaults: Mapping[str, Any],
        preferred: Mapping[str, Any],
        inherited: Mapping[str, Any],
        requested: Mapping[str, Any],
    ) -> FittedSettings:
        """The settings merged, the later the stronger; each layer is held to the model's table for itself, so that a
        wrong one leaves what lies below it. What the customer has not set does not warn them: operators find what is
        left out of it in the log."""
        model = self._tables.of_model(engine.id, engine.adapter, engine.model)
        warnings: list[str] = []
        ours: list[str] = []
        merged: Json = _kept(model, defaults, ours, by_customer=False)
        merged |= _kept(model, preferred, warnings, by_customer=True)
        merged |= _kept(model, inherited, ours, by_customer=True)
        merged |= _kept(model, requested, warnings, by_customer=True)
        if ours:
            telemetry.info("🔍", telemetry.Tag.GENERATION, f"{engine.id} ({engine.model}): {' '.join(ours)}")
        stated = frozenset(name for layer in (preferred, requested) for name in layer if name in merged)
        return FittedSettings(merged, tuple(warnings), engine.usd_of(model.seconds_of(merged)), stated)


def _kept(model: Model, stated: Mapping[str, Any], warnings: list[str], *, by_customer: bool) -> Json:
    kept: Json = {}
    for name, value in stated.items():
        parameter, said = model.setting(name), []
        if _is_absent(value):
            continue
        try:
            if parameter is None:
                said = [f"The setting {excerpt(name, NAME_CHARS_MAX)} is not known to this model and was left out."]
            else:
                kept[name], said = allowed(name, parameter, value, by_customer=by_customer)
        except SettingRefused as refusal:
            said = [f"The setting {name} was left out: it {refusal}."]
        warnings += [one for one in said if one not in warnings and len(warnings) < NAMES_WARNED_OF_MAX]
    return kept


def _is_absent(value: Any) -> bool:
    return value is None or value == ""


# --- models that customers choose ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as customers see it. They are not told which adapter serves it."""

    id: str
    name: str
    kind: Kind
    credits: int
    parameters: Mapping[str, Parameter]
    takes_reference: bool
    needs_reference: bool
    takes_negative_prompt: bool
    adapter: str


class ModelCatalogue:
    """The models that customers may choose: their ids, prices and parameters. A model run is checked here before it is
    charged."""

    def __init__(self, configuration: Configuration, tables: ParameterTables) -> None:
        self._configuration = configuration
        self._tables = tables

    async def entries(self) -> list[ModelEntry]:
        """The models that may be chosen, pictures first, the cheapest first. Raises ConfigError."""
        found = [self._entry(offered) for offered in await self._configuration.offered_models()]
        return sorted(found, key=lambda entry: (entry.kind, entry.credits, entry.id))

    async def checked(self, order: ModelRun) -> ModelRun:
        """The order with the parameters as the table of its model has them, the number of its results, its price and
        the warnings.

        Raises:
            InvalidInput: the model cannot be chosen, or does not take what is stated; the message says what is allowed.
        """
        offered = await self._offered_to_customers(order.model_id)
        table = self._tables.of_run(offered.id)
        request = RunRequest(order.prompt, order.negative_prompt, bool(order.reference_image_url), order.parameters)
        found = check_run(table, request)
        return order.model_copy(
            update={
                "kind": table.kind,
                "values": found.values,
                "results": found.results,
                "price_each": offered.credits,
                "warnings": found.warnings,
            }
        )

    async def offered(self, model_id: str) -> OfferedModel:
        """Raises ConfigError if no model of this id is enabled."""
        offered = await self._configuration.offered_models()
        found = next((one for one in offered if one.id == model_id), None)
        if found is None:
            raise ConfigError(f"the model {model_id!r} is not enabled any more")
        return found

    def table(self, model_id: str) -> Model:
        return self._tables.of_run(model_id)

    async def _offered_to_customers(self, model_id: str) -> OfferedModel:
        offered = await self._configuration.offered_models()
        found = next((one for one in offered if one.id == model_id), None)
        if found is None:
            allowed = ", ".join(one.id for one in offered) or "none"
            raise InvalidInput(f"model_id: {model_id} cannot be chosen; allowed: {allowed}.")
        return found

    def _entry(self, offered: OfferedModel) -> ModelEntry:
        table = self._tables.of_run(offered.id)
        return ModelEntry(
            id=offered.id,
            name=offered.name,
            kind=table.kind,
            credits=offered.credits,
            parameters={name: one for name, one in table.parameters.items() if name != "prompt"},
            takes_reference=takes_reference(table),
            needs_reference=needs_reference(table),
            takes_negative_prompt=NEGATIVE_PROMPT in table.parameters,
            adapter=offered.engine.adapter,
        )
