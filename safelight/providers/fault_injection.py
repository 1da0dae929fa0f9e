"""Failures made on purpose: what an operator or a test asks the local adapter to do in one step."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from safelight.domain.errors import base as errors
from safelight.domain.steps import StepType


class FaultKind(StrEnum):
    error: type[errors.ProviderError]
    http_status: int

    def __new__(
        cls, name: str, error: type[errors.ProviderError] = errors.ProviderContractBroken, http_status: int = 200
    ) -> "FaultKind":
        kind = str.__new__(cls, name)
        kind._value_, kind.error, kind.http_status = name, error, http_status
        return kind

    TIMEOUT = "timeout", errors.ProviderTimeout, 504
    UNAVAILABLE = "unavailable", errors.ProviderUnavailable, 503
    RATE_LIMITED = "rate_limited", errors.ProviderRateLimited, 429
    REJECTED = "rejected", errors.ProviderRejected, 400
    REFUSED = "refused", errors.ContentRefused, 422
    BAD_SHAPE = "bad_shape"
    BAD_JSON = "bad_json"


@dataclass(slots=True)
class Fault:
    """`times` counts down to zero; None fails for ever."""

    step_type: str
    kind: FaultKind
    times: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `step_type:kind` or `step_type:kind:times`, e.g. `seedream_generate:unavailable:2`."""
        step_type, _, rest = text.strip().partition(":")
        if step_type not in list(StepType):
            raise ValueError(f"{step_type!r} is no step; there are {', '.join(StepType)}")
        kind, _, times = rest.partition(":")
        if kind not in list(FaultKind) or (times and not times.isdigit()):
            raise ValueError(
                f"{text!r} is no fault: say step_type:kind or step_type:kind:times,"
                f" where kind is one of {', '.join(FaultKind)}"
            )
        return cls(step_type, FaultKind(kind), int(times) if times else None)

    def corrupts_answer(self, step_type: str) -> bool:
        """True if the model's answer in this step shall be unusable rather than missing."""
        return self.kind is FaultKind.BAD_JSON and step_type == self.step_type

    def inject(self, step_type: str) -> None:
        """Raise what the step is to fail with."""
        if step_type != self.step_type or self.kind is FaultKind.BAD_JSON or self.times == 0:
            return
        if self.times is not None:
            self.times -= 1
        pause = 1.0 if self.kind is FaultKind.RATE_LIMITED else None
        message = f"local: {self.kind} on purpose in {step_type}"
        raise self.kind.error(message, provider_http_status=self.kind.http_status, retry_after_seconds=pause)


def inject(fault: Fault | None, step_type: str) -> None:
    if fault is not None:
        fault.inject(step_type)
