"""A keep-alive client for a vendor's HTTP API, which maps transport errors to our error tree."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, get_args

import httpx2
from pydantic import TypeAdapter

from safelight.domain.errors import base as errors
from safelight.domain.untrusted.json import parse_json, text_of
from safelight.providers.base import Adapter, Kind, MediaProvider
from safelight.providers.errors import Call, VendorError, map_error
from safelight.redaction import excerpt

Shape = TypeVar("Shape")
WebhookUrl = Callable[[str], str]  # the webhook address for an attempt key
Explain = Callable[[Call, httpx2.Response], VendorError]

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
TOTAL_SECONDS = 60.0
CONNECTIONS_MAX = 100
EXCERPT_BYTES = 4000
ANSWER_BYTES_MAX = 4 * 1024 * 1024
RESULT_BYTES_MAX = 24 * 1024 * 1024  # of an answer that may contain its files
_MAY_HOLD_FILES: frozenset[Call] = frozenset({"check", "result"})

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class VendorClient:
    """`explain` reads an error answer of this vendor."""

    def __init__(
        self, vendor: str, url: str, headers: Mapping[str, str], explain: Explain, *, read_seconds: float = READ_SECONDS
    ) -> None:
        self.vendor = vendor
        self._explain = explain
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX),
            trust_env=False,
        )

    async def call(
        self,
        call: Call,
        shape: type[Shape],
        method: str,
        path: str,
        *,
        accept_statuses: Collection[int] = (),
        **more: Any,
    ) -> Shape:
        """Send a request; the answer must have this shape, and other fields of it are ignored. `accept_statuses` are
        statuses other than 2xx whose answers are accepted too.

        Raises:
            OutcomeUnknown: a start was sent, and its answer is missing or not understood: it may have been accepted.
            ProviderError: any other type, by the vendor's answer.
        """
        response = await self._exchange(call, method, path, more)
        if not (response.is_success or response.status_code in accept_statuses):
            raise map_error(self._explain(call, response))
        try:
            return TypeAdapter(shape).validate_python(parse_json(response.content))
        except ValueError as error:  # not JSON, or another shape
            said = f"{method} {path}: {excerpt(text_of(response.content[:EXCERPT_BYTES]), 200)!r}"
            raise self._ambiguous(call, errors.ProviderContractBroken, said, response.status_code) from error

    async def _exchange(self, call: Call, method: str, path: str, more: dict[str, Any]) -> httpx2.Response:
        bytes_max = RESULT_BYTES_MAX if call in _MAY_HOLD_FILES else ANSWER_BYTES_MAX
        try:
            async with asyncio.timeout(TOTAL_SECONDS), self._client.stream(method, path, **more) as response:
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > bytes_max:
                        said = f"an answer of more than {bytes_max} bytes"
                        raise self._ambiguous(call, errors.ProviderContractBroken, said, response.status_code)
                return httpx2.Response(response.status_code, headers=_plain(response.headers), content=bytes(content))
        except NEVER_SENT as error:
            raise errors.ProviderUnavailable(f"{self.vendor}: {error!r}") from error
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise self._ambiguous(call, errors.ProviderTimeout, repr(error)) from error
        except (httpx2.RequestError, httpx2.DecodingError) as error:
            raise self._ambiguous(call, errors.ProviderUnavailable, repr(error)) from error

    def _ambiguous(
        self, call: Call, kind: type[errors.ProviderError], said: str, status: int | None = None
    ) -> errors.ProviderError:
        kind = errors.OutcomeUnknown if call == "start" else kind
        return kind(f"{self.vendor} {call}: {said}", provider_http_status=status)


class RemoteProvider(MediaProvider):
    """Common part of the media providers over a `VendorClient`."""

    def __init__(
        self, kind: Kind, client: VendorClient, webhook_url: WebhookUrl | None, check_after_seconds: float
    ) -> None:
        self.kind = kind
        self._client = client
        self._webhook_url = webhook_url
        self._check_after_seconds = check_after_seconds

    @classmethod
    def adapter(cls, client: VendorClient, webhook_url: WebhookUrl | None, check_after_seconds: float) -> Adapter:
        """The adapter of a service that makes stills and videos in the same way."""
        image, video = (cls(kind, client, webhook_url, check_after_seconds) for kind in get_args(Kind))
        return Adapter(image=image, video=video)


def _plain(headers: httpx2.Headers) -> httpx2.Headers:
    """The headers without those of the transfer, since the body is decoded, and without its encoding, since JSON is
    UTF-8."""
    plain = httpx2.Headers(headers)
    for name in ("content-encoding", "content-length", "content-type", "transfer-encoding"):
        plain.pop(name, None)
    return plain
