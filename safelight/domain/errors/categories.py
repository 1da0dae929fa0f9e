"""Categories of errors, as in the legend of seed 000 section 2."""

from enum import StrEnum


class Category(StrEnum):
    """Seed 000 section 2. The ASCII name is the key; the emoji is for display."""

    API_ERROR = "API_ERROR"
    FRONTEND_CRASH = "FRONTEND_CRASH"
    AUTH_ERROR = "AUTH_ERROR"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    TIMEOUT = "TIMEOUT"
    PROVIDER_ERROR = "PROVIDER_ERROR"
    UNHANDLED_REJECTION = "UNHANDLED_REJECTION"
    UNCAUGHT_EXCEPTION = "UNCAUGHT_EXCEPTION"
    CONFIG_ERROR = "CONFIG_ERROR"
    GPT_SCHEMA_ERROR = "GPT_SCHEMA_ERROR"

    @property
    def emoji(self) -> str:
        return _EMOJI[self]


_EMOJI = {
    Category.API_ERROR: "🔥",
    Category.FRONTEND_CRASH: "🖥️",
    Category.AUTH_ERROR: "🚫",
    Category.VALIDATION_ERROR: "⚠️",
    Category.TIMEOUT: "⏱️",
    Category.PROVIDER_ERROR: "🛰️",
    Category.UNHANDLED_REJECTION: "🧵",
    Category.UNCAUGHT_EXCEPTION: "💥",
    Category.CONFIG_ERROR: "🎛️",
    Category.GPT_SCHEMA_ERROR: "🧠",
}


def category_of_status(status: int) -> Category:
    """The category of an HTTP answer. Time-outs are tested before 5xx, so a 504 is a ⏱️, not a 🔥."""
    if status in (408, 504):
        return Category.TIMEOUT
    if status in (401, 403):
        return Category.AUTH_ERROR
    return Category.API_ERROR if status >= 500 else Category.VALIDATION_ERROR
