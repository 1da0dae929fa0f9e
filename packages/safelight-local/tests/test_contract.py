"""The renderer passes the adapter contract, found as safelight finds it: by its entry point."""

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

import safelight
from safelight.media.decode import DECODE_BYTES_MAX
from safelight.media.decoding_pool import MediaPool
from safelight.providers.base import AdapterContext
from safelight.testing.adapter_contract import AdapterContract, Bench

PHOTO = Path(safelight.__file__).parent / "samples" / "coffee.jpg"
SLOW_SECONDS = 300.0


async def read(_: str) -> bytes:
    return PHOTO.read_bytes()


class LocalBench(Bench):
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.unused_role = "end_frame" if kind == "image" else "logo"
        self.provider = self._made()

    def _made(self, latency_seconds: float = 0.0) -> Any:
        [point] = importlib.metadata.entry_points(group="safelight.adapters", name="local")
        context = AdapterContext(read, MediaPool(DECODE_BYTES_MAX), latency_seconds=latency_seconds)
        return getattr(point.load()(context), self.kind)

    def request(self, key: str | None = None, **more: Any) -> Any:
        smallest = {"size": "1K"} if self.kind == "image" else {"duration": 1}
        return super().request(key, **smallest, **more)

    async def slow(self) -> None:
        self.provider = self._made(SLOW_SECONDS)

    async def received(self) -> str:
        return ""


class TestStills(AdapterContract):
    @pytest.fixture
    async def bench(self) -> Bench:
        return LocalBench("image")


class TestVideos(AdapterContract):
    @pytest.fixture
    async def bench(self) -> Bench:
        return LocalBench("video")
