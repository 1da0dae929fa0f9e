"""Operators' legacy routes: what they show and change, and the reports of browsers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from safelight import telemetry
from safelight.db.operations import statistics
from tests.conftest import Backend, StartBackend, running
from tests.pipelines.engine.test_resume import wait_for
from tests.security.test_planted_secrets import all_tables
from tests.support.openapi import ROUTES, Route

Json = dict[str, Any]

BRIEF = {"brief": "a cup on pale stone", "platform": "square"}
USER = "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(worker=False)


async def admin(backend: Backend, path: str, body: Json | None = None, *, status: int = 200) -> Json:
    method = "GET" if body is None else "POST"
    answer = await backend.client.request(
        method, path, json=body, headers={"x-admin-secret": backend.app.admin_token()}
    )
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def audited(backend: Backend) -> list[Json]:
    rows = backend.sql("select * from mega_admin where mg_record_type = 'admin_audit' order by mg_created_at, mg_id")
    return [{"action": row["mg_action"], **row["mg_detail"]} for row in rows]


# --- totals and credits ----------------------------------------------------------------------------------------------


async def test_totals_are_those_of_the_tables(idle: Backend):
    await idle.grant(4)
    await idle.grant(3, "pass:shopify:77")
    idle.sql(
        """update mega_customers set mg_meta = '{"autoTopup": {"enabled": true}}', mg_email = 'ada@example.com'"""
        " where mg_pass_id = 'pass:shopify:77'"
    )
    idle.sql("insert into mega_customers (mg_pass_id, mg_deleted_at) values ('pass:user:gone', now())")
    assert await admin(idle, "/admin/summary") == {
        "ok": True, "totalCustomers": 2, "totalCredits": 7, "autoTopupOn": 1, "source": "mega_customers",
    }  # fmt: skip
    first, second = (await admin(idle, "/admin/customers"))["customers"]
    assert (first["shopify_customer_id"], first["email"], first["credits"]) == ("77", "ada@example.com", 3)
    assert (second["shopify_customer_id"], second["credits"], second["disabled"]) == (None, 4, False)
    assert (await admin(idle, "/admin/mega/parity"))["summary"] == {"mega_customers": 3, "mega_generations": 2}


async def test_credits_are_given_and_taken_with_a_ledger_row_and_an_audit_row(idle: Backend):
    given = await admin(idle, "/admin/credits/adjust", {"customerId": "8812345", "delta": 7, "reason": "sorry"})
    assert (given["customerId"], given["creditsBefore"], given["balance"]) == ("pass:shopify:8812345", 0, 7)
    taken = await admin(idle, "/admin/credits/adjust", {"passId": "pass:shopify:8812345", "delta": -50})
    assert (taken["creditsBefore"], taken["creditsAfter"]) == (7, 0)
    assert idle.balance("pass:shopify:8812345") == idle.ledger_sum("pass:shopify:8812345") == 0
    rows = idle.sql("select mg_delta, mg_reason, mg_source, mg_ref_type from mega_generations order by mg_created_at")
    assert [(row["mg_delta"], row["mg_reason"]) for row in rows] == [(7, "sorry"), (-7, "admin-adjust")]
    assert {(row["mg_source"], row["mg_ref_type"]) for row in rows} == {("admin", "admin")}
    assert [(row["action"], row["actor"], row["target"], row["before"], row["after"]) for row in audited(idle)] == [
        ("credits.adjust", "admin token", "pass:shopify:8812345", {"credits": 0}, {"credits": 7, "asked": 7, "reason": "sorry"}),
        ("credits.adjust", "admin token", "pass:shopify:8812345", {"credits": 7}, {"credits": 0, "asked": -50, "reason": "admin-adjust"}),
    ]  # fmt: skip


@pytest.mark.parametrize("delta", [None, 0, "5", True, 1.5, 10**7, []])
async def test_an_adjustment_that_is_no_number_of_credits_is_refused(idle: Backend, delta: Any):
    refused = await admin(idle, "/admin/credits/adjust", {"passId": "pass:user:1", "delta": delta}, status=400)
    assert refused.keys() == {"error"}
    assert "delta" in refused["error"]
    nobody = await admin(idle, "/admin/credits/adjust", {"customerId": "anonymous", "delta": 1}, status=400)
    assert "customerId" in nobody["error"]
    assert (audited(idle), idle.value("select count(*) from mega_customers")) == ([], 0)


# --- who may ask -----------------------------------------------------------------------------------------------------

KEYED = [route for route in ROUTES if route.path.startswith("/admin/")]


@pytest.mark.parametrize("route", KEYED, ids=str)
async def test_the_admin_token_may_be_the_querys_key(idle: Backend, route: Route):
    body = {"passId": "pass:user:1", "delta": 2, "override": {}, "path": "credits"}
    asked = {"method": route.method, "url": route.path, "json": body if route.method == "POST" else None}
    answer = await idle.client.request(**asked, params={"key": idle.app.admin_token()})
    assert answer.status_code == 200, answer.text
    assert {row["actor"] for row in audited(idle)} <= {"admin token"}
    before = audited(idle)
    for key in ("", "wrong", f"{idle.app.admin_token()}x", idle.app.admin_token()[:-1]):
        refused = await idle.client.request(**asked, params={"key": key})
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
    assert audited(idle) == before


async def test_a_key_in_the_query_opens_no_other_route(idle: Backend):
    for route in ROUTES:
        is_for_operators = any(one["name"] == "x-admin-secret" for one in route.parameters("header"))
        if is_for_operators and route not in KEYED:
            key = {"key": idle.app.admin_token()}
            answer = await idle.client.request(route.method, route.example_path, params=key, json={})
            assert answer.status_code == 401, route


async def test_a_key_in_the_query_is_written_nowhere(
    start: StartBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    key = "operators-know-this-one-0123456789ab"
    idle = await start(worker=False, admin_token=key)
    log_file = tmp_path / "log"
    telemetry.configure("DEBUG", log_file, redactor=idle.app.redactor)

    async def fail(*_: Any) -> Any:
        raise RuntimeError(f"GET /admin/summary?key={key}")

    monkeypatch.setattr(statistics, "summary", fail)
    for stated in (key, "another-one-7c1d5e9fa0"):
        for path in ("/admin/summary", "/admin/nowhere"):
            answer = await idle.client.get(
                f"{path}?key={stated}", headers={"referer": f"https://x.example/?key={stated}"}
            )
            assert answer.status_code in (401, 404, 500)
            assert stated not in answer.text
    telemetry.configure("INFO", None, console=False)
    kept = str(all_tables(idle)) + log_file.read_text()
    assert "RuntimeError" in kept
    assert key not in kept
    assert "another-one-7c1d5e9fa0" not in kept


# --- what is set while everything runs -------------------------------------------------------------------------------


@pytest.fixture
async def backend(dsn: str, tmp_path: Any) -> AsyncIterator[Backend]:
    async with running(dsn, tmp_path) as started:
        yield started


async def test_what_is_set_holds_at_once_and_each_change_is_on_record(backend: Backend):
    await backend.grant(10)
    override = {"credits": {"imageCost": 3, "motionCost": 900}, "replicate": {"seedream": {"size": "1K"}}}
    changed = await admin(backend, "/admin/config/runtime", {"override": override})
    assert changed["effective"]["credits"] == {"imageCost": 3, "motionCost": 100}
    made = await backend.post("/editorial/generate", BRIEF)
    assert made["credits"] == {"balance": 7, "cost": 3}
    [step] = [step for step in backend.steps(made["generationId"]) if step["mg_step_type"] == "seedream_generate"]
    assert step["mg_payload"]["input"]["settings_resolved"]["size"] == "1K"
    assert (await backend.get("/credits/balance"))["meta"] == {"imageCost": 3, "motionCost": 100}

    left = await admin(backend, "/admin/config/runtime/unset", {"path": "credits"})
    assert left["override"] == {"replicate": {"seedream": {"size": "1K"}}}
    assert left["effective"]["credits"] == {"imageCost": 1, "motionCost": 5}
    read = await admin(backend, "/admin/config/runtime")
    assert (read["override"], read["meta"]["updatedBy"]) == (left["override"], "admin token")
    assert read["defaults"]["replicate"]["seedream"]["size"] == "2K"
    assert read["effective"]["replicate"]["seedream"]["size"] == "1K"
    first, second = audited(backend)
    assert (first["action"], first["before"], first["after"]["credits"]["motionCost"]) == (
        "runtime_config.set",
        {},
        100,
    )
    assert (second["action"], second["before"]) == ("runtime_config.unset", first["after"])
    assert (second["target"], second["after"]) == ("app_config:runtime", left["override"])


async def test_another_process_follows_when_it_reloads(start: StartBackend):
    first, second = await start(worker=False), await start(worker=False)
    await admin(first, "/admin/config/runtime", {"override": {"credits": {"imageCost": 9}}})
    reloaded = await admin(second, "/admin/config/runtime/reload", {})
    assert reloaded["effective"]["credits"]["imageCost"] == 9
    refused = await second.post("/editorial/generate", BRIEF, status=402)
    assert (refused["requiredCredits"], refused["message"]) == (9, "This needs 9 credits, and you have 0.")


async def test_a_price_that_changes_does_not_change_what_was_charged(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(5)
    body, headers = {"inputs": {"brief": "a cup"}}, {"Idempotency-Key": "k"}
    first = await backend.post("/mma/still/create", body, headers=headers)
    await admin(backend, "/admin/config/runtime", {"override": {"credits": {"imageCost": 4}}})
    again = await backend.post("/mma/still/create", body, headers=headers)
    assert (again["generation_id"], again["credits_cost"]) == (first["generation_id"], 1)


async def test_every_setting_of_the_schema_can_be_set_and_unset(idle: Backend):
    values = {"string": "words", "boolean": True, "integer": 60, "number": 1.5}
    of_tables = {
        "replicate.seedream.size": "4K",
        "replicate.seedream.sequential_image_generation": "disabled",
        "replicate.kling.mode": "pro",
    }
    for leaf in (await admin(idle, "/admin/config/runtime"))["schema"]:
        override: Any = of_tables.get(leaf["path"], values[leaf["type"]])
        for part in reversed(leaf["path"].split(".")):
            override = {part: override}
        await admin(idle, "/admin/config/runtime", {"override": override})
        assert (await admin(idle, "/admin/config/runtime"))["override"] == override
        assert (await admin(idle, "/admin/config/runtime/unset", {"path": leaf["path"]}))["override"] == {}


@pytest.mark.parametrize(
    ("override", "named"),
    [
        (None, "object"),
        ([], "object"),
        ("words", "object"),
        ({"credits": 5}, "override.credits"),
        ({"credits": {"imageCost": "2"}}, "override.credits.imageCost"),
        ({"credits": {"imageCost": 1.5}}, "override.credits.imageCost"),
        ({"credits": {"imageCost": True}}, "override.credits.imageCost"),
        ({"models": {"seedream": {"name": "x"}}}, "override.models.seedream"),
        ({"models": {"dalle": "x"}}, "override.models.dalle"),
        ({"replicate": {"seedream": {"enhance_prompt": "yes"}}}, "enhance_prompt"),
        ({"replicate": {"seedream": {"size": "64K"}}}, "override.replicate.seedream.size: must be one of 1K, 2K, 4K"),
        ({"replicate": {"seedream": {"sequential_image_generation": "auto"}}}, "sequential_image_generation: must be disabled"),
        ({"replicate": {"kling": {"mode": "master"}}}, "override.replicate.kling.mode: must be one of standard, pro"),
    ],
)  # fmt: skip
async def test_an_override_that_cannot_be_acted_on_is_refused_by_name(idle: Backend, override: Any, named: str):
    refused = await admin(idle, "/admin/config/runtime", {"override": override}, status=400)
    assert refused["error"] == "INVALID_OVERRIDE"
    assert named in refused["message"]
    assert audited(idle) == []


async def test_an_override_that_another_version_left_is_read_as_far_as_it_is_known(idle: Backend):
    idle.sql(
        "insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value) values ('app_config:runtime', 'app_config',"
        """ 'runtime', '{"credits": {"imageCost": 2, "tax": 1}, "models": {"seadream": "x"}, "old": 1}')"""
    )
    read = await admin(idle, "/admin/config/runtime")
    assert (read["effective"]["credits"]["imageCost"], read["override"]["old"]) == (2, 1)
    assert "tax" not in read["effective"]["credits"]


# --- what browsers report --------------------------------------------------------------------------------------------


async def test_a_crash_of_a_browser_is_a_row_for_operators(idle: Backend):
    crash = {
        "message": "x is not a function",
        "stack": "at Profile (app.js:1:2)",
        "url": "https://app.example/profile",
        "userAgent": "Firefox",
        "userId": USER,
        "email": "ada@example.com",
        "extra": {"component": "Profile", "generation_id": "g-1", "error_code": "MINE"},
        "emoji": "🙃",
        "code": "MINE",
    }
    assert await idle.post("/api/log-error", crash) == {"ok": True}
    [row] = idle.ops_rows()
    assert (row["mg_action"], row["mg_method"], row["mg_status"]) == ("frontend.error", "FRONTEND", 500)
    assert (row["mg_route"], row["mg_user_agent"], row["mg_source_system"]) == (
        crash["url"],
        "Firefox",
        "mina-frontend",
    )
    assert (str(row["mg_user_id"]), row["mg_email"]) == (USER, "ada@example.com")
    assert (row["mg_error_code"], row["mg_error_stack"]) == ("🖥️ FRONTEND_CRASH", crash["stack"])
    assert (row["mg_detail"]["component"], row["mg_detail"]["error_code"]) == ("Profile", "FRONTEND_CRASH")
    assert row["mg_detail"]["extra"] == crash["extra"]
    assert row["mg_detail"]["generation_id"] is None  # a browser may claim any


async def test_a_crash_names_what_seed_000_asks_for_and_stands_beside_its_generation(backend: Backend):
    await backend.grant(1)
    generation_id = (await backend.finished(await backend.create()))["generation_id"]
    crash = {
        "message": "x is not a function",
        "stack": "at Studio (app.js:1:2)",
        "route": "/studio",
        "url": "https://app.example/studio?tab=2",
        "component": "Studio",
        "device": "iPhone 15",
        "user_agent": "Safari",
        "client_version": "2.4.1",
        "generation_id": generation_id,
    }
    assert await backend.post("/api/log-error", crash) == {"ok": True}
    recipe = (
        "select mg_created_at, mg_detail from public.mega_admin"
        " where mg_record_type='error' and mg_detail->>'generation_id' = %s order by mg_created_at asc"
    )
    [row] = backend.sql(recipe, generation_id)
    detail = row["mg_detail"]
    assert {name: detail[name] for name in crash} == crash
    assert detail["pass_id"] == backend.pass_id
    [row] = backend.ops_rows(generation_id)
    assert (row["mg_route"], row["mg_user_agent"], row["mg_actor_pass_id"]) == ("/studio", "Safari", backend.pass_id)
    async with backend.app.database() as db:
        assert (await backend.app.on(db).doctor.check()).violations == ()


async def test_both_spellings_of_a_report_count_and_ids_are_made_safe(idle: Backend):
    said = {"clientVersion": "1", "componentName": "Profile", "generationId": "a1 <b>; drop", "userAgent": "Firefox"}
    await idle.post("/api/log-error", {"message": "x", **said, "device": {"model": "Pixel"}, "route": "javascript:x()"})
    [row] = idle.ops_rows()
    detail = row["mg_detail"]
    assert (detail["client_version"], detail["component"], detail["user_agent"]) == ("1", "Profile", "Firefox")
    assert (detail["generation_id"], detail["device"], row["mg_route"]) == (
        "a1bdrop",
        '{"model": "Pixel"}',
        "/(frontend)",
    )


async def test_a_reported_crash_is_no_record_of_a_failure(start: StartBackend):
    """Reports that anybody may send must not hide that the ops plane lacks a row."""
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    generation_id = accepted["generation_id"]
    await backend.post(f"/mma/generations/{generation_id}/cancel", {})
    await backend.post("/api/log-error", {"message": "x", "generation_id": generation_id})
    backend.sql("delete from mega_admin where mg_record_type = 'warn'")
    async with backend.app.database() as db:
        found = (await backend.app.on(db).doctor.check()).violations
    assert [one.problem.name for one in found] == ["failure_without_ops_row"]


@pytest.mark.parametrize(
    "report",
    [
        {"message": "INSUFFICIENT_CREDITS: this needs 5 credits and the balance is 2."},
        {"message": "This needs 5 credits, and you have 2."},
        {"message": "Request failed with status code 402"},
        {"message": "HTTP 402"},
        {"message": "oh no", "status": 402},
        {"message": "oh no", "extra": {"status": 402, "url": "/mma/still/create"}},
        {"message": "oh no", "extra": {"error": "INSUFFICIENT_CREDITS"}},
        {"message": "oh no", "code": "INSUFFICIENT_CREDITS"},
    ],
)
async def test_a_reported_402_is_a_warning_and_no_crash(idle: Backend, report: Json):
    await idle.post("/api/log-error", report)
    [row] = idle.ops_rows()
    assert (row["mg_record_type"], row["mg_status"], row["mg_action"]) == ("warn", 402, "frontend.error")
    assert (row["mg_detail"]["level"], row["mg_detail"]["error_code"]) == ("warn", "INSUFFICIENT_CREDITS")


@pytest.mark.parametrize("message", ["x is undefined at app.js:402:13", "HTTP 500", "402 rows were lost", "line 402"])
async def test_a_crash_near_that_number_is_a_crash(idle: Backend, message: str):
    await idle.post("/api/log-error", {"message": message})
    [row] = idle.ops_rows()
    assert (row["mg_record_type"], row["mg_detail"]["error_code"]) == ("error", "FRONTEND_CRASH")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": {"nested": [1, 2]}, "userId": "not-a-uuid", "extra": "words"},
        {"message": "x" * 20_000, "stack": "y" * 20_000, "url": "z" * 5000, "extra": {"a": "b" * 9000}},
        {"message": None, "extra": None, "email": 5},
    ],
)
async def test_whatever_a_browser_says_is_kept_cut(idle: Backend, body: Json):
    assert (await idle.client.post("/api/log-error", json=body)).json() == {"ok": True}
    [row] = idle.ops_rows()
    assert len(row["mg_error_message"]) <= 2000
    assert len(str(row["mg_detail"])) < 25_000
    assert row["mg_user_id"] is None


async def test_a_flood_of_reports_becomes_a_few_rows_and_hides_nothing_else(idle: Backend):
    for _ in range(150):
        assert (await idle.client.post("/api/log-error", json={"message": "again"})).status_code == 200
    reported = idle.value("select count(*) from mega_admin where mg_action = 'frontend.error'")
    assert 60 <= reported <= 120  # the minute may change while they come
    await idle.post("/editorial/generate", {}, status=400)
    assert idle.ops_rows()[-1]["mg_detail"]["error_code"] == "MISSING_INPUT"


async def test_a_report_that_is_too_large_is_refused_unread(idle: Backend):
    refused = await idle.client.post("/api/log-error", json={"message": "x" * 100_000})
    assert (refused.status_code, refused.json()["error"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_report_waits_for_a_database_that_cannot_take_it(idle: Backend):
    idle.sql("alter table mega_admin rename to lost_admin")
    assert await idle.post("/api/log-error", {"message": "x is not a function"}) == {"ok": True}
    idle.sql("alter table lost_admin rename to mega_admin")
    await wait_for(idle, "select count(*) = 1 from mega_admin where mg_action = 'frontend.error'")
