"""The fields of a model run and their bounds, which hold before the table of its model is asked."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import to_json

MODEL_ID = r"^[A-Za-z0-9._/-]{1,100}$"
PROMPT_CHARS_MAX = 2_000
NEGATIVE_PROMPT_CHARS_MAX = 1_000
URL_CHARS_MAX = 2_048
NAME_CHARS_MAX = 200
RESULTS_MAX = 10
PARAMETERS_MAX = 100
PARAMETERS_CHARS_MAX = 10_000
PARAMETER_NAME_CHARS_MAX = 100
TEXT_CHARS_MAX = 1_000
ITEMS_MAX = 100
DEPTH_MAX = 4


class ModelRequest(BaseModel):
    """`parameters` are as the customer states them. The others are set when the order is checked against the table of
    the model: `values` are the parameters by its names, `results` the number of files that are made, `price_each` the
    credits of each."""

    model_config = ConfigDict(frozen=True)

    model_id: str = Field(pattern=MODEL_ID)
    prompt: str = Field(min_length=1, max_length=PROMPT_CHARS_MAX)
    negative_prompt: str = Field(default="", max_length=NEGATIVE_PROMPT_CHARS_MAX)
    reference_image_url: str | None = Field(default=None, min_length=1, max_length=URL_CHARS_MAX)
    parameters: dict[str, Any] = Field(default_factory=dict)
    kind: Literal["image", "video"] = "image"
    values: dict[str, Any] = Field(default_factory=dict)
    results: int = Field(default=1, ge=1, le=RESULTS_MAX)
    price_each: int = Field(default=0, ge=0)

    @property
    def positions(self) -> int:
        return self.results

    @property
    def makes(self) -> Literal["still", "video"]:
        return "video" if self.kind == "video" else "still"

    def pictures(self) -> dict[str, str]:
        return {"reference_image_url": self.reference_image_url} if self.reference_image_url else {}

    def with_pictures(self, urls: Mapping[str, str]) -> Self:
        return self.model_copy(update={name: urls[name] for name in ("reference_image_url",) if name in urls})

    @field_validator("prompt", "negative_prompt", mode="before")
    @classmethod
    def _trimmed(cls, stated: Any) -> Any:
        return stated.strip() if isinstance(stated, str) else stated

    @field_validator("parameters")
    @classmethod
    def _bounded(cls, stated: dict[str, Any]) -> dict[str, Any]:
        check_parameters(stated)
        return stated


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Hold parameters of any model to their bounds. Raises ValueError, whose message names the parameter."""
    if len(parameters) > PARAMETERS_MAX:
        raise ValueError(f"at most {PARAMETERS_MAX} parameters are allowed, not {len(parameters)}")
    for name, value in parameters.items():
        if not 0 < len(name) <= PARAMETER_NAME_CHARS_MAX:
            raise ValueError(f"the name of a parameter has 1 to {PARAMETER_NAME_CHARS_MAX} characters")
        _check_value(name, value, DEPTH_MAX)
    chars = len(to_json(parameters, inf_nan_mode="constants").decode())
    if chars > PARAMETERS_CHARS_MAX:
        raise ValueError(f"parameters have at most {PARAMETERS_CHARS_MAX} characters as JSON, not {chars}")


def _check_value(name: str, value: Any, depth: int) -> None:
    match value:
        case str() if len(value) > TEXT_CHARS_MAX:
            raise ValueError(f"{name} has at most {TEXT_CHARS_MAX} characters, not {len(value)}")
        case list() | dict() if len(value) > ITEMS_MAX:
            raise ValueError(f"{name} has at most {ITEMS_MAX} items, not {len(value)}")
        case list() | dict() if not depth:
            raise ValueError(f"{name} is nested more than {DEPTH_MAX} levels deep")
        case list():
            for item in value:
                _check_value(name, item, depth - 1)
        case dict():
            for item in value.values():
                _check_value(name, item, depth - 1)
