"""Generations of `/api/v1`: ordered as JSON and as forms, listed, followed, cancelled, ordered again and deleted."""

from typing import Any

import httpx2
import pytest

from safelight.api.auth.identity import HEADER
from safelight.domain.ids import new_id
from tests.conftest import COFFEE, Backend, Json, StartBackend
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

V1 = "/api/v1"
GENERATIONS = f"{V1}/generations"
STILL: Json = {"kind": "still", "brief": "on pale stone", "aspect_ratio": "1:1", "settings": {"size": "1K"}}
ADMIN_TOKEN = "the-operators-token-0123456789abcdef"
ESTIMATED: Json = {"eta_seconds": None, "queue_position": None, "stalled": False}
ADMIN = {"x-admin-secret": ADMIN_TOKEN}


class V1Client:
    """Speaks `/api/v1` as one customer."""

    def __init__(self, backend: Backend, headers: dict[str, str] | None = None) -> None:
        self.backend = backend
        self.headers = {HEADER: backend.pass_id} if headers is None else headers

    async def ask(self, method: str, path: str, *, status: int = 200, **more: Any) -> Json:
        answer = await self.raw(method, path, **more)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def raw(self, method: str, path: str, **more: Any) -> httpx2.Response:
        headers = self.headers | more.pop("headers", {})
        return await self.backend.client.request(method, path, headers=headers, **more)

    async def order(self, **more: Any) -> Json:
        return await self.ask("POST", GENERATIONS, json=STILL | more, status=202)

    async def finished(self, generation: Json) -> Json:
        """The generation once its stream has ended."""
        await self.events(generation["links"]["stream"])
        return await self.ask("GET", generation["links"]["self"])

    async def events(self, url: str, **headers: str) -> list[tuple[str, str | None, Json]]:
        found = []
        async with self.backend.client.sse(url, headers=self.headers | headers) as stream:
            async for event in stream:
                found.append((event.event, event.id or None, event.json()))
        return found


