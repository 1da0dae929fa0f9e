"""Projects, templates, files, credits, figures and models of `/api/v1`."""

import base64
from typing import Any

import pytest

from safelight.domain.ids import new_id
from tests.api.v1.test_generations import ADMIN, ADMIN_TOKEN, GENERATIONS, STILL, V1, V1Client, form
from tests.conftest import COFFEE, Backend, Json, StartBackend
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

PHOTO = "data:image/jpeg;base64," + base64.b64encode(COFFEE.read_bytes()).decode()
FILES = f"{V1}/storage/files"
JOB: Json = {"kind": "image_job", "sources": [{"url": "https://example.com/a.png", "prompt": "x"}]}


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(worker=False, admin_token=ADMIN_TOKEN, **SIGNED_BY_SECRET)


async def test_a_project_is_made_renamed_and_deleted_and_its_generations_stay(idle: Backend):
    await idle.grant(3)
    customer = V1Client(idle)
    made = [await customer.ask("POST", f"{V1}/projects", json={"name": f"P{n}"}, status=201) for n in range(3)]
    page = await customer.ask("GET", f"{V1}/projects", params={"limit": 2})
    rest = await customer.ask("GET", f"{V1}/projects", params={"limit": 2, "cursor": page["next_cursor"]})
    assert [one["name"] for one in page["items"] + rest["items"]] == ["P2", "P1", "P0"]
    path = f"{V1}/projects/{made[0]['id']}"
    assert (await customer.ask("PATCH", path, json={"name": "Spring"}))["name"] == "Spring"
    for wrong in ({"name": " "}, {"name": "x" * 201}, {"title": "x"}, {}):
        assert (await customer.ask("PATCH", path, json=wrong, status=400))["errors"]
    generation = await customer.order(project_id=made[0]["id"])
    assert (await customer.ask("GET", GENERATIONS, params={"project_id": made[0]["id"]}))["items"] == [generation]
    assert await customer.ask("DELETE", path) == {"id": made[0]["id"], "deleted": True}
    await customer.ask("GET", path, status=404)
    assert (await customer.ask("GET", generation["links"]["self"]))["project_id"] is None


async def test_a_template_orders_again_what_a_generation_was_to_be(idle: Backend):
    await idle.grant(9)
    customer = V1Client(idle)
    first = await customer.order(name="Cups", style="editorial", product_image_url="https://example.com/cup.png")
    film = {"kind": "video", "start_image_url": "https://example.com/a.png", "motion": "zoom", "duration_seconds": 3}
    video = await customer.ask("POST", GENERATIONS, json=film, status=202)
    for made, name in ((first, "Cups"), (video, "Video session")):
        kept = await customer.ask("POST", f"{V1}/templates", json={"generation_id": made["id"]}, status=201)
        assert (kept["name"], kept["usage_count"], kept["favorite"]) == (name, 0, False)
        used = await customer.ask("POST", f"{V1}/templates/{kept['id']}/use")
        assert used["usage_count"] == 1
        again = await customer.ask("POST", GENERATIONS, json=used["body"], params={"dry_run": True})
        assert again["cost"]["credits"] == made["cost"]["credits"]
    assert used["body"] == film | {"platform": "web"}
    await customer.ask("POST", f"{V1}/templates/{kept['id']}/favorite")
    favorites = await customer.ask("GET", f"{V1}/templates", params={"favorite": True})
    assert [one["id"] for one in favorites["items"]] == [kept["id"]]
    await customer.ask("DELETE", f"{V1}/templates/{kept['id']}")
    assert len((await customer.ask("GET", f"{V1}/templates"))["items"]) == 1
    await customer.ask("POST", f"{V1}/templates", json={"generation_id": "none"}, status=404)


