"""Image jobs of `/api/v1`: ordered, followed, completed, made again, renamed, kept as templates and deleted."""

import asyncio
import json
from typing import Any

import pytest

from safelight.api.auth.identity import HEADER
from tests.api.v1.test_collections import PHOTO
from tests.api.v1.test_generations import ADMIN, ADMIN_TOKEN, GENERATIONS, V1, V1Client
from tests.conftest import COFFEE, Backend, Json, StartBackend
from tests.support.image_jobs import LOOK_SECONDS, files_of, money, photographs, positions, problems
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token
from tests.support.simulated_provider import Holding, Refusing, looking_often, simulating

pytestmark = pytest.mark.usefixtures(looking_often.__name__)
__all__ = ["looking_often"]

WORDS = ("a cup", "a poisoned cup", "a glass", "a broken cup")


def job_of(urls: list[str], **more: Any) -> Json:
    sources = [{"url": url, "prompt": word} for url, word in zip(urls, WORDS, strict=False)]
    return {"kind": "image_job", "name": "Spring", "sources": sources, "variants": 2} | more


async def ordered(customer: V1Client, body: Json, **more: Any) -> Json:
    return await customer.ask("POST", GENERATIONS, json=body, status=202, **more)


async def stranger(backend: Backend) -> V1Client:
    """Another customer."""
    visit = await backend.get("/me")
    return V1Client(backend, {HEADER: str(visit["passId"])})


def form_of(files: int, **fields: str) -> tuple[bytes, dict[str, str]]:
    """A form with so many different photographs as `source_images`."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    content = COFFEE.read_bytes()
    for number in range(files):
        head = f'--b\r\nContent-Disposition: form-data; name="source_images"; filename="{number}.jpg"\r\n\r\n'
        parts.append(head.encode() + content + b"\0" * number + b"\r\n")
    return b"".join(parts) + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


async def test_two_poisoned_sources_of_four_are_made_later_for_exactly_what_was_missing(dsn: str, start: StartBackend):
    poison = Refusing(poisoned=422, broken=503)
    async with simulating(dsn, holding=poison) as (simulation, settings):
        backend = await start(admin_token=ADMIN_TOKEN, **settings)
        await backend.grant(30)
        customer = V1Client(backend)
        body = job_of(await photographs(backend, 4), variants=3)
        preview = await customer.ask("POST", GENERATIONS, json=body, params={"dry_run": True})
        assert preview["cost"] == {"credits": 12, "price_each": 1, "results": 12}
        accepted = await ordered(customer, body)
        assert accepted["cost"] == {"credits": 12, "charged": 12, "refunded": 0}
        assert (accepted["kind"], accepted["name"], accepted["progress"]["expected"]) == ("image_job", "Spring", 12)

        part = await customer.finished(accepted)
        there = [[variant, source] for variant in range(3) for source in (0, 2)]
        assert (part["status"], [one["position"] for one in part["results"]]) == ("completed_partial", there)
        assert part["cost"] == {"credits": 12, "charged": 12, "refunded": 6}
        assert {name: part["progress"][name] for name in ("percent", "done", "expected", "missing")} == {
            "percent": 100, "done": 6, "expected": 12, "missing": 6,
        }  # fmt: skip
        assert part["error"]["code"] == "POSITIONS_MISSING"
        seen = (await customer.ask("GET", accepted["links"]["logs"]))["items"][-1]["seq"]

        poison.words = {}
        missing = f"{GENERATIONS}/{part['id']}/retry-missing"
        again = [await customer.ask("POST", missing, headers={"Idempotency-Key": "once"}, status=202) for _ in range(2)]
        assert [one["id"] for one in again] == [part["id"]] * 2
        whole = await customer.finished(again[0])
        every = [[variant, source] for variant in range(3) for source in range(4)]
        assert (whole["status"], [one["position"] for one in whole["results"]]) == ("completed", every)
        assert whole["cost"] == {"credits": 12, "charged": 18, "refunded": 6}
        assert [one for one in whole["results"] if one["position"] in there] == part["results"]
        assert money(backend, part["id"]) == {"mma:<id>": -12, "mma:<id>:refund:1": 6, "mma:<id>:retry:1": -6}
        assert backend.balance() == backend.ledger_sum() == 18
        assert simulation.record.count() == 4
        later = await customer.ask("GET", accepted["links"]["logs"], params={"cursor": seen})
        assert later["items"][0]["seq"] == seen + 1
        assert (await customer.ask("POST", missing, status=409))["code"] == "NOTHING_TO_RETRY"
        receipt = await customer.ask("GET", accepted["links"]["receipt"])
        assert (receipt["charged"], receipt["refunded"], receipt["paid"]) == (18, 6, 12)
        stats = await customer.ask("GET", f"{GENERATIONS}/stats")
        assert (stats["total_credits_used"], stats["type_breakdown"]) == (12, {"image_job": 1})
        assert await problems(backend) == {}


async def test_a_source_that_cannot_be_read_leaves_out_its_results_alone(backend: Backend):
    """Neither does it where it is another customer's, nor is anything of that told."""
    await backend.grant(20)
    customer, other = V1Client(backend), await stranger(backend)
    theirs = await other.ask("POST", f"{V1}/storage/upload", json={"file": PHOTO, "name": "planted.jpg"}, status=201)
    [there] = await photographs(backend, 1)
    base = backend.app.settings.base_url
    for missing in (
        f"{base}/assets/none.jpg",
        "https://example.invalid/a.png",
        f"{base}/private-assets/{theirs['storage_path']}",
        theirs["url"].replace("signature=", "signature=0"),
    ):
        job = await customer.finished(await ordered(customer, job_of([there, missing], variants=1)))
        assert (job["status"], [one["position"] for one in job["results"]]) == ("completed_partial", [[0, 0]]), missing
        assert (job["error"]["code"], job["cost"]["refunded"]) == ("POSITIONS_MISSING", 1), missing
        assert "planted" not in str(job)
    assert backend.balance() == backend.ledger_sum() == 16
    assert await problems(backend) == {}


