"""The simulated service and its adapter, over real HTTP: each thing that goes wrong is one of our errors, by type."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import av
import httpx2
import jsonschema
import pytest

from safelight import serve
from safelight.domain.errors.base import (
    ContentRefused,
    OutcomeUnknown,
    ProviderContractBroken,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from safelight.media import decode
from safelight.providers.base import (
    CancelResult,
    GenerationRequest,
    Operation,
    Pending,
    ReferenceImage,
    Succeeded,
    TextRequest,
)
from safelight.providers.simulated.adapter import simulated_adapter
from safelight.providers.simulated.faults import CallFault, Faults, Latency
from safelight.providers.simulated.server import HangUpProtocol, Simulation

KEY = "0197:seedream_generate:1"
NOTED_AT = datetime.now(UTC)
SCHEMA = {
    "type": "object",
    "required": ["crt", "tags"],
    "properties": {
        "crt": {"type": "string", "minLength": 60, "maxLength": 80},
        "tags": {"type": "array", "minItems": 2, "items": {"enum": ["calm", "warm"]}},
        "score": {"type": "integer", "minimum": 3},
        "sure": {"type": "boolean"},
    },
}
INSTANT = Latency(0, 0, 0)
SLOW = Latency(answer_seconds=0, image_seconds=60, video_seconds=60)


class Service:
    """A running simulation and the three adapters that talk to it."""

    def __init__(self, simulation: Simulation, url: str) -> None:
        self.simulation = simulation
        self.url = url
        adapter: Any = simulated_adapter(url, read_seconds=0.3)
        self.text, self.image, self.video = adapter.text, adapter.image, adapter.video

    async def record(self) -> dict[str, Any]:
        async with httpx2.AsyncClient(base_url=self.url, trust_env=False) as client:
            return dict((await client.get("/record")).json())


StartService = Callable[..., Any]


@pytest.fixture
async def simulate() -> AsyncIterator[StartService]:
    async with AsyncExitStack() as stack:

        async def start(seed: int = 1, pace: Latency = INSTANT, webhook_url: Any = None, **faults: float) -> Service:
            listening = serve.listen("127.0.0.1", 0)
            simulation = Simulation(seed, Faults(**faults), pace, webhook_url)
            await stack.enter_async_context(serve.answering(simulation.app, listening, HangUpProtocol))
            return Service(simulation, f"http://127.0.0.1:{listening.getsockname()[1]}")

        yield start


def still(key: str = KEY) -> GenerationRequest:
    images = (ReferenceImage("product", "https://example.com/cup.jpg"),)
    return GenerationRequest("seedream_generate", "m", "a cup", images, {"size": "1K"}, 7, key)


def film(key: str = KEY) -> GenerationRequest:
    return GenerationRequest("kling_generate", "m", "slowly closer", (), {}, 7, key)


def question(step_type: str = "gpt_reader") -> TextRequest:
    return TextRequest(step_type, "m", "mma.ctx.gpt_reader", "system", "user", SCHEMA)


async def result(provider: Any, operation: Operation) -> Succeeded:
    while isinstance(answer := await provider.check(operation), Pending):
        await asyncio.sleep(0.02)
    return answer


async def fetched(answer: Succeeded) -> bytes:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return (await client.get(answer.outputs[0].url)).content


async def test_a_still_is_a_real_picture_of_its_own(simulate: StartService):
    service = await simulate()
    files = []
    for key in ("a:seedream_generate", "b:seedream_generate"):
        operation = await service.image.start(still(key))
        files.append(await fetched(await result(service.image, operation)))
    assert decode.probe_image(files[0]).width == 512
    assert decode.decode_image(files[0]).shape[2] == 4
    assert files[0] != files[1]


async def test_a_film_is_a_real_h264_video(simulate: StartService):
    service = await simulate()
    answer = await result(service.video, await service.video.start(film()))
    content = await fetched(answer)
    assert answer.outputs[0].media_type == "video/mp4"
    with av.open(io.BytesIO(content)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    assert decode.probe_image(decode.frame_at(content, 0.5)).height == 160


async def test_an_answer_matches_its_schema(simulate: StartService):
    service = await simulate()
    answer = await service.text.complete(question())
    jsonschema.validate(answer.data, SCHEMA)
    assert set(answer.data) == set(SCHEMA["properties"])


START_FAULTS = {
    CallFault.RATE_LIMITED: (ProviderRateLimited, 0),
    CallFault.UNAVAILABLE: (ProviderUnavailable, 0),
    CallFault.CLOSED_BEFORE: (OutcomeUnknown, 0),
    CallFault.CLOSED_AFTER: (OutcomeUnknown, 1),
    CallFault.SILENT_BEFORE: (OutcomeUnknown, 0),
    CallFault.SILENT_AFTER: (OutcomeUnknown, 1),
    CallFault.WRONG_SHAPE: (OutcomeUnknown, 1),
    CallFault.REFUSED: (ContentRefused, 0),
}


@pytest.mark.parametrize("fault", CallFault)
async def test_each_fault_of_a_start_is_one_of_our_errors(simulate: StartService, fault: CallFault):
    expected, accepted = START_FAULTS[fault]
    service = await simulate(**{fault.value: 1.0})
    with pytest.raises(ProviderError) as caught:
        await service.image.start(still())
    assert type(caught.value) is expected
    assert len((await service.record()).get(KEY, [])) == accepted


CHECK_FAULTS = {
    CallFault.RATE_LIMITED: ProviderRateLimited,
    CallFault.UNAVAILABLE: ProviderUnavailable,
    CallFault.CLOSED_BEFORE: ProviderUnavailable,
    CallFault.CLOSED_AFTER: ProviderUnavailable,
    CallFault.SILENT_BEFORE: ProviderTimeout,
    CallFault.SILENT_AFTER: ProviderTimeout,
    CallFault.WRONG_SHAPE: ProviderContractBroken,
}


@pytest.mark.parametrize("fault", CHECK_FAULTS)
async def test_each_fault_of_a_check_and_of_an_answer_is_one_of_our_errors(simulate: StartService, fault: CallFault):
    service = await simulate(**{fault.value: 1.0})
    service.simulation.record.accept(KEY, "image", seconds=0, will_fail=False)
    calls = (
        service.image.check(Operation({"id": "p000001"})),
        service.image.look_up(KEY, NOTED_AT),
        service.image.cancel(Operation({"id": "p000001"})),
        service.text.complete(question()),
    )
    for call in calls:
        with pytest.raises(ProviderError) as caught:
            await call
        assert isinstance(caught.value, CHECK_FAULTS[fault])
        assert not isinstance(caught.value, OutcomeUnknown)


async def test_a_rate_limit_says_when_to_come_back(simulate: StartService):
    service = await simulate(rate_limited=1.0)
    with pytest.raises(ProviderRateLimited) as caught:
        await service.text.complete(question())
    assert (caught.value.retry_after_seconds, caught.value.provider_http_status) == (1.0, 429)


async def test_a_service_that_is_not_there_was_never_asked(simulate: StartService):
    with serve.listen("127.0.0.1", 0) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    adapter: Any = simulated_adapter(url)
    with pytest.raises(ProviderUnavailable):
        await adapter.image.start(still())


@pytest.mark.parametrize("fault", ["closed_after", "silent_after", "wrong_shape"])
async def test_a_start_whose_answer_was_lost_is_found(simulate: StartService, fault: str):
    service = await simulate(seed=4, **{fault: 0.5})
    lost = []
    for number in range(8):
        key = f"{number}:seedream_generate"
        try:
            await service.image.start(still(key))
        except OutcomeUnknown:
            lost.append(key)
    assert 0 < len(lost) < 8
    record = await service.record()
    for key in lost:
        operation = await found_in_the_end(service, key)
        assert operation is not None
        assert operation.handle == {"id": record[key][0]["id"]}


async def found_in_the_end(service: Service, key: str) -> Operation | None:
    while True:
        try:
            return await service.image.look_up(key, NOTED_AT)
        except ProviderError:
            continue


async def test_what_never_arrived_is_not_found(simulate: StartService):
    service = await simulate()
    assert await service.image.look_up(KEY, NOTED_AT) is None


async def test_cancelling_stops_what_is_under_way(simulate: StartService):
    service = await simulate(pace=SLOW)
    operation = await service.video.start(film())
    assert isinstance(await service.video.check(operation), Pending)
    assert await service.video.cancel(operation) is CancelResult.STOPPED
    [prediction] = (await service.record())[KEY]
    assert (prediction["status"], prediction["cancelled_at"] is not None) == ("canceled", True)
    with pytest.raises(ProviderError, match="canceled"):
        await service.video.check(operation)


async def test_cancelling_what_has_ended_is_too_late(simulate: StartService):
    service = await simulate()
    operation = await service.image.start(still())
    await result(service.image, operation)
    assert await service.image.cancel(operation) is CancelResult.TOO_LATE
    assert isinstance(await service.image.check(operation), Succeeded)


async def test_a_prediction_may_fail_or_hang(simulate: StartService):
    failing = await simulate(fails=1.0)
    with pytest.raises(ProviderError, match="failed") as caught:
        await result(failing.image, await failing.image.start(still()))
    assert not caught.value.retryable
    hanging = await simulate(hangs=1.0)
    operation = await hanging.image.start(still())
    [prediction] = (await hanging.record())[KEY]
    assert prediction["ends_at"] - prediction["accepted_at"] == pytest.approx(Latency().hang_seconds)
    assert isinstance(await hanging.image.check(operation), Pending)


async def test_a_wrong_request_is_rejected_and_the_field_is_named(simulate: StartService):
    service = await simulate()
    with pytest.raises(ProviderRejected, match="attempt_key") as caught:
        await service.image.start(still(key=""))
    assert caught.value.provider_http_status == 400
    with pytest.raises(ProviderRejected, match="no such prediction"):
        await service.image.check(Operation({"id": "p000001"}))


async def test_the_same_seed_gives_the_same_faults(simulate: StartService):
    async def story(seed: int) -> list[str]:
        service = await simulate(seed=seed, rate_limited=0.2, closed_after=0.2, refused=0.2, fails=0.3)
        told = []
        for number in range(12):
            try:
                operation = await service.image.start(still(f"{number}:seedream_generate"))
                told.append(type(await result(service.image, operation)).__name__)
            except ProviderError as error:
                told.append(type(error).__name__)
        return told

    first, again, other = await story(1), await story(1), await story(2)
    assert first == again != other
    assert len(set(first)) > 2


@pytest.mark.parametrize(
    ("faults", "sent"),
    [({}, 1), ({"webhook_lost": 1.0}, 0), ({"webhook_doubled": 1.0}, 2)],
    ids=["once", "lost", "twice"],
)
async def test_the_end_of_a_prediction_is_announced_once_never_or_twice(
    simulate: StartService, faults: dict[str, float], sent: int
):
    receiver = await simulate()  # any server will do: what it answers does not matter
    service = await simulate(webhook_url=lambda key: f"{receiver.url}/heard/{key}", **faults)
    await service.image.start(still())
    await service.simulation.announced()
    [prediction] = (await service.record())[KEY]
    assert prediction["webhooks_sent"] == sent


@pytest.mark.parametrize("name", [field.name for field in fields(Faults)])
@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_probability_is_between_0_and_1(name: str, share: float):
    with pytest.raises(ValueError, match=f"{name}: a probability is between 0 and 1"):
        Faults(**{name: share})


def test_the_faults_of_a_call_exclude_each_other():
    with pytest.raises(ValueError, match="together 1 at most"):
        Faults(rate_limited=0.6, unavailable=0.6)
