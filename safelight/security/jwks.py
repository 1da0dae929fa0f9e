"""The public keys that a service publishes at an address (a JWKS, RFC 7517): fetched when needed, kept for a while."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import httpx2

from safelight import telemetry

Clock = Callable[[], float]
Keys = TypeVar("Keys")
Parse = Callable[[list[dict[str, Any]]], Keys]

KEYS_MAX = 20
KEYS_BYTES_MAX = 64 * 1024
FETCH_SECONDS = 5.0


class JwksUnavailable(Exception):
    """The keys cannot be fetched, and those that are known are too old."""


class JwksCache(Generic[Keys]):
    """`parse` makes keys of the entries; it leaves out those of other kinds. The address is asked at most once every
    `pause_seconds`, however many callers wait: a flood of unknown keys is not a flood of requests."""

    def __init__(
        self, url: str, parse: Parse[Keys], *, pause_seconds: float, name: str, clock: Clock = time.monotonic
    ) -> None:
        self._url = url
        self._parse = parse
        self._pause_seconds = pause_seconds
        self._name = name
        self._clock = clock
        self._keys = parse([])
        self._fetched_at = self._asked_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def keys(self, *, age_max: float, stale_max: float) -> Keys:
        """The keys, fetched again if they are older than `age_max` seconds. If that fails, or was tried a moment ago,
        the known ones are returned while they are at most `stale_max` seconds old.

        Raises:
            JwksUnavailable: they are older.
        """
        async with self._fetching:
            now = self._clock()
            if now - self._fetched_at > age_max and now - self._asked_at >= self._pause_seconds:
                self._asked_at = now
                await self._renew()
            if now - self._fetched_at > stale_max:
                raise JwksUnavailable(f"{self._name} cannot be fetched")
            return self._keys

    async def _renew(self) -> None:
        try:
            self._keys = self._parse(_entries(await self._fetch()))
            self._fetched_at = self._clock()
        except (httpx2.HTTPError, TimeoutError, ValueError) as error:
            telemetry.warning(telemetry.Tag.API, f"{self._name} cannot be fetched: {error!r}")

    async def _fetch(self) -> bytes:
        content = bytearray()
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx2.AsyncClient(timeout=FETCH_SECONDS, trust_env=False) as client,
            client.stream("GET", self._url) as answer,
        ):
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > KEYS_BYTES_MAX:
                    raise ValueError(f"more than {KEYS_BYTES_MAX} bytes")
        return bytes(content)


def _entries(content: bytes) -> list[dict[str, Any]]:
    """The first KEYS_MAX entries. Raises ValueError if the content is not a JWKS."""
    found = json.loads(content)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise ValueError("not a JWKS")
    return [one for one in found["keys"] if isinstance(one, dict)][:KEYS_MAX]
