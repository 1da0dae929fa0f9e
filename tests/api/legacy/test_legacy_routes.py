"""The legacy contract, golden: each route's answer and each of its errors, with ids and times masked."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.db import embedded
from tests.api.routes.test_files import data_url, site
from tests.conftest import COFFEE, Backend, StartBackend, running
from tests.support import route_matrix
from tests.support.credit_orders import SHOP_SECRET, order, signature
from tests.support.legacy_routes import ATTACHMENT, ROUTES, Failure, Route, differences
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

Json = dict[str, Any]

SETTINGS = SIGNED_BY_SECRET | {"shopify_webhook_secret": SHOP_SECRET}
OF_USERS = ("/me", "/auth/shopify-sync")
OF_OPERATORS = ("/admin/", "/credits/add")
OF_CUSTOMERS = ("/history", "/credits/balance", "/billing/settings")
SHOP_ORDER = "/api/credits/shopify-order"
BRIEF = {"brief": "a cup on pale stone, soft light", "platform": "square"}


def failures(*names: str) -> list[Any]:
    """The (route, failure) pairs of these names."""
    return [
        pytest.param(route, failure, id=f"{route.name} {failure.name}")
        for route in ROUTES
        for failure in route.failures
        if failure.name in names and not failure.cannot
    ]


AWAY = failures("NO_DB", "NO_SUPABASE", "away", "no-supabase", "no-db")
OF_THE_STORAGE = failures("UPLOAD_PUBLIC_FAILED", "STORE_REMOTE_PUBLIC_FAILED", "STORE_REMOTE_FAILED")
OF_THE_TABLES = failures(
    "SESSION_ERROR", "EDITORIAL_GENERATION_ERROR", "MOTION_SUGGESTION_ERROR", "MOTION_GENERATION_ERROR",
    "FEEDBACK_ERROR", "HISTORY_FAILED", "STATS_FAILED", "MEGA_PARITY_FAILED", "broken",
    "DELETE_FAILED", "CONFIG_READ_FAILED", "CONFIG_SAVE_FAILED", "CONFIG_UNSET_FAILED", "CREDITS_ERROR", "WEBHOOK_FAILED", "degraded",
)  # fmt: skip
POOR = failures("INSUFFICIENT_CREDITS")
DENIED = failures("Unauthorized", "UNAUTHORIZED", "INVALID_HMAC")
TOKENS = {"nobody": "", "INVALID_TOKEN": "not.a.token", "MISSING_USER_ID": token(sub="")}
UNKNOWN = failures(*TOKENS)
AGAIN = failures("again")
SLOW = failures("STILL_MAKING")
WRONG_BODIES: dict[tuple[str, str], Json] = {
    ("POST /editorial/generate", "MISSING_INPUT"): {"brief": "  ", "tone": "still-life"},
    ("POST /motion/suggest", "MISSING_REFERENCE_IMAGE"): {"text": "push in"},
    ("POST /motion/generate", "MISSING_LAST_IMAGE"): {"motionDescription": "push in"},
    ("POST /motion/generate", "MISSING_MOTION_DESCRIPTION"): {"lastImageUrl": "https://example.com/a.png"},
    ("POST /feedback/like", "MISSING_PROMPT"): {"imageUrl": "https://example.com/a.png"},
    ("GET /history/pass/{pass_id}", "MISSING_PASS_ID"): {},
    ("POST /api/r2/upload-signed", "MISSING_DATAURL"): {"kind": "product"},
    ("POST /api/r2/presign", "MISSING_DATAURL"): {"kind": "product"},
    ("POST /api/r2/store-remote-signed", "MISSING_URL"): {"kind": "generations"},
    ("POST /store-remote-generation", "NO_URL"): {"urls": []},
    ("POST /credits/add", "INVALID_AMOUNT"): {"amount": "half"},
    ("GET /billing/settings", "wrong input"): {},
    ("POST /billing/settings", "wrong input"): {"passId": ""},
    ("POST /api/credits/shopify-order", "MISSING_ORDER_ID"): order(None),
    ("POST /api/credits/shopify-order", "NO_MATCHING_PRODUCT"): order(7, line_items=[{"sku": "MUG", "quantity": 1}]),
    ("POST /admin/credits/adjust", "wrong input"): {"delta": "5"},
    ("POST /admin/config/runtime", "INVALID_OVERRIDE"): {"override": {"credits": {"imageCost": "free"}}},
    ("POST /admin/config/runtime/unset", "MISSING_PATH"): {"path": ""},
    ("DELETE /history/{record_id}", "MISSING_ID"): {"id": "%20"},
    ("DELETE /history/{record_id}", "NOT_FOUND"): {"id": "generation:of-somebody-else"},
    ("GET /public/download", "wrong input"): {"url": "https://example.com/assets/cup.jpg"},
    ("GET /public/download", "not there"): {"url": "/assets/product/none.jpg"},
}
WRONG = [
    each
    for name in dict.fromkeys(name for _, name in WRONG_BODIES)
    for each in failures(name)
    if (each.values[0].name, name) in WRONG_BODIES
]


class Asking:
    """A request of each route that is right, and what is asked by it."""

    def __init__(self, backend: Backend, photo: str, remote: str) -> None:
        self.backend = backend
        still = {"lastImageUrl": photo, "motionDescription": "push in\nslowly", "durationSeconds": 0.1}
        self.bodies: dict[str, Json] = {
            "POST /editorial/generate": BRIEF | {"productImageUrl": photo, "stylePresetKey": "back-light"},
            "POST /motion/suggest": {"referenceImageUrl": photo, "motionStyles": ["fix_camera", "loop"]},
            "POST /motion/generate": still,
            "POST /feedback/like": {"prompt": "a cup", "imageUrl": photo, "videoUrl": "", "liked": True},
            "POST /api/r2/upload-signed": {"dataUrl": data_url(COFFEE.read_bytes()), "kind": "product"},
            "POST /api/r2/presign": {"contentType": "image/jpeg", "fileName": "cup.jpg"},
            "POST /api/r2/store-remote-signed": {"url": remote, "kind": "generations"},
            "POST /store-remote-generation": {"urls": [remote]},
            "POST /api/log-error": {"message": "x is not a function", "extra": {"component": "Profile"}},
            "POST /credits/add": {"amount": "5", "reason": "sorry"},
            "POST /billing/settings": {"enabled": True, "monthlyLimitPacks": 2.7},
            "POST /api/credits/shopify-order": order(1),
            "POST /admin/credits/adjust": {"delta": 2},
            "GET /public/download": {"url": photo},
            "POST /admin/config/runtime": {"override": {"models": {}}},
            "POST /admin/config/runtime/unset": {"path": "credits.imageCost"},
        }

    async def __call__(self, route: Route, *, body: Json | None = None, token: str | None = None) -> httpx2.Response:
        path = route.path.replace("{pass_id}", self.backend.pass_id if body is None else "anonymous")
        stated = self.bodies.get(route.name, {}) if body is None else body
        if route.path == SHOP_ORDER:
            content = json.dumps(stated).encode()
            signed = {"X-Shopify-Hmac-Sha256": signature(content) if token is None else token}
            return await self.backend.client.post(path, content=content, headers=signed)
        if route.path == "/public/download":
            url = httpx2.URL(self.backend.app.settings.base_url).join(stated["url"])
            return await self.backend.client.get(path, params={"url": str(url)})
        if route.method == "DELETE":
            return await self._delete(stated.get("id"))
        known = self._token(route) if token is None else token
        headers = bearer(known) if known else {}
        if route.method == "GET":
            params = {"customerId": self.backend.pass_id} if path.startswith(OF_CUSTOMERS) and body is None else {}
            return await self.backend.client.get(path, params=params, headers=headers)
        identity = {"passId": self.backend.pass_id}
        return await self.backend.client.post(path, json=identity | stated, headers=headers)

    async def _delete(self, record_id: str | None) -> httpx2.Response:
        """A session of the customer's, if nothing else is said."""
        customer = {"passId": self.backend.pass_id}
        if record_id is None:
            begun = await self.backend.client.post("/sessions/start", json=customer)
            record_id = f"session:{begun.json().get('sessionId')}"
        return await self.backend.client.delete(f"/history/{record_id}", params=customer)

    def _token(self, route: Route) -> str:
        if route.path in OF_USERS:
            return token(email="ann@example.com")
        return self.backend.app.admin_token() if route.path.startswith(OF_OPERATORS) else ""


