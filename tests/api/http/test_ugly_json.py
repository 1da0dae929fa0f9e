"""Bodies that no client should send: every route that takes one refuses them, and none is shaken by them.

The routes come from the OpenAPI document, so that a new one is tried too."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.conftest import Backend, Json, running
from tests.support.openapi import BODY_ROUTES, Route, body_schema, filled

ADMIN_TOKEN = "the-operators-token-0123456789abcdef"
ADMIN = {"x-admin-secret": ADMIN_TOKEN}
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MEGABYTE = 1024 * 1024
SHOP_ORDER = "/api/credits/shopify-order"  # read as it was signed, so not among BODY_ROUTES
SHOP_SECRET = "the shop's secret"
SETTINGS = {"admin_token": ADMIN_TOKEN, "shopify_webhook_secret": SHOP_SECRET, "sync_result_timeout_seconds": 0.1}

UGLY_JSON: dict[str, bytes] = {
    "NUL in a text": b'{"passId": "\\u0000"}',
    "NUL in a key": b'{"\\u0000": 1}',
    "NUL as it is": b'{"passId": "\0"}',
    "half of a surrogate pair": b'{"passId": "\\ud800"}',
    "the other half in a key": b'{"\\udc00": 1}',
    "half of a surrogate pair as it is": b'{"passId": "\xed\xa0\x80"}',
    "no UTF-8": b'{"passId": "\xff"}',
    "depth 10,000": b'{"inputs": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "objects, 10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "depth 1,000,000, without an end": b"[" * 1_000_000,
    "NaN": b'{"amount": NaN}',
    "minus infinity": b'{"amount": -Infinity}',
    "a key twice": b'{"passId": "a", "passId": "b"}',
    "a key twice, deep": b'{"inputs": {"brief": "a", "brief": "b"}}',
    "10^400": b'{"amount": 1' + b"0" * 400 + b"}",
    "1e400": b'{"amount": 1e400}',
    "10^6000": b'{"amount": 1' + b"0" * 6000 + b"}",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "cut off": b'{"passId": "a"',
    "two values": b"{}{}",
    "UTF-16": '{"passId": "a"}'.encode("utf-16"),
    "nothing": b"",
}
UGLY_FORMS: dict[str, bytes] = {
    "NUL": b"passId=%00",
    "NUL in a name": b"%00=a",
    "half of a surrogate pair": b"passId=%ED%A0%80",
    "no UTF-8": b"passId=%FF",
    "no UTF-8 as it is": b"passId=\xff",
    "10,000 fields": b"&".join(b"f%d=1" % number for number in range(10_000)),
}
# What JSON allows, and a number, a date or a column may not.
UGLY_VALUES: tuple[Any, ...] = (
    "NaN", "-Infinity", "1e400", 10**15, -(10**15), 0.1, True, "\U0010ffff\u202e\u2028", "%00", "x" * 9000,
    [], [[[]]], {}, {"": {"": ""}}, [None], "'; drop table mega_customers; --", "../../etc/passwd", "9999-99-99",
)  # fmt: skip


@pytest.fixture(scope="module")
async def idle(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False, **SETTINGS) as backend:
        yield backend


async def refused(backend: Backend, method: str, path: str, content: Any, media_type: str) -> int:
    headers = ADMIN | {"Content-Type": media_type}
    answer = await backend.client.request(method, path, content=content, headers=headers)
    assert 400 <= answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
    assert answer.json().get("error") or answer.json()["code"]
    return answer.status_code


@pytest.mark.parametrize("name", sorted(UGLY_JSON.keys() - {"nothing"}))  # which is a body without fields
async def test_ugly_json_is_refused_everywhere(idle: Backend, name: str):
    content = UGLY_JSON[name]
    for route in BODY_ROUTES:
        await refused(idle, route.method, route.example_path, content, JSON)


@pytest.mark.parametrize("content", UGLY_FORMS.values(), ids=list(UGLY_FORMS))
async def test_ugly_forms_are_refused_everywhere(idle: Backend, content: bytes):
    for route in BODY_ROUTES:
        await refused(idle, route.method, route.example_path, content, FORM)


@pytest.mark.parametrize("content", UGLY_JSON.values(), ids=list(UGLY_JSON))
async def test_ugly_json_is_refused_also_where_a_shop_signs_it(idle: Backend, content: bytes):
    signature = base64.b64encode(hmac.new(SHOP_SECRET.encode(), content, hashlib.sha256).digest()).decode()
    answer = await idle.client.post(SHOP_ORDER, content=content, headers={"X-Shopify-Hmac-Sha256": signature})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("media_type", [JSON, FORM])
async def test_a_hundred_megabytes_are_refused_everywhere(idle: Backend, media_type: str):
    async def large() -> AsyncIterator[bytes]:
        yield b'{"passId": "' if media_type == JSON else b"passId="
        for _ in range(100):
            yield b"a" * MEGABYTE

    for method, path in (*((route.method, route.example_path) for route in BODY_ROUTES), ("POST", SHOP_ORDER)):
        takes_it = media_type == JSON or not path.startswith("/api/v1/")  # which takes no forms but those with files
        assert await refused(idle, method, path, large(), media_type) == (413 if takes_it else 415)


def bodies() -> Iterator[tuple[Route, Json]]:
    for route in BODY_ROUTES:
        for value in UGLY_VALUES:
            yield route, filled(body_schema(route), value)


async def test_whatever_the_fields_hold_no_route_fails(idle: Backend):
    for route, body in bodies():
        answer = await idle.client.request(route.method, route.example_path, json=body, headers=ADMIN)
        still_waiting = answer.status_code == 503 and answer.json().get("error") == "STILL_MAKING"
        assert answer.status_code < 500 or still_waiting, f"{route} {str(body)[:300]}: {answer.text[:300]}"
