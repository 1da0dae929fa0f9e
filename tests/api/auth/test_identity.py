"""Nobody is taken for somebody else: a token goes before what is stated, and operators act for whom they name."""

import base64
from typing import Any

from safelight.domain.ids import new_id
from tests.conftest import Backend, StartBackend
from tests.support.callers import ADMIN, BRIEF, customer, me
from tests.support.sign_in import (
    SIGNED_BY_SECRET,
    bearer,
    token,
)

# --- a token goes before what is stated -----------------------------------------------------------------------------


async def test_with_a_token_nobody_spends_reads_or_changes_what_is_anothers(start: StartBackend):
    backend = await start(worker=False, **SIGNED_BY_SECRET)
    victim, attacker = new_id(), new_id()
    theirs = (await me(backend, victim))["passId"]
    await backend.grant(5, theirs)
    mine = bearer(token(victim))
    made = (await backend.client.post("/mma/still/create", json=BRIEF, headers=mine)).json()
    generation_id = made["generation_id"]
    headers = bearer(token(attacker)) | {"X-Mina-Pass-Id": theirs}
    stated = {"passId": theirs, "customerId": theirs}

    async def status(method: str, path: str, body: dict[str, Any] | None = None) -> int:
        more = {} if method == "GET" else {"json": stated | (body or {})}
        return (await backend.client.request(method, path, headers=headers, **more)).status_code

    assert await status("POST", "/mma/still/create", BRIEF) == 402
    assert await status("GET", f"/mma/generations/{generation_id}") == 404
    assert await status("GET", f"/mma/stream/{generation_id}") == 404
    assert await status("POST", f"/mma/generations/{generation_id}/cancel") == 404
    assert await status("POST", f"/mma/still/{generation_id}/tweak", {"feedback": {"text": "darker"}}) == 404
    assert await status("POST", "/mma/video/animate", {"parent_generation_id": generation_id}) == 404
    assert await status("POST", "/mma/events", {"event_type": "like", "generation_id": generation_id}) == 404
    assert await status("GET", f"/history/pass/{theirs}") == 404
    assert await status("POST", "/credits/add", {"amount": 5}) == 403
    assert await status("POST", "/billing/settings", {"enabled": True}) == 200
    assert backend.value("select mg_meta->'autoTopup' from mega_customers where mg_pass_id = %s", theirs) is None
    balance = (await backend.client.get(f"/credits/balance?passId={theirs}", headers=headers)).json()
    assert (balance["passId"], balance["balance"]) == (f"pass:user:{attacker}", 0)
    failed = (await backend.client.get(f"/api/generations/failed?passId={theirs}&hoursAgo=24", headers=headers)).json()
    assert failed["total"] == 0
    assert backend.balance(theirs) == backend.ledger_sum(theirs) == 4
    own = await backend.client.get(f"/mma/generations/{generation_id}", headers=mine)
    assert (own.status_code, own.headers["X-Mina-Pass-Id"]) == (200, theirs)


async def test_who_says_who_they_are_sees_only_their_own(idle: Backend):
    await idle.grant(1)
    made = await idle.post("/mma/still/create", BRIEF)
    path = f"/mma/generations/{made['generation_id']}"
    assert (await idle.client.get(path, headers={"X-Mina-Pass-Id": "pass:user:other"})).status_code == 404
    assert (await idle.client.get(path, headers={"X-Mina-Pass-Id": idle.pass_id})).status_code == 200
    assert (await idle.client.get(path)).status_code == 200
    stream = made["sse_url"]
    assert (await idle.client.get(stream, headers={"X-Mina-Pass-Id": "pass:user:other"})).status_code == 404


async def test_an_event_of_nobody_changes_nobodys_taste(idle: Backend):
    await idle.grant(1)
    made = await idle.post("/mma/still/create", BRIEF)
    event = {"event_type": "dislike", "generation_id": made["generation_id"], "payload": {"hard_block": "hands"}}
    for body in (event, event | {"passId": "pass:user:other"}):
        assert (await idle.client.post("/mma/events", json=body)).status_code == 404
    assert idle.value("select mg_mma_preferences from mega_customers where mg_pass_id = %s", idle.pass_id) == {}


