"""Secrets planted in every place where a value can enter: none is found in any place where values are kept or shown."""

import asyncio
import base64
import json
import logging
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from psycopg import sql

from safelight import telemetry
from safelight.api.legacy import customers
from safelight.db.operations import ops_rows
from safelight.domain.errors.categories import Category
from safelight.providers.simulated import results, server
from safelight.providers.simulated.faults import Faults
from safelight.providers.simulated.server import Simulation
from tests.conftest import COFFEE, Backend, Json, running
from tests.support.commands import run_safelight
from tests.support.secret_samples import Garden, opaque
from tests.support.simulated_provider import simulating

PLANTED_MIN = 500
OWN = {
    name: f"owned-{opaque(number)}"
    for number, name in enumerate(
        ("admin_token", "s3_access_key_id", "s3_secret_access_key", "openai_api_key", "replicate_token", "fal_key")
    )
}


@pytest.fixture
async def garden(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A garden, a backend whose provider leaks secrets into whatever it says, and that provider."""
    planted = Garden()
    planted.planted += OWN.values()
    monkeypatch.setattr(results, "answer", _leaking(results.answer, planted))
    problem = server._problem
    monkeypatch.setattr(
        server, "_problem", lambda status, detail, headers=None: problem(status, f"{detail} {planted.text()}", headers)
    )
    async with AsyncExitStack() as stack:
        simulation, settings = await stack.enter_async_context(simulating(dsn))
        secret_dsn = f"{dsn}&password={planted.form()}"
        backend = await stack.enter_async_context(running(secret_dsn, tmp_path / "home", **settings, **OWN))
        log_file = backend.app.home / "logs" / "backend.log"
        telemetry.configure("DEBUG", log_file, redactor=backend.app.redactor)
        yield planted, backend, simulation
        telemetry.configure("INFO", None, console=False)


def _leaking(answer: Any, planted: Garden) -> Any:
    def leaky(schema: Any) -> Any:
        made = answer(schema)
        if isinstance(made, dict) and "properties" in schema:
            return {name: leaky(part) for name, part in schema["properties"].items()}
        if isinstance(made, str) and schema.get("maxLength", 1000) >= len(made) + 60:
            return f"{made} {planted.form(longest=50)}"
        return made

    return leaky


async def test_five_hundred_planted_secrets_are_found_nowhere(
    garden: tuple[Garden, Backend, Simulation], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    planted, backend, simulation = garden
    await backend.grant(200)
    picture = await backend.upload()
    shown = [await _successes(planted, backend, picture)]
    shown += [await _failures(planted, backend, simulation, picture)]
    simulation.faults = Faults()
    await _every_route(planted, backend)
    await _uploads(planted, backend)
    await _crashes(planted, backend, monkeypatch)
    for own in OWN.values():
        await backend.post("/mma/events", {"eventType": "note", "payload": {"text": f"it is {own}"}, "title": own})
        await backend.client.get(f"/nowhere/{own}", headers={"user-agent": own})
    _spooled(planted, backend)
    spooled = _files(backend.app.home)  # before the rows are on their way to the database
    assert any("ops-spool" in path for path in spooled)
    shown.append(await _answers(backend))
    shown.append(_exports(backend))
    shown.append("".join(capsys.readouterr()))
    assert len(set(planted.planted)) >= PLANTED_MIN
    assert found_in(planted, all_tables(backend)) == {}
    assert found_in(planted, spooled) == {}
    assert found_in(planted, _files(backend.app.home)) == {}
    assert found_in(planted, {str(number): text for number, text in enumerate(shown)}) == {}


# --- where values enter ----------------------------------------------------------------------------------------------


def _order(planted: Garden, picture: str) -> Json:
    """An order with a secret in each text of it."""
    return {
        "title": planted.text(),
        "platform": planted.form(longest=150),
        "assets": {"product_image_url": picture},
        "inputs": {
            "brief": planted.sentence(),
            "style": planted.form(longest=150),
            "negative_prompt": planted.sentence(),
            "movement_style": planted.form(longest=150),
            "motion_user_brief": planted.sentence(),
            "feedback": planted.sentence(),
            "aspect_ratio": "1:1",
            "api_key": planted.form(longest=150),
            "note": planted.form(longest=150),
            planted.form(longest=150): "yes",
        },
        "history": {"session_title": planted.form(longest=150)},
        "feedback": {"still_feedback": planted.sentence(), "motion_feedback": planted.sentence()},
        "settings": {"seedream": {"size": "1K", **planted.keyed()}, "kling": {"hint": planted.text()}},
    }


async def _successes(planted: Garden, backend: Backend, picture: str) -> str:
    """Stills, videos and tweaks of them that succeed. Returns what their streams said."""
    heard = []

    async def made(path: str, **more: Any) -> Json:
        body = _order(planted, picture) | more
        accepted = await backend.post(path, body, headers={"Idempotency-Key": planted.form(longest=190)})
        heard.append(str(await backend.events(accepted["sse_url"])))
        done = await backend.generation(accepted["generation_id"])
        assert done["status"] == "done", done
        return done

    still = await made("/mma/still/create")
    await made("/mma/still/tweak", parent_generation_id=still["generation_id"])
    video = await made("/mma/video/animate", parent_generation_id=still["generation_id"])
    await made("/mma/video/tweak", parent_generation_id=video["generation_id"])
    await made("/mma/video/animate", type_for_me=True, assets={"start_image_url": picture})
    return "".join(heard)


async def _failures(planted: Garden, backend: Backend, simulation: Simulation, picture: str) -> str:
    """Generations that fail in each way a provider can fail, with what it says."""
    heard = []
    for faults, where in (
        (Faults(refused=1), {"ask"}),
        (Faults(refused=1), {"start"}),
        (Faults(unavailable=1), {"ask"}),
        (Faults(unavailable=1), {"start"}),
        (Faults(wrong_shape=1), {"ask"}),
        (Faults(unavailable=1), {"check"}),
        (Faults(fails=1), set()),
    ):
        simulation.faults, simulation._faulty = faults, frozenset(where)
        accepted = await backend.post("/mma/still/create", _order(planted, picture))
        heard.append(str(await backend.events(accepted["sse_url"])))
        assert (await backend.generation(accepted["generation_id"]))["status"] == "error"
    return "".join(heard)


async def _every_route(planted: Garden, backend: Backend) -> None:
    """Each route of the OpenAPI document, with a secret in each part of its path, query, headers and body."""
    document = (await backend.client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            if "/mma/stream" in path or method == "head":
                continue
            parameters = route.get("parameters", [])
            url = path
            for one in parameters:
                url = url.replace("{" + one["name"] + "}", planted.form(longest=90))
            query = {one["name"]: planted.form(longest=90) for one in parameters if one["in"] == "query"}
            schema = _body_schema(route, document)
            for body in _bodies(planted, schema, document):
                await backend.client.request(
                    method, url, params=query | {"more": planted.text()}, headers=_headers(planted), json=body
                )


def _headers(planted: Garden) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {planted.form()}",
        "x-admin-secret": planted.form(),
        "User-Agent": f"app/1.0 ({planted.text()})",
        "Cookie": f"session={planted.form()}",
        "X-Mina-Pass-Id": planted.form(longest=190),
        "Idempotency-Key": planted.form(longest=190),
        "Referer": f"https://example.com/?token={planted.form()}",
    }


def _body_schema(route: Json, document: Json) -> Json | None:
    content = route.get("requestBody", {}).get("content", {}).get("application/json")
    return _resolved(content["schema"], document) if content else None


def _resolved(schema: Json, document: Json) -> Json:
    for part in schema.get("allOf", []) + schema.get("anyOf", []):
        if "$ref" in part:
            schema = part
    if "$ref" in schema:
        return dict(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]])
    return schema


def _bodies(planted: Garden, schema: Json | None, document: Json) -> Iterator[Json | None]:
    """With a secret in all fields, and in one at a time."""
    if schema is None:
        yield None
        return
    fields = schema.get("properties", {})
    yield {name: _filled(planted, part, document) for name, part in fields.items()} | planted.keyed()
    for name, part in fields.items():
        yield {"eventType": "like", "inputs": {"brief": "a cup"}, name: _filled(planted, part, document)}


def _filled(planted: Garden, schema: Json, document: Json) -> Any:
    schema = _resolved(schema, document)
    kinds = [schema.get("type"), *(part.get("type") for part in schema.get("anyOf", []))]
    if "object" in kinds and "properties" in schema:
        return {name: _filled(planted, part, document) for name, part in schema["properties"].items()}
    if "object" in kinds:
        return planted.keyed()
    if "array" in kinds:
        return [planted.text()]
    return planted.form(longest=190) if "string" in kinds else planted.text()


async def _uploads(planted: Garden, backend: Backend) -> None:
    data_url = "data:image/jpeg;base64," + base64.b64encode(COFFEE.read_bytes()).decode()
    for private in (False, True):
        body = {"dataUrl": data_url, "kind": planted.form(longest=190), "filename": f"{planted.form(longest=190)}.jpg"}
        answer = await backend.post("/api/r2/upload-signed", body | {"private": private})
        readable = await backend.client.get(answer["url"])
        assert readable.status_code == 200, answer
    ticket = await backend.post(
        "/api/r2/upload-signed", {"filename": f"{planted.form(longest=190)}.jpg", "contentType": "image/jpeg"}
    )
    put = await backend.client.put(ticket["uploadUrl"], content=COFFEE.read_bytes())
    assert put.status_code == 200
    await backend.client.post("/api/r2/store-remote-signed", json={"url": planted.around("aws_url")})
    order = {"inputs": {"brief": "x"}, "assets": {"product_image_url": planted.around("supabase_url")}}
    accepted = await backend.post("/mma/still/create", order)
    await backend.events(accepted["sse_url"])
    assert (await backend.generation(accepted["generation_id"]))["error"]["code"] == "ASSET_UNREACHABLE"


async def _crashes(planted: Garden, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unexpected errors: in a route, in a background task, and in the lines of libraries."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(planted.text()) from ValueError(f"{'x' * 3900} {planted.text()}")

    with monkeypatch.context() as patched:
        patched.setattr(customers.generations, "history", fail)
        for _ in range(10):
            answer = await backend.client.get(f"/history/pass/{backend.pass_id}?token={planted.form()}")
            assert answer.status_code == 500
    loop = asyncio.get_running_loop()
    for _ in range(10):
        loop.call_exception_handler({"message": planted.text(), "exception": RuntimeError(planted.text())})
    library = logging.getLogger("some.library")
    for _ in range(10):
        library.error("sent %s to %r", planted.text(), {"headers": {"Authorization": planted.around("bearer")}})
        telemetry.warning(
            telemetry.Tag.API, planted.text(), **planted.keyed(), url=httpx2.URL(planted.around("azure_url"))
        )
    await asyncio.sleep(0)


def _spooled(planted: Garden, backend: Backend) -> None:
    for number in range(5):
        backend.app.ops_outbox.append(
            ops_rows.OpsError(
                category=Category.UNCAUGHT_EXCEPTION,
                code="TEST",
                message=planted.text(),
                request_id=f"r{number}",
                route="/x",
                method="GET",
                http_status=500,
                stack=planted.text(),
                extra=planted.keyed(),
            )
        )


# --- where they could be found ---------------------------------------------------------------------------------------


def all_tables(backend: Any) -> dict[str, str]:
    """Each table's rows, as one text."""
    tables = backend.sql(
        "select table_schema as schema, table_name as name from information_schema.tables"
        " where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')"
    )
    return {
        f"{table['schema']}.{table['name']}": "\n".join(
            row["row"]
            for row in backend.sql(
                sql.SQL("select t::text as row from {} t")
                .format(sql.Identifier(table["schema"], table["name"]))
                .as_string(None)
            )
        )
        for table in tables
    }


def _files(home: Path) -> dict[str, str]:
    """Every file's name and content."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    return {str(path): f"{path}\n{path.read_bytes().decode('latin-1')}" for path in files}


async def _answers(backend: Backend) -> str:
    operator = {"x-admin-secret": OWN["admin_token"]}
    rows = backend.sql("select mg_generation_id as id from mega_generations where mg_record_type = 'generation'")
    paths = ["/metrics", f"/history/pass/{backend.pass_id}", "/api/admin/failed-generations", "/api/admin/providers"]
    paths += [f"/mma/generations/{row['id']}" for row in rows]
    return "\n".join([(await backend.client.get(path, headers=operator)).text for path in paths])


def _exports(backend: Backend) -> str:
    settings = {"SAFELIGHT_DATABASE_URL": backend.dsn, "SAFELIGHT_HOME": str(backend.app.home)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")} | settings
    failed = backend.value("select mg_generation_id from mega_generations where mg_mma_status = 'error' limit 1")
    commands = (
        ["failures", "--json"], ["generations", "list", "--json"], ["generations", "show", failed, "--json"],
        ["generations", "logs", failed, "--json"], ["providers", "--json"], ["doctor", "--json"],
    )  # fmt: skip
    said = []
    for command in commands:
        ran = run_safelight(*command, environment=environment)
        assert json.loads(ran.stdout) is not None, ran.stderr
        said.append(ran.stdout + ran.stderr)
    return "".join(said)


def found_in(planted: Garden, places: dict[str, str]) -> dict[str, list[str]]:
    """The secrets that a place shows, also as JSON or in a URL."""
    found = {}
    for place, text in places.items():
        seen = [one for one in set(planted.planted) if one in text or json.dumps(one)[1:-1] in text]
        if seen:
            found[place] = [f"{one}: …{text[max(text.find(one) - 80, 0) : text.find(one) + 40]}" for one in seen[:5]]
    return found
