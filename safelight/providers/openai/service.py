"""OpenAI's Responses API: one client for a process, with our own time-outs and without the SDK's retries."""

from collections.abc import Awaitable
from typing import Any

import httpx2
import openai

from safelight.domain.errors.base import OutcomeUnknown, ProviderContractBroken
from safelight.domain.untrusted.json import parse_json, text_of
from safelight.providers.errors import Call
from safelight.providers.openai.errors import error_of_call
from safelight.providers.openai.replies import Reply
from safelight.redaction import excerpt

CONNECT_SECONDS = 5.0
CALL_SECONDS = 30.0
ANSWER_SECONDS = 110.0  # nothing is sent before the whole answer
CONNECTIONS_MAX = 100
EXCERPT_BYTES = 4000


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
        raise error_of_call(call, error) from error
    try:
        return Reply.model_validate(parse_json(response.content))
    except ValueError as error:  # not JSON, or another shape
        kind = OutcomeUnknown if call == "start" else ProviderContractBroken
        message = f"openai {call}: {excerpt(text_of(response.content[:EXCERPT_BYTES]), 200)!r}"
        raise kind(message, provider_http_status=response.status_code) from error
