"""Answers of the routes that say how the service is, and who serves it."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from safelight import __version__
from safelight.api.schemas import fields
from safelight.api.schemas.responses import Ok, ResponseModel


class EngineServed(ResponseModel):
    """The adapter and the model that serve an engine now."""

    engine: str = Field(examples=["seedream"])
    mode: str = Field(description="What it makes: text, still, video or image_job.", examples=["still"])
    adapter: str = Field(examples=["replicate"])
    model: str = Field(examples=["bytedance/seedream-4"])
    paid: bool = Field(validation_alias="is_paid", description="Whether a vendor takes money for it.", examples=[True])
    stand_in: bool = Field(
        validation_alias="is_stand_in", description="Whether it is the offline stand-in: no vendor is asked."
    )


class Health(Ok):
    service: Literal["safelight"] = "safelight"
    time: fields.Time
    supabase: bool = Field(description="Whether the database answers.", examples=[True])
    version: str = Field(examples=[__version__])
    engines: list[EngineServed] = Field(description="Empty where the database does not answer.")
    live: Literal[True] = True
    ready: bool = Field(
        description="Whether the database answers, and a worker lives if one is waited for.", examples=[True]
    )
    not_ready: str | None = Field(description="Why it is not ready.", examples=[None])


class Provider(ResponseModel):
    adapter: str = Field(examples=["replicate"])
    circuit: Literal["closed", "failing", "open"] = Field(examples=["open"])
    shut_until: datetime | None = Field(examples=["2026-11-21T11:00:30Z"])
    failures: fields.Count = Field(description="In a row.", examples=[5])
    last_failure: str | None = Field(examples=["ProviderUnavailable: replicate: 503"])
    last_failure_at: datetime | None = Field(examples=["2026-11-21T11:00:00Z"])
    under_way: fields.Count = Field(examples=[12])
    spent_today_usd: Annotated[Decimal, WithJsonSchema({"type": "string"})] = Field(
        description="A decimal number, exact.", examples=["4.230000"]
    )


class Providers(ResponseModel):
    providers: list[Provider]
