"""Peculiar answers of vendors: refusals in good answers, files in other places, letters nobody can store."""

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image

from safelight.domain.errors.base import ContentRefused, ProviderContractBroken
from safelight.domain.untrusted.json import parse_json
from safelight.providers.errors import VendorError, map_error, table
from safelight.providers.outputs import succeeded
from tests.conftest import Backend, running
from tests.fakes.vendors import vendor
from tests.fakes.wire import Scripted, Wire

Json = dict[str, Any]


def picture(width: int = 64, height: int = 64) -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(file, "PNG")
    return file.getvalue()


PLAIN = base64.b64encode(picture()).decode()
URI = f"data:image/png;base64,{PLAIN}"
URL = "https://files.example/a b.png"


# --- refusals -----------------------------------------------------------------------------------------------------

REFUSALS = [
    "Failure to pass the risk control system",
    "The prompt could not be submitted. This prompt contains sensitive words that violate Google's Responsible AI practices.",
    "Content moderated",
    "NSFW content detected. Try running it again, or try a different prompt.",
    "The input or output was flagged as sensitive. Please try again with different inputs. (E005)",
    "Your request was rejected as a result of our safety system.",
    "Veo could not generate videos because the input image violates Google's usage guidelines.",
    "The request failed because the input text may contain sensitive information.",
    "All images were filtered out because they violated our policies",
    "Image generation blocked: third-party content similarity",
    "raiMediaFilteredReason: real people are not allowed",
    "Input data may contain inappropriate content.",
    "This generation violates our Community Guidelines.",
    "I'm sorry, but I can\u2019t help with that.",
]
OTHER_TROUBLE = [
    "CUDA out of memory", "Prediction interrupted; please retry (code: PA)", "Unsupported content type: image/heic",
    "connection blocked by CORS policy", "Error downloading https://x/y.jpg: access denied by bucket policy",
    "model names are case-sensitive", "Invalid image filter parameter", "Illegal image format", "moderate load",
]  # fmt: skip


@pytest.mark.parametrize("vendor_name", ["replicate", "fal", "openai"])
@pytest.mark.parametrize("status", [0, 400, 422])
def test_a_refusal_is_known_by_its_words_whoever_says_it(vendor_name: str, status: int):
    codes = {map_error(VendorError(vendor_name, "result", status, text)).code for text in REFUSALS}
    assert codes == {"CONTENT_REFUSED"}


@pytest.mark.parametrize("text", OTHER_TROUBLE)
def test_other_trouble_is_no_refusal(text: str):
    assert map_error(VendorError("replicate", "result", 0, text)).code != "CONTENT_REFUSED"


def test_a_message_asks_to_try_again_only_where_that_can_help():
    for row in table().rows:
        assert row.retryable or "again" not in row.message
        # Clients show a text of their own where they find these words.
        assert ("flagged as sensitive" in row.message) == (row.code == "CONTENT_REFUSED")


WITHHELD = [
    {"images": [{"url": URL}], "has_nsfw_concepts": [True]},
    {"images": [{"url": URL, "nsfw": True}]},
    {"image": {"url": URL}, "nsfw_content_detected": "true"},
    {"images": [], "description": "I can't create that picture."},
    {"images": [], "finish_reason": "IMAGE_SAFETY"},
    {"data": {"raiMediaFilteredReasons": ["The prompt contains sensitive words."], "videos": []}},
    {"output": None, "error": "Content moderated"},
]


@pytest.mark.parametrize("answer", WITHHELD, ids=str)
def test_a_good_answer_whose_result_is_withheld_is_a_refusal(answer: Json):
    with pytest.raises(ContentRefused):
        succeeded(answer, "image", "fal", {}, ())


def test_of_several_results_only_those_withheld_are_left_out():
    made = succeeded(
        {"images": [{"url": "https://a/1"}, {"url": "https://a/2"}], "has_nsfw_concepts": [True, False]},
        "image",
        "fal",
        {},
        (),
    )
    assert [file.url for file in made.outputs] == ["https://a/2"]
    assert made.warnings == ("1 of 2 results were withheld by the service's content filter.",)
    assert succeeded({"images": [{"url": URL}], "has_nsfw_concepts": [False]}, "image", "fal", {}, ()).warnings == ()


# --- where a file is ------------------------------------------------------------------------------------------------

PLACES = [
    URL, [URL], {"image_url": URL}, {"file": URL}, {"href": URL}, {"uri": URL}, {"images": [{"url": URL}]}, {"output": [{"file": {"url": URL}}]},
    {"data": {"result": {"image_url": URL}}}, {"whatever": {"images": [{"href": URL}]}}, {"video": {"thumbnail": "x"}, "url": URL}, f"  {URL}\n",
    {"input": {"image_url": "https://customer.example/own.png"}, "images": [URL]},
]  # fmt: skip


@pytest.mark.parametrize("answer", PLACES, ids=str)
def test_a_file_is_found_wherever_it_is_named(answer: Any):
    assert [file.url for file in succeeded(answer, "image", "x", {}, ()).outputs] == [URL]


def test_what_a_vendor_was_given_is_no_result():
    with pytest.raises(ProviderContractBroken):
        succeeded({"input": {"image_url": URL}, "prompt": "https://a.example/x.png"}, "image", "x", {}, ())


DATA_URIS = [
    URI,
    f"data:application/octet-stream;base64,{PLAIN}",
    f"DATA:image/png;charset=utf-8;BASE64,{PLAIN}",
    f"data:;base64,{PLAIN.rstrip('=')}",
    f"data:image/png;base64,{PLAIN.replace('+', '-').replace('/', '_')}",
    "data:image/png;base64,\n" + "\n".join(PLAIN[at : at + 76] for at in range(0, len(PLAIN), 76)),
    f"data:image/png;base64,{PLAIN.replace('+', '%2B').replace('/', '%2F').replace('=', '%3D')}",
    "data:image/png," + "".join(f"%{byte:02x}" for byte in picture()),
]


