"""Errors of OpenAI, brought into the form that the common error table reads."""

import openai

from safelight.domain.errors.base import OutcomeUnknown, ProviderError, ProviderTimeout, ProviderUnavailable
from safelight.providers.errors import Call, VendorError, map_error, retry_after
from safelight.providers.http_client import NEVER_SENT

NAME = "openai"
KEY_NOT_TAKEN = "SAFELIGHT_OPENAI_API_KEY is not accepted, or may not do this"  # its message repeats a part of the key


def error_of_call(call: Call, error: openai.APIError) -> ProviderError:
    """The error of ours for an exception of the SDK."""
    if isinstance(error, openai.APIStatusError):
        return _error_of_status(call, error)
    message = f"{NAME} {call}: {error.message} {error.__cause__!r}"
    if isinstance(error.__cause__, NEVER_SENT):
        return ProviderUnavailable(message)
    if call == "start":
        return OutcomeUnknown(message)
    return ProviderTimeout(message) if isinstance(error, openai.APITimeoutError) else ProviderUnavailable(message)


def error_of_failure(code: str | None, message: str) -> ProviderError:
    """The error of ours for a response with the status `failed`."""
    return map_error(VendorError(NAME, "result", 0, message, frozenset({code} if code else ())))


def _error_of_status(call: Call, error: openai.APIStatusError) -> ProviderError:
    status, codes = error.status_code, frozenset(str(code) for code in (error.code, error.type) if code)
    text = KEY_NOT_TAKEN if status in (401, 403) else f"{error.message} ({error.request_id})"
    return map_error(VendorError(NAME, call, status, text, codes, retry_after(error.response.headers)))
