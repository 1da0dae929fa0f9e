"""Model runs of `/api/v1`: chosen, checked before the charge, followed, completed, made again and kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.api.v1.test_generations import GENERATIONS, V1, V1Client, form
from tests.conftest import Json, StartBackend
from tests.fakes import fal
from tests.support.image_jobs import money, problems
from tests.support.model_runs import FLUX, HAILUO, IMAGEN, KLING, KONTEXT, PROMPT, on_fal

RUN: Json = {"kind": "model_run", "model_id": FLUX, "prompt": PROMPT}


@asynccontextmanager
async def at_fal(start: StartBackend, **more: Any) -> AsyncIterator[tuple[fal.Fal, V1Client]]:
    async with on_fal(start, **more) as (wire, backend):
        yield wire, V1Client(backend)


async def ordered(customer: V1Client, **more: Any) -> Json:
    return await customer.ask("POST", GENERATIONS, json=RUN | more, status=202)


async def test_the_models_that_may_be_chosen_are_listed_with_all_that_an_order_needs(start: StartBackend):
    async with at_fal(start) as (_, customer):
        found = (await customer.ask("GET", f"{V1}/models"))["items"]
        models = {one["model_id"]: one for one in found if one["kind"] == "model_run"}
        assert (models[FLUX]["credits"], models[FLUX]["makes"]) == (50, "image")
        assert (models[KLING]["credits"], models[KLING]["makes"]) == (350, "video")
        assert models[KONTEXT]["takes_reference"] and models[KONTEXT]["needs_reference"]
        assert models[IMAGEN]["takes_negative_prompt"] and not models[FLUX]["takes_negative_prompt"]
        assert not any(one["stand_in"] or one["provider"] for one in models.values())
        for model_id, model in models.items():
            required = {"reference_image_url": "https://example.com/a.png"} if model["needs_reference"] else {}
            body = RUN | {"model_id": model_id} | required
            preview = await customer.ask("POST", GENERATIONS, json=body, params={"dry_run": True})
            assert preview["cost"]["credits"] == model["credits"], model_id


async def test_a_run_is_ordered_followed_and_read(start: StartBackend):
    async with at_fal(start) as (wire, customer):
        backend = customer.backend
        accepted = await ordered(customer, num_images=3, parameters={"seed": 7, "guidance": 3}, name="Cups")
        assert accepted["warnings"] == [f"The parameter guidance is not known to {FLUX} and was left out."]
        run = await customer.finished(accepted)
        assert (run["kind"], run["status"], run["name"]) == ("model_run", "completed", "Cups")
        assert run["cost"] == {"credits": 150, "charged": 150, "refunded": 0}
        assert [one["position"] for one in run["results"]] == [[0, 0], [0, 1], [0, 2]]
        assert run["width"] and run["height"] and len(run["thumbnail_urls"]) == 3
        [work] = wire.works.values()
        assert (work.input["num_images"], work.input["seed"], work.input["prompt"]) == (3, 7, PROMPT)
        urls = await customer.ask("GET", run["links"]["media_urls"])
        assert [one["number"] for one in urls["items"]] == [1, 2, 3]
        assert len((await backend.client.get(urls["primary_url"])).content) == urls["items"][0]["bytes"]
        receipt = await customer.ask("GET", run["links"]["receipt"])
        assert (receipt["positions_delivered"], receipt["paid"]) == (3, 150)
        assert (await customer.ask("GET", run["links"]["logs"]))["items"][-1]["step"] == "completion"
        assert (await customer.ask("GET", GENERATIONS, params={"q": "ceramic"}))["items"] == [run]
        assert await problems(backend) == {}


async def test_a_picture_and_a_negative_prompt_reach_the_model_or_are_refused(start: StartBackend):
    async with at_fal(start) as (wire, customer):
        content, headers = form(
            [("reference_image", "cup.jpg")],
            kind="model_run",
            model_id=KONTEXT,
            prompt=PROMPT,
            parameters='{"seed": 1}',
        )
        run = await customer.finished(
            await customer.ask("POST", GENERATIONS, content=content, headers=headers, status=202)
        )
        assert run["status"] == "completed", run
        other = await customer.finished(await ordered(customer, model_id=IMAGEN, negative_prompt="text"))
        assert other["status"] == "completed"
        inputs = [work.input for work in wire.works.values()]
        assert inputs[0]["image_url"].startswith("http") and inputs[0]["seed"] == 1
        assert inputs[1]["negative_prompt"] == "text"
        for body, said in (
            ({"negative_prompt": "text"}, "negative_prompt"),
            ({"model_id": HAILUO, "reference_image_url": "https://example.com/a.png"}, "reference_image_url"),
            ({"model_id": KONTEXT}, "reference_image_url"),
        ):
            assert said in (await customer.ask("POST", GENERATIONS, json=RUN | body, status=400))["detail"]


WRONG: list[tuple[Json, str]] = [
    ({"parameters": {"output_format": "gif"}}, "must be one of jpeg, png"),
    ({"parameters": {"image_size": "huge"}}, "landscape_4_3"),
    ({"parameters": {"num_images": "many"}}, "parameters.num_images"),
    ({"parameters": {"raw": "yes"}}, "true or false"),
    ({"parameters": {"prompt": "x"}}, "parameters.prompt"),
    ({"parameters": {"x": "y" * 1001}}, "parameters"),
    ({"parameters": []}, "parameters"),
    ({"model_id": "fal-ai/none"}, FLUX),
    ({"model_id": "no spaces"}, "model_id"),
    ({"prompt": " "}, "prompt"),
    ({"prompt": "x" * 2001}, "prompt"),
    ({"num_images": 0}, "num_images"),
    ({"num_images": 11}, "num_images"),
    ({"num_images": 2, "parameters": {"num_images": 3}}, "num_images"),
    ({"reference_image_url": "ftp://example.com/a.png"}, "reference_image_url"),
    ({"variants": 2}, "variants"),
    ({"attempts_max": 0}, "attempts_max"),
]


async def test_a_wrong_run_is_refused_before_it_is_charged(start: StartBackend):
    async with at_fal(start, worker=False) as (_, customer):
        balance = customer.backend.balance()
        for change, said in WRONG:
            for params in ({}, {"dry_run": True}):
                found = await customer.ask("POST", GENERATIONS, json=RUN | change, params=params, status=400)
                assert said in found["detail"], (change, found)
        assert customer.backend.balance() == balance
        clamped = await customer.ask(
            "POST", GENERATIONS, json=RUN | {"parameters": {"safety_tolerance": 99}}, params={"dry_run": True}
        )
        assert len(clamped["warnings"]) == 1 and "safety_tolerance" in clamped["warnings"][0]
        count = "select count(*) from mega_generations where mg_record_type = 'generation'"
        assert customer.backend.value(count) == 0


async def test_what_could_not_be_stored_is_refunded_and_made_later(start: StartBackend):
    async with at_fal(start, retry_base_seconds=0.01) as (wire, customer):
        backend = customer.backend
        wire.faults_of_files = {"2": "no_picture"}
        part = await customer.finished(await ordered(customer, num_images=3))
        assert (part["status"], [one["position"] for one in part["results"]]) == ("completed_partial", [[0, 0], [0, 2]])
        assert part["cost"] == {"credits": 150, "charged": 150, "refunded": 50}
        numbers = [one["number"] for one in (await customer.ask("GET", part["links"]["media_urls"]))["items"]]
        assert numbers == [1, 3]
        wire.faults_of_files = {}
        whole = await customer.finished(
            await customer.ask("POST", f"{part['links']['self']}/retry-missing", status=202)
        )
        assert (whole["status"], len(whole["results"])) == ("completed", 3)
        assert whole["cost"] == {"credits": 150, "charged": 200, "refunded": 50}
        assert money(backend, part["id"]) == {"mma:<id>": -150, "mma:<id>:refund:1": 50, "mma:<id>:retry:1": -50}
        redone = await customer.finished(await customer.ask("POST", f"{part['links']['self']}/retry", status=202))
        assert (redone["retry_of"], redone["status"], redone["cost"]["charged"]) == (part["id"], "completed", 150)
        assert backend.balance() == backend.ledger_sum()
        assert await problems(backend) == {}


async def test_a_template_of_a_run_orders_it_again(start: StartBackend):
    async with at_fal(start, worker=False) as (_, customer):
        body = RUN | {"model_id": HAILUO, "parameters": {"prompt_optimizer": False}}
        run = await customer.ask("POST", GENERATIONS, json=body, status=202)
        kept = await customer.ask("POST", f"{V1}/templates", json={"generation_id": run["id"]}, status=201)
        used = await customer.ask("POST", f"{V1}/templates/{kept['id']}/use", json={"overrides": {"prompt": "a glass"}})
        assert used["body"] == body | {"prompt": "a glass"}
        again = await customer.ask("POST", GENERATIONS, json=used["body"], status=202)
        assert again["cost"] == run["cost"]