@pytest.mark.parametrize("uri", DATA_URIS, ids=lambda uri: uri[:40])
def test_a_data_uri_is_a_file(uri: str):
    assert succeeded([uri], "image", "x", {}, ()).outputs[0].content == picture()


# --- letters and numbers that nobody can store ------------------------------------------------------------------------


def test_json_from_outside_is_storable():
    found = parse_json('{"a\\u0000": "\\ud800x", "b": NaN, "c": [1e400, -Infinity], "d": ' + "9" * 5000 + "}")
    assert found == {"a\ufffd": "\ufffdx", "b": None, "c": [None, None], "d": None}


@pytest.mark.parametrize("text", ["[" * 50_000, "[" * 200 + "]" * 200, '{"a":' * 150 + "1" + "}" * 150, "no", ""])
def test_json_that_cannot_be_had_is_one_kind_of_error(text: str):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.fixture(scope="module")
async def replicate(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Wire, Backend]]:
    async with (
        vendor(module_dsn, "replicate") as (wire, settings),
        running(module_dsn, tmp_path_factory.mktemp("home"), **settings) as backend,
    ):
        await backend.grant(100)
        yield wire, backend


def prediction(**more: Any) -> Scripted:
    return Scripted(body={"id": "p1", "status": "succeeded", "output": None, "error": None} | more)


async def made(replicate: tuple[Wire, Backend], answer: Scripted, **order: Any) -> Json:
    wire, backend = replicate
    wire.at_peace()
    wire.always("check", answer)
    return await backend.finished(await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}} | order))


async def test_a_data_uri_is_delivered_with_its_measures_and_its_shape_compared(replicate: tuple[Wire, Backend]):
    still = await made(replicate, prediction(output=[URI]), inputs={"brief": "a cup", "aspect_ratio": "9:16"})
    assert still["status"] == "done"
    assert still["warnings"] == ["9:16 was ordered; the result is 1:1 (64 x 64)."]
    backend = replicate[1]
    facts = backend.value(
        "select mg_meta->'result' from mega_generations where mg_id = %s", f"generation:{still['generation_id']}"
    )
    assert len(facts.pop("sha256")) == 64
    assert facts | {"bytes": 0} == {"media_type": "image/png", "bytes": 0, "width": 64, "height": 64, "seconds": None}
    said = backend.sql(
        "select message from image_generation_logs where job_id = %s and level = 'warning'", still["generation_id"]
    )
    assert [row["message"] for row in said] == still["warnings"]


@pytest.mark.parametrize(
    ("ratio", "size"), [("2:3", (64, 96)), ("9:16", (768, 1344)), (None, (100, 50)), ("1:1", (100, 98))]
)
async def test_the_shape_that_was_ordered_and_one_of_our_own_choice_warn_of_nothing(
    replicate: tuple[Wire, Backend], ratio: str | None, size: tuple[int, int]
):
    uri = f"data:image/png;base64,{base64.b64encode(picture(*size)).decode()}"
    still = await made(
        replicate, prediction(output=uri), inputs={"brief": "a cup"} | ({"aspect_ratio": ratio} if ratio else {})
    )
    assert (still["status"], still["warnings"]) == ("done", [])


async def test_an_error_with_letters_that_nobody_can_store_is_told_and_refunded(replicate: tuple[Wire, Backend]):
    before = replicate[1].balance()
    for text in ("boom \x00", "half \ud800 a pair", "a\x00\udfffb"):
        raw = json.dumps({"id": "p1", "status": "failed", "output": None, "error": text})
        still = await made(replicate, Scripted(body=raw))
        assert still["error"]["code"] == "SEEDREAM_PROVIDER_FAILED"
        [row] = replicate[1].ops_rows(still["generation_id"])
        assert (row["mg_detail"]["adapter"], row["mg_detail"]["vendor"]) == ("replicate", "replicate")
    assert replicate[1].balance() == before


async def test_a_refused_generation_is_refunded_and_told_kindly(replicate: tuple[Wire, Backend]):
    before = replicate[1].balance()
    answers = [
        prediction(status="failed", error=REFUSALS[4]),
        prediction(output=[], logs="NSFW content detected in image 0"),
    ]
    for answer in answers:
        still = await made(replicate, answer)
        assert still["error"]["code"] == "SEEDREAM_CONTENT_REFUSED"
        assert still["error"]["message"] == (
            "This was flagged as sensitive by the picture service, so it was not made."
            " Please ask for it differently. Your credits were returned."
        )
    assert replicate[1].balance() == before


async def test_an_end_is_written_without_the_variables_that_the_database_does_not_take(replicate: tuple[Wire, Backend]):
    wire, backend = replicate
    backend.sql(
        "create function refuse_poison() returns trigger language plpgsql as $$ begin"
        " if new.mg_mma_vars::text like '%%poison%%' then"
        " raise exception 'no such value' using errcode = '22003'; end if; return new; end $$",
    )
    backend.sql(
        "create trigger refuse_poison before update on mega_generations for each row execute function refuse_poison()"
    )
    try:
        before = backend.balance()
        wire.at_peace()
        still = await backend.finished(await backend.post("/mma/still/create", {"prompts": {"clean_prompt": "poison"}}))
        assert still["error"]["code"] == "UNWRITABLE"
        assert backend.balance() == before
        [row] = backend.ops_rows(still["generation_id"])
        assert row["mg_detail"]["unwritten"]["dropped"][0] == "mg_mma_vars"
    finally:
        backend.sql("drop trigger refuse_poison on mega_generations")
        backend.sql("drop function refuse_poison()")