async def test_a_file_is_stored_once_read_checked_moved_and_deleted(idle: Backend):
    customer = V1Client(idle)
    project = await customer.ask("POST", f"{V1}/projects", json={"name": "Spring"}, status=201)
    content, headers = form([("file", "cup.jpg")], name="cup.jpg", folder="product")
    first = await customer.ask("POST", f"{V1}/storage/upload", content=content, headers=headers, status=201)
    same = await customer.ask("POST", f"{V1}/storage/upload", json={"file": PHOTO, "folder": "product"}, status=201)
    other = await customer.ask("POST", f"{V1}/storage/upload", json={"file": PHOTO, "folder": "logo"}, status=201)
    assert first["id"] == same["id"] != other["id"]
    stored = (await idle.client.get(first["url"])).content
    assert (first["bytes"], first["width"] > 0, first["name"]) == (len(stored), True, "cup.jpg")
    download = await customer.raw("GET", f"{FILES}/{first['id']}/download")
    assert (await idle.client.get(download.headers["Location"])).content == stored
    stats = await customer.ask("GET", f"{V1}/storage/stats")
    assert (stats["file_count"], stats["total_bytes"]) == (2, 2 * len(stored))
    [group] = (await customer.ask("GET", f"{V1}/storage/duplicates"))["items"]
    assert group["file_ids"] == [first["id"], other["id"]]
    ids = {"file_ids": [first["id"], other["id"], "none"]}
    moved = await customer.ask("POST", f"{V1}/storage/move-to-project", json=ids | {"project_id": project["id"]})
    assert (sorted(moved["moved"]), moved["not_found"]) == (sorted([first["id"], other["id"]]), ["none"])
    assert len((await customer.ask("GET", FILES, params={"project_id": project["id"]}))["items"]) == 2
    assert (await customer.ask("POST", f"{V1}/storage/verify", json=ids))["overall_status"] == "valid"
    (idle.app.home / "private-assets" / first["storage_path"]).write_bytes(b"spoilt")
    (idle.app.home / "private-assets" / other["storage_path"]).unlink()
    report = await customer.ask("POST", f"{V1}/storage/verify", json=ids)
    assert (report["invalid"], report["missing_files"], report["overall_status"]) == (1, 1, "invalid")
    deleted = await customer.ask("POST", f"{V1}/storage/bulk-delete", json=ids)
    assert (sorted(deleted["deleted"]), deleted["not_found"]) == (sorted([first["id"], other["id"]]), ["none"])
    assert not list((idle.app.home / "private-assets").rglob("*.jpg"))
    await customer.ask("GET", f"{FILES}/{first['id']}", status=404)
    again = await customer.ask("POST", f"{V1}/storage/upload", json={"file": PHOTO, "folder": "product"}, status=201)
    assert again["id"] != first["id"] and (await idle.client.get(again["url"])).content == stored
    signed = await customer.ask("POST", f"{V1}/storage/signed-url", json={"file_id": again["id"], "expires_in": 60})
    assert (await idle.client.get(signed["url"])).content == stored
    for wrong in ({"file_id": again["id"], "expires_in": 59}, {"file_id": again["id"], "expires_in": 86401}):
        await customer.ask("POST", f"{V1}/storage/signed-url", json=wrong, status=400)
    for wrong in ({"file": "x"}, {"file": "data:image/png;base64,AAAA"}, {"file": PHOTO, "project_id": "x"}, {}):
        await customer.ask("POST", f"{V1}/storage/upload", json=wrong, status=400)


async def test_credits_and_figures_are_those_of_the_ledger_and_the_rows(idle: Backend):
    customer = V1Client(idle)
    empty = await customer.ask("GET", f"{GENERATIONS}/stats")
    assert (empty["total"], empty["success_rate"], empty["total_credits_used"]) == (0, None, 0)
    assert (await customer.ask("GET", f"{V1}/credits/balance"))["balance"] == 0
    await idle.grant(10)
    made = [await customer.order() for _ in range(3)]
    await customer.ask("POST", f"{GENERATIONS}/{made[0]['id']}/cancel")
    await customer.ask("POST", f"{GENERATIONS}/{made[1]['id']}/favorite")
    stats = await customer.ask("GET", f"{GENERATIONS}/stats")
    assert (stats["total"], stats["queued"], stats["cancelled"], stats["favorite"]) == (3, 2, 1, 1)
    assert (stats["total_credits_used"], stats["type_breakdown"]) == (2, {"still": 3})
    first = await customer.ask("GET", f"{V1}/credits/transactions", params={"limit": 2})
    rest = await customer.ask("GET", f"{V1}/credits/transactions", params={"cursor": first["next_cursor"]})
    entries = first["items"] + rest["items"]
    assert [one["transaction_type"] for one in entries] == ["refund", "usage", "usage", "usage", "bonus"]
    assert [one["amount"] for one in entries] == [1, -1, -1, -1, 10]
    assert entries[0]["balance_after"] == 8 and rest["next_cursor"] is None
    sums = await customer.ask("GET", f"{V1}/credits/stats")
    assert (sums["balance"], sums["total_charged"], sums["total_refunded"], sums["total_bonus"]) == (8, 3, 1, 10)
    found = await customer.ask("GET", f"{V1}/models")
    prices = {one["kind"]: one["credits"] for one in found["items"] if one["kind"] != "model_run"}
    assert prices == {"still": 1, "video": 5, "image_job": 1}
    assert any(one["name"] == "size" for one in found["items"][0]["parameters"])


# --- who may ask ----------------------------------------------------------------------------------------------------


