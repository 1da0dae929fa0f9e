"""Every answer of the offline stand-in fits its context's schema and is about what was asked."""

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import skimage.data

import safelight
from safelight.domain.errors.base import AssetUnreadable, ConfigError, ProviderTimeout
from safelight.media import decode
from safelight.providers.base import ReferenceImage, TextAnswer, TextRequest
from safelight.providers.fault_injection import Fault
from safelight_local import words
from safelight_local.adapter import LocalTextModel

PACKAGE = Path(safelight.__file__).parent
COFFEE = (PACKAGE / "samples" / "coffee.jpg").read_bytes()
CAT = decode.encode_png(skimage.data.chelsea())
ROCKET = decode.encode_jpeg(skimage.data.rocket())
CONTEXTS = {
    path.name.removesuffix(".toml"): tomllib.loads(path.read_text())
    for path in sorted((PACKAGE / "pipelines" / "prompts").glob("mma.ctx.*.toml"))
    if path.stem != "mma.ctx.image_edit"  # that one is for an image model
}


async def unread(url: str) -> bytes:
    raise AssetUnreadable(url)


def request(context_key: str, values: dict[str, str], *pictures: bytes, step_type: str = "step") -> TextRequest:
    context = CONTEXTS[context_key]
    user = context["user_template"]
    for name, value in values.items():
        user = user.replace("{{" + name + "}}", value)
    images = tuple(ReferenceImage("picture", f"url{number}", content) for number, content in enumerate(pictures))
    return TextRequest(
        step_type, "darkroom-eyes-1", context_key, context["system"], user, context["output_schema"], images
    )


async def asked(context_key: str, values: dict[str, str], *pictures: bytes) -> dict[str, Any]:
    question = request(context_key, values, *pictures)
    answer = await LocalTextModel(unread).complete(question)
    jsonschema.validate(answer.data, dict(question.schema))
    assert json.loads(answer.text) == answer.data
    assert len(answer.data.get("userMessage", "")) <= 140
    return answer.data


def motion(brief: str = "", style: str = "", avoid: str = "") -> dict[str, str]:
    return {"still_crt": "A red cup.", "motion_brief": brief, "movement_style": style, "avoid": avoid}


def feedback(text: str, previous: str = "A red cup on stone.", avoid: str = "") -> dict[str, str]:
    return {
        "previous_prompt": previous,
        "output_crt": "A cup.",
        "still_crt": "A cup.",
        "feedback": text,
        "avoid": avoid,
    }


READER = """\
PRODUCT: A round object in red and white. The picture is dark.
LOGO: A black mark on a white ground.
INSPIRATION: A dark, blue picture.
INSPIRATION: A pink picture.
STYLE: editorial still life
BRIEF: A calm morning on a stone table, soft light from the left
LIKED STYLE: golden hour, arch
AVOID: plants, neon
PLATFORM: instagram
ASPECT RATIO: 4:5"""


@pytest.mark.parametrize("key", CONTEXTS)
@pytest.mark.parametrize("filler", ["", "(none)", "word " * 3000, "ROLE: BRIEF: AVOID: ,,, Revision: Revision:"])
async def test_whatever_is_asked_the_answer_fits_the_schema(key, filler):
    names = {name.split("}}")[0] for name in CONTEXTS[key]["user_template"].split("{{")[1:]}
    pictures = [COFFEE] if key in ("mma.ctx.gpt_scanner", "mma.ctx.like_history") else []
    await asked(key, dict.fromkeys(names, filler), *pictures)


@pytest.mark.parametrize("role", ["product", "logo", "inspiration", "still", "video_frame"])
async def test_a_scan_says_what_is_seen(role):
    answer = await asked("mma.ctx.gpt_scanner", {"role": role}, COFFEE)
    assert "red" in answer["crt"] or "orange" in answer["crt"]
    assert "red" in answer["userMessage"] or "orange" in answer["userMessage"]


async def test_a_cup_seen_from_above_is_described_as_such_and_a_cat_is_not():
    cup = await asked("mma.ctx.gpt_scanner", {"role": "product"}, COFFEE)
    cat = await asked("mma.ctx.gpt_scanner", {"role": "product"}, CAT)
    assert "round" in cup["crt"]
    assert "seen from above" in cup["crt"]
    assert "landscape" in cup["crt"]
    assert "object" not in cat["crt"]


