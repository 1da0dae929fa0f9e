"""Error formats of the legacy routes (docs/contract/legacy.md): each has a code of its own, most have another one for a
database that cannot be reached, and the oldest answer with a sentence alone."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safelight.api.schemas.fields import Json

RETRY = "retry_after_seconds"  # says what the header `Retry-After` says
UNAUTHORIZED = {"error": "Unauthorized"}


@dataclass(frozen=True, slots=True)
class ErrorFormat:
    """`failed` is what a failure of our own is called, `away_code` what it is called that the database cannot be
    reached; `sentence`: a sentence stands where others have the code, and alone unless it `says_not_ok`."""

    failed: str | None = None
    away_status: int = 503
    away_code: str = "NO_SUPABASE"
    sentence: bool = False
    sentence_when_away: bool = False
    is_operators: bool = False
    says_not_ok: bool = False

    @property
    def failure_codes(self) -> list[str]:
        """The codes of answers with 500, where they are its own."""
        return [self.failed, *([self.away_code] if self.away_status == 500 else [])] if self.failed else []

    def body(self, coded: Json, status: int, *, database_unavailable: bool) -> Json:
        """The body of an error answer, from the one that other routes would give."""
        if self.is_operators and status in (401, 403):
            return UNAUTHORIZED
        if self.sentence or (database_unavailable and self.sentence_when_away):
            sentence = {"error": coded["message"]} | {name: coded[name] for name in (RETRY,) if name in coded}
            return {"ok": False, **sentence} if self.says_not_ok else sentence
        return coded


_ANY_OTHER = ErrorFormat()
_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
_FORMATS = {route: ErrorFormat(**stated) for route, stated in _TABLE["formats"].items()}
ROUTE_CODES: Mapping[str, str] = _TABLE["codes"]
# The only answers to a customer without enough credits with the legacy keys alone (docs/contract/http.md).
WAIT_FOR_RESULT = ("POST /editorial/generate", "POST /motion/generate")
HELD = (*WAIT_FOR_RESULT, "POST /motion/suggest")  # until a generation is final, or for as long as a request is held


def of(route: str) -> ErrorFormat:
    """`route` is a method and the path as it is declared."""
    return _FORMATS.get(route, _ANY_OTHER)
