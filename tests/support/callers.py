"""Callers in tests of identity: customers, users with a token, operators."""

from typing import Any

from tests.conftest import Backend
from tests.support.sign_in import (
    bearer,
    token,
)

BRIEF = {"inputs": {"brief": "a cup on stone"}, "settings": {"seedream": {"size": "1K"}}}
ADMIN = {"admin_token": "the-operators-token-0123456789abcdef"}


async def me(backend: Backend, user_id: str, email: str | None = None, **headers: str) -> dict[str, Any]:
    answer = await backend.client.get("/me", headers=bearer(token(user_id, email)) | headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Mina-Pass-Id"] == answer.json()["passId"]
    return dict(answer.json())


def customer(backend: Backend, pass_id: str, **columns: Any) -> None:
    names = ["mg_pass_id", *columns]
    places = ", ".join(["%s"] * len(names))
    backend.sql(f"insert into mega_customers ({', '.join(names)}) values ({places})", pass_id, *columns.values())
