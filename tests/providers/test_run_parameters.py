"""Parameters of model runs are held to the model's table before the charge: by name, with what is allowed."""

from typing import Any

import pytest

from safelight.api.schemas.model_run_bodies import model_run_of
from safelight.domain.errors.base import ConfigError, InvalidInput
from safelight.providers.catalogue import ParameterTables
from safelight.providers.run_parameters import CheckedRun, RunRequest, check_run, resolved
from tests.support.model_runs import FLUX, HAILUO, IMAGEN, KLING, KONTEXT, VEO, WAN

Json = dict[str, Any]
TABLES = ParameterTables()


def check(
    model_id: str, *, negative: str = "", picture: bool = False, prompt: str = "a cup", **stated: Any
) -> CheckedRun:
    return check_run(TABLES.of_run(model_id), RunRequest(prompt, negative, picture, stated))


@pytest.mark.parametrize(
    ("model_id", "stated", "values", "results"),
    [
        (FLUX, {"image_size": "landscape_4_3"}, {"aspect_ratio": "4:3"}, 1),
        (FLUX, {"num_images": 3, "seed": 5}, {"seed": 5}, 3),
        (FLUX, {"num_images": "2"}, {}, 2),
        (FLUX, {"aspect_ratio": None, "seed": ""}, {}, 1),
        (VEO, {"quality": "720p", "duration": 8}, {"resolution": "720p", "duration": 8}, 1),
        (KLING, {"creativity": 0.7}, {"cfg_scale": 0.7}, 1),
        (WAN, {"enable_safety_checker": False}, {"enable_safety_checker": False}, 1),
    ],
)
def test_parameters_go_by_the_names_of_the_table(model_id: str, stated: Json, values: Json, results: int):
    assert check(model_id, **stated) == CheckedRun(values, results, ())


@pytest.mark.parametrize(
    ("model_id", "stated", "warning"),
    [
        (FLUX, {"sparkle": 1}, f"The parameter sparkle is not known to {FLUX} and was left out."),
        (HAILUO, {"fps": 24}, f"The parameter fps is not known to {HAILUO} and was left out."),
        (WAN, {"camera_motion": "pan"}, f"The parameter camera_motion is not known to {WAN} and was left out."),
        (FLUX, {"num_images": 40}, "num_images 40 is not possible with this model; 4 was taken."),
        (FLUX, {"safety_tolerance": 0}, "safety_tolerance 0 is not possible with this model; 1 was taken."),
        (VEO, {"duration": 5}, "duration 5 is not possible with this model; 6 was taken."),
        (KLING, {"creativity": -3}, "creativity -3 is not possible with this model; 0 was taken."),
        (FLUX, {"image_size": "4:5"}, "image_size 4:5 is not possible with this model; 3:4 was taken."),
    ],
)
def test_what_is_left_out_or_changed_is_a_warning(model_id: str, stated: Json, warning: str):
    assert check(model_id, **stated).warnings == (warning,)


@pytest.mark.parametrize(
    ("model_id", "stated", "said"),
    [
        (FLUX, {"aspect_ratio": "7:5"}, "parameters.aspect_ratio: must be one of 21:9, 16:9, 4:3"),
        (IMAGEN, {"output_format": "bmp"}, "parameters.output_format: must be one of jpeg, png."),
        (KLING, {"aspect": 16}, "parameters.aspect: must be one of 16:9, 9:16, 1:1."),
        (VEO, {"resolution": "1080p"}, "parameters.resolution: must be one of 720p."),
        (FLUX, {"num_images": "many"}, "parameters.num_images: must be a number."),
        (FLUX, {"seed": True}, "parameters.seed: must be a number."),
        (KLING, {"duration": float("nan")}, "parameters.duration: must be a number."),
        (FLUX, {"raw": "yes"}, "parameters.raw: must be true or false."),
        (HAILUO, {"prompt_optimizer": 1}, "parameters.prompt_optimizer: must be true or false."),
        (VEO, {"negative_prompt": 7}, "parameters.negative_prompt: must be a text."),
        (VEO, {"negative_prompt": "x" * 1001}, "parameters.negative_prompt: must have at most 1000 characters"),
        (FLUX, {"aspect_ratio": "1:1", "image_size": "square"}, "parameters.image_size: aspect_ratio is stated twice"),
        (
            FLUX,
            {"image_url": "https://x.test/a.jpg"},
            "parameters.image_url: state the picture as reference_image_url.",
        ),
    ],
)
def test_what_a_model_cannot_take_is_refused_by_name(model_id: str, stated: Json, said: str):
    with pytest.raises(InvalidInput) as refused:
        check(model_id, **stated)
    assert said in refused.value.safe_message


