"""Orders of image jobs: what is not allowed is named, and nothing is written."""

from typing import Any

import pytest
from pydantic import ValidationError

from safelight.domain.money.prices import Prices
from safelight.domain.orders import ImageJob, read_order
from safelight.domain.sets.image_jobs import closest_ratio
from tests.conftest import StartBackend
from tests.support.image_jobs import job_of, order, photographs

Json = dict[str, Any]

STATED = {"pass_id": "pass:user:1", "session_id": "s", "platform": "web", "title": "Spring", "prompt": "a cup"}
SOURCE = {"url": "https://shop.test/cup.jpg"}


def job(**more: Any) -> ImageJob:
    return ImageJob.model_validate(STATED | {"sources": [SOURCE]} | more)


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"sources": []}, "sources", "at least 1"),
        ({"sources": [SOURCE] * 51}, "sources", "at most 50"),
        ({"variants": 0}, "variants", "greater than or equal to 1"),
        ({"variants": 501}, "variants", "less than or equal to 500"),
        ({"sources": [SOURCE] * 11, "variants": 500}, "", "5500 pictures; a job has at most 5000"),
        ({"prompt": ""}, "", "sources.0.prompt: state one"),
        ({"sources": [SOURCE | {"prompt": "x" * 4001}]}, "sources.0.prompt", "at most 4000"),
        ({"aspect_ratio": "4:5"}, "aspect_ratio", "'16:9'"),
        ({"quality": "best"}, "quality", "'high'"),
        ({"attempts_max": 6}, "attempts_max", "less than or equal to 5"),
        ({"attempt_seconds": 9}, "attempt_seconds", "greater than or equal to 10"),
        ({"attempt_seconds": 301}, "attempt_seconds", "less than or equal to 300"),
        ({"post_processing": {"preset": "strong"}}, "post_processing.preset", "'maximum'"),
        ({"title": ""}, "title", "at least 1"),
    ],
)
def test_what_is_not_allowed_is_named(change: Json, field: str, said: str):
    with pytest.raises(ValidationError) as refused:
        job(**change)
    problem = refused.value.errors()[0]
    assert ".".join(map(str, problem["loc"])) == field
    assert said in problem["msg"]


def test_an_order_is_read_as_it_was_stored():
    ordered = job(variants=3, quality="high", sources=[SOURCE | {"prompt": "a glass"}, SOURCE]).with_draws()
    assert read_order(ordered.model_dump(mode="json")) == ordered
    assert [ordered.prompt_of(source) for source in range(2)] == ["a glass", "a cup"]
    assert ordered.post_processing.seed is not None


def test_a_stated_seed_is_kept_and_a_drawn_one_is_no_part_of_the_request():
    assert job(post_processing={"seed": 7}).with_draws().post_processing.seed == 7
    assert job().with_draws().post_processing.seed != job().with_draws().post_processing.seed
    assert job().hashed() == job(session_id="another").hashed() != job(variants=2).hashed()


def test_each_picture_has_its_price():
    prices = Prices(still_credits=1, video_credits=5, image_credits=3)
    ordered = job(variants=4, sources=[SOURCE, SOURCE])
    assert (prices.each(ordered), prices.of(ordered)) == (3, 24)


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        ((1000, 1000), "1:1"),
        ((1200, 1000), "1:1"),
        ((1300, 1000), "3:2"),
        ((1920, 1080), "3:2"),
        ((1080, 1920), "2:3"),
        ((820, 1000), "2:3"),
        ((860, 1000), "1:1"),
    ],
)
def test_auto_takes_the_ratio_that_is_closest_to_the_source(size: tuple[int, int], ratio: str):
    assert closest_ratio(*size) == ratio


async def test_the_price_is_a_setting_and_a_text_with_a_secret_reaches_the_model_as_written(
    dsn: str, start: StartBackend
):
    backend = await start(worker=False, image_credits=2)
    await backend.grant(8)
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    urls = await photographs(backend, 1)
    accepted = await order(backend, job_of(backend, urls, sources=[{"url": urls[0], "prompt": secret}], variants=4))
    assert (accepted.credits_cost, accepted.balance) == (8, 0)
    payload = backend.value(
        "select mg_payload from mega_generations where mg_id = %s", f"generation:{accepted.generation_id}"
    )
    assert secret not in str(payload)
    assert payload["sealed"].keys() == {"prompts"}