def must_be(answer: httpx2.Response, status: int, shape: Any) -> None:
    assert answer.status_code == status, answer.text
    if shape == ATTACHMENT:
        assert answer.headers["content-disposition"].startswith("attachment; ")
        return
    assert differences(answer.json(), shape) == []


def test_every_route_and_every_error_of_the_contract_is_looked_at():
    looked_at = [*AWAY, *OF_THE_STORAGE, *OF_THE_TABLES, *POOR, *DENIED, *UNKNOWN, *AGAIN, *SLOW, *WRONG]
    listed = [(route.name, failure.name) for route in ROUTES for failure in route.failures if not failure.cannot]
    assert sorted((each.values[0].name, each.values[1].name) for each in looked_at) == sorted(listed)
    assert {route.number for route in ROUTES} == set(range(1, 33))


def test_the_route_matrix_is_written_anew_when_something_changes():
    assert route_matrix.FILE.read_text() == route_matrix.matrix(), "run: python -m tests.support.route_matrix"


@pytest.fixture(scope="module")
def remote_site() -> Iterator[str]:
    yield from site.__wrapped__()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
async def ask(module_dsn: str, tmp_path_factory: pytest.TempPathFactory, remote_site: str) -> AsyncIterator[Asking]:
    home = tmp_path_factory.mktemp("home")
    async with running(module_dsn, home, fetch_allow_hosts=remote_site, **SETTINGS) as backend:
        await backend.grant(50)
        yield Asking(backend, await backend.upload(), f"http://{remote_site}/cup.jpg")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_a_route_answers_as_listed(ask: Asking, route: Route):
    must_be(await ask(route), 200, route.shape)