async def belongings(idle: Backend, owner: V1Client) -> list[tuple[str, str, Json | None]]:
    """Every route with an id of the owner's in it."""
    generation = await owner.order(name="planted-name", brief="planted-brief")
    project = await owner.ask("POST", f"{V1}/projects", json={"name": "planted-project"}, status=201)
    template = await owner.ask("POST", f"{V1}/templates", json={"generation_id": generation["id"]}, status=201)
    file = await owner.ask("POST", f"{V1}/storage/upload", json={"file": PHOTO, "name": "planted.jpg"}, status=201)
    of_generation, of_template = f"{GENERATIONS}/{generation['id']}", f"{V1}/templates/{template['id']}"
    return [
        ("GET", of_generation, None),
        *(("GET", f"{of_generation}/{part}", None) for part in ("steps", "media-urls", "stream", "logs", "receipt")),
        *(("POST", f"{of_generation}/{part}", {}) for part in ("cancel", "retry", "favorite", "stream-token")),
        ("POST", f"{of_generation}/retry-missing", {}),
        ("PATCH", of_generation, {"name": "mine"}),
        ("DELETE", of_generation, None),
        ("POST", f"{V1}/templates", {"generation_id": generation["id"]}),
        *((method, f"{V1}/projects/{project['id']}", None) for method in ("GET", "DELETE")),
        ("PATCH", f"{V1}/projects/{project['id']}", {"name": "mine"}),
        *((method, of_template, None) for method in ("GET", "DELETE")),
        *(("POST", f"{of_template}/{part}", {}) for part in ("favorite", "use")),
        *((method, f"{FILES}/{file['id']}", None) for method in ("GET", "DELETE")),
        ("GET", f"{FILES}/{file['id']}/download", None),
        ("POST", f"{V1}/storage/signed-url", {"file_id": file["id"]}),
        ("POST", GENERATIONS, STILL | {"parent_id": generation["id"], "feedback": "x"}),
        ("POST", GENERATIONS, {"kind": "video", "parent_id": generation["id"]}),
        ("POST", GENERATIONS, JOB | {"template_id": template["id"]}),
        ("POST", GENERATIONS, JOB | {"project_id": project["id"]}),
    ]


LISTS = [GENERATIONS, f"{GENERATIONS}/stats", f"{V1}/projects", f"{V1}/templates", FILES, f"{V1}/storage/stats",
         f"{V1}/storage/duplicates", f"{V1}/credits/balance", f"{V1}/credits/transactions", f"{V1}/credits/stats", f"{V1}/me"]  # fmt: skip


@pytest.mark.parametrize("auth", ["optional", "required"])
async def test_nobody_else_sees_or_changes_what_is_the_owners(start: StartBackend, auth: str):
    backend = await start(worker=False, auth=auth, admin_token=ADMIN_TOKEN, **SIGNED_BY_SECRET)
    owner, other = V1Client(backend, bearer(token(new_id()))), V1Client(backend, bearer(token(new_id())))
    for one in (owner, other):
        pass_id = (await backend.client.get("/me", headers=one.headers)).json()["passId"]
        await backend.grant(9, pass_id)
    calls = await belongings(backend, owner)
    owners = (await owner.ask("GET", f"{V1}/me"))["pass_id"]
    rows = "select md5(string_agg(t::text, '' order by mg_id)) from mega_generations t where mg_pass_id = %s"
    before = backend.value(rows, owners)
    for method, path, body in calls:
        more: dict[str, Any] = {} if body is None else {"json": body}
        refused = await other.raw(method, path, **more)
        expected = 400 if body and body.get("kind") == "image_job" else 404
        assert (refused.status_code, "planted" in refused.text) == (expected, False), (method, path, refused.text)
        for nobody in ({}, {"X-Mina-Pass-Id": owners}):
            answer = await V1Client(backend, nobody).raw(method, path, **more)
            allowed = (401, expected) if path == GENERATIONS and auth == "optional" and not nobody else (401,)
            assert answer.status_code in allowed, (method, path, answer.text)
    for path in LISTS:
        assert "planted" not in (await other.raw("GET", path)).text
        assert (await V1Client(backend, {}).raw("GET", path)).status_code == 401
    ids = {"file_ids": [path.rpartition("/")[2] for method, path, _ in calls if path.startswith(FILES)][:1]}
    for part in ("bulk-delete", "verify", "move-to-project"):
        body = ids | ({"project_id": None} if part == "move-to-project" else {})
        found = await other.ask("POST", f"{V1}/storage/{part}", json=body)
        assert found["not_found"] == ids["file_ids"]
    assert backend.value(rows, owners) == before
    operator = V1Client(backend, ADMIN)
    for part in ("", "/steps", "/media-urls", "/logs", "/receipt"):
        assert (await operator.raw("GET", calls[0][1] + part)).status_code == 200
    assert (await operator.raw("GET", GENERATIONS)).status_code == 401
    speaking = V1Client(backend, ADMIN | {"X-Mina-Pass-Id": owners})
    assert "planted-name" in (await speaking.raw("GET", GENERATIONS)).text
