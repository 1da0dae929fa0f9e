"""Free work is bounded: welcome credits by address and day, for ids that we issued and for users; suggestions for customers
without credits."""

import uuid
from typing import Any

import pytest

from safelight.api.auth import visitors
from safelight.domain.ids import new_id
from safelight.security.signing import Signer
from tests.conftest import Backend, Json, StartBackend
from tests.support.callers import BRIEF
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

PROXY = {"trusted_proxies": "127.0.0.1"}


def from_address(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def order(backend: Backend, headers: dict[str, str] | None = None, **body: Any) -> int:
    return (await backend.client.post("/mma/still/create", json=BRIEF | body, headers=headers)).status_code


async def issued(backend: Backend) -> str:
    return str((await backend.get("/me"))["passId"])


async def welcomed(start: StartBackend, **more: Any) -> Backend:
    return await start(worker=False, signup_credits=5, **PROXY, **SIGNED_BY_SECRET, **more)


# --- welcome credits ------------------------------------------------------------------------------------------------


async def test_of_thirty_orders_that_name_nobody_three_are_welcomed(start: StartBackend):
    backend = await welcomed(start)
    statuses = [await order(backend) for _ in range(30)]
    assert sorted(set(statuses)) == [200, 402]
    assert statuses.count(200) == 3
    assert backend.value("select count(*) from mega_customers") == 3


async def test_an_id_that_a_client_made_up_earns_nothing(start: StartBackend):
    backend = await welcomed(start)
    ours = await issued(backend)
    last = "0" if ours[-1] != "0" else "1"
    other = visitors.issue(Signer(b"the secret of another deployment"))
    for stated in (
        f"pass:anon:{uuid.uuid4()}",
        str(uuid.uuid4()),
        f"pass:user:{new_id()}",
        "pass:email:ann@example.com",
        "pass:shopify:8812345",
        "pass_0123456789ABCDEFGHJKMNPQRS",
        "ann",
        ours[:-1] + last,
        ours.replace("pass:anon:", "pass:anon: "),
        ours.replace("pass:anon:", "pass:user:"),
        other,
    ):
        for body in ({"passId": stated}, {"customerId": stated}):
            assert await order(backend, **body) == 402, body
        answer = await backend.client.get("/credits/balance", params={"passId": stated})
        assert answer.json()["balance"] == 0, stated
    assert await order(backend, passId=ours) == 200


async def test_an_id_that_we_issued_is_known_in_every_form_and_by_every_process(start: StartBackend):
    backend, another = await welcomed(start, welcomes_per_day=0), await welcomed(start, welcomes_per_day=0)
    for number, shape in enumerate((str, str.upper, lambda text: f" {text} ")):
        ours = await issued(another)
        bare = shape(ours.removeprefix("pass:anon:"))
        assert await order(backend, **({"passId": bare} if number else {"customerId": bare})) == 200
        assert backend.balance(ours) == backend.ledger_sum(ours) == 4
    assert len({await issued(backend) for _ in range(50)}) == 50


async def test_users_are_welcomed_by_their_token_as_many_as_the_address_has(start: StartBackend):
    backend = await welcomed(start, welcomes_per_day=2)
    balances = []
    for _ in range(3):
        headers = bearer(token())
        pass_id = (await backend.get("/me", headers=headers))["passId"]
        balances.append(backend.balance(pass_id))
    assert balances == [5, 5, 0]
    assert await order(backend, bearer(token()) | from_address("192.0.2.9")) == 200


async def test_an_address_is_counted_once_in_whatever_form_it_comes(start: StartBackend):
    backend = await welcomed(start, welcomes_per_day=1)
    for first, same, another in [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8:1:2::3", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:3::3"),
        ("2001:DB8:A::1", "2001:db8:a:0:0:0:0:2", "2001:db8:b::1"),
    ]:
        assert await order(backend, from_address(first)) == 200, first
        assert await order(backend, from_address(same)) == 402, same
        assert await order(backend, from_address(another)) == 200, another
    kept = str(backend.sql("select * from safelight.daily_count"))
    assert "192.0.2" not in kept
    assert "2001" not in kept.lower()


