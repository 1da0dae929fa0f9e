"""The models that customers may choose: their ids, prices and parameters. A model run is checked here before it is
charged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from safelight.domain.errors.base import ConfigError, InvalidInput
from safelight.domain.ids import new_id
from safelight.domain.orders import ModelRun
from safelight.pipelines.registry import Configuration, OfferedModel
from safelight.providers.base import Kind
from safelight.providers.catalogue import ParameterTables
from safelight.providers.parameters import Model, Parameter
from safelight.providers.run_parameters import (
    NEGATIVE_PROMPT,
    RunRequest,
    check_run,
    needs_reference,
    takes_reference,
)

Json = dict[str, Any]

ERRORS_SHOWN_MAX = 5
BODY_FIELDS = frozenset(
    {"model_id", "prompt", "negative_prompt", "reference_image_url", "parameters", "project_id", "name"}
)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as customers see it; who serves it is not said."""

    id: str
    name: str
    kind: Kind
    credits: int
    parameters: Mapping[str, Parameter]
    takes_reference: bool
    needs_reference: bool
    takes_negative_prompt: bool


class ModelCatalogue:
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
        )


def model_run_of(
    body: Mapping[str, Any], *, pass_id: str, session_id: str | None = None, platform: str = ""
) -> ModelRun:
    """The order that a request's body states. Raises InvalidInput, which names each wrong field and what is allowed."""
    unknown = sorted(set(body) - BODY_FIELDS)
    if unknown:
        raise InvalidInput(f"{unknown[0]}: there is no such field; allowed: {', '.join(sorted(BODY_FIELDS))}.")
    stated = {name: value for name, value in body.items() if value is not None}
    title = stated.pop("name", None) or str(stated.get("model_id", "")) or "Model run"
    fields = {"pass_id": pass_id, "session_id": session_id or new_id(), "platform": platform, "title": title}
    try:
        return ModelRun.model_validate(stated | fields)
    except ValidationError as error:
        raise InvalidInput(_said(error)) from error


def _said(error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_input=False)[:ERRORS_SHOWN_MAX]
    return "; ".join(f"{'.'.join(map(str, one['loc'])).replace('title', 'name')}: {one['msg']}" for one in errors) + "."