async def test_the_session_of_another_is_not_joined(idle: Backend):
    await idle.grant(2)
    theirs = (await idle.post("/sessions/start", {"title": "Secret plans"}))["sessionId"]
    stranger = "pass:user:other"
    await idle.grant(1, stranger)
    started = await idle.post("/sessions/start", {"passId": stranger, "sessionId": theirs})
    made = await idle.post("/mma/still/create", {**BRIEF, "passId": stranger, "sessionId": theirs})
    own = await idle.post("/mma/still/create", {**BRIEF, "sessionId": theirs})
    found = "select mg_session_id from mega_generations where mg_id = %s"
    assert started["sessionId"] != theirs
    assert idle.value(found, f"generation:{made['generation_id']}") != theirs
    assert idle.value(found, f"generation:{own['generation_id']}") == theirs


async def test_a_private_file_is_its_owners(idle: Backend):
    owner, other = new_id(), new_id()
    picture = "data:image/png;base64," + base64.b64encode(_png()).decode()
    body = {"dataUrl": picture, "private": True}
    stored = (await idle.client.post("/api/r2/upload-signed", json=body, headers=bearer(token(owner)))).json()
    stated = {"key": stored["key"], "passId": f"pass:user:{owner}"}
    for user, status in ((owner, 200), (other, 404)):
        answer = await idle.client.post("/api/assets/signed-url", json=stated, headers=bearer(token(user)))
        assert answer.status_code == status


def _png() -> bytes:
    from io import BytesIO  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415

    content = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(content, "PNG")
    return content.getvalue()


# --- where only a token counts --------------------------------------------------------------------------------------


async def test_where_a_token_is_required_a_stated_id_is_nobody(start: StartBackend):
    backend = await start(worker=False, auth="required", **SIGNED_BY_SECRET, **ADMIN)
    user_id = new_id()
    pass_id = (await me(backend, user_id))["passId"]
    await backend.grant(3, pass_id)
    mine = bearer(token(user_id))
    made = (await backend.client.post("/mma/still/create", json=BRIEF, headers=mine)).json()["generation_id"]
    stated = {"passId": pass_id}
    for method, path, body in [
        ("POST", "/mma/still/create", BRIEF),
        ("POST", f"/mma/still/{made}/tweak", {"feedback": {"text": "darker"}}),
        ("POST", f"/mma/generations/{made}/cancel", {}),
        ("GET", f"/mma/generations/{made}", None),
        ("POST", "/mma/events", {"event_type": "like"}),
        ("POST", "/sessions/start", {}),
        ("GET", f"/credits/balance?passId={pass_id}", None),
        ("GET", f"/history/pass/{pass_id}", None),
        ("GET", f"/api/generations/failed?passId={pass_id}", None),
        ("GET", f"/billing/settings?customerId={pass_id}", None),
        ("POST", "/billing/settings", {"enabled": True}),
        ("POST", "/api/r2/upload-signed", {"contentType": "image/png"}),
        ("POST", "/api/r2/store-remote-signed", {"url": "https://example.com/a.png"}),
        ("POST", "/api/assets/signed-url", {"key": "a/b/c.png"}),
    ]:
        for ids in ({}, stated):
            more = {} if body is None else {"json": ids | body}
            headers = {"X-Mina-Pass-Id": pass_id} if ids else {}
            answer = await backend.client.request(method, path, headers=headers, **more)
            allowed_to_nobody = not ids and path == "/sessions/start"
            no_id_named = not ids and (method, path) == ("POST", "/billing/settings")
            expected = (
                200 if allowed_to_nobody else 400 if no_id_named else 404 if not ids and "cancel" in path else 401
            )
            assert answer.status_code == expected, (method, path, ids, answer.text)
    assert backend.balance(pass_id) == 2
    assert (await backend.client.get(f"/mma/generations/{made}", headers=mine)).status_code == 200
    assert (await backend.client.get("/me", headers={"X-Mina-Pass-Id": pass_id})).json()["user"] is None


async def test_a_server_of_ours_speaks_for_whom_it_states(start: StartBackend):
    backend = await start(worker=False, auth="required", **SIGNED_BY_SECRET, **ADMIN)
    await backend.grant(1)
    headers = bearer(ADMIN["admin_token"])
    made = await backend.post("/mma/still/create", BRIEF, headers=headers)
    assert made["passId"] == backend.pass_id
    await backend.grant(0, "pass:user:other")
    path = f"/mma/generations/{made['generation_id']}/cancel"
    assert (await backend.client.post(path, json={"passId": "pass:user:other"}, headers=headers)).status_code == 404


