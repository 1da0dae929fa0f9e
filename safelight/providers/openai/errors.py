"""What OpenAI says when it does not do what it was asked, as our error tree. By status and code, never by wording."""

import math
import re

import httpx2
import openai

from safelight.domain.errors import (
    ContentRefused,
    ProviderAccessDenied,
    ProviderContractBroken,
    ProviderError,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)

MESSAGE_CHARS_MAX = 300

_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_AGAINST_THE_RULES = frozenset({
    "bio_policy", "content_filter", "content_policy_violation", "image_content_policy_violation", "invalid_prompt",
    "misalignment_policy_violation", "moderation_blocked",
})  # fmt: skip
# Said by what stands before the service, when it lost it: it cannot know what became of the request.
_GATEWAYS = frozenset({408, 502, 504, 520, 521, 522, 523, 524})
_NOTHING_LEFT_TO_SPEND = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_WRONG_INPUT = frozenset({
    "data_residency_mismatch", "empty_image_file", "failed_to_download_image", "image_file_not_found",
    "image_file_too_large", "image_parse_error", "image_too_large", "image_too_small", "invalid_base64_image",
    "invalid_image", "invalid_image_format", "invalid_image_mode", "invalid_image_url",
    "unsupported_image_media_type",
})  # fmt: skip
_STATED_IN_TEXT = re.compile(r"try again in (?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")


def is_answered(cause: BaseException | None) -> bool:
    """False where a request was sent and the service itself said nothing we understand: it may be at work on it."""
    if isinstance(cause, openai.APIStatusError):
        return cause.status_code >= 400 and cause.status_code not in _GATEWAYS
    return isinstance(cause, openai.APIConnectionError) and isinstance(cause.__cause__, _NEVER_SENT)


def error_of_call(error: openai.APIError) -> ProviderError:
    """What a call that raised this comes to."""
    if isinstance(error, openai.APIStatusError):
        return _error_of_status(error)
    message = f"openai: {error.message} {error.__cause__!r}"[:MESSAGE_CHARS_MAX]
    is_late = isinstance(error, openai.APITimeoutError) and not isinstance(error.__cause__, _NEVER_SENT)
    return ProviderTimeout(message) if is_late else ProviderUnavailable(message)


def error_of_failure(code: str | None, message: str) -> ProviderError:
    """What a response with the status `failed` comes to."""
    text = f"openai: {code}: {message}"[:MESSAGE_CHARS_MAX]
    if code in _AGAINST_THE_RULES:
        return ContentRefused(text)
    if code in _WRONG_INPUT:
        return ProviderRejected(text)
    if code == "rate_limit_exceeded":
        return ProviderRateLimited(text, retry_after_seconds=_stated_in_text(message))
    return ProviderUnavailable(text) if code == "server_error" else ProviderError(text)


def _error_of_status(error: openai.APIStatusError) -> ProviderError:
    status, kinds = error.status_code, {str(error.code), str(error.type)}
    text = f"openai: {status} {error.code or error.type or ''} ({error.request_id}): {error.message}"
    kind, text = _kind_of_status(status), text[:MESSAGE_CHARS_MAX]
    if status < 500 and kinds & _AGAINST_THE_RULES:
        kind = ContentRefused
    elif status < 500 and kinds & _NOTHING_LEFT_TO_SPEND:
        kind = ProviderQuotaExhausted
    elif kind is ProviderAccessDenied:  # the service's own words repeat part of the key
        text = f"openai: {status} {error.code}: SAFELIGHT_OPENAI_API_KEY is not accepted, or may not do this"
    return kind(text, provider_http_status=status, retry_after_seconds=_retry_after(error))


def _kind_of_status(status: int) -> type[ProviderError]:
    match status:
        case 401 | 403:
            return ProviderAccessDenied
        case 408 | 504 | 524:
            return ProviderTimeout
        case 429:
            return ProviderRateLimited
        case _ if 400 <= status < 500:
            return ProviderRejected
        case _ if 500 <= status < 600:
            return ProviderUnavailable
        case _:
            return ProviderContractBroken


def _retry_after(error: openai.APIStatusError) -> float | None:
    headers = error.response.headers
    stated = _seconds(headers.get("retry-after-ms"), per_second=1000) or _seconds(headers.get("retry-after"))
    return stated or (_stated_in_text(error.message) if error.status_code == 429 else None)


def _seconds(text: str | None, *, per_second: float = 1) -> float | None:
    try:
        stated = float(text or "") / per_second
    except ValueError:
        return None
    return stated if math.isfinite(stated) and stated > 0 else None


def _stated_in_text(message: str) -> float | None:
    """A limit's message may say when it ends ("try again in 1m2.5s"); a wrong guess here only shifts the next try."""
    found = _STATED_IN_TEXT.search(message)
    if found is None:
        return None
    hours, minutes, seconds, thousandths = (_seconds(part) or 0.0 for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000 or None