@pytest.mark.parametrize(("route", "failure"), WRONG)
async def test_wrong_input_is_told_by_its_code(ask: Asking, route: Route, failure: Failure):
    must_be(await ask(route, body=WRONG_BODIES[route.name, failure.name]), failure.status, failure.shape)


@pytest.mark.parametrize(("route", "failure"), DENIED)
@pytest.mark.parametrize("token", ["", "wrong"])
async def test_without_the_admin_token_or_a_signature_there_is_nothing(
    ask: Asking, route: Route, failure: Failure, token: str
):
    must_be(await ask(route, token=token), failure.status, failure.shape)


@pytest.mark.parametrize(("route", "failure"), UNKNOWN)
async def test_who_is_not_known_is_told_so(ask: Asking, route: Route, failure: Failure):
    must_be(await ask(route, token=TOKENS[failure.name]), failure.status, failure.shape)


@pytest.mark.parametrize(("route", "failure"), AGAIN)
async def test_what_is_told_again_is_answered_so(ask: Asking, route: Route, failure: Failure):
    await ask(route)
    must_be(await ask(route), failure.status, failure.shape)


@pytest.mark.parametrize(("route", "failure"), POOR)
async def test_without_enough_credits_nothing_is_written(start: StartBackend, route: Route, failure: Failure):
    backend = await start(worker=False)
    answer = await Asking(backend, await backend.upload(), "")(route)
    must_be(answer, failure.status, failure.shape)
    assert backend.value("select count(*) from mega_generations") == 0
    assert (answer.json()["currentCredits"], answer.json()["passId"]) == (0, backend.pass_id)
    assert answer.json()["message"].startswith("This needs ")


async def test_while_the_database_is_away_each_route_says_so_in_its_own_way(tmp_path: Path):
    dsn = embedded.start(tmp_path)
    await App(Settings(database_url=dsn)).migrate()
    async with running(dsn, tmp_path, worker=False, **SETTINGS) as backend:
        ask = Asking(backend, await backend.upload(), "")
        await asyncio.to_thread(embedded.halt, tmp_path)
        try:
            answers = await asyncio.gather(*(ask(each.values[0]) for each in AWAY))
        finally:
            await asyncio.to_thread(embedded.start, tmp_path)
    for each, answer in zip(AWAY, answers, strict=True):
        failure = each.values[1]
        assert (answer.status_code, differences(answer.json(), failure.shape)) == (failure.status, []), each.id
        assert failure.status == 200 or int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(("route", "failure"), OF_THE_TABLES)
