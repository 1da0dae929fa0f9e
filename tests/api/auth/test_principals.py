"""The acting and the target customer: what each route declares, what a row of a user needs in every mode, what is shown to whoever
knows no more than an id, and streams by signed URLs."""

import ast
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from safelight.api.app import create_api
from safelight.api.auth import operators, principals, stream_urls
from safelight.db.operations.audit import Operator
from safelight.domain.identities import ActingCustomer, TargetCustomer
from safelight.domain.ids import new_id
from safelight.redaction import DEFAULT_REDACTOR
from safelight.security.signing import Signer
from tests.api.routes.test_files import data_url
from tests.conftest import Backend, Json, StartBackend
from tests.support.callers import BRIEF, customer, me
from tests.support.route_matrix import api_routes
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

ADMIN_TOKEN = "the-operators-token-0123456789abcdef"
ADMIN = {"x-admin-secret": ADMIN_TOKEN}
OPERATOR_EMAIL = "op@example.com"
SETTINGS = {"admin_token": ADMIN_TOKEN, "admin_emails": OPERATOR_EMAIL, **SIGNED_BY_SECRET}
API = Path(principals.__file__).parents[1]


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(worker=False, **SETTINGS)


# --- what routes declare --------------------------------------------------------------------------------------------

DECLARED = (
    principals.acting_customer,
    principals.acting_customer_by_query,
    principals.require_identity,
    principals.customer_or_anonymous,
    principals.customer_of_path,
    principals.customer_if_reachable,
    principals.by_id_viewer,
    principals.follower,
    principals.customer_or_operator,
    principals.acting_by_header,
    principals.owner_or_operator,
    principals.v1_follower,
    principals.SignIn,
    operators.require_admin,
    operators.require_admin_by_key_too,
)


def dependencies(dependant: Dependant) -> Iterator[Any]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from dependencies(inner)


def test_every_route_declares_who_acts_or_that_nobody_does():
    app = create_api(None, cors_origins=[])  # type: ignore[arg-type]
    routes: list[APIRoute] = [one for one in api_routes(app.routes) if one.endpoint.__module__.startswith("safelight.")]
    for route in routes:
        calls = list(dependencies(route.dependant))
        by_nobody = [call for call in calls if isinstance(call, principals.NoIdentity)]
        declared = [call for call in calls if call in DECLARED]
        assert bool(by_nobody) is not bool(declared), f"{route.path}: declare one dependency of principals.py"
        assert all(one.why for one in by_nobody), route.path
        if principals.target_customer in calls:
            assert {operators.require_admin, operators.require_admin_by_key_too} & set(calls), (
                f"{route.path}: an operator acts"
            )
    assert len(routes) > 40


def test_no_route_finds_out_by_hand_who_acts():
    """Identity is decided in `identity.py`, and only the dependencies, the middleware and the operators' check may use it."""
    for file in API.rglob("*.py"):
        if file.parent.name == "auth":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "safelight.api.auth.identity":
                taken = {name.name for name in node.names} - {"HEADER", "SIGN_IN", "authenticated"}
                assert not taken, f"{file.name} takes {taken} of identity.py"
            assert not (isinstance(node, ast.alias) and node.name in ("identity", "safelight.api.auth.identity")), (
                file.name
            )


def test_who_acts_who_is_acted_on_and_who_operates_are_of_no_common_type():
    kinds = (ActingCustomer, TargetCustomer, Operator, str)
    assert not [(a, b) for a in kinds for b in kinds if a is not b and issubclass(a, b)]


# --- operators act on others, never as them -------------------------------------------------------------------------

CREDIT_ROUTES = [("/credits/add", "amount"), ("/admin/credits/adjust", "delta")]


