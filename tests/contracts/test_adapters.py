"""Every adapter passes the contract."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from safelight import serve
from safelight.providers.base import Adapter
from safelight.providers.fal.adapter import fal_adapter
from safelight.providers.replicate.adapter import replicate_adapter
from safelight.providers.simulated.adapter import simulated_adapter
from safelight.providers.simulated.faults import Faults, Latency
from safelight.providers.simulated.server import HangUpProtocol, Simulation
from safelight.testing.adapter_contract import AdapterContract, Bench, Json, RemoteAdapterContract
from tests.fakes import fal, replicate
from tests.fakes.wire import Break, Scripted, Wire

READ_SECONDS = 0.5
SLOW_SECONDS = 300.0


def provider_of(adapter: Adapter, kind: str) -> Any:
    return adapter.image if kind == "image" else adapter.video


# --- the simulated service ------------------------------------------------------------------------------------------


class SimulatedBench(Bench):
    def __init__(self, simulation: Simulation, url: str, kind: str) -> None:
        self.kind = kind
        self.simulation = simulation
        self.provider = provider_of(simulated_adapter(url), kind)
        self.requests: list[Any] = []

    def request(self, key: str | None = None, **more: Any) -> Any:
        self.requests.append(super().request(key, **more))
        return self.requests[-1]

    async def slow(self) -> None:
        self.simulation._pace = Latency(answer_seconds=0, image_seconds=SLOW_SECONDS, video_seconds=SLOW_SECONDS)

    async def received(self) -> str:
        """It takes requests as they are."""
        return str(self.requests)


@asynccontextmanager
async def simulated(kind: str) -> AsyncIterator[Bench]:
    simulation, listening = Simulation(1, Faults(), Latency(0, 0, 0)), serve.listen("127.0.0.1", 0)
    async with serve.answering(simulation.app, listening, HangUpProtocol):
        yield SimulatedBench(simulation, f"http://127.0.0.1:{listening.getsockname()[1]}", kind)


class TestSimulatedStills(AdapterContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with simulated("image") as bench:
            yield bench


class TestSimulatedVideos(AdapterContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with simulated("video") as bench:
            yield bench


# --- vendors --------------------------------------------------------------------------------------------------------


class VendorBench(Bench):
    def __init__(self, wire: Wire, kind: str, model: str, adapter: Adapter, *, looks_up: bool) -> None:
        self.wire = wire
        self.kind = kind
        self.model = model
        self.looks_up = looks_up
        self.unused_role = "end_frame" if kind == "image" else "style_hero"
        self.provider = provider_of(adapter, kind)

    async def slow(self) -> None:
        self.wire.work_seconds = SLOW_SECONDS

    async def received(self) -> str:
        return json.dumps([work.input for work in self.wire.works.values()])


class VendorContract(RemoteAdapterContract):
    def breaks(self, bench: Bench, call: str, how: str) -> None:
        assert isinstance(bench, VendorBench)
        bench.wire.script(call, Break(how))

    def answers(self, bench: Bench, call: str, status: int, body: Any, headers: Json | None = None) -> None:
        assert isinstance(bench, VendorBench)
        bench.wire.script(call, Scripted(status, body, headers or {}))


def webhook_url(attempt_key: str) -> str:
    return f"http://127.0.0.1:9/webhooks/x/{attempt_key}"


class Quiet(replicate.Replicate):
    """Sends no webhooks: the contract is about what is asked, not told."""

    def _later(self, doing: Any) -> None:
        doing.close()


@asynccontextmanager
async def on_replicate(kind: str, model: str, told: Any = webhook_url) -> AsyncIterator[VendorBench]:
    wire = Quiet()
    async with wire.answering():
        adapter = replicate_adapter(
            f"{wire.url}/v1", replicate.TOKEN, told, check_after_seconds=0.01, read_seconds=READ_SECONDS
        )
        yield VendorBench(wire, kind, model, adapter, looks_up=told is not None)


@asynccontextmanager
async def on_fal(kind: str, model: str) -> AsyncIterator[VendorBench]:
    wire = fal.Fal()
    async with wire.answering():
        adapter = fal_adapter(wire.url, fal.KEY, None, check_after_seconds=0.01, read_seconds=READ_SECONDS)
        yield VendorBench(wire, kind, model, adapter, looks_up=False)


class TestReplicateStills(VendorContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with on_replicate("image", "bytedance/seedream-4") as bench:
            yield bench


class TestReplicateVideos(VendorContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with on_replicate("video", "kwaivgi/kling-v2.1") as bench:
            yield bench


class TestReplicateWithoutWebhooks(VendorContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with on_replicate("image", "bytedance/seedream-4", None) as bench:
            yield bench


class TestFalStills(VendorContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with on_fal("image", "fal-ai/bytedance/seedream/v4/edit") as bench:
            yield bench


class TestFalVideos(VendorContract):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with on_fal("video", "fal-ai/kling-video/v2.1/standard/image-to-video") as bench:
            yield bench


async def test_the_result_of_a_vendor_can_be_fetched() -> None:
    async with on_replicate("image", "bytedance/seedream-4") as bench, httpx2.AsyncClient(trust_env=False) as client:
        operation = await bench.provider.start(bench.request())
        made = await bench.provider.check(operation)
        assert (await client.get(made.outputs[0].url)).content.startswith(b"\xff\xd8\xff")
