"""Error formats of the legacy routes (docs/contract/legacy.md): each has a code of its own, most have another one for a
database that cannot be reached, and the oldest answer with a sentence alone."""

from dataclasses import dataclass

from safelight.api.schemas.fields import Json

NO_SUPABASE = "NO_SUPABASE"  # existing clients know these names
NO_DB = "NO_DB"
RETRY = "retry_after_seconds"  # says what the header `Retry-After` says
UNAUTHORIZED = {"error": "Unauthorized"}


@dataclass(frozen=True, slots=True)
class ErrorFormat:
    """`failed` is what a failure of our own is called, `away` what it is called that the database cannot be reached;
    `sentence`: a sentence stands where others have the code, and alone unless it `says_not_ok`."""

    failed: str | None = None
    away: tuple[int, str] = (503, NO_SUPABASE)
    sentence: bool = False
    sentence_when_away: bool = False
    is_operators: bool = False
    says_not_ok: bool = False

    @property
    def failure_codes(self) -> list[str]:
        """The codes of answers with 500, where they are its own."""
        return [self.failed, *([self.away[1]] if self.away[0] == 500 else [])] if self.failed else []

    def body(self, coded: Json, status: int, *, database_unavailable: bool) -> Json:
        """The body of an error answer, from the one that other routes would give."""
        if self.is_operators and status in (401, 403):
            return UNAUTHORIZED
        if self.sentence or (database_unavailable and self.sentence_when_away):
            sentence = {"error": coded["message"]} | {name: coded[name] for name in (RETRY,) if name in coded}
            return {"ok": False, **sentence} if self.says_not_ok else sentence
        return coded


NO_DB_500 = (500, NO_DB)
_ANY_OTHER = ErrorFormat()

OF_ROUTES = {
    "POST /sessions/start": ErrorFormat("SESSION_ERROR", NO_DB_500),
    "POST /editorial/generate": ErrorFormat("EDITORIAL_GENERATION_ERROR", NO_DB_500),
    "POST /motion/suggest": ErrorFormat("MOTION_SUGGESTION_ERROR", NO_DB_500),
    "POST /motion/generate": ErrorFormat("MOTION_GENERATION_ERROR", NO_DB_500),
    "POST /feedback/like": ErrorFormat("FEEDBACK_ERROR", NO_DB_500),
    "GET /public/stats/total-users": ErrorFormat("STATS_FAILED"),
    "GET /history": ErrorFormat("HISTORY_FAILED"),
    "GET /history/trimmed": ErrorFormat("HISTORY_FAILED"),
    "GET /history/pass/{pass_id}": ErrorFormat("HISTORY_FAILED"),
    "DELETE /history/{record_id}": ErrorFormat("DELETE_FAILED"),
    "GET /public/download": ErrorFormat(sentence=True),
    "POST /api/r2/upload-signed": ErrorFormat("UPLOAD_PUBLIC_FAILED"),
    "POST /api/r2/presign": ErrorFormat("UPLOAD_SIGN_FAILED"),
    "POST /api/r2/store-remote-signed": ErrorFormat("STORE_REMOTE_PUBLIC_FAILED"),
    "POST /store-remote-generation": ErrorFormat("STORE_REMOTE_FAILED"),
    "POST /credits/add": ErrorFormat("CREDITS_ERROR", NO_DB_500),
    "GET /billing/settings": ErrorFormat(sentence=True),
    "POST /billing/settings": ErrorFormat(away=NO_DB_500, sentence=True),
    "GET /admin/summary": ErrorFormat(sentence=True, is_operators=True),
    "GET /admin/customers": ErrorFormat(sentence=True, is_operators=True),
    "GET /admin/mega/parity": ErrorFormat(
        "MEGA_PARITY_FAILED", sentence_when_away=True, is_operators=True, says_not_ok=True
    ),
    "POST /admin/credits/adjust": ErrorFormat(sentence=True, is_operators=True),
    "GET /admin/config/runtime": ErrorFormat("CONFIG_READ_FAILED", sentence_when_away=True, is_operators=True),
    "POST /admin/config/runtime": ErrorFormat("CONFIG_SAVE_FAILED", is_operators=True),
    "POST /admin/config/runtime/unset": ErrorFormat("CONFIG_UNSET_FAILED", is_operators=True),
    "POST /admin/config/runtime/reload": ErrorFormat(is_operators=True),
}
# The only answers to a customer without enough credits with the legacy keys alone (docs/contract/http.md).
WAIT_FOR_RESULT = ("POST /editorial/generate", "POST /motion/generate")
HELD = (*WAIT_FOR_RESULT, "POST /motion/suggest")  # until a generation is final, or for as long as a request is held


def of(route: str) -> ErrorFormat:
    """`route` is a method and the path as it is declared."""
    return OF_ROUTES.get(route, _ANY_OTHER)