@pytest.mark.parametrize(("path", "field"), CREDIT_ROUTES)
@pytest.mark.parametrize("place", ["passId", "pass_id", "customerId", "customer_id"])
async def test_credits_go_to_whom_a_signed_in_operator_names(idle: Backend, path: str, field: str, place: str):
    visitor, operator_id = "pass:anon:visitor", new_id()
    await idle.grant(3, visitor)
    headers = bearer(token(operator_id, OPERATOR_EMAIL))
    for expected in (8, 13):  # on the first visit, and on the second
        answer = await idle.client.post(path, json={place: visitor, field: 5}, headers=headers)
        assert (answer.status_code, answer.json()["passId"]) == (200, visitor), answer.text
        assert idle.balance(visitor) == idle.ledger_sum(visitor) == expected
    [row] = idle.sql("select mg_pass_id, mg_user_id, mg_email from mega_customers")
    assert row == {"mg_pass_id": visitor, "mg_user_id": None, "mg_email": None}


async def test_a_new_customer_whom_an_operator_names_gets_what_is_given_and_no_welcome(start: StartBackend):
    backend = await start(worker=False, **SETTINGS, signup_credits=7)
    for (path, field), name in zip(CREDIT_ROUTES, ("pass:anon:a", "pass:anon:b"), strict=True):
        await backend.post(path, {"passId": name, field: 2}, headers=ADMIN)
        assert backend.balance(name) == 2


async def test_an_operator_who_cancels_on_their_first_visit_leaves_the_row_to_its_visitor(idle: Backend):
    visitor = "pass:anon:visitor"
    await idle.grant(3, visitor)
    made = await idle.post("/mma/still/create", {**BRIEF, "passId": visitor})
    headers = bearer(token(new_id(), OPERATOR_EMAIL)) | {"X-Mina-Pass-Id": visitor}
    answer = await idle.client.post(
        f"/mma/generations/{made['generation_id']}/cancel", json={"passId": visitor}, headers=headers
    )
    assert answer.status_code == 200
    assert idle.sql("select mg_pass_id, mg_user_id from mega_customers") == [
        {"mg_pass_id": visitor, "mg_user_id": None}
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/me"),
        ("GET", "/credits/balance?passId=pass:anon:visitor"),
        ("GET", "/history/pass/pass:anon:visitor"),
        ("POST", "/sessions/start"),
        ("POST", "/billing/settings"),
        ("POST", "/mma/events"),
        ("POST", "/auth/shopify-sync"),
    ],
)
async def test_an_operator_never_takes_over_a_row(idle: Backend, method: str, path: str):
    visitor = "pass:anon:visitor"
    await idle.grant(3, visitor)
    body: Json = {"passId": visitor, "event_type": "like"}
    headers = bearer(token(new_id(), OPERATOR_EMAIL)) | {"X-Mina-Pass-Id": visitor}
    answer = await idle.client.request(method, path, headers=headers, **({"json": body} if method == "POST" else {}))
    assert answer.status_code in (200, 404)
    found = "select mg_user_id is null and mg_email is null from mega_customers where mg_pass_id = %s"
    assert idle.value(found, visitor) is True


@pytest.mark.parametrize(
    "path",
    [
        "/credits/balance?passId={}",
        "/credits/balance?customerId={}",
        "/history?passId={}",
        "/history/pass/{}",
        "/billing/settings?customerId={}",
        "/api/generations/failed?passId={}",
        "/mma/generations/{}",
    ],
)
async def test_reading_what_is_anothers_makes_and_takes_over_no_row(idle: Backend, path: str):
    visitor, user_id = "pass:anon:visitor", new_id()
    await idle.grant(3, visitor)
    await idle.client.get(path.format(visitor), headers=bearer(token(user_id)) | {"X-Mina-Pass-Id": visitor})
    assert [row["mg_user_id"] for row in idle.sql("select mg_user_id from mega_customers")] == [None]
    assert (await me(idle, user_id, **{"X-Mina-Pass-Id": visitor}))["passId"] == visitor  # with consent it still works


# --- a row of a user needs the user's token in every mode -----------------------------------------------------------