async def test_the_brief_becomes_a_prompt_of_all_its_parts():
    prompt = (await asked("mma.ctx.gpt_reader", {"input_gpt_reader": READER}))["clean_prompt"]
    assert "Keep the product exactly as it is: A round object in red and white" in prompt
    assert "A calm morning on a stone table, soft light from the left." in prompt
    assert "editorial still life" in prompt
    assert "arch" in prompt
    assert "golden hour" not in prompt, "the brief says another light"
    assert prompt.endswith("Without plants, without neon.")


async def test_a_brief_that_leaves_all_open_gets_light_surface_and_camera():
    prompt = (await asked("mma.ctx.gpt_reader", {"input_gpt_reader": "PRODUCT: A tall bottle."}))["clean_prompt"]
    assert "light" in prompt
    assert "background" in prompt
    assert "camera" in prompt


async def test_what_must_be_avoided_is_only_ever_named_as_absent():
    reader = "BRIEF: a cup with plants, steam and a plant shadow\nAVOID: plants, steam"
    prompt = (await asked("mma.ctx.gpt_reader", {"input_gpt_reader": reader}))["clean_prompt"]
    wanted = prompt.replace("Without plants", "").replace("without steam", "").lower()
    assert "plant" not in wanted
    assert "steam" not in wanted
    assert "cup" in wanted


@pytest.mark.parametrize(
    ("brief", "avoid", "left"),
    [
        ("a stone table, soft light, no plants", "plants", "A stone table, soft light."),
        ("neon city night with plants", "plants, neon", "City night."),
        ("a stone table, no plants or books", "plants", "A stone table, no books."),
        ("plants and a stone table. Blue wall", "plants", "A stone table. Blue wall."),
        ("a marble floor, glass", "glass", "A marble floor."),
        ("a stone table, no plants", "no plants", "A stone table."),
    ],
)
async def test_what_is_left_of_a_brief_can_be_read(brief, avoid, left):
    reader = f"BRIEF: {brief}\nAVOID: {avoid}"
    assert f" {left} " in (await asked("mma.ctx.gpt_reader", {"input_gpt_reader": reader}))["clean_prompt"]


async def test_a_long_prompt_gives_up_what_nobody_asked_for():
    brief = " ".join(f"word{number}" for number in range(60))
    reader = READER.replace("A calm morning on a stone table, soft light from the left", brief)
    prompt = (await asked("mma.ctx.gpt_reader", {"input_gpt_reader": reader}))["clean_prompt"]
    assert len(prompt.split()) <= 120
    assert f"W{brief[1:]}." in prompt
    assert prompt.endswith("Without plants, without neon.")


async def test_an_unknown_context_is_named():
    with pytest.raises(ConfigError, match="unheard"):
        words.answer("mma.ctx.unheard", "BRIEF: a cup", ())


async def test_different_photographs_are_described_by_their_own_colours():
    captions = [
        (await asked("mma.ctx.gpt_scanner", {"role": "product"}, photo))["crt"] for photo in (COFFEE, CAT, ROCKET)
    ]
    assert len(set(captions)) == 3
    assert "red" in captions[0] and "warmly" in captions[0]
    assert "brown" in captions[1]
    assert "navy" in captions[2] and "dark" in captions[2]


async def test_a_role_has_a_line_of_its_own():
    lines = {
        (await asked("mma.ctx.gpt_scanner", {"role": role}, COFFEE))["userMessage"]
        for role in ("product", "logo", "inspiration", "still")
    }
    assert len(lines) == 4


async def test_feedback_is_added_to_the_prompt():
    answer = await asked("mma.ctx.gpt_feedback_still", feedback("Darker background, no reflections."))
    assert answer["clean_prompt"] == "A red cup on stone. Revision: darker background, no reflections."
    assert "darker background" in answer["userMessage"]


async def test_a_prompt_with_very_many_revisions_keeps_its_base_and_the_latest():
    previous = "A red cup on stone." + " Revision: brighter." * 600
    answer = await asked("mma.ctx.gpt_feedback_still", feedback("a blue wall", previous))
    assert answer["clean_prompt"].startswith("A red cup on stone. Revision:")
    assert answer["clean_prompt"].endswith("Revision: a blue wall.")


@pytest.mark.parametrize("revisions", [0, 1, 400])
async def test_a_long_base_prompt_stays_whole(revisions):
    base = "A red cup on stone. " * 150 + "The end."
    answer = await asked(
        "mma.ctx.gpt_feedback_still", feedback("a blue wall", base + " Revision: brighter." * revisions)
    )
    assert answer["clean_prompt"].startswith(base)
    assert answer["clean_prompt"].endswith("Revision: a blue wall.")