async def test_without_a_key_set_tokens_say_nothing(start: StartBackend):
    backend = await start(worker=False)
    answer = await backend.client.get("/me", headers=bearer(token()))
    assert (answer.status_code, answer.json()["user"]) == (200, None)
    balance = await backend.get("/credits/balance", params={"passId": backend.pass_id}, headers=bearer("whatever"))
    assert balance["passId"] == backend.pass_id


# --- operators ------------------------------------------------------------------------------------------------------


def audit(backend: Backend) -> list[dict[str, Any]]:
    return backend.sql("select * from mega_admin where mg_record_type = 'admin_audit' order by mg_created_at")


async def test_operators_are_known_by_their_token_their_email_or_their_row(start: StartBackend):
    backend = await start(worker=False, admin_emails="Op@Example.com, two@example.com", **SIGNED_BY_SECRET, **ADMIN)
    by_row = new_id()
    customer(backend, "pass:user:row", mg_user_id=by_row, mg_admin_allowlist=True)
    for headers, status in [
        (bearer(ADMIN["admin_token"]), 200),
        ({"x-admin-secret": ADMIN["admin_token"]}, 200),
        (bearer(token(email="op@example.com")), 200),
        (bearer(token(by_row)), 200),
        (bearer(token(email="ann@example.com")), 403),
        (bearer(token(email="op@example.com", email_verified=False)), 403),
        (bearer(token(email="op@example.com", exp=1)), 401),
        (bearer("the operators' toke"), 401),
        ({"x-admin-secret": "no"}, 401),
        ({}, 401),
    ]:
        assert (await backend.client.get("/api/admin/providers", headers=headers)).status_code == status, headers
    assert (await me(backend, new_id(), "op@example.com"))["isAdmin"] is True
    assert (await me(backend, by_row))["isAdmin"] is True
    assert (await me(backend, new_id(), "ann@example.com"))["isAdmin"] is False


async def test_what_an_operator_does_is_one_row_each(start: StartBackend):
    backend = await start(worker=False, admin_emails="op@example.com", **SIGNED_BY_SECRET, **ADMIN)
    await backend.grant(2)
    made = await backend.post("/mma/still/create", BRIEF)
    operator_id = new_id()
    own = (await me(backend, operator_id, "op@example.com"))["passId"]
    headers = bearer(token(operator_id, "op@example.com"))
    cancel = f"/mma/generations/{made['generation_id']}/cancel"
    assert (await backend.client.post(cancel, json={}, headers=headers)).status_code == 200
    assert (await backend.client.post("/api/admin/cleanup-stuck-generations", headers=headers)).status_code == 200
    body = {"customerId": backend.pass_id, "amount": 5}
    assert (
        await backend.client.post("/credits/add", json=body, headers=bearer(ADMIN["admin_token"]))
    ).status_code == 200
    cancelled, cleaned, added = audit(backend)
    assert [row["mg_action"] for row in (cancelled, cleaned, added)] == [
        "generations.cancel",
        "generations.cleanup",
        "credits.add",
    ]
    assert (cancelled["mg_actor_pass_id"], cancelled["mg_email"]) == (own, "op@example.com")
    assert (cancelled["mg_detail"]["actor"], cancelled["mg_detail"]["target"]) == (
        "op@example.com",
        made["generation_id"],
    )
    assert cancelled["mg_detail"]["before"] == {"status": "queued"}
    assert added["mg_detail"]["actor"] == "admin token"
    assert (added["mg_detail"]["before"], added["mg_detail"]["after"]["credits"]) == ({"credits": 2}, 7)
    assert (added["mg_route"], added["mg_method"]) == ("/credits/add", "POST")
    assert added["mg_detail"]["request_id"].startswith("credits_")


async def test_what_a_customer_does_is_no_operators_action(idle: Backend):
    await idle.grant(1)
    made = await idle.post("/mma/still/create", BRIEF)
    await idle.post(f"/mma/generations/{made['generation_id']}/cancel", {})
    assert audit(idle) == []