async def user_with_all(backend: Backend, user_id: str) -> Json:
    """A user whose row has every kind of name, and who has a still."""
    pass_id, visitor = "", new_id()
    customer(backend, f"pass:anon:{visitor}", mg_shopify_customer_id="8812345")
    pass_id = (await me(backend, user_id, **{"X-Mina-Pass-Id": visitor}))["passId"]
    assert pass_id == f"pass:anon:{visitor}"
    await backend.grant(50, pass_id)
    mine = bearer(token(user_id))
    made = (await backend.client.post("/mma/still/create", json={**BRIEF, "idempotencyKey": "k"}, headers=mine)).json()
    return {"pass_id": pass_id, "visitor": visitor, **made}


WRITES = [
    ("/mma/still/create", BRIEF),
    ("/mma/still/create", BRIEF | {"idempotencyKey": "k"}),
    ("/mma/video/animate", {"assets": {"start_image_url": "https://example.com/a.png"}, "inputs": {"brief": "x"}}),
    ("/editorial/generate", {"brief": "a cup"}),
    ("/motion/suggest", {"referenceImageUrl": "https://example.com/a.png"}),
    ("/mma/events", {"event_type": "like"}),
    ("/feedback/like", {"prompt": "a cup"}),
    ("/sessions/start", {}),
    ("/billing/settings", {"enabled": True}),
    ("/api/r2/upload-signed", {"contentType": "image/png"}),
    ("/api/r2/presign", {"contentType": "image/png"}),
    ("/api/r2/upload-signed", {"dataUrl": data_url(b"x"), "private": True}),
    ("/store-remote-generation", {"url": "https://example.com/a.png"}),
    ("/api/assets/signed-url", {"key": "a/b/c.png"}),
]
READS = ["/credits/balance", "/history", "/history/trimmed", "/api/generations/failed", "/billing/settings"]


async def test_stating_the_row_of_a_user_without_their_token_is_refused(idle: Backend):
    known = await user_with_all(idle, new_id())
    pass_id, visitor = known["pass_id"], known["visitor"]
    names = {
        "passId": [
            pass_id,
            f"  {pass_id} ",
            visitor,
            visitor.upper(),
            f"\t{visitor.upper()}\n",
            "pass:shopify:8812345",
        ],
        "pass_id": [pass_id, visitor],
        "customerId": [pass_id, visitor, "8812345", " 8812345 ", 8812345, "pass:shopify:8812345"],
        "customer_id": [pass_id, "8812345"],
    }
    everything = "select md5(string_agg(t::text, '' order by mg_id)) from mega_generations t"
    before, rows = idle.value(everything), idle.sql("select * from mega_customers")
    for place, stated in names.items():
        for value in stated:
            for path, body in WRITES if value == pass_id else WRITES[:1]:
                answer = await idle.client.post(path, json=body | {place: value})
                assert answer.status_code == 401, (path, place, value, answer.text)
    for path in READS:
        for more in (
            {"params": {"passId": pass_id}},
            {"params": {"customerId": visitor.upper()}},
            {"params": {"customerId": "8812345"}},
            {"headers": {"X-Mina-Pass-Id": pass_id}},
            {"headers": {"X-Mina-Pass-Id": visitor}},
        ):
            answer = await idle.client.get(path, **more)  # type: ignore[arg-type]
            assert answer.status_code == 401, (path, more, answer.text)
    for name in (pass_id, visitor, visitor.upper(), "pass:shopify:8812345"):
        assert (await idle.client.get(f"/history/pass/{name}")).status_code == 401
    assert (idle.value(everything), idle.sql("select * from mega_customers")) == (before, rows)