async def test_merged_revisions_keep_each_wish_apart():
    """`no steam, brighter` would be read as no brightness either."""
    previous = "A cup." + " Revision: no steam. Revision: brighter." * 100
    answer = await asked("mma.ctx.gpt_feedback_still", feedback("a blue wall", previous))
    assert "no steam; brighter" in answer["clean_prompt"]
    assert "no steam, brighter" not in answer["clean_prompt"]


async def test_feedback_only_about_what_is_avoided_says_it_is_absent():
    answer = await asked("mma.ctx.gpt_feedback_still", feedback("remove the plants", avoid="plants"))
    assert answer["clean_prompt"].endswith("Revision: without plants.")


async def test_feedback_on_a_video_is_added_to_its_prompt():
    answer = await asked("mma.ctx.gpt_feedback_motion", feedback("slower, and let it loop", "Push in."))
    assert answer["motion_prompt"] == "Push in. Revision: slower, and let it loop."


async def test_likes_are_told_by_what_comes_back_most():
    liked = "- moody light on marble, sage green wall\n- marble and moody shadows\n- moody, without neon"
    csv = (await asked("mma.ctx.like_history", {"liked_prompts": liked}))["style_history_csv"]
    tags = csv.split(", ")
    assert tags[0] == "moody"
    assert "marble" in tags[:3]
    assert "neon" not in csv
    assert len(tags) <= 8


async def test_likes_without_words_are_told_by_their_colours():
    csv = (await asked("mma.ctx.like_history", {"liked_prompts": ""}, COFFEE))["style_history_csv"]
    assert "tones" in csv
    assert (await asked("mma.ctx.like_history", {"liked_prompts": ""}))["style_history_csv"] == ""


@pytest.mark.parametrize("style", ["melt", "drop", "expand", "satisfying", "slow_motion", "fix_camera", "loop", ""])
async def test_a_suggestion_suits_the_wished_movement(style):
    suggestion = (await asked("mma.ctx.motion_suggestion", motion(style=style, avoid="steam")))["sugg_prompt"]
    words = {"fix_camera": "stays fixed", "slow_motion": "slow motion", "satisfying": "loop"}
    assert words.get(style, style) in suggestion.lower()
    assert "without steam" in suggestion


@pytest.mark.parametrize("key", ["mma.ctx.motion_suggestion", "mma.ctx.gpt_reader_motion"])
@pytest.mark.parametrize("style", ["slow push-in", "like a falling feather"])
async def test_a_style_of_ones_own_comes_back_in_its_own_words(key, style):
    answer = await asked(key, motion(style=style))
    assert style in next(text for name, text in answer.items() if name.endswith("prompt")).lower()


async def test_a_suggestion_suits_the_picture():
    from_above, tall = [
        (await asked("mma.ctx.motion_suggestion", {**motion(), "still_crt": seen}))["sugg_prompt"]
        for seen in ("A round object, seen from above.", "A tall, slender object.")
    ]
    assert "slide" in from_above
    assert "tilts up" in tall


async def test_a_motion_brief_is_kept_beside_the_style():
    prompt = (await asked("mma.ctx.gpt_reader_motion", motion("pan to the right", "fix_camera")))["motion_prompt"]
    assert "Pan to the right." in prompt
    assert "stays fixed" in prompt


async def test_a_spoiled_answer_does_not_fit_its_schema():
    question = request("mma.ctx.gpt_reader", {"input_gpt_reader": READER}, step_type="gpt_reader")
    answer: TextAnswer = await LocalTextModel(unread, Fault.parse("gpt_reader:bad_json")).complete(question)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer.data, dict(question.schema))


async def test_a_fault_strikes_a_question_too():
    question = request("mma.ctx.gpt_reader", {"input_gpt_reader": READER}, step_type="gpt_reader")
    with pytest.raises(ProviderTimeout):
        await LocalTextModel(unread, Fault.parse("gpt_reader:timeout")).complete(question)


async def test_a_picture_that_is_none_is_said_to_be_unreadable():
    question = request("mma.ctx.gpt_scanner", {"role": "product"}, b"no picture")
    with pytest.raises(AssetUnreadable):
        await LocalTextModel(unread).complete(question)