async def test_where_only_tokens_count_a_job_is_ordered_followed_and_completed_by_its_owner(start: StartBackend):
    backend = await start(auth="required", admin_token=ADMIN_TOKEN, **SIGNED_BY_SECRET)
    mine, other, nobody = V1Client(backend, bearer(token())), V1Client(backend, bearer(token())), V1Client(backend, {})
    me = await mine.ask("GET", f"{V1}/me")
    await backend.client.get("/me", headers=mine.headers)
    await backend.grant(9, me["pass_id"])
    picture = await mine.ask("POST", f"{V1}/storage/upload", json={"file": PHOTO}, status=201)
    missing = f"{backend.app.settings.base_url}/assets/none.jpg"
    body = job_of([picture["url"], missing], variants=1)
    await nobody.ask("POST", GENERATIONS, json=body, status=401)
    job = await ordered(mine, body)
    access = await mine.ask("POST", f"{job['links']['self']}/stream-token")
    events = await nobody.events(access["url"])
    assert events[-1][2]["status"] == "completed_partial"
    path = job["links"]["self"]
    for method, part in (("POST", "/retry-missing"), ("POST", "/retry"), ("GET", "/logs"), ("GET", "/media-urls")):
        await nobody.ask(method, path + part, status=401)
        await other.ask(method, path + part, status=404)
    reopened = await mine.ask("POST", f"{path}/retry-missing", status=202)
    assert (reopened["id"], reopened["cost"]) == (job["id"], {"credits": 2, "charged": 3, "refunded": 1})
    assert (await mine.finished(reopened))["cost"] == {"credits": 2, "charged": 3, "refunded": 2}
    operator = await V1Client(backend, ADMIN).ask("POST", f"{path}/retry-missing", status=202)
    assert (await mine.finished(operator))["cost"] == {"credits": 2, "charged": 4, "refunded": 3}
    assert backend.value("select count(*) from mega_admin where mg_action = 'generations.retry_missing'") == 1
    assert await problems(backend) == {}