async def test_neither_a_generation_a_session_nor_a_key_of_a_user_is_a_way_round(idle: Backend):
    known = await user_with_all(idle, new_id())
    generation_id, stranger = known["generation_id"], "pass:anon:stranger"
    await idle.grant(9, stranger)
    session = idle.value("select mg_session_id from mega_generations where mg_id = %s", f"generation:{generation_id}")
    own = await idle.post(
        "/mma/still/create", {**BRIEF, "passId": stranger, "sessionId": session, "idempotencyKey": "k"}
    )
    assert own["generation_id"] != generation_id
    assert idle.value(
        "select mg_session_id from mega_generations where mg_id = %s", f"generation:{own['generation_id']}"
    ) != (session)
    for path, body in [
        ("/mma/still/tweak", {"parent_generation_id": generation_id, "feedback": {"text": "darker"}}),
        (f"/mma/still/{generation_id}/tweak", {"feedback": {"text": "darker"}}),
        ("/mma/video/animate", {"parent_generation_id": generation_id}),
        (f"/mma/generations/{generation_id}/cancel", {}),
        ("/mma/events", {"event_type": "like", "generation_id": generation_id}),
        ("/feedback/like", {"generationId": generation_id}),
    ]:
        for named in ({"passId": stranger}, {}):
            assert (await idle.client.post(path, json=body | named)).status_code == 404, path
    assert idle.balance(known["pass_id"]) == idle.ledger_sum(known["pass_id"]) == 49


async def test_the_user_and_a_server_of_ours_still_use_the_row(idle: Backend):
    user_id = new_id()
    known = await user_with_all(idle, user_id)
    stated = {"passId": known["pass_id"]}
    for headers in (bearer(token(user_id)), ADMIN):
        assert (await idle.client.get("/credits/balance", params=stated, headers=headers)).json()["balance"] == 49
        assert (await idle.client.get(f"/history/pass/{known['pass_id']}", headers=headers)).status_code == 200
        assert (await idle.client.get("/billing/settings", params=stated, headers=headers)).status_code == 200
    made = await idle.client.post("/mma/still/create", json=BRIEF | {"customerId": 8812345}, headers=ADMIN)
    assert made.json()["passId"] == known["pass_id"]
    other = await idle.client.get(f"/history/pass/{known['pass_id']}", headers=bearer(token()))
    assert other.status_code == 404


async def test_a_shops_customer_who_has_another_name_is_found_under_the_shops(idle: Backend):
    customer(idle, "pass:anon:buyer", mg_shopify_customer_id="77")
    await idle.grant(2, "pass:anon:buyer")
    for stated in ({"passId": "pass:shopify:77"}, {"customerId": "77"}, {"customerId": "pass:shopify:77"}):
        assert (await idle.client.get("/credits/balance", params=stated)).json()["passId"] == "pass:anon:buyer"


# --- who knows only the id ------------------------------------------------------------------------------------------


async def test_who_knows_only_the_id_sees_status_and_result_and_its_owner_sees_all(start: StartBackend):
    backend = await start(**SETTINGS)
    await backend.grant(12)
    accepted = await backend.create()
    still = await backend.finished(accepted)
    path = f"/mma/generations/{accepted['generation_id']}"
    seen = await backend.get(path)
    assert seen["outputs"] == still["outputs"]
    assert seen["outputs"]["seedream_image_url"]
    assert {key: seen[key] for key in ("status", "state", "status_text", "mode", "error")} == {
        key: still[key] for key in ("status", "state", "status_text", "mode", "error")
    }
    assert (seen["mma_vars"], seen["prompt"], seen["credits"], seen["parent_generation_id"]) == ({}, None, None, None)
    assert seen.keys() == still.keys()
    assert still["mma_vars"]["inputs"]["brief"] == "on pale stone, soft light"
    assert still["credits"]["balance"] == 11
    assert "pale stone" not in str(seen)
    for headers in (ADMIN, bearer(token(new_id(), OPERATOR_EMAIL))):
        assert await backend.get(path, headers=headers) == still
    for headers in ({"X-Mina-Pass-Id": "pass:anon:other"}, bearer(token())):
        assert (await backend.client.get(path, headers=headers)).status_code == 404


# --- streams by signed URLs -----------------------------------------------------------------------------------------