async def test_a_failure_of_our_own_is_told_by_the_routes_code_and_to_operators(
    start: StartBackend, route: Route, failure: Failure
):
    backend = await start(worker=False, **SETTINGS)
    ask = Asking(backend, await backend.upload(), "")
    await backend.grant(10)
    backend.sql("alter table mega_customers rename to lost_customers")
    backend.sql("alter table mega_generations rename to lost_generations")
    backend.sql("alter table mega_admin rename to lost_admin")
    must_be(await ask(route), failure.status, failure.shape)
    assert list((backend.app.home / "ops-spool").glob("*.json"))


@pytest.mark.parametrize(("route", "failure"), OF_THE_STORAGE)
async def test_a_storage_that_fails_is_told_by_the_routes_code(
    start: StartBackend, route: Route, failure: Failure, remote_site: str
):
    backend = await start(worker=False, fetch_allow_hosts=remote_site)
    folder = backend.app.home / "assets"
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    must_be(await Asking(backend, "", f"http://{remote_site}/cup.jpg")(route), failure.status, failure.shape)


@pytest.mark.parametrize(("route", "failure"), SLOW)
async def test_what_takes_too_long_goes_on_without_whoever_asked(start: StartBackend, route: Route, failure: Failure):
    backend = await start(worker=False, sync_result_timeout_seconds=0.2)
    await backend.grant(5)
    answer = await Asking(backend, await backend.upload(), "")(route)
    must_be(answer, failure.status, failure.shape)
    assert (await backend.get(f"/mma/generations/{answer.json()['generationId']}"))["status"] == "queued"
    assert backend.ops_rows() == []


@pytest.mark.parametrize(
    ("path", "body", "fault", "code"),
    [
        ("/editorial/generate", BRIEF, "gpt_reader:refused", "EDITORIAL_GENERATION_ERROR"),
        ("/motion/generate", {"motionDescription": "push in"}, "kling_generate:refused", "MOTION_GENERATION_ERROR"),
    ],
)
async def test_a_failed_generation_costs_nothing_and_is_told_once(
    start: StartBackend, path: str, body: Json, fault: str, code: str
):
    backend = await start(local_fault=fault)
    await backend.grant(5)
    answer = await backend.post(path, body | {"lastImageUrl": await backend.upload()}, status=500)
    assert answer.keys() == {"ok", "error", "message", "requestId"}
    assert (answer["error"], answer["message"].endswith("Your credits were returned.")) == (code, True)
    assert backend.balance() == backend.ledger_sum() == 5
    [row] = backend.ops_rows()
    assert row["mg_detail"]["generation_id"] == backend.value(
        "select mg_generation_id from mega_generations where mg_record_type = 'generation'"
    )


@pytest.mark.parametrize("path", ["/editorial/generate", "/motion/generate"])
async def test_a_picture_that_is_not_there_is_no_failure_of_ours(backend: Backend, path: str):
    await backend.grant(5)
    pictures = {"productImageUrl": "product/nobody/none.png", "lastImageUrl": "product/nobody/none.png"}
    answer = await backend.post(path, pictures | {"motionDescription": "push in"}, status=400)
    assert answer["error"] == "ASSET_UNREADABLE"
    assert answer["message"].endswith("Your credits were returned.")
    assert backend.balance() == backend.ledger_sum() == 5
    assert len(backend.ops_rows()) == 1


async def test_a_suggestion_that_fails_gives_the_draft_back(start: StartBackend):
    backend = await start(local_fault="motion_suggestion:refused")
    body = {"referenceImageUrl": await backend.upload(), "motionBrief": "let the steam rise"}
    answer = await backend.post("/motion/suggest", body)
    assert (answer["suggestion"], answer["gpt"]["usedFallback"]) == ("let the steam rise", True)
    assert answer["gpt"]["error"]["status"] == 502
    stock = await backend.post("/motion/suggest", {"referenceImageUrl": body["referenceImageUrl"]})
    assert len(stock["suggestion"]) > 20


