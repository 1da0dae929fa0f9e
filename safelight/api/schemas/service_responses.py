"""Answers of the routes that say how the service is, and who serves it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from safelight.api.schemas.responses import Count, Ok, ResponseModel


class EngineServed(ResponseModel):
    """The adapter and the model that serve an engine now."""

    engine: str
    mode: Annotated[str, Field(description="What it makes: text, still or video.")]
    adapter: str
    model: str
    paid: Annotated[bool, Field(description="Whether a vendor takes money for it.")]
    stand_in: Annotated[bool, Field(description="Whether it is the offline stand-in: no vendor is asked.")]


class Health(Ok):
    service: Literal["safelight"]
    time: datetime
    supabase: Annotated[bool, Field(description="Whether the database answers.")]
    version: str
    engines: Annotated[list[EngineServed], Field(description="Empty where the database does not answer.")]
    live: Literal[True]
    ready: Annotated[bool, Field(description="Whether the database answers, and a worker lives if one is waited for.")]
    not_ready: Annotated[str | None, Field(description="Why it is not ready.")]


class Provider(ResponseModel):
    adapter: str
    circuit: Literal["closed", "failing", "open"]
    shut_until: datetime | None
    failures: Annotated[Count, Field(description="In a row.")]
    last_failure: str | None
    last_failure_at: datetime | None
    under_way: Count
    spent_today_usd: Annotated[str, Field(description="A decimal number, exact.")]


class Providers(ResponseModel):
    providers: list[Provider]
