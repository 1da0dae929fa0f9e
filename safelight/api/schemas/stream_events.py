"""Events of the streams of `/api/v1`, by name."""

from pydantic import Field

from safelight.api.schemas import fields
from safelight.api.schemas.responses import ResponseModel
from safelight.domain.job_log import Level


class LogEvent(ResponseModel):
    """One line of the job log; its id is `seq`."""

    seq: fields.Count
    created_at: fields.Time
    level: Level
    step: str = Field(examples=["initialization"])
    message: str = Field(examples=["We have your order."])
    details: fields.Json | None = Field(examples=[None])


class StatusEvent(ResponseModel):
    """The status, whenever it changes."""

    status: str = Field(examples=["processing"])


class EndError(ResponseModel):
    code: str = Field(examples=["SEEDREAM_TIMEOUT"])
    message: str = Field(examples=["The picture service took too long to answer."])
    retryable: bool


class EndEvent(ResponseModel):
    """The last event: the generation is final."""

    status: str = Field(examples=["completed"])
    error: EndError | None = Field(examples=[None])


class ResetEvent(ResponseModel):
    """The log has fewer lines than the client has seen; it is told from the beginning."""

    last_seq: fields.Count


V1_EVENTS: dict[str, type[ResponseModel]] = {
    "log": LogEvent,
    "status": StatusEvent,
    "done": EndEvent,
    "reset": ResetEvent,
}