# --- what the fields mean --------------------------------------------------------------------------------------------


async def made(ask: Asking, path: str, body: Json) -> Json:
    """The order behind an answer."""
    answer = await ask.backend.post(path, body)
    return dict(
        ask.backend.value(
            "select mg_payload->'order' from mega_generations where mg_id = %s", f"generation:{answer['generationId']}"
        )
    )


async def test_editorial_fields_reach_the_pipeline(ask: Asking):
    photo = ask.bodies["POST /motion/generate"]["lastImageUrl"]
    order = await made(
        ask,
        "/editorial/generate",
        {
            "brief": "a cup on stone",
            "productImageUrl": photo,
            "logoImageUrl": "",
            "styleImageUrls": [photo, "asset-17"],
            "tone": "still-life",
            "stylePresetKey": "back-light",
            "platform": "Instagram-Post",
            "sessionId": "sess_0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11",
        },
    )
    assert (order["flow"], order["brief"], order["platform"]) == ("still_create", "a cup on stone", "instagram-post")
    assert order["style"] == "still-life, back light, rim light, glowing edges"
    assert (order["assets"]["product"], order["assets"]["logo"], order["assets"]["inspirations"]) == (
        photo,
        None,
        [photo],
    )
    assert (order["aspect_ratio"], order["vision_intelligence"]) == ("3:4", False)
    assert order["session_id"] == "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"


@pytest.mark.parametrize(
    ("stated", "ratio"),
    [
        ({}, "9:16"),
        ({"platform": "print"}, "2:3"),
        ({"platform": "youtube-short"}, "16:9"),
        ({"platform": "billboard"}, "2:3"),
        ({"platform": "tiktok", "aspectRatio": "1:1"}, "1:1"),
        ({"platform": "square", "aspectRatio": "7:5"}, "1:1"),
    ],
)
async def test_the_shape_of_a_still_follows_its_platform(start: StartBackend, stated: Json, ratio: str):
    backend = await start(worker=False, sync_result_timeout_seconds=0.01)
    await backend.grant(1)
    await backend.post("/editorial/generate", {"brief": "a cup", **stated}, status=503)
    assert (
        backend.value("select mg_payload #>> '{order,aspect_ratio}' from mega_generations where mg_mma_mode = 'still'")
        == ratio
    )


async def test_motion_fields_reach_the_pipeline(ask: Asking):
    photo = ask.bodies["POST /motion/generate"]["lastImageUrl"]
    stated = {"motionStyles": ["melt", "loop"], "durationSeconds": -3, "text": "push in", "aspectRatio": "1:1"}
    order = await made(ask, "/motion/generate", {"lastImageUrl": photo, **stated})
    assert (order["flow"], order["assets"]["start"], order["motion_brief"]) == ("video_animate", photo, "push in")
    assert (order["movement_style"], order["duration_seconds"], order["aspect_ratio"]) == ("melt, loop", 1, "1:1")


async def test_the_answer_tells_of_the_learned_taste(ask: Asking):
    still = ask.bodies["POST /editorial/generate"]["productImageUrl"]
    await ask.backend.post("/feedback/like", {"prompt": "warm stone, soft light", "imageUrl": still})
    answer = await ask.backend.post("/editorial/generate", BRIEF | {"minaVisionEnabled": True})
    meta = answer["gpt"]["styleProfileMeta"]
    assert (meta["source"], meta["mergeSource"]) == ("recomputed", "user_only")
    assert meta["likesCount"] > 0
    assert answer["gpt"]["styleProfile"]["keywords"]
    assert answer["gpt"]["userMessage"] != answer["prompt"]


async def test_a_form_is_as_good_as_json(ask: Asking):
    form = {"passId": ask.backend.pass_id, "platform": "Print", "title": "Mugs & more"}
    answer = (await ask.backend.client.post("/feedback/like", data={**form, "prompt": "a cup"})).json()
    assert (answer["payload"]["platform"], answer["passId"]) == ("print", ask.backend.pass_id)
    refused = await ask.backend.client.post("/feedback/like", data={"prompt": "a\0cup"})
    assert (refused.status_code, refused.json()["error"]) == (400, "INVALID_JSON")
    many = await ask.backend.client.post("/feedback/like", data={f"f{number}": "x" for number in range(300)})
    assert (many.status_code, many.json()["error"]) == (400, "INVALID_FORM")


