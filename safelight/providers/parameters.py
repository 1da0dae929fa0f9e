"""What a vendor's model takes, as data: one TOML file a model. A request is fitted to it, and nothing that is left out
or changed is left unsaid.

Unknown settings are left out with a warning, defaults filled, numbers brought into their bounds, long text cut. A value
that is not among the allowed words, and a missing required one, are refused.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from safelight.domain.errors import ConfigError, ProviderRejected
from safelight.providers.base import ImageRequest, ReferenceImage, VideoRequest
from safelight.redaction import excerpt

Json = dict[str, Any]
Request = ImageRequest | VideoRequest


class Parameter(BaseModel):
    """`also` are other names it may be stated under; `translate` turns our words into the vendor's, `nearest` does so
    with a warning; a number `among` others becomes the nearest of them; `sent_as` is how it is written, e.g. {}s."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text", "word", "integer", "number", "flag"]
    required: bool = False
    default: Any = None
    default_without_images: Any = None
    also: tuple[str, ...] = ()
    translate: dict[str, Any] = {}
    nearest: dict[str, Any] = {}
    words: tuple[str, ...] = ()
    among: tuple[float, ...] = ()
    least: float | None = None
    most: float | None = None
    chars_max: int | None = None
    sent_as: str | None = None


class ImageSlot(BaseModel):
    """An input that takes pictures of these roles; `most` of them, as a list if `listed`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: tuple[str, ...]
    listed: bool = False
    most: int = 1
    required: bool = False


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    kind: Literal["image", "video"]
    parameters: dict[str, Parameter]
    images: dict[str, ImageSlot] = {}


class Models:
    """All models of one vendor that have a file."""

    def __init__(self, folder: Path) -> None:
        found = [Model.model_validate(tomllib.loads(path.read_text())) for path in sorted(folder.glob("*.toml"))]
        self._by_name = {model.name: model for model in found}

    def named(self, name: str) -> Model:
        """Raises ConfigError where the registry names a model that has no file."""
        if name not in self._by_name:
            raise ConfigError(f"no model {name!r} is described; there are {', '.join(self._by_name)}")
        return self._by_name[name]


@dataclass(frozen=True, slots=True)
class Fitted:
    input: Json
    warnings: tuple[str, ...]


def fit(model: Model, request: Request) -> Fitted:
    """The model's input, and what of the request is not in it or is changed.

    Raises:
        ProviderRejected: a value the model cannot take, or a required one is missing; the message names it.
    """
    warnings: list[str] = []
    images = _placed(model, request.images, warnings)
    stated = {name: value for name, value in request.settings.items() if value is not None}
    stated["prompt"] = request.prompt
    if "seed" in model.parameters:
        stated.setdefault("seed", request.seed)
    given: Json = {}
    for name, parameter in model.parameters.items():
        known_as = next((key for key in (name, *parameter.also) if key in stated), name)
        value = _value(known_as, parameter, stated.pop(known_as, None), bool(images), warnings)
        if value is not None:
            given[name] = value
    warnings += [f"The setting {name} is not known to this model and was left out." for name in stated]
    return Fitted(given | images, tuple(warnings))


def _value(name: str, parameter: Parameter, stated: Any, has_images: bool, warnings: list[str]) -> Any:
    if stated is None or stated == "":
        default = parameter.default if has_images else parameter.default_without_images
        stated = parameter.default if default is None else default
        if stated is None and parameter.required:
            raise _refusal(name, "is missing")
        if stated is None:
            return None
    value = _read(name, parameter, stated, warnings)
    return value if parameter.sent_as is None else parameter.sent_as.format(value)


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
            return _number(name, parameter, stated, warnings)


def _cut(name: str, parameter: Parameter, stated: str, warnings: list[str]) -> str:
    if parameter.chars_max is None or len(stated) <= parameter.chars_max:
        return stated
    warnings.append(f"{name} was cut to {parameter.chars_max} characters.")
    return stated[: parameter.chars_max]


def _word(name: str, parameter: Parameter, stated: Any, warnings: list[str]) -> Any:
    word = str(stated)
    if word in parameter.words:
        return word
    if word in parameter.translate:
        return parameter.translate[word]
    if word in parameter.nearest:
        chosen = parameter.nearest[word]
        warnings.append(f"{name} {word} is not possible with this model; {chosen} was taken.")
        return chosen
    allowed = ", ".join([*parameter.words, *parameter.translate, *parameter.nearest])
    raise _refusal(name, f"must be one of {allowed}, not {word[:100]!r}")


def _number(name: str, parameter: Parameter, stated: Any, warnings: list[str]) -> float | int:
    wanted = _as_number(name, stated)
    number = wanted
    if parameter.among:
        number = min(parameter.among, key=lambda allowed: (abs(allowed - wanted), -allowed))
    if parameter.least is not None:
        number = max(number, parameter.least)
    if parameter.most is not None:
        number = min(number, parameter.most)
    number = round(number) if parameter.type == "integer" else number
    if number != wanted:
        warnings.append(f"{name} {wanted:g} is not possible with this model; {number:g} was taken.")
    return number


def _as_number(name: str, stated: Any) -> float:
    try:
        if isinstance(stated, bool):
            raise ValueError(stated)
        return float(stated) if not isinstance(stated, int) else stated
    except (TypeError, ValueError) as error:
        raise _refusal(name, f"must be a number, not {excerpt(str(stated), 100)!r}") from error


def _placed(model: Model, images: tuple[ReferenceImage, ...], warnings: list[str]) -> Json:
    """Each picture in the first input that takes its role and has room, in the order of the request."""
    placed: dict[str, list[str]] = {name: [] for name in model.images}
    for image in images:
        room = [
            name for name, slot in model.images.items() if image.role in slot.roles and len(placed[name]) < slot.most
        ]
        if room:
            placed[room[0]].append(image.url)
        else:
            warnings.append(f"The picture {image.role.replace('_', ' ')} was not used: this model has no place for it.")
    for name, slot in model.images.items():
        if slot.required and not placed[name]:
            raise _refusal(name, f"is missing: it takes a picture that is a {' or a '.join(slot.roles)}")
    return {name: urls if model.images[name].listed else urls[0] for name, urls in placed.items() if urls}


def _refusal(name: str, what: str) -> ProviderRejected:
    message = f"{name} {what}"
    return ProviderRejected(message, code="PARAMETER", safe_message=f"{message[:1].upper()}{message[1:]}.")