async def test_results_are_paged_by_their_positions_with_fresh_addresses(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(20)
        customer = V1Client(backend)
        job = await customer.finished(await ordered(customer, job_of(await photographs(backend, 2), variants=4)))
        found: list[Json] = []
        cursor: str | None = None
        while not found or cursor:
            params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = await customer.ask("GET", job["links"]["media_urls"], params=params)
            assert page["file_count"] == 8 and page["is_fully_processed"]
            found, cursor = found + page["items"], page["next_cursor"]
        assert [(one["variant"], one["source"]) for one in found] == positions(backend, job["id"])
        assert [one["number"] for one in found] == list(range(1, 9))
        for one in found[:2]:
            assert len((await backend.client.get(one["url"])).content) == one["bytes"]
        for wrong in ("x", "1", "1.", "1.2.3", "-1.0"):
            answer = await customer.ask("GET", job["links"]["media_urls"], params={"cursor": wrong}, status=400)
            assert answer["code"] == "INVALID_CURSOR"
        [listed] = (await customer.ask("GET", GENERATIONS, params={"kind": "image_job"}))["items"]
        assert (len(listed["results"]), listed["progress"]) == (4, job["progress"])
        assert (await customer.ask("GET", GENERATIONS, params={"kind": "model_run"}))["items"] == []
        steps = await customer.ask("GET", job["links"]["steps"])
        assert {one["type"] for one in steps["items"]} >= {"validation", "base_generation", "variant_creation"}


async def test_a_form_brings_sources_as_files_with_a_prompt_each(dsn: str, start: StartBackend):
    async with simulating(dsn) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(20)
        customer = V1Client(backend)
        [first] = await photographs(backend, 1)
        sources = json.dumps([{"url": first, "prompt": "a glass"}])
        content, headers = form_of(2, kind="image_job", sources=sources, prompt="a cup", variants="2")
        dry = await customer.ask("POST", GENERATIONS, content=content, headers=headers, params={"dry_run": "true"})
        assert dry["cost"]["credits"] == 6
        assert not list((backend.app.home / "private-assets").rglob("*.jpg"))
        made = await customer.finished(
            await customer.ask("POST", GENERATIONS, content=content, headers=headers, status=202)
        )
        assert (made["status"], made["progress"]["done"]) == ("completed", 6)
        order = backend.value(
            "select mg_payload->'order' from mega_generations where mg_id = %s", f"generation:{made['id']}"
        )
        assert [one["prompt"] for one in order["sources"]] == ["a glass", "", ""]
        assert ["/private-assets/" in one["url"] for one in order["sources"]] == [False, True, True]
        assert simulation.record.count() == 3


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(worker=False, admin_token=ADMIN_TOKEN, **SIGNED_BY_SECRET)


URL = "https://example.com/a.png"


WRONG: list[tuple[Json, str]] = [
    ({"variants": 0}, "variants"),
    ({"variants": 501}, "variants"),
    ({"sources": []}, "sources"),
    ({"sources": [{"url": URL}]}, "sources.0.prompt"),
    ({"sources": [{"url": URL, "prompt": "x"}] * 51}, "sources"),
    ({"sources": [{"url": URL, "prompt": "x"}] * 11, "variants": 500}, "5000"),
    ({"sources": [{"url": "file:///etc/passwd", "prompt": "x"}]}, "sources.0.url"),
    ({"sources": [{"url": URL, "prompt": "x", "mask": "y"}]}, "sources.0.mask"),
    ({"source_images": [], "source_prompts": ["x"]}, "source_prompts"),
    ({"aspect_ratio": "4:5"}, "16:9"),
    ({"quality": "best"}, "high"),
    ({"attempts_max": 6}, "attempts_max"),
    ({"attempt_seconds": 9}, "attempt_seconds"),
    ({"post_processing": {"hue": 1}}, "post_processing.hue"),
    ({"post_processing": {"quality_min": 90, "quality_max": 50}}, "quality_min"),
    ({"post_processing": {"border_px": 11}}, "border_px"),
    ({"template_id": "nobodys"}, "template_id"),
    ({"project_id": "nobodys"}, "project_id"),
    ({"parent_id": "x"}, "parent_id"),
    ({"brief": "x"}, "brief"),
]


async def test_a_wrong_image_job_names_the_field_and_costs_nothing(idle: Backend):
    await idle.grant(9)
    for change, said in WRONG:
        body = job_of([URL]) | change
        for params in ({}, {"dry_run": True}):
            found = await V1Client(idle).ask("POST", GENERATIONS, json=body, params=params, status=400)
            assert said in found["detail"] and found["errors"], (change, found)
    assert idle.balance() == 9
    assert idle.value("select count(*) from mega_generations where mg_record_type = 'generation'") == 0


async def test_what_is_queued_has_its_place_and_is_renamed_and_stopped(idle: Backend):
    await idle.grant(9)
    customer = V1Client(idle)
    first = await ordered(customer, job_of(await photographs(idle, 1)))
    second = await ordered(customer, job_of(await photographs(idle, 1)))
    places = [
        (await customer.ask("GET", one["links"]["self"]))["progress"]["queue_position"] for one in (first, second)
    ]
    assert places[0] == 1
    assert second["progress"] == {
        "percent": 0, "done": 0, "expected": 2, "missing": 0, "eta_seconds": None, "queue_position": places[1],
        "stalled": False,
    }  # fmt: skip
    path = first["links"]["self"]
    renamed = await customer.ask("PATCH", path, json={"name": " Summer "})
    assert renamed["name"] == (await customer.ask("GET", path))["name"] == "Summer"
    for wrong in ({}, {"name": " "}, {"name": "x" * 201}, {"name": "x", "status": "completed"}):
        assert (await customer.ask("PATCH", path, json=wrong, status=400))["errors"]
    for part in ("retry-missing", "retry"):
        refused = await customer.ask("POST", f"{path}/{part}", status=409)
        assert refused["code"] == "NOTHING_TO_RETRY"
    stopped = await customer.ask("POST", f"{path}/cancel")
    assert (stopped["cancelled"], stopped["refunded_credits"], stopped["generation"]["status"]) == (
        True, 2, "cancelled",
    )  # fmt: skip
    await customer.ask("POST", f"{path}/retry-missing", status=409)
    once = await customer.ask("POST", f"{path}/retry", status=202)
    assert (once["retry_of"], once["cost"]["charged"]) == (first["id"], 2)
    assert idle.balance() == idle.ledger_sum() == 5
    poor = await customer.ask("POST", GENERATIONS, json=job_of([URL], variants=6), status=402)
    assert (poor["required_credits"], poor["balance"]) == (6, 5)


async def test_what_was_made_before_a_stop_is_kept_and_paid(dsn: str, start: StartBackend):
    holding = Holding("POST /predictions", after=1)
    async with simulating(dsn, holding=holding) as (_, settings):
        backend = await start(**settings)
        await backend.grant(9)
        customer = V1Client(backend)
        job = await ordered(customer, job_of(await photographs(backend, 2), variants=2, attempts_max=1))
        await holding.is_holding.wait()
        while (await customer.ask("GET", job["links"]["self"]))["progress"]["percent"] != 15:  # of 30 for both bases
            await asyncio.sleep(LOOK_SECONDS)
        await customer.ask("POST", f"{job['links']['self']}/cancel")
        holding.released.set()
        ended = await customer.finished(job)
        assert ended["status"] == "cancelled"
        kept = len(ended["results"])
        assert ended["cost"] == {"credits": 4, "charged": 4, "refunded": 4 - kept}
        assert backend.balance() == backend.ledger_sum() == 9 - kept
        assert await problems(backend) == {}


async def test_all_of_a_job_is_made_again_as_a_new_one_and_deleted_with_its_files(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(admin_token=ADMIN_TOKEN, **settings)
        await backend.grant(9)
        customer = V1Client(backend)
        first = await customer.finished(await ordered(customer, job_of(await photographs(backend, 1))))
        headers = {"Idempotency-Key": "again"}
        redone = [
            await customer.ask("POST", f"{first['links']['self']}/retry", headers=headers, status=202) for _ in range(2)
        ]
        assert redone[0]["id"] == redone[1]["id"] != first["id"]
        second = await customer.finished(redone[0])
        assert (second["retry_of"], second["status"], second["name"]) == (first["id"], "completed", "Spring")
        assert backend.balance() == backend.ledger_sum() == 5
        assert await files_of(backend, first["id"])
        assert await customer.ask("DELETE", first["links"]["self"]) == {"id": first["id"], "deleted": True}
        assert await files_of(backend, first["id"]) == []
        for part in ("self", "media_urls", "logs", "receipt"):
            await customer.ask("GET", first["links"][part], status=404)
        await customer.ask("POST", f"{first['links']['self']}/retry", status=404)
        operator = V1Client(backend, ADMIN)
        seen = await operator.ask("GET", first["links"]["self"])
        assert (seen["results"], seen["cost"]["charged"]) == ([], 2)
        assert (await operator.ask("GET", first["links"]["logs"]))["items"][-1]["step"] == "cleanup"
        assert (await backend.client.get(second["results"][0]["url"])).status_code == 200
        assert backend.balance() == backend.ledger_sum() == 5
        assert await problems(backend) == {}


async def test_a_template_of_an_image_job_is_kept_marked_used_with_changes_and_deleted(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(20)
        customer = V1Client(backend)
        look = {"preset": "maximum", "format": "webp", "seed": 7}
        body = job_of(await photographs(backend, 2), variants=2, aspect_ratio="1:1", post_processing=look)
        job = await customer.finished(await ordered(customer, body))
        kept = await customer.ask(
            "POST", f"{V1}/templates", json={"generation_id": job["id"], "name": "Look"}, status=201
        )
        path = f"{V1}/templates/{kept['id']}"
        assert (kept["kind"], kept["name"]) == ("image_job", "Look")
        assert kept["thumbnail_url"] == job["thumbnail_urls"][0]
        await customer.ask("POST", f"{path}/favorite")
        assert len((await customer.ask("GET", f"{V1}/templates", params={"favorite": True}))["items"]) == 1
        used = await customer.ask("POST", f"{path}/use", json={"overrides": {"variants": 3, "aspect_ratio": None}})
        assert used["usage_count"] == 1
        same = {name: body[name] for name in ("kind", "sources")}
        assert used["body"] == same | {
            "variants": 3, "post_processing": {"preset": "maximum", "format": "webp"}, "attempt_seconds": 120.0,
            "template_id": kept["id"],
        }  # fmt: skip
        for wrong, said in (
            ({"variants": 0}, "variants"),
            ({"variant": 1}, "variant"),
            ({"kind": "still"}, "kind"),
            ({"sources": [{}]}, "url"),
        ):
            refused = await customer.ask("POST", f"{path}/use", json={"overrides": wrong}, status=400)
            assert said in refused["detail"], refused
        again = await customer.finished(await ordered(customer, used["body"]))
        assert (again["name"], again["progress"]["done"]) == ("Look", 6)
        named = "select mg_payload #>> '{order,template_name}' from mega_generations where mg_id = %s"
        assert backend.value(named, f"generation:{again['id']}") == "Look"
        assert (await customer.ask("GET", path))["usage_count"] == 1
        await customer.ask("DELETE", path)
        gone = await customer.ask("POST", GENERATIONS, json=used["body"], status=400)
        assert gone["code"] == "TEMPLATE_NOT_FOUND"
