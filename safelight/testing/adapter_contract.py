"""The tests that every adapter passes, whatever is behind it.

A test module of the adapter's package subclasses `AdapterContract` (`RemoteAdapterContract` if the service is reached
over HTTP) once for stills and once for videos, and gives the fixture `bench`:

    class TestStills(AdapterContract):
        @pytest.fixture
        async def bench(self) -> Bench:
            return MyBench("image")

They need pytest and pytest-asyncio. The tests are coroutines: set `asyncio_mode = "auto"`. For assertions that show
their values, a `conftest.py` calls `pytest.register_assert_rewrite("safelight.testing.adapter_contract")`.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from safelight.domain.errors import base as errors
from safelight.domain.ids import new_id
from safelight.providers.base import CancelResult, GenerationRequest, Operation, Pending, ReferenceImage, Succeeded

Json = dict[str, Any]
PICTURE = "https://example.com/cup.jpg"
WAIT_CHECKS_MAX = 200


class Bench:
    """An adapter's image or video provider and what is behind it.

    `kind` is `image` or `video`; `model` is sent in every request; `looks_up` says whether `look_up` can find a start;
    `unused_role` is the role of a picture that the provider does not use. `slow` makes the service take minutes, and
    `received` returns all that it was asked for, as text.
    """

    kind = "image"
    model = "m"
    provider: Any
    looks_up = True
    unused_role = "end_frame"

    async def slow(self) -> None:
        raise NotImplementedError

    async def received(self) -> str:
        raise NotImplementedError

    def request(self, key: str | None = None, **more: Any) -> GenerationRequest:
        role = "product" if self.kind == "image" else "start_frame"
        step_type = "seedream_generate" if self.kind == "image" else "kling_generate"
        images = (ReferenceImage(role, PICTURE), *more.pop("images", ()))
        return GenerationRequest(step_type, self.model, more.pop("prompt", "a cup"), images, more, 7, key or new_key())


def new_key() -> str:
    return f"{new_id()}:3:1"


async def result(provider: Any, operation: Operation) -> Succeeded:
    """The result, looked at as the runner does: each time from what was stored."""
    for _ in range(WAIT_CHECKS_MAX):
        answer = await provider.check(stored(operation))
        if isinstance(answer, Succeeded):
            return answer
    raise AssertionError("it is never ready")


def stored(operation: Operation) -> Operation:
    """As it comes back out of the database."""
    kept = {name: getattr(operation, name) for name in ("handle", "check_after_seconds", "warnings")}
    return Operation(**json.loads(json.dumps(kept)))


class AdapterContract:
    """Subclasses give the fixture `bench`."""

    async def test_what_is_started_is_made(self, bench: Bench) -> None:
        operation = await bench.provider.start(bench.request())
        made = await result(bench.provider, operation)
        assert made.outputs
        assert all((output.url or "").startswith("http") or output.content for output in made.outputs)
        assert made.outputs[0].media_type.startswith(f"{bench.kind}/")
        json.dumps(made.response)

    async def test_the_handle_is_small_json(self, bench: Bench) -> None:
        operation = await bench.provider.start(bench.request())
        assert len(json.dumps(operation.handle)) < 5000
        assert operation.check_after_seconds >= 0

    async def test_what_is_under_way_is_pending(self, bench: Bench) -> None:
        await bench.slow()
        operation = await bench.provider.start(bench.request())
        answer = await bench.provider.check(stored(operation))
        assert isinstance(answer, Pending)
        assert answer.check_after_seconds > 0

    async def test_what_is_under_way_can_be_told_to_stop(self, bench: Bench) -> None:
        await bench.slow()
        operation = await bench.provider.start(bench.request())
        assert await bench.provider.cancel(stored(operation)) in set(CancelResult)

    async def test_a_start_can_be_looked_up_or_it_is_said_that_it_cannot(self, bench: Bench) -> None:
        await bench.slow()
        request, began = bench.request(), datetime.now(UTC)
        operation = await bench.provider.start(request)
        if bench.looks_up:
            found = await bench.provider.look_up(request.attempt_key, began)
            assert found is None or found.handle == operation.handle
            assert await bench.provider.look_up(new_key(), began) is None
        else:
            with pytest.raises(errors.LookupUnsupported):
                await bench.provider.look_up(request.attempt_key, began)

    async def test_nothing_of_the_request_is_dropped_in_silence(self, bench: Bench) -> None:
        extra = ReferenceImage(bench.unused_role, "https://example.com/extra.jpg")
        operation = await bench.provider.start(bench.request(images=(extra,), sparkle="yes"))
        made = await result(bench.provider, operation)
        told = await bench.received() + " ".join(made.warnings)
        assert "sparkle" in told
        assert bench.unused_role in told.replace(bench.unused_role.replace("_", " "), bench.unused_role)


class RemoteAdapterContract(AdapterContract):
    """For what is reached over HTTP. Subclasses also give `breaks` and `answers`."""

    def breaks(self, bench: Bench, call: str, how: str) -> None:
        """The next such call breaks: closed_before, closed_after, silent_after."""
        raise NotImplementedError

    def answers(self, bench: Bench, call: str, status: int, body: Any, headers: Json | None = None) -> None:
        """The next such call is answered so, and has no effect."""
        raise NotImplementedError

    @pytest.mark.parametrize("how", ["closed_before", "closed_after", "silent_after"])
    async def test_a_start_without_an_answer_is_an_unknown_outcome(self, bench: Bench, how: str) -> None:
        self.breaks(bench, "start", how)
        with pytest.raises(errors.OutcomeUnknown):
            await bench.provider.start(bench.request())

    @pytest.mark.parametrize("body", [{"surprise": 1}, [], "<html>", "null"])
    async def test_a_start_whose_answer_has_another_shape_is_an_unknown_outcome(self, bench: Bench, body: Any) -> None:
        self.answers(bench, "start", 200, body)
        with pytest.raises(errors.OutcomeUnknown):
            await bench.provider.start(bench.request())

    @pytest.mark.parametrize("status", [500, 502, 504])
    async def test_a_start_that_a_gateway_answers_for_is_an_unknown_outcome(self, bench: Bench, status: int) -> None:
        self.answers(bench, "start", status, "Bad Gateway")
        with pytest.raises(errors.OutcomeUnknown):
            await bench.provider.start(bench.request())

    async def test_a_check_without_an_answer_may_be_made_again(self, bench: Bench) -> None:
        operation = await bench.provider.start(bench.request())
        for how, expected in (("closed_after", errors.ProviderUnavailable), ("silent_after", errors.ProviderTimeout)):
            self.breaks(bench, "check", how)
            with pytest.raises(expected) as caught:
                await bench.provider.check(stored(operation))
            assert caught.value.retryable

    @pytest.mark.parametrize("body", [{"surprise": 1}, [], "<html>", {"id": "x", "request_id": "x", "status": "odd"}])
    async def test_a_check_whose_answer_has_another_shape_breaks_the_contract(self, bench: Bench, body: Any) -> None:
        operation = await bench.provider.start(bench.request())
        self.answers(bench, "check", 200, body)
        with pytest.raises(errors.ProviderContractBroken):
            await bench.provider.check(stored(operation))

    async def test_a_rate_limit_says_for_how_long(self, bench: Bench) -> None:
        self.answers(bench, "start", 429, {"detail": "slow down"}, {"Retry-After": "12"})
        with pytest.raises(errors.ProviderRateLimited) as caught:
            await bench.provider.start(bench.request())
        assert caught.value.retry_after_seconds == 12
        assert caught.value.provider_http_status == 429

    async def test_unavailable_is_refused_and_may_be_tried_again(self, bench: Bench) -> None:
        self.answers(bench, "start", 503, "Service Unavailable")
        with pytest.raises(errors.ProviderUnavailable):
            await bench.provider.start(bench.request())

    async def test_an_answer_without_end_is_cut_off(self, bench: Bench) -> None:
        operation = await bench.provider.start(bench.request())
        self.answers(bench, "check", 200, "x" * 5_000_000)
        with pytest.raises(errors.ProviderContractBroken):
            await bench.provider.check(stored(operation))

    async def test_what_the_service_does_not_know_is_an_error_that_is_safe_to_show(self, bench: Bench) -> None:
        operation = await bench.provider.start(bench.request())
        with pytest.raises(errors.ProviderRejected) as caught:
            await bench.provider.check(Operation({**operation.handle, "id": "gone", "request_id": "gone"}))
        assert bench.provider.name in str(caught.value)
        assert bench.provider.name not in caught.value.safe_message.lower()
