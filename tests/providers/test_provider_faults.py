"""Each thing that a provider can do wrong, several times: one decision every time, paid once, refunded where it fails.

Twice each, side by side; in the long run a hundred times.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Backend, Json, StartBackend
from tests.fakes import fal, openai, replicate
from tests.fakes.openai import openai_serving
from tests.fakes.vendors import vendor
from tests.fakes.wire import Break, Scripted, generation_of
from tests.providers.test_openai import EYES, FAILURES
from tests.support.scope import amount

TIMES = amount(usual=2, all=100)
AT_ONCE = 20
NOBODY = "http://127.0.0.1:9"  # where webhooks go that nobody needs
QUICK = {"worker_concurrency": 50, "retry_base_seconds": 0.02, "provider_start_timeout_seconds": 2.0}


@dataclass(frozen=True)
class Fault:
    """`begin` makes it happen to everybody. `starts` are what one generation sends, `works` what it is made to pay;
    `admits`: both planes say that it may have been paid twice."""

    begin: Callable[[Any], Any]
    code: str = ""  # of the failure; none where it is done in the end
    category: str = "PROVIDER_ERROR"
    starts: int = 1
    works: int = 1
    admits: bool = False


def always(call: str, answer: Scripted | Break) -> Callable[[Any], Any]:
    return lambda wire: wire.always(call, answer)


def first(call: str, answer: Any) -> Callable[[Any], Any]:
    return lambda wire: wire.first(call, answer)


def fails(error: Any) -> Callable[[Any], Any]:
    return lambda wire: setattr(wire, "fails_with", error)


def every_file(fault: Any) -> Callable[[Any], Any]:
    return lambda wire: wire.file_faults.extend([fault] * 3 * TIMES)


BUSY = {"Retry-After": "1"}
OF_BOTH = {
    "it is unreachable all the time": Fault(always("start", Scripted(503)), "SEEDREAM_PROVIDER_UNAVAILABLE", starts=3, works=0),
    "it is unreachable at first": Fault(first("start", Scripted(503)), starts=2),
    "looking fails at first, with 500": Fault(first("check", Scripted(500))),
    "looking fails at first, with 503": Fault(first("check", Scripted(503))),
    "looking is limited at first": Fault(first("check", Scripted(429, {}, BUSY))),
    "looking breaks off at first": Fault(first("check", Break.CLOSED_BEFORE)),
    "looking finds nothing known": Fault(always("check", Scripted(404)), "SEEDREAM_RESULT_GONE"),
    "looking finds another shape": Fault(always("check", Scripted(200, {"surprise": 1})), "SEEDREAM_CONTRACT_BROKEN"),
    "the file is cut at first": Fault(first("file", "cut")),
    "the file has expired at first": Fault(first("file", "expired")),
    "the file has expired": Fault(every_file("expired"), "SEEDREAM_RESULT_GONE"),
    "the file is no picture": Fault(every_file("no_picture"), "SEEDREAM_CONTRACT_BROKEN"),
}  # fmt: skip
FAULTS: dict[str, dict[str, Fault]] = {
    "replicate": OF_BOTH | {
        "the key is wrong": Fault(always("start", Scripted(401, replicate.UNAUTHENTICATED)), "PROVIDER_ACCESS_DENIED", "CONFIG_ERROR", works=0),
        "no money is left": Fault(always("start", Scripted(402, replicate.UNPAID)), "SEEDREAM_QUOTA_EXHAUSTED", works=0),
        "the model is gone": Fault(always("start", Scripted(404, replicate.GONE)), "SEEDREAM_MODEL_GONE", works=0),
        "the input is wrong": Fault(always("start", Scripted(422, replicate.INVALID)), "SEEDREAM_REJECTED", works=0),
        "the input is refused": Fault(always("start", Scripted(422, {"detail": "NSFW content detected"})), "SEEDREAM_CONTENT_REFUSED", works=0),
        "there is a limit all the time": Fault(always("start", Scripted(429, {"detail": "throttled"})), "SEEDREAM_RATE_LIMITED", starts=3, works=0),
        "there is a limit at first": Fault(first("start", Scripted(429, replicate.THROTTLED, BUSY)), starts=2),
        "a start is answered with 500": Fault(first("start", Scripted(500)), starts=2),
        "a start is answered with 502 though it counts": Fault(first("start", Scripted(502, after=True))),
        "a start breaks off": Fault(first("start", Break.CLOSED_BEFORE), starts=2),
        "the answer to a start is lost": Fault(first("start", Break.CLOSED_AFTER)),
        "the answer to a start has another shape": Fault(first("start", Scripted(201, {"surprise": 1}, after=True))),
        "the result is refused": Fault(fails(replicate.SENSITIVE), "SEEDREAM_CONTENT_REFUSED"),
        "the result fails": Fault(fails("Prediction interrupted; please retry (code: PA)"), "SEEDREAM_PROVIDER_FAILED"),
        "the result fails for want of memory": Fault(fails("CUDA out of memory. Tried to allocate 20 MiB"), "SEEDREAM_OUT_OF_MEMORY"),
        "the result fails in a way nobody knows": Fault(fails("Kaboom"), "SEEDREAM_PROVIDER_FAILED"),
        "the result has no file": Fault(lambda wire: setattr(wire, "output", "nothing"), "SEEDREAM_NO_URL"),
    },
    "fal": OF_BOTH | {
        "the key is wrong": Fault(always("start", Scripted(401, fal.UNAUTHENTICATED)), "PROVIDER_ACCESS_DENIED", "CONFIG_ERROR", works=0),
        "no money is left": Fault(always("start", Scripted(403, fal.LOCKED)), "SEEDREAM_QUOTA_EXHAUSTED", works=0),
        "the model is gone": Fault(always("start", Scripted(404, fal.GONE)), "SEEDREAM_MODEL_GONE", works=0),
        "the input is wrong": Fault(always("start", Scripted(422, fal.INVALID)), "SEEDREAM_REJECTED", works=0),
        "the input is refused": Fault(always("start", Scripted(422, fal.REFUSED)), "SEEDREAM_CONTENT_REFUSED", works=0),
        "there is a limit all the time": Fault(always("start", Scripted(429, fal.THROTTLED)), "SEEDREAM_RATE_LIMITED", starts=3, works=0),
        "there is a limit at first": Fault(first("start", Scripted(429, fal.THROTTLED, BUSY)), starts=2),
        # fal cannot be asked what became of a start: it is made once more, and both planes say so
        "a start is answered with 500": Fault(first("start", Scripted(500)), starts=2, admits=True),
        "a start breaks off": Fault(first("start", Break.CLOSED_BEFORE), starts=2, admits=True),
        "the answer to a start is lost": Fault(first("start", Break.CLOSED_AFTER), starts=2, works=2, admits=True),
        "the result is refused": Fault(fails(fal.REFUSED), "SEEDREAM_CONTENT_REFUSED"),
        "the result took too long": Fault(fails(fal.TIMED_OUT), "SEEDREAM_PROVIDER_GAVE_UP"),
    },
}  # fmt: skip
CASES = [(adapter, what) for adapter, faults in FAULTS.items() for what in faults]


@pytest.mark.scaled
@pytest.mark.parametrize(("adapter", "what"), CASES)
async def test_a_fault_of_a_vendor_is_decided_the_same_way_each_time(
    dsn: str, start: StartBackend, adapter: str, what: str
):
    fault = FAULTS[adapter][what]
    async with vendor(dsn, adapter) as (wire, settings), openai_serving(dsn, **EYES) as (_, eyes):
        fault.begin(wire)
        backend = await start(**settings, **eyes, **QUICK, webhook_url=NOBODY)
        made = await ordered(backend)
    starts = sum(call == "start" for call, _ in wire.calls)
    assert starts == fault.starts * TIMES
    paid = Counter(generation_of(work.webhook) for work in wire.works.values())
    assert paid == ({one["generation_id"]: fault.works for one in made} if fault.works else {})
    assert_decided(backend, made, fault)


@pytest.mark.scaled
@pytest.mark.parametrize("what", FAILURES)
async def test_a_fault_of_openai_is_decided_the_same_way_each_time(dsn: str, start: StartBackend, what: str):
    scripted, tries, _, category, _, code = FAILURES[what]
    async with openai_serving(dsn, **EYES) as (fake, settings):
        fake.will("create", *[scripted] * tries * TIMES)
        backend = await start(**settings, **QUICK)
        made = await ordered(backend)
    assert len(fake.asked) == tries * TIMES
    assert_decided(backend, made, Fault(openai.response, code.removeprefix("MMA_"), category))


async def ordered(backend: Backend) -> list[Json]:
    """So many stills, a few at a time."""
    await backend.grant(TIMES)
    product = await backend.upload()
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> Json:
        async with places:
            return await backend.finished(await backend.create(product=product))

    return await asyncio.gather(*(one() for _ in range(TIMES)))


FAILED = """
select failure.mg_detail->>'error_code' as code, failure.mg_detail->>'category' as category, count(*) as times,
       bool_and(refund.mg_delta = 1 and refund.xmin = failure.xmin and exists (
         select from mega_generations step where step.mg_record_type = 'mma_step'
           and step.mg_generation_id = generation.mg_generation_id and step.xmin = failure.xmin)) as in_one_transaction
from mega_generations generation
join mega_admin failure on failure.mg_record_type = 'error' and failure.mg_detail->>'generation_id' = generation.mg_generation_id
join mega_generations refund
  on refund.mg_record_type = 'credit_transaction' and refund.mg_generation_id = generation.mg_generation_id and refund.mg_delta > 0
where generation.mg_record_type = 'generation' and generation.mg_mma_status = 'error'
group by 1, 2
"""
ADMITTED = """
select count(distinct mg_detail->>'generation_id') from mega_admin
where mg_record_type = 'warn' and mg_detail ? 'possible_double_spend'
"""


def assert_decided(backend: Backend, made: list[Json], fault: Fault) -> None:
    status = "error" if fault.code else "done"
    assert Counter(one["status"] for one in made) == {status: TIMES}
    failed = [{"code": f"MMA_{fault.code}", "category": fault.category, "times": TIMES, "in_one_transaction": True}]
    assert backend.sql(FAILED) == (failed if fault.code else [])
    assert backend.balance() == backend.ledger_sum() == (TIMES if fault.code else 0)
    assert backend.value(ADMITTED) == (TIMES if fault.admits else 0)
