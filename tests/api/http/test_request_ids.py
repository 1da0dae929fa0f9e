"""`X-Request-Id`: taken from whoever states one, made safe, and in each answer, log line and row of the request."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from safelight import telemetry
from safelight.api.http.request_ids import CHARS_MAX
from tests.conftest import Backend, StartBackend, running

STATED = "trace-0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
async def idle(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False) as backend:
        yield backend


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        (STATED, STATED),
        ("Root=1-67891233-abcdef012345678912345678", "Root=1-67891233-abcdef012345678912345678"),
        ("id with spaces; and <b>", "idwithspacesandb"),
        ("x" * 5000, "x" * CHARS_MAX),
        ("ünïcode-7".encode().decode("latin-1"), "ncode-7"),
    ],
)
async def test_a_stated_id_is_taken_bounded_and_made_safe(idle: Backend, stated: str, taken: str):
    for path in ("/credits/balance", "/me"):
        answer = await idle.client.get(path, headers={"X-Request-Id": stated.encode("latin-1")})
        assert (answer.headers["x-request-id"], answer.json()["requestId"]) == (taken, taken)


@pytest.mark.parametrize("stated", ["", "<>;", '"'])
async def test_what_is_no_id_is_replaced_by_one_of_ours(idle: Backend, stated: str):
    answer = await idle.client.get("/credits/balance", headers={"X-Request-Id": stated})
    assert answer.json()["requestId"].startswith("req_")
    assert (await idle.client.get("/me", headers={"X-Request-Id": stated})).json()["requestId"].startswith("me_")


async def test_a_secret_is_no_id(idle: Backend):
    secret = "sk-proj-" + "a1B2" * 12
    answer = await idle.client.get("/credits/balance", headers={"X-Request-Id": secret})
    assert secret not in answer.text
    assert secret not in str(answer.headers)


async def test_every_row_of_an_order_names_the_request(idle: Backend):
    await idle.grant(1)
    accepted = await idle.post("/mma/still/create", {"inputs": {"brief": "a cup"}}, headers={"X-Request-Id": STATED})
    rows = idle.sql(
        "select mg_record_type as kind, coalesce(mg_meta->>'request_id', mg_meta #>> '{request,request_id}') as id"
        " from mega_generations where mg_generation_id = %s or mg_session_id ="
        " (select mg_session_id from mega_generations where mg_id = 'generation:' || %s)",
        accepted["generation_id"],
        accepted["generation_id"],
    )
    assert {row["kind"]: row["id"] for row in rows} == dict.fromkeys(
        ("session", "generation", "mma_event", "credit_transaction"), STATED
    )
    await idle.post("/mma/events", {"event_type": "like"}, headers={"X-Request-Id": "like-1"})
    await idle.post("/feedback/like", {"prompt": "a cup"}, headers={"X-Request-Id": "like-1"})
    counted = idle.value("select count(*) from mega_generations where mg_meta->>'request_id' = 'like-1'")
    assert counted == 2


async def test_a_refusal_is_told_to_operators_under_the_stated_id(idle: Backend):
    await idle.post("/mma/still/create", {}, status=400, headers={"X-Request-Id": "refused-1"})
    assert [
        row["mg_detail"]["error_code"] for row in idle.ops_rows() if row["mg_detail"]["request_id"] == "refused-1"
    ] == ["MISSING_INPUT"]


async def test_the_same_id_twice_moves_credits_twice(idle: Backend):
    headers = {"X-Request-Id": "one-for-all", "x-admin-secret": idle.app.admin_token()}
    before = (await idle.post("/credits/add", {"amount": 2}, headers=headers))["newBalance"]
    assert (await idle.post("/credits/add", {"amount": 2}, headers=headers))["newBalance"] == before + 2
    adjusted = [await idle.post("/admin/credits/adjust", {"delta": 1}, headers=headers) for _ in range(2)]
    assert adjusted[1]["creditsAfter"] == adjusted[0]["creditsAfter"] + 1
    refs = idle.sql("select mg_ref_id from mega_generations where mg_ref_id like 'one-for-all:%%'")
    assert len({row["mg_ref_id"] for row in refs}) == 4


async def test_every_log_line_of_a_request_has_its_id(start: StartBackend, tmp_path: Path):
    file = tmp_path / "lines.jsonl"
    telemetry.configure("INFO", file, console=False)
    try:
        backend = await start(worker=False)
        await backend.grant(1)
        body = {"inputs": {"brief": "a cup"}}
        await backend.post("/mma/still/create", body, headers={"X-Request-Id": "first"})
        await backend.post("/mma/still/create", body, status=402, headers={"X-Request-Id": "second"})
    finally:
        telemetry.configure("INFO", None)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    of_orders = [line for line in lines if "credit check" in line["message"] or "Generation created" in line["message"]]
    assert [line["request_id"] for line in of_orders] == ["first", "first", "second"]