def form(files: list[tuple[str, str]], **fields: str) -> tuple[bytes, dict[str, str]]:
    """A multipart form with the sample photo under these names."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    for name, file_name in files:
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n\r\n'
        parts.append(head.encode() + COFFEE.read_bytes() + b"\r\n")
    return b"".join(parts) + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(worker=False, admin_token=ADMIN_TOKEN, **SIGNED_BY_SECRET)


async def test_a_still_and_a_video_are_ordered_followed_changed_and_read(backend: Backend):
    await backend.grant(20)
    customer = V1Client(backend)
    project = await customer.ask("POST", f"{V1}/projects", json={"name": "Spring"}, status=201)
    answer = await customer.raw("POST", GENERATIONS, json=STILL | {"name": "Cups", "project_id": project["id"]})
    accepted = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == accepted["links"]["self"] == f"{GENERATIONS}/{accepted['id']}"
    assert (accepted["status"], accepted["results"], accepted["cost"]) == (
        "queued", [], {"credits": 1, "charged": 1, "refunded": 0},
    )  # fmt: skip
    still = await customer.finished(accepted)
    [result] = still["results"]
    stored = (await backend.client.get(result["url"])).content
    assert (still["status"], still["name"], still["project_id"]) == ("completed", "Cups", project["id"])
    assert (result["position"], result["bytes"], result["media_type"]) == ([0, 0], len(stored), "image/png")
    assert len(result["sha256"]) == 64 and result["width"] == still["width"]
    assert still["progress"] == {"percent": 100, "done": 1, "expected": 1, "missing": 0} | ESTIMATED
    assert still["created_at"] <= still["started_at"] <= still["completed_at"]
    assert (await backend.client.get(result["thumbnail_url"])).status_code == 307
    video = await customer.finished(
        await customer.ask(
            "POST", GENERATIONS, json={"kind": "video", "parent_id": still["id"], "duration_seconds": 1}, status=202
        )
    )
    assert (video["status"], video["kind"], video["parent_id"]) == ("completed", "video", still["id"])
    assert video["results"][0]["seconds"] > 0
    tweak = await customer.finished(await customer.order(parent_id=still["id"], feedback="darker"))
    assert (tweak["status"], tweak["parent_id"]) == ("completed", still["id"])
    steps = await customer.ask("GET", still["links"]["steps"])
    assert [step["number"] for step in steps["items"]] == list(range(len(steps["items"])))
    assert "input" not in str(steps) or all(step["input"] is None for step in steps["items"])
    urls = await customer.ask("GET", still["links"]["media_urls"], params={"expires_in": 60})
    assert (await backend.client.get(urls["primary_url"])).content == stored
    assert backend.balance() == backend.ledger_sum() == 13


async def test_pictures_come_as_files_of_a_form_and_are_private(backend: Backend):
    await backend.grant(9)
    customer = V1Client(backend)
    content, headers = form(
        [("product_image", "cup.jpg"), ("inspiration_images", "a.jpg")],
        kind="still",
        brief="stone",
        settings='{"size": "1K"}',
    )
    dry = await customer.ask("POST", GENERATIONS, content=content, headers=headers, params={"dry_run": "true"})
    assert dry["cost"] == {"credits": 1, "price_each": 1, "results": 1}
    assert backend.value("select count(*) from mega_generations where mg_record_type = 'generation'") == 0
    assert not list((backend.app.home / "private-assets").rglob("*.jpg"))
    first = await customer.ask(
        "POST", GENERATIONS, content=content, headers=headers | {"Idempotency-Key": "k"}, status=202
    )
    again = await customer.ask(
        "POST", GENERATIONS, content=content, headers=headers | {"Idempotency-Key": "k"}, status=202
    )
    assert first["id"] == again["id"]
    made = await customer.finished(first)
    assert made["status"] == "completed", made
    order = backend.value(
        "select mg_payload->'order' from mega_generations where mg_id = %s", f"generation:{first['id']}"
    )
    assert "/private-assets/" in order["assets"]["product"]
    assert len(order["assets"]["inspirations"]) == 1
    film, headers = form([("start_image", "cup.jpg")], kind="video", duration_seconds="1")
    assert (
        await customer.finished(await customer.ask("POST", GENERATIONS, content=film, headers=headers, status=202))
    )["status"] == "completed"


async def test_a_dry_run_says_what_it_costs_and_writes_nothing(idle: Backend):
    customer = V1Client(idle)
    for body, credits in ((STILL, 1), ({"kind": "video", "start_image_url": "https://example.com/a.png"}, 5)):
        found = await customer.ask("POST", GENERATIONS, json=body, params={"dry_run": True})
        cost = {"credits": credits, "price_each": credits, "results": 1}
        assert found == {"cost": cost, "warnings": [], "expected_seconds": None}
    assert idle.value("select count(*) from mega_generations") == 0
    refused = await customer.ask("POST", GENERATIONS, json=STILL, status=402)
    assert (refused["code"], refused["required_credits"], refused["balance"]) == ("INSUFFICIENT_CREDITS", 1, 0)


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ({"briefs": "x"}, "briefs", "brief"),
        ({"aspect_ratio": "5:7"}, "aspect_ratio", "4:5"),
        ({"kind": "painting"}, "body", "still"),
        ({"attempts_max": 99}, "attempts_max", None),
        ({"product_image_url": "javascript:alert(1)"}, "product_image_url", None),
        ({"motion": "x"}, "motion", "brief"),
        ({"brief": ""}, "body", None),
        ({"settings": {"size": "9K"}}, None, None),
        ({"parent_id": "x"}, "body", None),
        ({"project_id": "nobodys"}, "project_id", None),
    ],
)
async def test_a_wrong_order_names_the_field_and_what_is_allowed(
    idle: Backend, body: Json, field: str | None, allowed: str | None
):
    await idle.grant(5)
    found = await V1Client(idle).ask("POST", GENERATIONS, json=STILL | body, status=400)
    assert found["status"] == 400 and found["retryable"] is False and found["request_id"]
    if field:
        [problem] = found["errors"]
        assert problem["field"] == field
        assert allowed is None or allowed in problem["allowed"]
    assert idle.value("select count(*) from mega_generations where mg_record_type = 'generation'") == 0


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"),
    [
        ("GET", f"{V1}/nothing", {}, 404, "NOT_FOUND"),
        ("GET", V1, {}, 404, "NOT_FOUND"),
        ("PUT", GENERATIONS, {"json": {}}, 405, "METHOD_NOT_ALLOWED"),
        ("GET", f"{GENERATIONS}?page=2&limit=3", {}, 400, "UNKNOWN_PARAMETER"),
        ("GET", f"{GENERATIONS}?limit=0", {}, 400, "VALIDATION_ERROR"),
        ("GET", f"{GENERATIONS}?limit=101", {}, 400, "VALIDATION_ERROR"),
        ("GET", f"{GENERATIONS}?status=done", {}, 400, "VALIDATION_ERROR"),
        ("GET", f"{GENERATIONS}?cursor=xyz", {}, 400, "INVALID_CURSOR"),
        ("GET", f"{GENERATIONS}?q=%00", {}, 400, "VALIDATION_ERROR"),
        ("POST", GENERATIONS, {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "INVALID_JSON"),
        ("POST", GENERATIONS, {"content": b"a=1", "headers": {"Content-Type": "text/plain"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", GENERATIONS, {"content": b"[" + b" " * 2_000_000 + b"]", "headers": {"Content-Type": "application/json"}}, 413, "PAYLOAD_TOO_LARGE"),
        ("GET", f"{GENERATIONS}/none", {}, 404, "NOT_FOUND"),
    ],
)  # fmt: skip
async def test_every_refusal_is_a_problem(idle: Backend, method: str, path: str, more: Json, status: int, code: str):
    answer = await V1Client(idle).raw(method, path, **more)
    found = answer.json()
    assert (answer.status_code, found["code"]) == (status, code), found
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert found.keys() >= {"type", "title", "status", "detail", "code", "retryable", "request_id", "errors"}
    assert "error" not in found


async def test_what_is_busy_says_when_to_come_again(start: StartBackend):
    backend = await start(worker=False, rate_limit_writes_per_minute=1)
    await backend.grant(9)
    customer = V1Client(backend)
    answers = [await customer.raw("POST", GENERATIONS, json=STILL) for _ in range(4)]
    refused = answers[-1].json()
    assert (answers[-1].status_code, refused["code"], refused["retryable"]) == (429, "TOO_MANY_REQUESTS", True)
    assert refused["retry_after_seconds"] == int(answers[-1].headers["Retry-After"])


async def test_pages_are_stable_while_new_ones_come_and_filters_hold(idle: Backend):
    await idle.grant(40)
    customer = V1Client(idle)
    made = [(await customer.order(brief=f"cup {number}"))["id"] for number in range(7)]
    film = await customer.ask(
        "POST",
        GENERATIONS,
        json={"kind": "video", "start_image_url": "https://example.com/a.png", "motion": "Zoom"},
        status=202,
    )
    await customer.ask("POST", f"{GENERATIONS}/{made[3]}/favorite", json={})
    await customer.ask("POST", f"{GENERATIONS}/{made[2]}/cancel", json={})
    seen, cursor = [], None
    while True:
        page = await customer.ask("GET", GENERATIONS, params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
        seen += [one["id"] for one in page["items"]]
        await customer.order(brief="meanwhile")
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [film["id"], *reversed(made)]

    async def ids(**params: Any) -> list[str]:
        return [one["id"] for one in (await customer.ask("GET", GENERATIONS, params=params))["items"]]

    assert await ids(kind="video") == [film["id"]]
    assert await ids(favorite=True) == [made[3]]
    assert await ids(status="cancelled") == [made[2]]
    assert await ids(q="CUP 4") == [made[4]]
    assert await ids(q="zoom", kind="video", status="queued") == [film["id"]]
    assert await ids(q="zoom", kind="still") == []
    assert len(await ids(favorite=False, limit=100)) == 10
    await customer.ask("POST", f"{GENERATIONS}/{made[3]}/favorite", json={"favorite": False})
    assert await ids(favorite=True) == []


async def test_a_filter_goes_through_thousands_page_by_page(idle: Backend):
    await idle.grant(5)
    idle.sql(
        "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_title, mg_status, mg_content_type,"
        " mg_created_at) select 'generation:' || n, 'generation', n::text, %s, case when n in (7, 4444) then 'Needle' else 'Hay' end,"
        " 'succeeded', 'image', now() - make_interval(secs => n) from generate_series(1, 5000) n returning 1",
        idle.pass_id,
    )
    customer, found, cursor, pages = V1Client(idle), [], None, 0
    while pages == 0 or cursor:
        page = await customer.ask("GET", GENERATIONS, params={"q": "needle"} | ({"cursor": cursor} if cursor else {}))
        found += [one["id"] for one in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (found, pages) == (["7", "4444"], 3)


async def test_what_was_cancelled_is_ordered_again_and_what_is_deleted_is_gone(idle: Backend):
    await idle.grant(5)
    customer = V1Client(idle)
    first = await customer.order()
    refused = await customer.ask("POST", f"{GENERATIONS}/{first['id']}/retry", json={}, status=400)
    assert "queued" in refused["detail"]
    stopped = await customer.ask("POST", f"{GENERATIONS}/{first['id']}/cancel")
    assert (stopped["cancelled"], stopped["refunded_credits"], stopped["generation"]["status"]) == (
        True,
        1,
        "cancelled",
    )
    assert stopped["generation"]["cost"] == {"credits": 1, "charged": 1, "refunded": 1}
    second = await customer.ask("POST", f"{GENERATIONS}/{first['id']}/retry", status=202)
    assert (second["retry_of"], second["status"]) == (first["id"], "queued")
    assert (await customer.ask("DELETE", f"{GENERATIONS}/{second['id']}", status=409))[
        "code"
    ] == "GENERATION_IN_PROGRESS"
    assert await customer.ask("DELETE", f"{GENERATIONS}/{first['id']}") == {"id": first["id"], "deleted": True}
    await customer.ask("GET", f"{GENERATIONS}/{first['id']}", status=404)
    await customer.ask("POST", f"{GENERATIONS}/{first['id']}/favorite", status=404)
    assert idle.balance() == idle.ledger_sum() == 4


# --- streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["optional", "required"])
async def test_a_stream_is_followed_by_token_of_its_own_and_resumes_without_loss(start: StartBackend, auth: str):
    backend = await start(auth=auth, admin_token=ADMIN_TOKEN, **SIGNED_BY_SECRET)
    user_id = new_id()
    mine = V1Client(backend, bearer(token(user_id)))
    me = await mine.ask("GET", f"{V1}/me")
    await backend.client.get("/me", headers=mine.headers)
    await backend.grant(9, me["pass_id"])
    made = await mine.order()
    url = made["links"]["stream"]
    events = await mine.events(url)
    lines = [data for name, _, data in events if name == "log"]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert all(line["created_at"] and line["level"] and line["step"] for line in lines)
    assert events[-1][0] == "done" and events[-1][2] == {"status": "completed", "error": None}
    access = await mine.ask("POST", f"{GENERATIONS}/{made['id']}/stream-token", json={"expires_in": 60})
    nobody = V1Client(backend, {})
    rest = await nobody.events(access["url"], **{"Last-Event-ID": "2"})
    assert [data["seq"] for name, _, data in rest if name == "log"] == list(range(3, len(lines) + 1))
    assert (await nobody.raw("GET", access["url"], headers={"Last-Event-ID": str(len(lines))})).status_code == 204
    other = await mine.order()
    for wrong in ("", "?token=x", f"?token={access['token'][:-1]}"):
        assert (await nobody.raw("GET", url + wrong)).status_code == 401
    assert (await nobody.raw("GET", f"{other['links']['stream']}?token={access['token']}")).status_code == 401
    assert (await V1Client(backend, bearer(token())).raw("GET", url)).status_code == 404
    await mine.ask("POST", f"{GENERATIONS}/{made['id']}/stream-token", json={"expires_in": 301}, status=400)
    assert (await V1Client(backend, ADMIN).events(url))[-1][0] == "done"
