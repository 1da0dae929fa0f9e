"""The predictions that the service accepted, kept in memory; tests and drills compare with them."""

import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from safelight.providers.base import Json, Kind

STARTING_SHARE = 0.1


class PredictionStatus(StrEnum):
    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(slots=True)
class Prediction:
    id: str
    attempt_key: str
    kind: Kind
    accepted_at: float
    ends_at: float
    will_fail: bool = False
    files: int = 1
    cancelled_at: float | None = None
    webhooks_sent: int = 0

    @property
    def status(self) -> PredictionStatus:
        if self.cancelled_at is not None:
            return PredictionStatus.CANCELED
        now = time.time()
        if now < self.accepted_at + STARTING_SHARE * (self.ends_at - self.accepted_at):
            return PredictionStatus.STARTING
        if now < self.ends_at:
            return PredictionStatus.PROCESSING
        return PredictionStatus.FAILED if self.will_fail else PredictionStatus.SUCCEEDED

    def cancel(self) -> Self:
        """Cancel the prediction, unless it has ended."""
        if time.time() < self.ends_at:
            self.cancelled_at = self.cancelled_at or time.time()
        return self

    def as_json(self) -> Json:
        return asdict(self) | {"status": self.status}


class Record:
    def __init__(self) -> None:
        self._by_id: dict[str, Prediction] = {}
        self._by_attempt_key: dict[str, list[Prediction]] = {}

    def accept(self, attempt_key: str, kind: Kind, *, seconds: float, will_fail: bool, files: int = 1) -> Prediction:
        now = time.time()
        number = f"p{len(self._by_id) + 1:06d}"
        prediction = Prediction(number, attempt_key, kind, now, now + seconds, will_fail, files)
        self._by_id[prediction.id] = prediction
        self._by_attempt_key.setdefault(attempt_key, []).append(prediction)
        return prediction

    def get(self, prediction_id: str) -> Prediction | None:
        return self._by_id.get(prediction_id)

    def of_attempt(self, attempt_key: str) -> list[Prediction]:
        return self._by_attempt_key.get(attempt_key, [])

    def since(self, accepted_at: float) -> list[Prediction]:
        """Predictions since a time, newest first."""
        return [one for one in reversed(self._by_id.values()) if one.accepted_at >= accepted_at]

    def count(self) -> int:
        return len(self._by_id)

    def end_all(self) -> None:
        """End all running predictions now."""
        now = time.time()
        for prediction in self._by_id.values():
            prediction.ends_at = min(prediction.ends_at, now)

    def by_attempt_key(self) -> dict[str, list[Prediction]]:
        return dict(self._by_attempt_key)

    def as_json(self) -> Json:
        return {key: [one.as_json() for one in accepted] for key, accepted in self._by_attempt_key.items()}
