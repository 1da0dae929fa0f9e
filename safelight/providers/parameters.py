"""The parameters of a model, as data: one TOML file for each model. A request is fitted to it, with a warning for each
setting of the customer that is left out or changed.

`build_input` makes a vendor's input: unknown settings are left out with a warning, defaults are filled in, numbers are
brought into their bounds, and long text is cut; an unknown word and a missing required value are refused. `allowed`
checks one setting before that: its type, its bounds, and that the price of one result covers it.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from safelight.domain.errors.base import ConfigError, ProviderRejected
from safelight.providers.base import GenerationRequest, Json, Kind, ReferenceImage
from safelight.redaction import excerpt


class Parameter(BaseModel):
    """`translate` maps our choices to the vendor's, `nearest` does so with a warning; a number is replaced by the
    nearest `allowed` one; `format` is that of the value as it is sent, e.g. {}s.

    `single_output` is the only allowed value, with which one result is made: a generation pays for one. A customer may
    set only `customer_choices`, which the price covers; an operator may set others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text", "word", "integer", "number", "flag"]
    required: bool = False
    default: Any = None
    default_without_images: Any = None
    aliases: tuple[str, ...] = ()
    translate: dict[str, Any] = {}
    nearest: dict[str, Any] = {}
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    example: str | None = None
    allowed: tuple[float, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    chars_max: int | None = None
    format: str | None = None
    single_output: int | bool | str | None = None
    customer_choices: tuple[int | bool | str, ...] = ()

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The smallest and the largest number that may be stated."""
        minimum = min(self.allowed, default=None) if self.minimum is None else self.minimum
        maximum = max(self.allowed, default=None) if self.maximum is None else self.maximum
        return minimum, maximum


class ImageSlot(BaseModel):
    """An input for pictures of these roles: at most `maximum` of them, as a list if `is_list`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: tuple[str, ...]
    is_list: bool = False
    maximum: int = 1
    required: bool = False


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    kind: Kind
    parameters: dict[str, Parameter]
    images: dict[str, ImageSlot] = {}
    seconds: float | None = None  # of each video, if it cannot be set

    def setting(self, name: str) -> Parameter | None:
        """The parameter of this name. The prompt is not a setting, since the pipeline writes it."""
        if name == "prompt":
            return None
        found = self.parameters.get(name)
        return found or next((one for one in self.parameters.values() if name in one.aliases), None)

    def seconds_of(self, settings: Mapping[str, Any]) -> float:
        """Length in seconds of a result with these settings; 0 for a picture."""
        duration = self.parameters.get("duration")
        if duration is None:
            return self.seconds or 0.0
        named = (settings.get(name) for name in ("duration", *duration.aliases))
        return float(next((value for value in named if value is not None), duration.default or 0))


class Models:
    """All models of one vendor that have a file."""

    def __init__(self, folder: Path) -> None:
        found = [Model.model_validate(tomllib.loads(path.read_text())) for path in sorted(folder.glob("*.toml"))]
        self._by_name = {model.name: model for model in found}

    def get(self, name: str) -> Model | None:
        return self._by_name.get(name)

    def named(self, name: str) -> Model:
        """Raises ConfigError if the model has no file."""
        if name not in self._by_name:
            raise ConfigError(f"no model {name!r} is described; there are {', '.join(self._by_name)}")
        return self._by_name[name]


@dataclass(frozen=True, slots=True)
class BuiltInput:
    input: Json
    warnings: tuple[str, ...]


def build_input(model: Model, request: GenerationRequest) -> BuiltInput:
    """The model's input, and warnings about parts of the request that are left out or changed. Raises ProviderRejected
    if a value is one that the model cannot take, or a required one is missing; the message names it."""
    warnings: list[str] = []
    images = _placed(model, request.images, warnings)
    stated = {name: value for name, value in request.settings.items() if value is not None}
    stated["prompt"] = request.prompt
    if "seed" in model.parameters:
        stated.setdefault("seed", request.seed)
    given: Json = {}
    for name, parameter in model.parameters.items():
        known_as = next((key for key in (name, *parameter.aliases) if key in stated), name)
        said = warnings if known_as == "prompt" or request.is_told_of(known_as) else []
        value = _value(known_as, parameter, stated.pop(known_as, None), bool(images), said)
        if value is not None:
            given[name] = value
    unknown = filter(request.is_told_of, stated)
    warnings += [f"The setting {name} is not known to this model and was left out." for name in unknown]
    return BuiltInput(given | images, tuple(warnings))


def _value(name: str, parameter: Parameter, stated: Any, has_images: bool, warnings: list[str]) -> Any:
    if stated is None or stated == "":
        default = parameter.default if has_images else parameter.default_without_images
        stated = parameter.default if default is None else default
        if stated is None and parameter.required:
            raise _refusal(name, "is missing")
        if stated is None:
            return None
    value = _read(name, parameter, stated, warnings)
    return value if parameter.format is None else parameter.format.format(value)


def _read(name: str, parameter: Parameter, stated: Any, warnings: list[str]) -> Any:
    match parameter.type:
        case "text":
            return _cut(name, parameter, str(stated), warnings)
        case "word":
            return _word(name, parameter, stated, warnings)
        case "flag":
            if not isinstance(stated, bool):
                raise _refusal(name, f"must be true or false, not {stated!r}")
            return stated
        case "integer" | "number":
            return nearest_number(name, parameter, stated, warnings)


def _cut(name: str, parameter: Parameter, stated: str, warnings: list[str]) -> str:
    if parameter.chars_max is None or len(stated) <= parameter.chars_max:
        return stated
    warnings.append(f"{name} was cut to {parameter.chars_max} characters.")
    return stated[: parameter.chars_max]


def _word(name: str, parameter: Parameter, stated: Any, warnings: list[str]) -> Any:
    word = str(stated)
    if word in parameter.choices:
        return word
    if word in parameter.translate:
        return parameter.translate[word]
    if word in parameter.nearest:
        chosen = parameter.nearest[word]
        warnings.append(f"{name} {word} is not possible with this model; {chosen} was taken.")
        return chosen
    allowed = ", ".join([*parameter.choices, *parameter.translate, *parameter.nearest])
    raise _refusal(name, f"must be one of {allowed}, not {word[:100]!r}")


def nearest_number(name: str, parameter: Parameter, stated: Any, warnings: list[str]) -> float | int:
    """The number nearest to the stated one that the model can take; another one is told."""
    wanted = finite_number(stated)
    if wanted is None:
        raise _refusal(name, f"must be a number, not {excerpt(str(stated), 100)!r}")
    number = wanted
    if parameter.allowed:
        number = min(parameter.allowed, key=lambda allowed: (abs(allowed - wanted), -allowed))
    if parameter.minimum is not None:
        number = max(number, parameter.minimum)
    if parameter.maximum is not None:
        number = min(number, parameter.maximum)
    number = round(number) if parameter.type == "integer" else number
    if number != wanted:
        warnings.append(f"{name} {wanted:g} is not possible with this model; {number:g} was taken.")
    return number


def finite_number(stated: Any) -> float | None:
    """The stated number, also from text; None if it is not a finite number."""
    if isinstance(stated, bool) or not isinstance(stated, int | float | str):
        return None
    try:
        number = stated if isinstance(stated, int) else float(stated)
        return number if math.isfinite(number) else None
    except (ValueError, OverflowError):
        return None


def _placed(model: Model, images: tuple[ReferenceImage, ...], warnings: list[str]) -> Json:
    """Put each picture into the first input that takes its role and has room, in the order of the request."""
    placed: dict[str, list[str]] = {name: [] for name in model.images}
    for image in images:
        room = [
            name for name, slot in model.images.items() if image.role in slot.roles and len(placed[name]) < slot.maximum
        ]
        if room:
            placed[room[0]].append(image.url)
        else:
            warnings.append(f"The picture {image.role.replace('_', ' ')} was not used: this model has no place for it.")
    for name, slot in model.images.items():
        if slot.required and not placed[name]:
            raise _refusal(name, f"is missing: it takes a picture that is a {' or a '.join(slot.roles)}")
    return {name: urls if model.images[name].is_list else urls[0] for name, urls in placed.items() if urls}


def _refusal(name: str, what: str) -> ProviderRejected:
    message = f"{name} {what}"
    return ProviderRejected(message, code="PARAMETER", safe_message=f"{message[:1].upper()}{message[1:]}.")


# --- one setting, before a request is made of it ---------------------------------------------------------------------


class SettingRefused(ValueError):
    """The message says what is allowed, e.g. `must be a number from 1 to 10`."""


def allowed(name: str, parameter: Parameter, stated: Any, *, by_customer: bool) -> tuple[Any, list[str]]:
    """The value as it is stored, in our words, and warnings about it. Raises SettingRefused if it is of the wrong type,
    out of its bounds, or more than the price covers."""
    warnings: list[str] = []
    single_value(parameter, stated)
    value = _of_type(name, parameter, stated, warnings)
    if by_customer:
        allowed_choice(parameter, value)
    return value, warnings


def single_value(parameter: Parameter, stated: Any) -> None:
    """Raises SettingRefused if more than one result would be made."""
    single = parameter.single_output
    if single is not None and stated != single and finite_number(stated) != single:
        raise SettingRefused(f"must be {_said(single)}: one result is made and paid for")


def allowed_choice(parameter: Parameter, value: Any) -> None:
    """Raises SettingRefused if the price does not cover the value."""
    if parameter.customer_choices and value not in parameter.customer_choices:
        raise SettingRefused(f"must be one of {', '.join(_said(one) for one in parameter.customer_choices)}")


def _of_type(name: str, parameter: Parameter, stated: Any, warnings: list[str]) -> Any:
    match parameter.type:
        case "flag":
            if not isinstance(stated, bool):
                raise SettingRefused("must be true or false")
            return stated
        case "text":
            if not isinstance(stated, str):
                raise SettingRefused("must be a text")
            return stated
        case "word":
            return _known_word(parameter, stated)
        case "integer" | "number":
            return _within_bounds(name, parameter, stated, warnings)


def _known_word(parameter: Parameter, stated: Any) -> str:
    """The word as it is stated, if it is allowed; `build_input` translates it into the vendor's."""
    known = [*parameter.choices, *parameter.translate, *parameter.nearest]
    if isinstance(stated, str) and (stated in known or re.fullmatch(parameter.pattern or "(?!)", stated)):
        return stated
    form = f", or look like {parameter.example}" if parameter.pattern else ""
    raise SettingRefused(f"must be one of {', '.join(known)}{form}")


def _within_bounds(name: str, parameter: Parameter, stated: Any, warnings: list[str]) -> float | int:
    minimum, maximum = parameter.bounds
    number, whole = finite_number(stated), parameter.type == "integer" and not parameter.allowed
    is_low = number is None or (minimum is not None and number < minimum)
    if number is None or is_low or (maximum is not None and number > maximum) or (whole and number != round(number)):
        kind = "a whole number" if whole else "a number"
        span = "".join(f" {word} {end:g}" for word, end in (("from", minimum), ("to", maximum)) if end is not None)
        raise SettingRefused(f"must be {kind}{span}")
    return nearest_number(name, parameter, number, warnings)


def _said(value: int | bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