# --- likes -----------------------------------------------------------------------------------------------------------


async def test_a_like_keeps_our_own_url_as_it_is_and_copies_any_other(start: StartBackend, remote_site: str):
    backend = await start(worker=False, fetch_allow_hosts=remote_site)
    photo = await backend.upload()
    await backend.post("/feedback/like", {"prompt": "a cup", "imageUrl": photo})
    remote = {
        "prompt": "a film",
        "resultType": "motion",
        "comment": "lovely",
        "imageUrl": f"http://{remote_site}/cup.jpg",
    }
    answer = await backend.post("/feedback/like", remote)
    assert answer["totals"] == {"likesForCustomer": 2}
    like, said = backend.sql("select * from mega_generations where mg_record_type = 'feedback' order by mg_created_at")
    assert (like["mg_output_url"], like["mg_image_url"], like["mg_video_url"]) == (photo, photo, None)
    assert (like["mg_comment"], like["mg_result_type"], like["mg_meta"]["liked"]) == ("", "image", True)
    assert said["mg_output_url"].startswith(f"{backend.app.settings.base_url}/assets/likes-images/")
    assert (said["mg_comment"], said["mg_result_type"]) == ("lovely", "motion")
    assert said["mg_id"] == f"feedback:{answer['feedbackId']}"


async def test_only_ones_own_generation_can_be_liked(ask: Asking):
    order = await ask.backend.post("/editorial/generate", BRIEF)
    mine = await ask.backend.post("/feedback/like", {"generationId": order["generationId"]})
    assert mine["payload"]["generationId"] == order["generationId"]
    body = {"generationId": order["generationId"], "passId": "pass:user:somebody-else", "prompt": "a cup"}
    refused = await ask.backend.post("/feedback/like", body, status=404)
    assert refused["error"] == "NOT_FOUND"


async def test_a_visitor_without_an_id_may_like_too(ask: Asking):
    answer = (await ask.backend.client.post("/feedback/like", json={"prompt": "a cup"})).json()
    assert (answer["passId"], answer["totals"], answer["payload"]["customerId"]) == (
        None, {"likesForCustomer": None}, "anonymous",
    )  # fmt: skip


# --- history and totals ----------------------------------------------------------------------------------------------


async def test_history_by_header_query_and_path_is_the_same(ask: Asking):
    named = ask.backend.pass_id
    by_path = await ask.backend.get(f"/history/pass/{named}")
    for path in ("/history", "/history/trimmed"):
        by_query = await ask.backend.get(path, params={"customerId": named})
        by_header = await ask.backend.get(path, headers={"X-Mina-Pass-Id": named})
        assert by_query["generations"] == by_header["generations"] == by_path["generations"]
    nobody = await ask.backend.get("/history")
    assert (nobody["customerId"], nobody["generations"], nobody["credits"]["balance"]) == ("anonymous", [], 0)


async def test_customers_are_counted_but_not_by_each_visitor(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    assert (await backend.get("/public/stats/total-users"))["totalUsers"] == 1
    await backend.grant(1, "pass:user:second")
    assert (await backend.get("/public/stats/total-users"))["totalUsers"] == 1


async def test_a_preflight_is_204_and_an_origin_that_is_not_listed_gets_no_header(start: StartBackend):
    backend = await start(worker=False, cors_origins="https://app.example")
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-mina-pass-id"}
    allowed = await backend.client.options("/editorial/generate", headers=asked | {"Origin": "https://app.example"})
    assert (allowed.status_code, allowed.content) == (204, b"")
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    stranger = await backend.client.options("/editorial/generate", headers=asked | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers
    served = await backend.client.get("/health", headers={"Origin": "https://evil.example"})
    assert (served.status_code, "access-control-allow-origin" in served.headers) == (200, False)
