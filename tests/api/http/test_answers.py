"""Answers are models: what is stored is passed on as it is, a constant cannot be forgotten, and an unknown key is refused."""

import json
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from safelight.api.schemas.responses import Balance, NotLoggedIn, NotLoggedInForNow, Ok
from tests.conftest import StartBackend

ODD = [
    {"code": 17, "message": ["a", "list"], "httpStatus": "504"},
    {"timestamp": "yesterday", "isRetryable": "maybe"},
    {"reason": "of an older backend", "nested": {"depth": [1, None]}},
    {"message": None, "step": None, "provider": {"name": "x"}},
]


async def test_a_stored_error_of_an_older_backend_is_shown_as_it_is(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    generation_id = (await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}))["generation_id"]
    change = "update mega_generations set mg_meta = mg_meta || jsonb_build_object('error', %s::jsonb) where mg_id = %s"
    async with httpx2.AsyncClient(base_url=backend.app.settings.base_url, trust_env=False) as client:
        for odd in ODD:
            backend.sql(change, json.dumps(odd), f"generation:{generation_id}")
            answer = await client.get(f"/mma/generations/{generation_id}")
            assert answer.status_code == 200
            assert answer.json()["error"] == odd


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (Ok, {"okay": True}),
        (NotLoggedIn, {"requestId": "r", "passId": "p"}),
        (NotLoggedIn, {}),
        (Balance, {"requestId": "r", "customerId": "c", "balance": 1, "historyLength": 0, "passId": None}),
    ],
)
def test_an_answer_with_an_unknown_key_or_without_one_is_not_built(model: Any, more: dict[str, Any]):
    with pytest.raises(ValidationError):
        model(**more)


def test_constants_of_an_answer_are_sent():
    sent = json.loads(NotLoggedInForNow(requestId="r").model_dump_json())
    assert sent == {"ok": True, "loggedIn": False, "degraded": True, "requestId": "r"}
