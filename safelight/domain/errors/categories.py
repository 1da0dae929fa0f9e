"""The categories of errors (docs/contract/errors.md)."""

from enum import StrEnum


class Category(StrEnum):
    """The ASCII name is the key; the emoji is for display."""

    emoji: str

    def __new__(cls, name: str, emoji: str = "") -> "Category":
        category = str.__new__(cls, name)
        category._value_ = name
        category.emoji = emoji
        return category

    API_ERROR = "API_ERROR", "🔥"
    FRONTEND_CRASH = "FRONTEND_CRASH", "🖥️"
    AUTH_ERROR = "AUTH_ERROR", "🚫"
    VALIDATION_ERROR = "VALIDATION_ERROR", "⚠️"
    TIMEOUT = "TIMEOUT", "⏱️"
    PROVIDER_ERROR = "PROVIDER_ERROR", "🛰️"
    UNHANDLED_REJECTION = "UNHANDLED_REJECTION", "🧵"
    UNCAUGHT_EXCEPTION = "UNCAUGHT_EXCEPTION", "💥"
    CONFIG_ERROR = "CONFIG_ERROR", "🎛️"
    GPT_SCHEMA_ERROR = "GPT_SCHEMA_ERROR", "🧠"


def category_of_status(status: int) -> Category:
    """The category of an HTTP answer. Time-outs are tested before 5xx, so a 504 is a ⏱️, not a 🔥."""
    if status in (408, 504):
        return Category.TIMEOUT
    if status in (401, 403):
        return Category.AUTH_ERROR
    return Category.API_ERROR if status >= 500 else Category.VALIDATION_ERROR
