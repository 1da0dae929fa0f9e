"""Webhooks of providers: unless one is signed, fresh and new, nothing happens."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from safelight.domain.errors.base import ConfigError, ProviderUnavailable, WebhookRefused, WebhookReplayed
from safelight.domain.ids import new_id
from safelight.security.webhook_signatures import (
    AGE_SECONDS_MAX,
    KEYS_PAUSE_SECONDS,
    KEYS_SECONDS_MIN,
    FalSignatures,
    ReplayGuard,
    StandardWebhooks,
)
from tests.conftest import Backend, StartBackend
from tests.fakes import replicate
from tests.fakes.fal import Fal
from tests.fakes.vendors import settings_for, vendor
from tests.fakes.wire import Announcing, Scripted

Json = dict[str, Any]
Signed = tuple[bytes, dict[str, str]]

SCHEDULED = "select scheduled_at from procrastinate.procrastinate_jobs"
IN_AN_HOUR = "update procrastinate.procrastinate_jobs set scheduled_at = now() + interval '1 hour'"
BODY = b'{"id": "p1", "status": "succeeded"}'
MUTATIONS = 1000


NOWHERE = "http://127.0.0.1:9"  # a simulated service that no test here asks


async def test_a_webhook_lets_a_waiting_job_look_now(start: StartBackend):
    backend = await start(worker=False, simulated_url=NOWHERE)
    await backend.grant(1)
    accepted = await backend.create()
    backend.sql(IN_AN_HOUR)
    for _ in range(2):  # said twice, it changes nothing more
        assert await backend.post(f"/webhooks/simulated/{accepted['generation_id']}", {}) == {"ok": True}
        assert backend.value(SCHEDULED) is None


async def test_a_webhook_leaves_a_running_job_and_those_of_others_alone(start: StartBackend):
    backend = await start(worker=False, simulated_url=NOWHERE)
    await backend.grant(2)
    running, other = await backend.create(), await backend.create()
    backend.sql(IN_AN_HOUR)
    backend.sql(
        "update procrastinate.procrastinate_jobs set status = 'doing' where queueing_lock = %s",
        running["generation_id"],
    )
    before = backend.sql("select * from procrastinate.procrastinate_jobs order by id")
    await backend.post(f"/webhooks/simulated/{running['generation_id']}", {})
    assert backend.sql("select * from procrastinate.procrastinate_jobs order by id") == before
    await backend.post(f"/webhooks/simulated/{other['generation_id']}", {})
    assert backend.sql("select * from procrastinate.procrastinate_jobs order by id") != before


async def test_a_webhook_about_a_generation_that_is_not_there_is_told_so(start: StartBackend):
    backend = await start(worker=False, simulated_url=NOWHERE)
    answer = await backend.post(f"/webhooks/simulated/{new_id()}", {}, status=404)
    assert answer["error"] == "NOT_FOUND"


@pytest.mark.parametrize("adapter", ["simulated", "replicate", "local", "nobody"])
async def test_an_adapter_that_is_not_configured_has_no_webhooks(start: StartBackend, adapter: str):
    """A stranger cannot wake jobs through it, nor learn which generations there are."""
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    backend.sql(IN_AN_HOUR)
    answers = [
        await backend.post(f"/webhooks/{adapter}/{generation_id}", {}, status=404)
        for generation_id in (accepted["generation_id"], new_id())
    ]
    assert {one["message"] for one in answers} == {f"No webhooks are taken from '{adapter}'."}
    assert backend.value(SCHEDULED) is not None


# --- through the front door -----------------------------------------------------------------------------------------


class Door:
    """A backend with one waiting generation, and a vendor that signs."""

    def __init__(self, backend: Backend, path: str, sign: Callable[..., Signed]) -> None:
        self.backend = backend
        self.path = path
        self.sign = sign

    async def knock(self, signed: Signed, path: str | None = None) -> tuple[int, str]:
        body, headers = signed
        answer = await self.backend.client.post(path or self.path, content=body, headers=headers)
        return answer.status_code, answer.json().get("error", "")

    @property
    def is_woken(self) -> bool:
        return self.backend.value(SCHEDULED) is None


@pytest.fixture(params=["replicate", "fal"])
async def door(request: pytest.FixtureRequest, start: StartBackend) -> AsyncIterator[Door]:
    wire = Fal() if request.param == "fal" else replicate.Replicate()
    async with wire.answering():
        backend = await start(worker=False, **settings_for(request.param, wire))
        await backend.grant(1)
        accepted = await backend.create()
        backend.sql(IN_AN_HOUR)
        sign = wire.signed if isinstance(wire, Fal) else replicate.signed
        yield Door(backend, f"/webhooks/{request.param}/{accepted['generation_id']}:3:1", sign)


async def test_a_signed_webhook_wakes_the_job(door: Door):
    assert await door.knock(door.sign(BODY)) == (200, "")
    assert door.is_woken


async def test_a_webhook_that_is_resent_is_taken_and_the_very_same_again_is_not(door: Door):
    assert await door.knock(first := door.sign(BODY)) == (200, "")
    door.backend.sql(IN_AN_HOUR)
    assert await door.knock(first) == (409, "WEBHOOK_REPLAYED")
    assert not door.is_woken
    assert await door.knock(door.sign(BODY, at=time.time() - 5)) == (200, "")  # signed anew, as vendors do
    assert door.is_woken


@pytest.mark.parametrize("seconds", [-AGE_SECONDS_MAX - 5, AGE_SECONDS_MAX + 5])
async def test_a_webhook_that_is_old_or_of_the_future_is_refused(door: Door, seconds: int):
    assert await door.knock(door.sign(BODY, at=time.time() + seconds)) == (401, "WEBHOOK_REFUSED")
    assert not door.is_woken


async def test_without_a_whole_signature_nothing_happens(door: Door):
    body, headers = door.sign(BODY)
    for name, value in headers.items():
        missing = {other: kept for other, kept in headers.items() if other != name}
        for wrong in (
            missing,
            headers | {name: ""},
            headers | {name: f"{value[:-1]}é".encode()},
            headers | {name: "x"},
        ):
            assert await door.knock((body, wrong)) == (401, "WEBHOOK_REFUSED")
    assert await door.knock((b"{}", headers)) == (401, "WEBHOOK_REFUSED")
    assert not door.is_woken
    refused = door.backend.ops_rows()
    assert {row["mg_detail"]["error_code"] for row in refused} == {"WEBHOOK_REFUSED"}
    assert await door.knock((body, headers)) == (200, "")


async def test_a_body_without_end_is_not_read(door: Door):
    assert await door.knock(door.sign(b"x" * 2_000_000)) == (413, "PAYLOAD_TOO_LARGE")


async def test_webhooks_of_others_and_those_without_a_secret_are_not_taken(start: StartBackend):
    backend = await start(worker=False)
    for adapter in ("replicate", "stranger"):
        answer = await backend.post(f"/webhooks/{adapter}/{new_id()}:3:1", {}, status=404)
        assert answer["message"] == f"No webhooks are taken from '{adapter}'."


async def test_keys_of_fal_that_cannot_be_had_are_our_trouble(start: StartBackend):
    wire = Fal()
    async with wire.answering():
        backend = await start(worker=False, **settings_for("fal", wire))
        wire.announcing = Announcing()
        body, headers = wire.signed(BODY)
    answer = await backend.client.post(f"/webhooks/fal/{new_id()}:3:1", content=body, headers=headers)
    assert answer.status_code == 502


# --- the schemes ----------------------------------------------------------------------------------------------------

# github.com/standard-webhooks/standard-webhooks, the test every library has; read 2026-11-21.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR: dict[str, str] = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def at_vector_time() -> float:
    return 1614265330.0


async def test_the_official_vector_is_accepted_alone_and_among_other_signatures():
    others = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
    for signature in (VECTOR["webhook-signature"], f"{others} {VECTOR['webhook-signature']} {others}"):
        for secret in (VECTOR_SECRET, VECTOR_SECRET.removeprefix("whsec_")):
            check = StandardWebhooks(secret, at_vector_time).check
            await check(VECTOR | {"webhook-signature": signature}, VECTOR_BODY)


async def test_what_the_official_tests_refuse_is_refused():
    check = StandardWebhooks(VECTOR_SECRET, at_vector_time).check
    for changed in (
        {"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA="},
        {"webhook-signature": VECTOR["webhook-signature"].replace("v1,", "v2,")},
        {"webhook-signature": VECTOR["webhook-signature"].removeprefix("v1,")},
        {"webhook-timestamp": "hello"},
        {"webhook-timestamp": str(1614265330 - AGE_SECONDS_MAX - 1)},
        {"webhook-timestamp": str(1614265330 + AGE_SECONDS_MAX + 1)},
    ):
        with pytest.raises(WebhookRefused):
            await check(VECTOR | changed, VECTOR_BODY)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!"])
def test_a_secret_that_is_none_is_refused_at_once(secret: str):
    with pytest.raises(ConfigError):
        StandardWebhooks(secret)


async def test_a_thousand_changed_webhooks_of_replicate_are_refused():
    body, headers = replicate.signed(BODY)
    check = StandardWebhooks(replicate.SECRET).check
    await refuse_all(check, body, headers)


async def test_a_thousand_changed_webhooks_of_fal_are_refused():
    wire = Fal()
    async with wire.answering():
        body, headers = wire.signed(BODY)
        check = FalSignatures(f"{wire.url}/.well-known/jwks.json").check
        await refuse_all(check, body, {name.lower(): value for name, value in headers.items()})
        assert wire.key_fetches <= 2  # a flood of false signatures is no flood of look-ups


async def refuse_all(check: Any, body: bytes, headers: dict[str, str]) -> None:
    dice = random.Random(1)
    for _ in range(MUTATIONS):
        changed_headers, changed_body = dict(headers), body
        if dice.random() < 0.2:
            changed_body = changed(dice, body)
        else:
            name = dice.choice(list(headers))
            changed_headers[name] = changed(dice, headers[name].encode()).decode("latin-1")
        with pytest.raises(WebhookRefused):
            await check(changed_headers, changed_body)
    await check(headers, body)  # and the true one is still good


def changed(dice: random.Random, text: bytes) -> bytes:
    """One character is another, is gone, or is there twice. Not one that means the same: the case of a hexadecimal
    digit, or the bits that base64 does not use."""
    at = dice.randrange(len(text))
    match dice.randrange(3):
        case 0:
            other = dice.choice(
                [one for one in b"0123456789abcdef+/=.,x" if bytes([one]).lower() != text[at : at + 1].lower()]
            )
            return text[:at] + bytes([other]) + text[at + 1 :]
        case 1:
            return text[:at] + text[at + 1 :]
        case _:
            return text[:at] + text[at : at + 1] + text[at:]


async def test_a_new_key_of_fal_is_fetched_when_the_known_ones_do_not_fit():
    now = [time.time()]
    wire, newer = Fal(), Fal()
    async with wire.answering():
        signatures = FalSignatures(f"{wire.url}/.well-known/jwks.json", lambda: now[0], lambda: now[0])
        await signatures.check(lowered(wire.signed(BODY)[1]), BODY)
        wire.key = newer.key
        with pytest.raises(WebhookRefused):  # too soon to ask again
            await signatures.check(lowered(wire.signed(BODY, id="2")[1]), BODY)
        now[0] += KEYS_SECONDS_MIN + 1
        await signatures.check(lowered(wire.signed(BODY, id="2")[1]), BODY)
        assert wire.key_fetches == 2


async def test_keys_that_cannot_be_had_are_not_asked_for_by_every_webhook():
    now = [time.time()]
    wire = Fal()
    async with wire.answering():
        wire.always("keys", Scripted(500))
        signatures = FalSignatures(f"{wire.url}/.well-known/jwks.json", lambda: now[0], lambda: now[0])
        for number in range(20):
            with pytest.raises(ProviderUnavailable):
                await signatures.check(lowered(wire.signed(BODY, id=str(number))[1]), BODY)
        assert wire.key_fetches == 1
        wire.at_peace()
        now[0] += KEYS_PAUSE_SECONDS
        await signatures.check(lowered(wire.signed(BODY)[1]), BODY)


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(200, b"<html>"),
        Scripted(200, b"[]"),
        Scripted(200, b'{"keys": 1}'),
        Scripted(200, b" " * 70_000),
        Scripted(404),
    ],
    ids=["HTML", "no object", "no list", "too large", "not there"],
)
async def test_an_answer_that_is_no_set_of_keys_leaves_the_known_ones(answer: Scripted):
    now = [time.time()]
    wire = Fal()
    async with wire.answering():
        signatures = FalSignatures(f"{wire.url}/.well-known/jwks.json", lambda: now[0], lambda: now[0])
        await signatures.check(lowered(wire.signed(BODY)[1]), BODY)
        wire.always("keys", answer)
        now[0] += KEYS_SECONDS_MIN + 1
        await signatures.check(lowered(wire.signed(BODY, id="2")[1]), BODY)  # a known key fits
        with pytest.raises(ProviderUnavailable):  # a newer one may
            await signatures.check(lowered(Fal().signed(BODY, id="3")[1]), BODY)


def lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_what_was_seen_is_forgotten_when_it_is_too_old_to_come_again():
    now = [0.0]
    seen = ReplayGuard(lambda: now[0])
    seen.remember("a")
    with pytest.raises(WebhookReplayed):
        seen.remember("a")
    now[0] = 2 * AGE_SECONDS_MAX + 1
    seen.remember("a")


# --- a whole generation ---------------------------------------------------------------------------------------------


async def listening(start: StartBackend, settings: Json) -> Backend:
    """A backend whose address the vendor is told."""
    backend: Backend = await start(**settings)
    backend.app.settings.webhook_url = backend.app.settings.base_url
    await backend.grant(1)
    return backend


@pytest.mark.parametrize("adapter", ["replicate", "fal"])
async def test_a_webhook_brings_a_result_that_nobody_would_look_for_yet(dsn: str, start: StartBackend, adapter: str):
    async with vendor(dsn, adapter, check_every_seconds=3000) as (wire, settings):
        wire.work_seconds = 1.0
        wire.announcing = Announcing(times=2)
        backend = await listening(start, settings)
        still = await backend.finished(await backend.create())
        assert still["status"] == "done"
        await until(lambda: len(wire.webhook_answers) == 2)
    assert wire.webhook_answers == [200, 409]  # the second is the very same


@pytest.mark.parametrize("adapter", ["replicate", "fal"])
async def test_a_webhook_that_comes_before_the_answer_to_the_start_does_no_harm(
    dsn: str, start: StartBackend, adapter: str
):
    async with vendor(dsn, adapter) as (wire, settings):
        wire.announcing = Announcing(early=True)
        backend = await listening(start, settings)
        still = await backend.finished(await backend.create())
    assert still["status"] == "done"
    assert wire.webhook_answers == [200]


@pytest.mark.parametrize("adapter", ["replicate", "fal"])
async def test_a_webhook_after_the_end_changes_nothing(dsn: str, start: StartBackend, adapter: str):
    async with vendor(dsn, adapter) as (wire, settings):
        backend = await listening(start, settings)
        still = await backend.finished(await backend.create())
        before = backend.sql("select * from mega_generations order by mg_id")
        [work] = wire.works.values()
        sent_anew = wire.webhook_of(work)
        sign = wire.signed if isinstance(wire, Fal) else replicate.signed
        body, headers = sign(sent_anew[0], id="late")
        answer = await backend.client.post(
            f"/webhooks/{adapter}/{still['generation_id']}:3:1", content=body, headers=headers
        )
        assert answer.status_code == 200
        assert backend.sql("select * from mega_generations order by mg_id") == before


@pytest.mark.parametrize("adapter", ["replicate", "fal"])
async def test_a_webhook_after_a_cancel_leaves_it_cancelled(dsn: str, start: StartBackend, adapter: str):
    async with vendor(dsn, adapter) as (wire, settings):
        wire.work_seconds = 60
        backend = await listening(start, settings)
        accepted = await backend.create()
        await until(lambda: any(call == "check" for call, _ in wire.calls))
        await backend.post(f"/mma/generations/{accepted['generation_id']}/cancel", {})
        still = await backend.finished(accepted)
        assert still["status"] == "cancelled"
        [work] = wire.works.values()
        work.cancelled, work.ends_at = False, time.time()  # the vendor went on all the same
        sign = wire.signed if isinstance(wire, Fal) else replicate.signed
        body, headers = sign(wire.webhook_of(work)[0], id="late")
        path = f"/webhooks/{adapter}/{accepted['generation_id']}:3:1"
        assert (await backend.client.post(path, content=body, headers=headers)).status_code == 200
        assert (await backend.generation(accepted["generation_id"]))["status"] == "cancelled"
    assert backend.balance() == 1


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)
