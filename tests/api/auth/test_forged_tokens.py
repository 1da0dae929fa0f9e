"""Access tokens that do not hold lead to nobody, and leave no row."""

import time

import pytest

from tests.conftest import Backend
from tests.support.forged_tokens import FORGED, refusals, rows
from tests.support.sign_in import (
    bearer,
    token,
)


@pytest.mark.parametrize("kind", FORGED)
async def test_a_token_that_does_not_hold_is_nobody_and_leaves_no_row(by_secret: Backend, kind: str):
    before = rows(by_secret)
    code = "MISSING_USER_ID" if kind == "no user" else "INVALID_TOKEN"
    assert await refusals(by_secret, FORGED[kind]()) == {(401, code)}
    assert rows(by_secret) == before


async def test_nobody_is_logged_in_by_a_token_that_does_not_hold(by_secret: Backend):
    answer = await by_secret.client.post("/auth/shopify-sync", json={}, headers=bearer(FORGED["expired"]()))
    assert (answer.status_code, answer.json()["loggedIn"]) == (200, False)


async def test_a_clock_that_is_a_little_off_does_no_harm(by_secret: Backend):
    for off in ({"exp": int(time.time()) - 20}, {"nbf": int(time.time()) + 20}, {"iat": int(time.time()) + 20}):
        assert (await by_secret.client.get("/me", headers=bearer(token(**off)))).status_code == 200


async def test_an_audience_may_be_one_of_several(by_secret: Backend):
    assert (await by_secret.client.get("/me", headers=bearer(token(aud=["x", "authenticated"])))).status_code == 200


@pytest.mark.parametrize("stated", ["null", "undefined", "[object Object]", "NULL"])
async def test_what_clients_send_for_no_token_is_none(by_secret: Backend, stated: str):
    answer = await by_secret.client.get("/me", headers={"Authorization": f"Bearer {stated}"})
    assert (answer.status_code, answer.json()["user"]) == (200, None)
