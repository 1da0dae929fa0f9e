"""OpenAI declines, or answers with what nobody can store: asked once, paid once, told by name."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Backend, running
from tests.fakes import openai as fakes
from tests.fakes.openai import OpenAIFake, openai_serving, response, says

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def openai(
    module_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[OpenAIFake, Backend]]:
    async with (
        openai_serving(module_dsn, gpt="gpt-5.4-mini") as (fake, settings),
        running(module_dsn, tmp_path_factory.mktemp("home"), **settings) as backend,
    ):
        await backend.grant(100)
        yield fake, backend


async def made(backend: Backend) -> Json:
    return await backend.finished(await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}))


ANSWERS = {
    "a refusal part": fakes.REFUSAL,
    "a filter": fakes.FILTERED,
    "a filter named as chat completions name it": response(
        "completed", [says("{}") | {"finish_reason": "content_filter"}]
    ),
    "a refusal in words": response("completed", [says("I'm sorry, but I can't assist with that request.")]),
    "a policy": fakes.POLICY,
    "a failed response": response("failed", error={"code": None, "message": "Rejected by our safety system"}),
}


@pytest.mark.parametrize("said", list(ANSWERS))
async def test_what_openai_declines_is_a_refusal_asked_once(openai: tuple[OpenAIFake, Backend], said: str):
    fake, backend = openai
    before, fake.asked[:] = backend.balance(), []
    fake.will("create", ANSWERS[said])
    still = await made(backend)
    assert still["error"]["code"] == "GPT_CONTENT_REFUSED"
    assert (backend.balance(), len(fake.asked)) == (before, 1)
    blamed = backend.value("select model_id from generations where id = %s", still["generation_id"])
    assert blamed == "gpt-5.4-mini"
    counted = backend.sql("select model_id from get_failure_stats(1)")
    assert [row["model_id"] for row in counted] == ["gpt-5.4-mini"]


BAD_LETTERS = {
    "NUL": '{"clean_prompt": "a \\u0000 cup", "userMessage": "good\\u0000"}',
    "half a pair": '{"clean_prompt": "a \\ud83d cup", "userMessage": "good"}',
    "no number": '{"clean_prompt": "a cup", "userMessage": "good", "more": [NaN, -Infinity, 1e999]}',
    "a number of 6,000 digits": '{"clean_prompt": "a cup", "userMessage": "good", "more": ' + "7" * 6000 + "}",
}


@pytest.mark.parametrize("said", list(BAD_LETTERS))
async def test_an_answer_with_what_nobody_can_store_is_paid_once_and_used(
    openai: tuple[OpenAIFake, Backend], said: str
):
    fake, backend = openai
    fake.asked[:] = []
    usage = {"input_tokens": 10**20, "output_tokens": -1}
    fake.will("create", letters(response("completed", [says(BAD_LETTERS[said])], usage=usage)))
    still = await made(backend)
    assert still["status"] == "done"
    assert len(fake.asked) == 2  # the brief, and the look at the result


def letters(body: Json) -> fakes.Scripted:
    return fakes.Scripted(body=json.dumps(body))
