"""`/api/v1/models`: what makes each kind of generation, at which price, with which settings."""

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field

from safelight.api.auth.principals import no_identity
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.generation_models import Kind
from safelight.api.v1.routing import v1_route
from safelight.pipelines.serving import STAND_IN, ServedEngine
from safelight.pipelines.settings import ModelEntry
from safelight.providers.parameters import Model, Parameter
from safelight.providers.run_parameters import NEGATIVE_PROMPT

KIND_OF_MODE: Mapping[str, Kind] = {"still": "still", "video": "video", "image_job": "image_job"}

router = APIRouter(route_class=v1_route(), tags=["v1"])


class ModelParameter(ResponseModel):
    """A setting. `choices` is empty where it is no choice; a bound that there is none of is null."""

    name: str = Field(examples=["size"])
    type: str = Field(examples=["word"])
    required: bool = Field(examples=[False])
    default: str | int | float | bool | None = Field(examples=["2K"])
    minimum: float | None = Field(examples=[None])
    maximum: float | None = Field(examples=[None])
    max_length: int | None = Field(examples=[None])
    choices: list[str] = Field(examples=[["1K", "2K", "4K"]])
    aliases: list[str] = Field(examples=[[]])


class ModelResource(ResponseModel):
    """`model_id` is what makes this kind now, or a model that a `model_run` may choose. `credits` is the price of each
    result. `engine` is its name in messages and settings, and `provider` who serves it; both are null for models that
    may be chosen."""

    model_id: str = Field(examples=["bytedance/seedream-4.5"])
    name: str = Field(examples=["Seedream 4.5"])
    engine: str | None = Field(examples=["seedream"])
    kind: Kind
    makes: Literal["image", "video"] = Field(examples=["image"])
    provider: str | None = Field(examples=["replicate"])
    credits: fields.Count
    stand_in: bool = Field(description="True for the offline stand-in.")
    takes_reference: bool = Field(description="True if a `model_run` of it takes a reference image.", examples=[False])
    needs_reference: bool = Field(examples=[False])
    takes_negative_prompt: bool = Field(examples=[False])
    parameters: list[ModelParameter]


class ModelList(ResponseModel):
    items: list[ModelResource]


@router.get(
    f"{PREFIX}/models",
    summary="The models, with prices and settings",
    dependencies=[no_identity("Prices and settings are the same for everybody.")],
)
async def models(services: FromApp) -> ModelList:
    served = [_served(services, one) for one in await services.serving.engines() if one.mode in KIND_OF_MODE]
    catalogue = services.acceptance.models
    offered = [_offered(one) for one in await catalogue.entries()] if catalogue else []
    return ModelList(items=[*served, *offered])


def _served(services: Services, served: ServedEngine) -> ModelResource:
    table: Model = services.tables.of_model(served.engine, served.adapter, served.model)
    return ModelResource(
        model_id=served.model,
        name=served.model,
        engine=served.engine,
        kind=KIND_OF_MODE[served.mode],
        makes="video" if served.mode == "video" else "image",
        provider=served.adapter,
        credits=services.acceptance.prices().of_mode(served.mode),
        stand_in=served.is_stand_in,
        takes_reference=False,
        needs_reference=False,
        takes_negative_prompt=NEGATIVE_PROMPT in table.parameters,
        parameters=[_parameter(name, one) for name, one in table.parameters.items() if name != "prompt"],
    )


def _offered(entry: ModelEntry) -> ModelResource:
    return ModelResource(
        model_id=entry.id,
        name=entry.name,
        engine=None,
        kind="model_run",
        makes=entry.kind,
        provider=None,
        credits=entry.credits,
        stand_in=entry.adapter == STAND_IN,
        takes_reference=entry.takes_reference,
        needs_reference=entry.needs_reference,
        takes_negative_prompt=entry.takes_negative_prompt,
        parameters=[_parameter(name, one) for name, one in entry.parameters.items()],
    )


def _parameter(name: str, parameter: Parameter) -> ModelParameter:
    minimum, maximum = parameter.bounds
    default: Any = parameter.default
    return ModelParameter(
        name=name,
        type=parameter.type,
        required=parameter.required,
        default=default if isinstance(default, str | int | float | bool) else None,
        minimum=minimum,
        maximum=maximum,
        max_length=parameter.chars_max,
        choices=list(parameter.choices),
        aliases=list(parameter.aliases),
    )