@pytest.mark.parametrize("model_id", [IMAGEN, VEO, HAILUO, KLING, WAN])
def test_a_picture_is_refused_where_a_model_has_no_place_for_it(model_id: str):
    with pytest.raises(InvalidInput, match=f"reference_image_url: {model_id} has no place for a picture"):
        check(model_id, picture=True)


@pytest.mark.parametrize("model_id", [FLUX, KONTEXT, HAILUO, WAN])
def test_a_negative_prompt_is_refused_where_a_model_has_no_place_for_it(model_id: str):
    with pytest.raises(InvalidInput, match=f"negative_prompt: {model_id} has no place for one"):
        check(model_id, negative="text", picture=model_id == KONTEXT)


def test_what_a_model_needs_must_be_stated():
    with pytest.raises(InvalidInput, match=f"reference_image_url: {KONTEXT} needs a picture"):
        check(KONTEXT)
    with pytest.raises(InvalidInput, match="negative_prompt: it is stated twice"):
        check(VEO, negative="text", negative_prompt="logos")
    with pytest.raises(InvalidInput, match="takes at most 2000 characters, not 2001"):
        check(FLUX, prompt="x" * 2001)


def test_the_prompt_is_no_parameter():
    with pytest.raises(InvalidInput, match=r"parameters\.prompt: state it as prompt"):
        check_run(TABLES.of_run(FLUX), RunRequest("a cup", "", False, {"prompt": "another"}))


def test_the_negative_prompt_reaches_a_model_that_takes_one():
    assert check(IMAGEN, negative="text").values == {"negative_prompt": "text"}
    assert check(KLING, negative="text").values == {"negative_prompt": "text"}
    assert check(VEO, negative="text").values == {"negative_prompt": "text"}


def test_defaults_lie_below_what_is_stated():
    table = TABLES.of_run(FLUX)
    settings = resolved(table, {"aspect_ratio": "1:1"}, has_reference=False, results=2)
    assert settings == {"aspect_ratio": "1:1", "num_images": 2, "output_format": "jpeg", "safety_tolerance": 2}


def test_a_model_without_a_table_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match="no models file describes 'fal-ai/flux-dev'"):
        TABLES.of_run("fal-ai/flux-dev")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model_id": "fal ai"}, "model_id"),
        ({"model_id": "a" * 101}, "model_id"),
        ({"model_id": 7}, "model_id"),
        ({"prompt": "   "}, "prompt"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"negative_prompt": "x" * 1001}, "negative_prompt"),
        ({"reference_image_url": ""}, "reference_image_url"),
        ({"reference_image_url": "https://x.test/" + "a" * 2100}, "reference_image_url"),
        ({"parameters": ["seed"]}, "parameters"),
        ({"parameters": {f"p{number}": 1 for number in range(101)}}, "parameters"),
        ({"parameters": {"a" * 101: 1}}, "parameters"),
        ({"parameters": {"style": "x" * 1001}}, "parameters"),
        ({"parameters": {f"p{number}": "x" * 900 for number in range(12)}}, "parameters"),
        ({"parameters": {"list": list(range(101))}}, "parameters"),
        ({"parameters": {"deep": [[[[[[1]]]]]]}}, "parameters"),
        ({"name": "x" * 1000}, "name"),
        ({"num_images": 2}, "num_images"),
        ({"price_each": 0}, "price_each"),
    ],
)
def test_a_body_is_held_to_its_bounds_and_the_field_is_named(body: Json, field: str):
    with pytest.raises(InvalidInput) as refused:
        model_run_of({"model_id": FLUX, "prompt": "a cup"} | body, pass_id="pass:anon:1")
    assert refused.value.safe_message.startswith(field)


def test_honest_prompts_are_taken():
    for prompt in ("cup " * 100, "a <script> on a film set", "  a cup  ", "カップ", "x" * 2000):
        run = model_run_of({"model_id": FLUX, "prompt": prompt}, pass_id="pass:anon:1")
        assert run.prompt == prompt.strip()
