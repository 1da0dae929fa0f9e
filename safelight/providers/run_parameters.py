"""The request of a model run, held to the model's table before it is charged.

Unknown parameters are left out and numbers are brought into their bounds, each with a warning. What the model cannot
take is refused by name: a word that it does not know, text that is too long, a missing value, a picture or a negative
prompt that it has no place for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safelight.domain.errors.base import InvalidInput
from safelight.providers.base import Json
from safelight.providers.parameters import (
    Model,
    Parameter,
    SettingRefused,
    allowed_choice,
    finite_number,
    nearest_number,
    single_value,
)
from safelight.redaction import excerpt

REFERENCE_ROLE = "reference"
COUNT = "num_images"
NEGATIVE_PROMPT = "negative_prompt"
NAME_CHARS_SHOWN = 60


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The part of a model's request that a customer states."""

    prompt: str
    negative_prompt: str
    has_reference: bool
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """`values` are the stated parameters by the names of the table, without the count; `results` files are made."""

    values: Json
    results: int
    warnings: tuple[str, ...]


def takes_reference(model: Model) -> bool:
    return any(REFERENCE_ROLE in slot.roles for slot in model.images.values())


def needs_reference(model: Model) -> bool:
    return any(slot.required for slot in model.images.values())


def check_run(model: Model, request: RunRequest) -> CheckedRun:
    """Raises InvalidInput, which names the field and what is allowed."""
    _check_prompt(model, request.prompt)
    _check_reference(model, request.has_reference)
    warnings: list[str] = []
    values = _checked_values(model, request.parameters, warnings)
    if request.negative_prompt:
        _add_negative_prompt(model, values, request.negative_prompt)
    _check_required(model, values)
    results = int(values.pop(COUNT, None) or 1)
    return CheckedRun(values, results, tuple(warnings))


def resolved(model: Model, values: Mapping[str, Any], *, has_reference: bool, results: int) -> Json:
    """The stated values over the table's defaults, as a provider is given them for so many results."""
    settings: Json = {}
    for name, parameter in model.parameters.items():
        default = parameter.default
        if not has_reference and parameter.default_without_images is not None:
            default = parameter.default_without_images
        if name != "prompt" and default is not None:
            settings[name] = default
    count = {COUNT: results} if COUNT in model.parameters else {}
    return settings | dict(values) | count


def _check_prompt(model: Model, prompt: str) -> None:
    chars_max = model.parameters["prompt"].chars_max if "prompt" in model.parameters else None
    if chars_max is not None and len(prompt) > chars_max:
        raise InvalidInput(f"prompt: {model.name} takes at most {chars_max} characters, not {len(prompt)}.")


def _check_reference(model: Model, has_reference: bool) -> None:
    if has_reference and not takes_reference(model):
        raise InvalidInput(f"reference_image_url: {model.name} has no place for a picture.")
    if needs_reference(model) and not has_reference:
        raise InvalidInput(f"reference_image_url: {model.name} needs a picture.")


def _checked_values(model: Model, stated: Mapping[str, Any], warnings: list[str]) -> Json:
    values: Json = {}
    for name, value in stated.items():
        if value is None or value == "":
            continue
        if name in model.images:
            raise InvalidInput(f"parameters.{name}: state the picture as reference_image_url.")
        if name == "prompt":
            raise InvalidInput("parameters.prompt: state it as prompt, beside the parameters.")
        known = _table_name(model, name)
        if known is None:
            shown = excerpt(name, NAME_CHARS_SHOWN)
            warnings.append(f"The parameter {shown} is not known to {model.name} and was left out.")
        elif known in values:
            raise InvalidInput(f"parameters.{name}: {known} is stated twice, by two of its names.")
        else:
            values[known] = _checked_value(name, known, model.parameters[known], value, warnings)
    return values


def _table_name(model: Model, name: str) -> str | None:
    """The name by which the table has a parameter that is stated by it or by an alias."""
    if name in model.parameters:
        return name
    return next((known for known, parameter in model.parameters.items() if name in parameter.aliases), None)


def _checked_value(stated_as: str, name: str, parameter: Parameter, value: Any, warnings: list[str]) -> Any:
    try:
        if name != COUNT:
            single_value(parameter, value)
        checked = _of_type(stated_as, parameter, value, warnings)
        allowed_choice(parameter, checked)
    except SettingRefused as refusal:
        raise InvalidInput(f"parameters.{stated_as}: {refusal}.") from refusal
    return checked


def _of_type(name: str, parameter: Parameter, value: Any, warnings: list[str]) -> Any:
    match parameter.type:
        case "flag":
            if not isinstance(value, bool):
                raise SettingRefused("must be true or false")
            return value
        case "text":
            return _text(parameter, value)
        case "word":
            return _word(name, parameter, value, warnings)
        case "integer" | "number":
            if finite_number(value) is None:
                raise SettingRefused("must be a number")
            return nearest_number(name, parameter, value, warnings)


def _text(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingRefused("must be a text")
    if parameter.chars_max is not None and len(value) > parameter.chars_max:
        raise SettingRefused(f"must have at most {parameter.chars_max} characters, not {len(value)}")
    return value


def _word(name: str, parameter: Parameter, value: Any, warnings: list[str]) -> Any:
    """The word as the model has it, where it has one of its own; else ours, which is translated as it is sent."""
    if not isinstance(value, str) or value not in (*parameter.choices, *parameter.translate, *parameter.nearest):
        known = [*parameter.choices, *parameter.translate, *parameter.nearest]
        raise SettingRefused(f"must be one of {', '.join(known)}")
    if value in parameter.nearest:
        chosen = parameter.nearest[value]
        warnings.append(f"{name} {value} is not possible with this model; {chosen} was taken.")
        return chosen
    translated = parameter.translate.get(value)
    return translated if translated in parameter.choices else value


def _add_negative_prompt(model: Model, values: Json, stated: str) -> None:
    parameter = model.parameters.get(NEGATIVE_PROMPT)
    if parameter is None:
        raise InvalidInput(f"negative_prompt: {model.name} has no place for one.")
    if NEGATIVE_PROMPT in values:
        raise InvalidInput("negative_prompt: it is stated twice, here and in the parameters.")
    if parameter.chars_max is not None and len(stated) > parameter.chars_max:
        raise InvalidInput(f"negative_prompt: {model.name} takes at most {parameter.chars_max} characters.")
    values[NEGATIVE_PROMPT] = stated


def _check_required(model: Model, values: Mapping[str, Any]) -> None:
    for name, parameter in model.parameters.items():
        if parameter.required and name != "prompt" and parameter.default is None and name not in values:
            raise InvalidInput(f"parameters.{name}: is missing; {model.name} needs it.")
