"""Lines of the job log, which the waiting customer reads."""

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["info", "success", "warning", "error"]

LINE_CHARS_MAX = 500  # of a line of the engine

# The bounds of a line that anybody writes, which the database holds too.
MESSAGE_CHARS_MAX = 4000
STEP_CHARS_MAX = 100
DETAILS_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the job log. `step` is a step type or a stage (docs/contract/job-log.md)."""

    level: Level
    step: str
    message: str
    details: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The message as it is stored."""
        return self.message[:LINE_CHARS_MAX]

    def to_json(self) -> dict[str, Any]:
        return {"level": self.level, "step": self.step, "message": self.text, "details": self.details}
