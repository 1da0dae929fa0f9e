"""The one state machine of a generation (docs/states.md draws it)."""

from enum import StrEnum


class Status(StrEnum):
    """`mg_mma_status`. The database holds the same list as a CHECK."""

    QUEUED = "queued"
    SCANNING = "scanning"
    PROMPTING = "prompting"
    GENERATING = "generating"
    POSTSCAN = "postscan"
    DONE = "done"
    ERROR = "error"
    SUGGESTED = "suggested"
    CANCELLED = "cancelled"
    PARTIAL = "partial"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def record_status(self) -> str:
        """`mg_status`: the coarse status for older readers (docs/contract/rows.md)."""
        return _RECORD_STATUS.get(self, "processing")

    @property
    def friendly(self) -> str:
        """`status_text`: a sentence for the waiting customer."""
        return _FRIENDLY[self]


TERMINAL = frozenset({Status.DONE, Status.ERROR, Status.SUGGESTED, Status.CANCELLED, Status.PARTIAL})

_RECORD_STATUS = {
    Status.QUEUED: "pending",
    Status.DONE: "succeeded",
    Status.SUGGESTED: "succeeded",
    Status.PARTIAL: "completed_partial",
    Status.ERROR: "failed",
    Status.CANCELLED: "cancelled",
}

_FRIENDLY = {
    Status.QUEUED: "Waiting for a free place in the darkroom.",
    Status.SCANNING: "Looking closely at your pictures.",
    Status.PROMPTING: "Writing down how this should look.",
    Status.GENERATING: "Developing your result.",
    Status.POSTSCAN: "Taking a last look before you do.",
    Status.DONE: "Ready.",
    Status.ERROR: "This one did not work out.",
    Status.SUGGESTED: "Here is an idea for the movement.",
    Status.CANCELLED: "Stopped.",
    Status.PARTIAL: "Partly ready.",
}
