"""`/api/v1/models`: what makes stills and videos, at which price, with which settings."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from safelight.api.auth.principals import no_identity
from safelight.api.http.rate_limits import RateLimitGroup, per_address
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.generation_models import Kind
from safelight.api.v1.routing import v1_route
from safelight.pipelines.serving import ServedEngine
from safelight.providers.parameters import Model, Parameter

KIND_OF_MODE: dict[str, Kind] = {"still": "still", "video": "video"}

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
    """`model_id` is what makes this kind now; `engine` is its name in messages and settings."""

    model_id: str = Field(examples=["bytedance/seedream-4.5"])
    engine: str = Field(examples=["seedream"])
    kind: Kind
    provider: str = Field(examples=["replicate"])
    credits: fields.Count
    stand_in: bool = Field(description="Whether it is the offline stand-in.")
    parameters: list[ModelParameter]


class ModelList(ResponseModel):
    items: list[ModelResource]


@router.get(
    f"{PREFIX}/models",
    summary="What makes stills and videos, with prices and settings",
    dependencies=[
        per_address(RateLimitGroup.PUBLIC),
        no_identity("Prices and settings are the same for everybody."),
    ],
)
async def models(services: FromApp) -> ModelList:
    engines = await services.serving.engines()
    return ModelList(items=[_model(services, one) for one in engines if one.mode in KIND_OF_MODE])


def _model(services: Services, served: ServedEngine) -> ModelResource:
    table: Model = services.tables.of_model(served.engine, served.adapter, served.model)
    prices = services.acceptance.prices()
    return ModelResource(
        model_id=served.model,
        engine=served.engine,
        kind=KIND_OF_MODE[served.mode],
        provider=served.adapter,
        credits=prices.still_credits if served.mode == "still" else prices.video_credits,
        stand_in=served.is_stand_in,
        parameters=[_parameter(name, one) for name, one in table.parameters.items() if name != "prompt"],
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