async def order_of_user(backend: Backend) -> tuple[Json, dict[str, str]]:
    user_id = new_id()
    mine = bearer(token(user_id))
    await backend.grant(9, (await me(backend, user_id))["passId"])
    accepted = (await backend.client.post("/mma/still/create", json=BRIEF, headers=mine)).json()
    return dict(accepted), mine


@pytest.mark.parametrize("auth", ["optional", "required"])
async def test_the_address_that_a_user_gets_may_be_followed_as_it_is(start: StartBackend, auth: str):
    backend = await start(auth=auth, **SETTINGS)
    accepted, mine = await order_of_user(backend)
    generation_id, url = accepted["generation_id"], accepted["sse_url"]
    events = await backend.events(url)
    lines = [event_id for name, event_id, _ in events if name == "scan_line"]
    assert events[-1][0] == "done"
    again = await backend.events(url, headers={"Last-Event-ID": str(lines[1])})
    assert [event_id for name, event_id, _ in again if name == "scan_line"] == lines[2:]
    rest = await backend.events(f"{url}&after={lines[-1]}")
    assert [name for name, *_ in rest] == ["status", "done"]
    plain = f"/mma/stream/{generation_id}"
    assert (await backend.client.get(plain)).status_code == 401
    assert (await backend.client.get(plain, headers={"X-Mina-Pass-Id": accepted["passId"]})).status_code == 401
    assert (await backend.client.get(plain, headers=bearer(token()))).status_code == 404
    assert (await backend.events(plain, headers=mine))[-1][0] == "done"
    assert (await backend.events(plain, headers=ADMIN))[-1][0] == "done"


@pytest.mark.parametrize("auth", ["optional", "required"])
async def test_a_token_that_was_not_signed_for_this_stream_or_not_for_now_lets_nobody_pass(
    start: StartBackend, auth: str
):
    backend = await start(worker=False, auth=auth, **SETTINGS)
    accepted, _ = await order_of_user(backend)
    other, _ = await order_of_user(backend)
    signer, generation_id = backend.app.resources.signer, accepted["generation_id"]
    signed = httpx2.URL(accepted["sse_url"]).params["token"]
    expired = Signer(backend.app.secret().encode(), clock=lambda: time.time() - 2 * stream_urls.SECONDS)
    for wrong in (
        "",
        "x",
        signed[:-1],
        signed.replace(".", ".0"),
        f"9{signed}",
        httpx2.URL(other["sse_url"]).params["token"],
        signer.token("another purpose", generation_id, seconds=60),
        expired.token(stream_urls.PURPOSE, generation_id, seconds=stream_urls.SECONDS),
    ):
        answer = await backend.client.get(f"/mma/stream/{generation_id}", params={"token": wrong})
        assert answer.status_code == 401, wrong


async def test_a_visitors_stream_is_followed_by_its_id_and_a_servers_user_gets_a_signed_url(idle: Backend):
    await idle.grant(1)
    assert (await idle.post("/mma/still/create", BRIEF))["sse_url"].partition("?")[2] == ""
    user_id = new_id()
    pass_id = (await me(idle, user_id))["passId"]
    await idle.grant(1, pass_id)
    made = await idle.client.post("/mma/still/create", json=BRIEF | {"passId": pass_id}, headers=ADMIN)
    assert "?token=" in made.json()["sse_url"]


async def test_a_streams_token_is_in_no_row_and_no_line(idle: Backend):
    accepted, _ = await order_of_user(idle)
    signed = httpx2.URL(accepted["sse_url"]).params["token"]
    for text in (
        accepted["sse_url"],
        f"GET {accepted['sse_url']}&after=3: 401",
        f'{{"sse_url": "{accepted["sse_url"]}"}}',
    ):
        assert signed.partition(".")[2] not in DEFAULT_REDACTOR.text(text)
    for table in ("mega_generations", "mega_admin", "image_generation_logs"):
        assert signed not in str(idle.sql(f"select t::text from {table} t"))
