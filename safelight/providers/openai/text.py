"""Scans, readers and feedback: one question, one JSON answer."""

from safelight.domain.errors.base import ProviderContractBroken, SchemaMismatch
from safelight.domain.untrusted.json import parse_json
from safelight.providers.base import TextAnswer, TextRequest
from safelight.providers.openai.pictures import Pictures
from safelight.providers.openai.replies import Reply, error_of_end, refusal_in_words
from safelight.providers.openai.schemas import answer_format
from safelight.providers.openai.service import OpenAIService
from safelight.redaction import excerpt

OUTPUT_TOKENS_MAX = 16_000  # most are for reasoning: an answer has some hundred


class OpenAITextModel:
    name = "openai"

    def __init__(self, service: OpenAIService, pictures: Pictures) -> None:
        self._service = service
        self._pictures = pictures

    async def complete(self, request: TextRequest) -> TextAnswer:
        asked = [{"type": "input_text", "text": request.user}, *await self._pictures.of(request.images)]
        reply = await self._service.answer(
            model=request.model,
            instructions=request.system,
            input=[{"role": "user", "content": asked}],
            text={"format": answer_format(request.context_key, request.schema)},
            max_output_tokens=OUTPUT_TOKENS_MAX,
            store=False,
        )
        return _answer(reply)


def _answer(reply: Reply) -> TextAnswer:
    failure = error_of_end(reply)
    if failure:
        raise failure
    if not reply.text:
        raise ProviderContractBroken(f"openai: response {reply.id} is completed and says nothing")
    try:
        data = parse_json(reply.text)
    except ValueError as error:
        mismatch = SchemaMismatch(f"openai: the answer is no JSON: {excerpt(reply.text, 200)!r}")
        raise refusal_in_words(reply) or mismatch from error
    if not isinstance(data, dict):
        raise SchemaMismatch(f"openai: the answer is no JSON object: {excerpt(reply.text, 200)!r}")
    usage = reply.usage
    return TextAnswer(data, reply.text, usage.input_tokens if usage else None, usage.output_tokens if usage else None)
