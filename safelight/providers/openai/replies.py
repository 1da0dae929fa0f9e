"""The part of a response that we read; what else is in it does not matter."""

from typing import Literal

from pydantic import BaseModel

from safelight.domain.errors import ContentRefused, ProviderContractBroken, ProviderError
from safelight.providers.openai.errors import error_of_failure


class Problem(BaseModel):
    code: str | None = None
    message: str = ""


class Part(BaseModel):
    type: str
    text: str = ""
    refusal: str = ""


class Message(BaseModel):
    type: Literal["message"]
    content: list[Part]


class ImageCall(BaseModel):
    """One use of the image tool. Its own status may lag behind the response's: a `result` is what counts."""

    type: Literal["image_generation_call"]
    result: str | None = None
    error: Problem | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    revised_prompt: str | None = None


class Other(BaseModel):
    """Reasoning, and whatever else a model does on its way."""

    type: str


class Incomplete(BaseModel):
    reason: str | None = None


class Usage(BaseModel):
    input_tokens: int
    output_tokens: int


class Reply(BaseModel):
    id: str
    status: str
    output: list[Message | ImageCall | Other] = []
    error: Problem | None = None
    incomplete_details: Incomplete | None = None
    usage: Usage | None = None

    @property
    def parts(self) -> list[Part]:
        return [part for item in self.output if isinstance(item, Message) for part in item.content]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if part.type == "output_text")

    @property
    def image_calls(self) -> list[ImageCall]:
        return [item for item in self.output if isinstance(item, ImageCall)]


def error_of_end(reply: Reply) -> ProviderError | None:
    """What a response that has ended comes to; None where it was completed and not refused."""
    match reply.status:
        case "completed":
            return _error_of_refusal(reply)
        case "failed":
            problem = reply.error or Problem()
            return error_of_failure(problem.code, problem.message)
        case "incomplete":
            return _error_of_incomplete(reply)
        case "cancelled":
            return ProviderError(f"openai: response {reply.id} was cancelled")
        case status:
            return ProviderContractBroken(f"openai: response {reply.id} has the status {status!r}")


def _error_of_refusal(reply: Reply) -> ContentRefused | None:
    refusals = [part.refusal for part in reply.parts if part.type == "refusal"]
    return ContentRefused(f"openai: {refusals[0][:300]}") if refusals else None


def _error_of_incomplete(reply: Reply) -> ProviderError:
    reason = reply.incomplete_details.reason if reply.incomplete_details else None
    if reason == "content_filter":
        return ContentRefused("openai: the content filter stopped the answer")
    return ProviderContractBroken(f"openai: the answer is cut off: {reason}", code="INCOMPLETE")
