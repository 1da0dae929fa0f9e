"""Models of the parts of a response that are read; others are ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, StringConstraints

from safelight.domain.errors.base import ContentRefused, ProviderContractBroken, ProviderError
from safelight.providers.errors import VendorError, map_error

NAME = "openai"
REASONS = {
    name: f"the answer ended with {name}" for name in ("content_filter", "content_filtered", "safety", "moderation")
}
TOKENS_MAX = 2**31 - 1  # the maximum of the column


def _tokens(stated: Any) -> int | None:
    return stated if type(stated) is int and 0 <= stated <= TOKENS_MAX else None


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
Tokens = Annotated[int | None, BeforeValidator(_tokens)]


class ReplyError(BaseModel):
    code: str | None = None
    message: str | None = ""


class ContentPart(BaseModel):
    type: str
    text: str | None = ""
    refusal: str | None = ""


class Message(BaseModel):
    type: Literal["message"]
    content: list[ContentPart]
    finish_reason: str | None = None


class ImageCall(BaseModel):
    """One call of the image tool. Its own status may lag behind that of the response: only `result` counts."""

    type: Literal["image_generation_call"]
    result: str | None = None
    error: ReplyError | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    revised_prompt: str | None = None


class Other(BaseModel):
    """Reasoning and other items, which are ignored."""

    type: str


class Incomplete(BaseModel):
    reason: str | None = None


class Usage(BaseModel):
    """Token counts; None for an invalid one, which is no reason to fail."""

    input_tokens: Tokens = None
    output_tokens: Tokens = None


class Reply(BaseModel):
    id: Id
    status: str
    output: list[Message | ImageCall | Other] = []
    error: ReplyError | None = None
    incomplete_details: Incomplete | None = None
    usage: Usage | None = None

    @property
    def parts(self) -> list[ContentPart]:
        return [part for item in self.output if isinstance(item, Message) for part in item.content]

    @property
    def text(self) -> str:
        return "".join(part.text or "" for part in self.parts if part.type == "output_text")

    @property
    def finish_reasons(self) -> list[str]:
        return [item.finish_reason for item in self.output if isinstance(item, Message) and item.finish_reason]

    @property
    def image_calls(self) -> list[ImageCall]:
        return [item for item in self.output if isinstance(item, ImageCall)]


def error_of_failure(code: str | None, message: str) -> ProviderError:
    """The error of ours for a response with the status `failed`."""
    return map_error(VendorError(NAME, "result", 0, message, frozenset({code} if code else ())))


def error_of_end(reply: Reply) -> ProviderError | None:
    """The error of a response that has ended; None if it was completed and not refused."""
    match reply.status:
        case "completed":
            return _error_of_refusal(reply)
        case "failed":
            problem = reply.error or ReplyError()
            return error_of_failure(problem.code, problem.message or "")
        case "incomplete":
            return _error_of_incomplete(reply)
        case "cancelled":
            return ProviderError(f"openai: response {reply.id} was cancelled")
        case status:
            return ProviderContractBroken(f"openai: response {reply.id} has the status {status!r}")


def _error_of_refusal(reply: Reply) -> ContentRefused | None:
    refusals = [part.refusal or part.text or "" for part in reply.parts if part.type == "refusal"]
    refusals += [REASONS[reason] for reason in reply.finish_reasons if reason in REASONS]
    return ContentRefused(f"openai: {refusals[0][:300]}") if refusals else None


def refusal_in_words(reply: Reply) -> ContentRefused | None:
    """The text of a refusal, if the model wrote one instead of an answer."""
    error = error_of_failure(None, reply.text)
    return error if isinstance(error, ContentRefused) else None


def _error_of_incomplete(reply: Reply) -> ProviderError:
    reason = reply.incomplete_details.reason if reply.incomplete_details else None
    if reason in REASONS or any(one in REASONS for one in reply.finish_reasons):
        return ContentRefused(f"openai: the answer ended with {reason}")
    refused = _error_of_refusal(reply)
    if refused:
        return refused
    return ProviderContractBroken(f"openai: the answer is cut off: {reason}", code="INCOMPLETE")