async def test_all_processes_count_together_and_every_day_anew(start: StartBackend):
    backend, another = await welcomed(start), await welcomed(start)
    assert [await order(one) for one in (backend, another, backend, another)] == [200, 200, 200, 402]
    backend.sql("update safelight.daily_count set day = day - 1")
    assert await order(another) == 200
    backend.sql("update safelight.daily_count set day = day - 2")
    assert await order(another) == 200
    assert backend.value("select count(*) from safelight.daily_count") == 1


async def test_an_order_that_is_refused_uses_up_no_welcome(start: StartBackend):
    backend = await welcomed(start, still_credits=9)
    assert {await order(backend) for _ in range(5)} == {402}
    assert backend.value("select count(*) from safelight.daily_count") == 0
    assert backend.value("select count(*) from mega_customers") == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/sessions/start"), ("POST", "/billing/settings"), ("POST", "/mma/events"), ("GET", "/credits/balance")],
)
async def test_every_route_that_makes_a_row_keeps_to_it(start: StartBackend, method: str, path: str):
    backend = await welcomed(start)
    made_up = [f"pass:anon:{uuid.uuid4()}" for _ in range(3)]
    ours = [await issued(backend) for _ in range(5)]
    for pass_id in [*made_up, *ours]:
        stated: Json = {"passId": pass_id, "event_type": "like"}
        more: Json = {"json": stated} if method == "POST" else {"params": stated}
        assert (await backend.client.request(method, path, **more)).status_code == 200
    assert [backend.balance(pass_id) for pass_id in [*made_up, *ours]] == [0, 0, 0, 5, 5, 5, 0, 0]


# --- suggestions ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def picture(start: StartBackend) -> str:
    return await (await start(worker=False)).upload()


async def suggest(backend: Backend, picture: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    body: Json = {"assets": {"start_image_url": picture}, "inputs": {"suggest_only": True}, **more}
    return await backend.client.post("/mma/video/animate", json=body, headers=headers)


def limited(**more: Any) -> Json:
    return {"worker": False, "free_suggestions_per_day": 2, "free_suggestions_per_address": 3, **PROXY, **more}


async def test_a_customer_without_credits_has_so_many_suggestions_a_day(start: StartBackend, picture: str):
    backend = await start(**limited())
    answers = [await suggest(backend, picture, passId="pass:anon:a") for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[-1].json()["error"] == "FREE_SUGGESTIONS_USED_UP"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 86_400
    elsewhere = await suggest(backend, picture, from_address("192.0.2.7"), passId="pass:anon:a")
    assert elsewhere.status_code == 429
    backend.sql("update safelight.daily_count set day = day - 1")
    assert (await suggest(backend, picture, passId="pass:anon:a")).status_code == 200


async def test_new_names_do_not_make_more_suggestions_at_one_address(start: StartBackend, picture: str):
    backend = await start(**limited())
    statuses = [(await suggest(backend, picture)).status_code for _ in range(6)]
    assert statuses == [200, 200, 200, 429, 429, 429]
    assert (await suggest(backend, picture, from_address("192.0.2.7"))).status_code == 200
    assert backend.value("select count(*) from mega_generations where mg_record_type = 'generation'") == 4


async def test_who_has_credits_has_no_such_limit(start: StartBackend, picture: str):
    backend = await start(**limited())
    await backend.grant(1)
    assert [(await suggest(backend, picture, passId=backend.pass_id)).status_code for _ in range(6)] == [200] * 6


async def test_the_same_request_again_is_no_second_suggestion(start: StartBackend, picture: str):
    backend = await start(**limited())
    stated = {"passId": "pass:anon:a", "idempotency_key": "k"}
    made = {(await suggest(backend, picture, **stated)).json()["generation_id"] for _ in range(5)}
    assert len(made) == 1
    assert (await suggest(backend, picture, passId="pass:anon:a")).status_code == 200


async def test_the_legacy_suggestion_is_limited_too(start: StartBackend, picture: str):
    backend = await start(**limited(sync_result_timeout_seconds=0.05))
    body = {"referenceImageUrl": picture, "passId": "pass:anon:a"}
    answers = [await backend.client.post("/motion/suggest", json=body) for _ in range(3)]
    assert [one.json()["error"] for one in answers] == ["STILL_MAKING", "STILL_MAKING", "FREE_SUGGESTIONS_USED_UP"]
    assert answers[-1].status_code == 429
