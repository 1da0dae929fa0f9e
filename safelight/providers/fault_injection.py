"""Failures made on purpose: what an operator or a test asks the local adapter to do in one step."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from safelight.domain.errors.base import (
    ContentRefused,
    ProviderContractBroken,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from safelight.domain.steps import StepType


class FaultKind(StrEnum):
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    REJECTED = "rejected"
    REFUSED = "refused"
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

    def strike(self, step_type: str) -> None:
        """Raise what the step is to fail with."""
        if step_type != self.step_type or self.kind is FaultKind.BAD_JSON or self.times == 0:
            return
        if self.times is not None:
            self.times -= 1
        raise _error(self.kind, step_type)


def strike(fault: Fault | None, step_type: str) -> None:
    if fault is not None:
        fault.strike(step_type)


def _error(kind: FaultKind, step_type: str) -> ProviderError:
    message = f"local: {kind} on purpose in {step_type}"
    match kind:
        case FaultKind.TIMEOUT:
            return ProviderTimeout(message, provider_http_status=504)
        case FaultKind.UNAVAILABLE:
            return ProviderUnavailable(message, provider_http_status=503)
        case FaultKind.RATE_LIMITED:
            return ProviderRateLimited(message, provider_http_status=429, retry_after_seconds=1.0)
        case FaultKind.REJECTED:
            return ProviderRejected(message, provider_http_status=400)
        case FaultKind.REFUSED:
            return ContentRefused(message, provider_http_status=422)
        case _:
            return ProviderContractBroken(message, provider_http_status=200)
