"""A write that is repeated under its idempotency key is done once, and has one answer."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from safelight.domain.ids import new_id
from tests.conftest import COFFEE, Backend, Json, running
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

ADMIN = bearer("the-operators-token-0123456789abcdef")
PICTURE = "data:image/jpeg;base64," + base64.b64encode(COFFEE.read_bytes()).decode()
LIKE = {"prompt": "a cup", "imageUrl": ""}


@pytest.fixture(scope="module")
async def idle(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    home = tmp_path_factory.mktemp("home")
    settings = {
        "admin_token": "the-operators-token-0123456789abcdef",
        "admin_emails": "op@example.com",
        **SIGNED_BY_SECRET,
    }
    async with running(module_dsn, home, worker=False, **settings) as started:
        yield started


def changed(body: Json) -> Json:
    """Another request: the first value that is a text, a number or a flag is another one."""
    name, value = next((name, value) for name, value in body.items() if isinstance(value, str | int | float))
    return body | {name: not value if isinstance(value, bool) else f"{value}1" if isinstance(value, str) else value + 1}


# route, body, and what of the database shows how often it was done
WRITES: dict[str, tuple[str, Json, str]] = {
    "add": ("/credits/add", {"amount": 10}, "select sum(mg_delta) / 10 from mega_generations where mg_pass_id = %s"),
    "take": ("/credits/add", {"amount": -3}, "select count(*) from mega_admin where mg_detail->>'target' = %s"),
    "adjust": (
        "/admin/credits/adjust",
        {"delta": 10},
        "select count(*) from mega_admin where mg_detail->>'target' = %s",
    ),
    "like": ("/feedback/like", LIKE, "select count(*) from mega_generations where mg_record_type = 'feedback' and mg_pass_id = %s"),
    "event": (
        "/mma/events",
        {"event_type": "like", "payload": {"tags": ["soft"]}},
        "select (mg_mma_preferences #>> '{tag_weights,soft}')::int from mega_customers where mg_pass_id = %s",
    ),
    "session": (
        "/sessions/start",
        {"title": "Mugs"},
        "select count(*) from mega_generations where mg_record_type = 'session' and mg_pass_id = %s",
    ),
    "billing": (
        "/billing/settings",
        {"monthlyLimitPacks": 3, "enabled": True},
        "select count(*) from mega_customers where mg_pass_id = %s",
    ),
    "suggest": (
        "/mma/video/animate",
        {"title": "Mugs", "inputs": {"suggest_only": True}, "assets": {"start_image_url": "https://e.com/f.png"}},
        "select count(*) from mega_generations where mg_record_type = 'generation' and mg_pass_id = %s",
    ),
}  # fmt: skip


def times(backend: Backend, write: str, pass_id: str) -> int:
    return int(backend.value(WRITES[write][2], pass_id) or 0)


async def post(backend: Backend, path: str, body: Json, key: str, pass_id: str, **headers: str) -> Any:
    return await backend.client.post(
        path, json={"passId": pass_id, **body}, headers={"Idempotency-Key": key} | ADMIN | headers
    )


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_is_done_once_for_its_key_and_another_request_is_a_422(idle: Backend, write: str):
    path, body, _ = WRITES[write]
    key, pass_id = new_id(), f"pass:user:{new_id()}"
    first = await post(idle, path, body, key, pass_id)
    assert first.status_code == 200, first.text
    again = await post(idle, path, body, key, pass_id)
    assert again.status_code == 200
    if write != "suggest":
        assert again.json() == first.json()
    assert times(idle, write, pass_id) == 1
    other = await post(idle, path, changed(body), key, pass_id)
    assert other.status_code == 422, other.text
    assert times(idle, write, pass_id) == 1


@pytest.mark.parametrize("write", WRITES)
async def test_duplicates_at_once_are_done_once(idle: Backend, write: str):
    path, body, _ = WRITES[write]
    key, pass_id = new_id(), f"pass:user:{new_id()}"
    answers = await asyncio.gather(*(post(idle, path, body, key, pass_id) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert times(idle, write, pass_id) == 1


async def test_without_a_key_each_is_done(idle: Backend):
    pass_id = f"pass:user:{new_id()}"
    for _ in range(2):
        await idle.post("/credits/add", {"amount": 10, "passId": pass_id}, headers=ADMIN)
    assert times(idle, "add", pass_id) == 2


async def test_a_key_belongs_to_whoever_acts(idle: Backend):
    """Two operators, and two customers, may use the same key; so may one of them at two routes."""
    key, pass_id, other = new_id(), f"pass:user:{new_id()}", f"pass:user:{new_id()}"
    await post(idle, "/credits/add", {"amount": 10}, key, pass_id)
    operator = bearer(token(email="op@example.com"))
    await post(idle, "/credits/add", {"amount": 10}, key, pass_id, **operator)
    assert times(idle, "add", pass_id) == 2
    for who in (pass_id, other):
        answer = await post(idle, "/sessions/start", {"title": "Mugs"}, key, who)
        assert answer.json()["passId"] == who
    assert await _liked(idle, key, pass_id) != await _liked(idle, key, other)


async def _liked(backend: Backend, key: str, pass_id: str) -> str:
    return str((await post(backend, "/feedback/like", LIKE, key, pass_id)).json()["feedbackId"])


async def test_the_spelling_of_the_body_does_not_matter_and_the_path_does(idle: Backend):
    key, pass_id = new_id(), f"pass:user:{new_id()}"
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"} | ADMIN
    bodies = (f'{{"amount": 10, "passId": "{pass_id}"}}', f'{{ "passId":"{pass_id}" ,\n"amount":10}}')
    answers = [(await idle.client.post("/credits/add", content=body, headers=headers)).json() for body in bodies]
    assert answers[0] == answers[1]
    await idle.grant(2, pass_id)
    made = [
        (await idle.post("/mma/still/create", {"passId": pass_id, "inputs": {"brief": "a"}}))["generation_id"]
        for _ in range(2)
    ]
    cancels = [await post(idle, f"/mma/generations/{one}/cancel", {}, key, pass_id) for one in made]
    assert [answer.status_code for answer in cancels] == [200, 200] or cancels[1].status_code == 422


async def test_a_write_that_is_refused_leaves_its_key_free(idle: Backend):
    key, pass_id = new_id(), f"pass:user:{new_id()}"
    assert (await post(idle, "/credits/add", {"amount": 0}, key, pass_id)).status_code == 400
    assert (
        await post(idle, "/feedback/like", {"imageUrl": "http://127.0.0.1:1/x", "prompt": "a"}, key, pass_id)
    ).status_code == 400
    assert (await post(idle, "/credits/add", {"amount": 10}, key, pass_id)).status_code == 200
    assert (await post(idle, "/feedback/like", LIKE, key, pass_id)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/r2/upload-signed", {"filename": "cup.jpg", "dataUrl": PICTURE}),
        ("/api/r2/upload-signed", {"filename": "cup.jpg", "dataUrl": PICTURE, "private": True}),
        ("/api/r2/upload-signed", {"filename": "cup.jpg", "contentType": "image/jpeg"}),
        ("/api/r2/presign", {"filename": "cup.jpg", "contentType": "image/jpeg"}),
    ],
)
async def test_an_upload_that_is_repeated_has_the_key_that_it_had(idle: Backend, path: str, body: Json):
    key, pass_id = new_id(), f"pass:user:{new_id()}"
    first, again = [(await post(idle, path, body, key, pass_id)).json() for _ in range(2)]
    assert first["key"] == again["key"]
    assert (await post(idle, path, changed(body), key, pass_id)).status_code == 422
    signed = again.get("uploadUrl") or again["url"]
    if "signature=" in signed:  # made fresh: what is kept lets nobody pass
        assert "[" not in signed
        assert (
            idle.value("select count(*) from safelight.idempotent_requests where answer::text like '%%signature%%'")
            == 0
        )


async def test_runtime_configuration_that_is_repeated_does_not_undo_what_came_after(idle: Backend):
    keys = new_id(), new_id()
    bodies: list[Json] = [{"override": {"credits": {"imageCost": cost}}} for cost in (2, 3)]
    for key, body in zip(keys, bodies, strict=True):
        await post(idle, "/admin/config/runtime", body, key, "pass:user:x")
    again = await post(idle, "/admin/config/runtime", bodies[0], keys[0], "pass:user:x")
    assert again.json()["effective"]["credits"]["imageCost"] == 2
    assert (await idle.get("/admin/config/runtime", headers=ADMIN))["effective"]["credits"]["imageCost"] == 3
    assert (await idle.get("/credits/balance?passId=pass:user:x"))["meta"]["imageCost"] == 3
    unset = [await post(idle, "/admin/config/runtime/unset", {"path": "credits"}, keys[0], "x") for _ in range(2)]
    assert unset[0].json() == unset[1].json()
    actions = idle.sql("select mg_action from mega_admin where mg_action like 'runtime_config.%%'")
    assert len(actions) == 3


async def test_a_key_is_kept_for_a_day(idle: Backend):
    key, pass_id = new_id(), f"pass:user:{new_id()}"
    await post(idle, "/credits/add", {"amount": 10}, key, pass_id)
    idle.sql("update safelight.idempotent_requests set created_at = now() - interval '24 hours 1 second'")
    await post(idle, "/credits/add", {"amount": 20}, key, pass_id)
    assert idle.balance(pass_id) == 30
    while idle.value("select count(*) from safelight.idempotent_requests where created_at < now() - interval '1 day'"):
        await post(idle, "/credits/add", {"amount": 1}, new_id(), pass_id)


async def test_a_write_whose_process_died_is_done_by_the_next(idle: Backend):
    """If the process that works on a key is gone, the same request, and no other, goes on."""
    key, pass_id = new_id(), f"pass:user:{new_id()}"
    await post(idle, "/feedback/like", LIKE, key, pass_id)
    idle.sql("update safelight.idempotent_requests set answer = null, busy_until = now() - interval '1 second'")
    assert (await post(idle, "/feedback/like", changed(LIKE), key, pass_id)).status_code == 422
    assert (await post(idle, "/feedback/like", LIKE, key, pass_id)).status_code == 200
    assert times(idle, "like", pass_id) == 1


async def test_a_key_that_is_too_long_is_refused(idle: Backend):
    answer = await post(idle, "/credits/add", {"amount": 1}, "k" * 201, "pass:user:x")
    assert answer.status_code == 400
