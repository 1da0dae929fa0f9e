"""OpenAI's Responses API: one client for a process, with our own time-outs and without the SDK's retries."""

from collections.abc import Awaitable
from typing import Any

import httpx2
import openai

from safelight.domain.errors import base as errors
from safelight.domain.untrusted.json import parse_json, text_of
from safelight.providers.errors import Call, VendorError, map_error, retry_after
from safelight.providers.http_client import NEVER_SENT
from safelight.providers.openai.replies import NAME, Reply
from safelight.redaction import excerpt

CONNECT_SECONDS = 5.0
CALL_SECONDS = 30.0
ANSWER_SECONDS = 110.0  # nothing is sent before the whole answer
CONNECTIONS_MAX = 100
EXCERPT_BYTES = 4000
KEY_NOT_TAKEN = "SAFELIGHT_OPENAI_API_KEY is not accepted, or may not do this"  # its message repeats a part of the key


class OpenAIService:
    def __init__(self, api_key: str, url: str) -> None:
        client = openai.AsyncOpenAI(
            api_key=api_key,
            base_url=url,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=False,
                follow_redirects=False,
                limits=httpx2.Limits(max_connections=CONNECTIONS_MAX),
                event_hooks={"response": [_in_utf_8]},
            ),
        )
        self._responses = client.responses.with_raw_response

    async def answer(self, **body: Any) -> Reply:
        """Create a response and wait for it."""
        return await _read("answer", self._responses.create(**body, timeout=_within(ANSWER_SECONDS)))

    async def start(self, **body: Any) -> Reply:
        """Create a response in the background. A request without an understandable answer may have been accepted."""
        sending = self._responses.create(**body, background=True, store=True, timeout=_within(CALL_SECONDS))
        return await _read("start", sending)

    async def retrieve(self, response_id: str) -> Reply:
        return await _read("check", self._responses.retrieve(response_id, timeout=_within(CALL_SECONDS)))

    async def cancel(self, response_id: str) -> Reply:
        return await _read("cancel", self._responses.cancel(response_id, timeout=_within(CALL_SECONDS)))


async def _in_utf_8(response: httpx2.Response) -> None:
    """Read bodies as UTF-8: the SDK would use the encoding of a header, which may not exist."""
    response.encoding = "utf-8"


def _within(seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, connect=CONNECT_SECONDS)


async def _read(call: Call, sending: Awaitable[Any]) -> Reply:
    """Parse the bytes of the answer. The SDK itself accepts any shape."""
    try:
        response: httpx2.Response = (await sending).http_response
    except openai.APIError as error:
        raise _error_of_call(call, error) from error
    try:
        return Reply.model_validate(parse_json(response.content))
    except ValueError as error:  # not JSON, or another shape
        kind = errors.OutcomeUnknown if call == "start" else errors.ProviderContractBroken
        message = f"openai {call}: {excerpt(text_of(response.content[:EXCERPT_BYTES]), 200)!r}"
        raise kind(message, provider_http_status=response.status_code) from error


def _error_of_call(call: Call, error: openai.APIError) -> errors.ProviderError:
    """The error of ours for an exception of the SDK."""
    if isinstance(error, openai.APIStatusError):
        return _error_of_status(call, error)
    message = f"{NAME} {call}: {error.message} {error.__cause__!r}"
    if isinstance(error.__cause__, NEVER_SENT):
        return errors.ProviderUnavailable(message)
    is_timeout = isinstance(error, openai.APITimeoutError)
    kind = errors.ProviderTimeout if is_timeout else errors.ProviderUnavailable
    return errors.OutcomeUnknown(message) if call == "start" else kind(message)


def _error_of_status(call: Call, error: openai.APIStatusError) -> errors.ProviderError:
    status, codes = error.status_code, frozenset(str(code) for code in (error.code, error.type) if code)
    text = KEY_NOT_TAKEN if status in (401, 403) else f"{error.message} ({error.request_id})"
    return map_error(VendorError(NAME, call, status, text, codes, retry_after(error.response.headers)))
