"""The one state machine of a generation (docs/states.md draws it)."""

from enum import StrEnum


class Status(StrEnum):
    """`mg_mma_status`. The database holds the same list as a CHECK."""

    record_status: str  # `mg_status`: the coarse status for older readers (docs/contract/rows.md)
    friendly: str  # `status_text`: a sentence for the waiting customer

    def __new__(cls, name: str, record_status: str = "processing", friendly: str = "") -> "Status":
        status = str.__new__(cls, name)
        status._value_, status.record_status, status.friendly = name, record_status, friendly
        return status

    QUEUED = "queued", "pending", "Waiting for a free place in the darkroom."
    SCANNING = "scanning", "processing", "Looking closely at your pictures."
    PROMPTING = "prompting", "processing", "Writing down how this should look."
    GENERATING = "generating", "processing", "Developing your result."
    POSTSCAN = "postscan", "processing", "Taking a last look before you do."
    DONE = "done", "succeeded", "Ready."
    ERROR = "error", "failed", "This one did not work out."
    SUGGESTED = "suggested", "succeeded", "Here is an idea for the movement."
    CANCELLED = "cancelled", "cancelled", "Stopped."
    PARTIAL = "partial", "completed_partial", "Partly ready."

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({Status.DONE, Status.ERROR, Status.SUGGESTED, Status.CANCELLED, Status.PARTIAL})

# The words of `/api/v1`; the database's `generation_status()` says the same.
_PUBLIC = {
    Status.QUEUED: "queued",
    Status.DONE: "completed",
    Status.SUGGESTED: "completed",
    Status.ERROR: "failed",
    Status.CANCELLED: "cancelled",
    Status.PARTIAL: "completed_partial",
}


def public_status(status: Status) -> str:
    return _PUBLIC.get(status, "processing")
