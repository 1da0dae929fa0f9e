"""Log lines, crashes, the OpenAPI document."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg
import pytest

from safelight import telemetry
from safelight.api.app import create_api
from safelight.api.schemas.problems import is_of_v1
from tests.conftest import Backend, StartBackend
from tests.support.route_matrix import api_routes

SEED_003_LINES = [
    "🔍 [GENERATION] Starting credit check for user ",
    "💳 [GENERATION] Successfully deducted 1 credits",
    "🚀 [GENERATION-PROCESSING] Starting background processing for generation ",
    "🤖 [GENERATION-PROCESSING] Submitting to ",
    "📦 [STORAGE] Starting storage process for generation ",
    "✅ [DB-CREATE] Generation created successfully: ",
]


@pytest.fixture
def log_file(tmp_path: Path):
    path = tmp_path / "logs" / "backend.log"
    telemetry.configure("INFO", path, console=False)
    yield path
    telemetry.configure("INFO", None, console=False)


async def test_the_log_file_can_be_searched_by_tag(log_file: Path, start: StartBackend):
    backend = await start()
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    for expected in SEED_003_LINES:
        assert any(line["message"].startswith(expected) for line in lines), expected
    tagged = [line for line in lines if re.search(r"\[GENERATION-PROCESSING\]", line["message"])]
    assert {line.get("generation_id") for line in tagged} == {made["generation_id"]}
    assert {"timestamp", "level", "logger", "message", "module", "function", "line"} <= lines[0].keys()


async def test_a_cancel_is_no_error_in_the_log(log_file: Path, start: StartBackend):
    backend = await start(local_latency_seconds=60)
    await backend.grant(1)
    accepted = await backend.create()
    await backend.post(f"/mma/generations/{accepted['generation_id']}/cancel", {})
    assert (await backend.finished(accepted))["status"] == "cancelled"
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    assert not [line for line in lines if line["level"] == "ERROR" or "failed" in line["message"]]
    [told] = [line for line in lines if "was cancelled" in line["message"]]
    assert (told["level"], told["error_code"]) == ("INFO", "MMA_CANCELLED")


async def test_a_failure_is_logged_as_an_error(log_file: Path, start: StartBackend):
    backend = await start(local_fault="gpt_reader:timeout")
    await backend.grant(1)
    await backend.finished(await backend.create())
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    [failed] = [line for line in lines if line["message"].startswith("❌ [GENERATION-PROCESSING] Critical error")]
    assert "gpt_reader failed" in failed["message"]
    assert (failed["level"], failed["category"]) == ("ERROR", "TIMEOUT")
    assert any(line["message"].startswith("💳 [CREDIT] Refunded 1 credits") for line in lines)
    assert any(line["message"].startswith("🔄 [GENERATION-PROCESSING] Marking generation") for line in lines)


CRASHES = {
    "uncaught": ("💥", "UNCAUGHT_EXCEPTION", "raise RuntimeError('out of paper')"),
    "task": (
        "🧵",
        "UNHANDLED_REJECTION",
        """
        async def leave_behind():
            report_task_crashes(app)
            task = asyncio.create_task(fail())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del task
            gc.collect()
            await asyncio.sleep(0)

        async def fail():
            raise RuntimeError('out of paper')

        asyncio.run(leave_behind())
        """,
    ),
}


@pytest.mark.parametrize("kind", CRASHES)
async def test_a_crash_of_a_process_reaches_the_ops_plane(dsn: str, tmp_path: Path, kind: str):
    emoji, category, body = CRASHES[kind]
    program = (
        "import asyncio, gc\nfrom safelight.app import App\nfrom safelight.crashes import report_crashes, report_task_crashes\n"
        "from safelight.config import Settings\napp = App(Settings())\nreport_crashes(app)\n" + textwrap.dedent(body)
    )
    environment = os.environ | {"SAFELIGHT_DATABASE_URL": dsn, "SAFELIGHT_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False, timeout=60)
    with psycopg.connect(dsn) as conn:
        rows = conn.execute(
            "select mg_detail, mg_error_stack from mega_admin where mg_record_type = 'error'"
        ).fetchall()
    [(detail, stack)] = rows
    assert (detail["emoji"], detail["category"]) == (emoji, category)
    assert detail["message"] == "RuntimeError: out of paper"
    assert detail["request_id"].startswith("process_")
    assert "out of paper" in stack


@pytest.fixture(scope="module")
async def document(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> dict:
    from tests.conftest import running  # noqa: PLC0415

    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False) as backend:
        return await backend.get("/openapi.json")


ROUTES = {
    "/mma/still/create": "post",
    "/mma/still/tweak": "post",
    "/mma/still/{generation_id}/tweak": "post",
    "/mma/video/animate": "post",
    "/mma/video/create": "post",
    "/mma/video/tweak": "post",
    "/mma/video/{generation_id}/tweak": "post",
    "/mma/generations/{generation_id}": "get",
    "/mma/generations/{generation_id}/cancel": "post",
    "/webhooks/{adapter}/{attempt}": "post",
    "/mma/stream/{generation_id}": "get",
    "/mma/events": "post",
    "/sessions/start": "post",
    "/credits/balance": "get",
    "/credits/add": "post",
    "/api/credits/shopify-order": "post",
    "/billing/settings": "post",
    "/me": "get",
    "/auth/shopify-sync": "post",
    "/history/pass/{pass_id}": "get",
    "/api/r2/upload-signed": "post",
    "/api/r2/store-remote-signed": "post",
    "/api/admin/failed-generations": "get",
    "/api/generations/failed": "get",
    "/api/admin/cleanup-stuck-generations": "post",
    "/api/admin/providers": "get",
    "/assets/{key}": "get",
    "/private-assets/{key}": "get",
    "/thumbnails/{size}/{key}": "get",
    "/api/assets/signed-url": "post",
    "/": "get",
    "/health": "get",
    "/metrics": "get",
    "/editorial/generate": "post",
    "/motion/suggest": "post",
    "/motion/generate": "post",
    "/feedback/like": "post",
    "/history": "get",
    "/history/trimmed": "get",
    "/public/stats/total-users": "get",
    "/store-remote-generation": "post",
    "/api/log-error": "post",
    "/history/{record_id}": "delete",
    "/public/download": "get",
    "/api/health": "get",
    "/api/r2/presign": "post",
    "/admin/summary": "get",
    "/admin/customers": "get",
    "/admin/mega/parity": "get",
    "/admin/credits/adjust": "post",
    "/admin/config/runtime": "post",
    "/admin/config/runtime/unset": "post",
    "/admin/config/runtime/reload": "post",
}
FILES = {"/assets/{key}", "/private-assets/{key}", "/thumbnails/{size}/{key}", "/public/download"}


def test_openapi_describes_every_route(document: dict):
    methods = ("post", "get", "delete")
    found = {path: next(one for one in methods if one in known) for path, known in document["paths"].items()}
    assert {path: method for path, method in found.items() if not is_of_v1(path)} == ROUTES
    app = create_api(None, cors_origins=[])  # type: ignore[arg-type]
    assert found.keys() == {route.path_format for route in api_routes(app.routes) if route.include_in_schema}


@pytest.mark.parametrize(("path", "method"), [*ROUTES.items(), ("/admin/config/runtime", "get")])
def test_every_route_is_explained_by_example(document: dict, path: str, method: str):
    operation = document["paths"][path][method]
    assert operation["summary"]
    if path.startswith(("/mma/still", "/mma/video")):
        assert operation["requestBody"]["content"]["application/json"]["examples"]
        assert {"200", "400", "402", "404", "422"} <= operation["responses"].keys()
    content = operation["responses"].get("200", {}).get("content", {})
    if path not in FILES:
        assert any("example" in media for media in content.values()), path
    named = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)}", path))


def test_every_field_of_a_create_body_is_described(document: dict):
    for schema in ("AssetsBody", "InputsBody", "CreateBody", "IdentityBody"):
        for name, field in document["components"]["schemas"].get(schema, {}).get("properties", {}).items():
            assert field.get("description") or "$ref" in field or "default" in field, f"{schema}.{name}"


async def test_an_example_of_the_document_is_accepted(backend: Backend, document: dict):
    await backend.grant(10)
    examples = document["paths"]["/mma/still/create"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        answer = await backend.client.post("/mma/still/create", json={**example["value"], "passId": backend.pass_id})
        assert answer.status_code == 200


async def test_the_reference_page_needs_no_network(backend: Backend):
    page = await backend.client.get("/docs")
    assert page.status_code == 200
    assert not re.search(r"(src|href)=\"https?://", page.text)
    for path in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", page.text):
        assert (await backend.client.get(path)).status_code == 200
