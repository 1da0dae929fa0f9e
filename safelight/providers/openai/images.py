"""Stills: a background response whose only tool generates the picture. The handle is the response's id."""

from datetime import datetime

from safelight.domain.errors.base import LookupUnsupported, ProviderContractBroken, ProviderError, ProviderRejected
from safelight.providers.base import CancelResult, GenerationRequest, Json, Operation, OutputFile, Pending, Succeeded
from safelight.providers.openai.pictures import Pictures
from safelight.providers.openai.replies import ImageCall, Reply, error_of_end, error_of_failure, refusal_in_words
from safelight.providers.openai.service import OpenAIService
from safelight.providers.openai.sizes import size_for
from safelight.providers.outputs import content_of
from safelight.redaction import excerpt

CHECK_AFTER_SECONDS = 2.0
IMAGES_MAX = 16
PROMPT_CHARS_MAX = 32_000
CALLER_MODEL = "gpt-5.4-mini"
INSTRUCTIONS = "Make one picture with the image tool. Hand it the prompt as it is, word for word."

_CHOICES = {
    "quality": ("low", "medium", "high", "xhigh", "max", "auto"),
    "output_format": ("png", "jpeg", "webp"),
    "background": ("transparent", "opaque", "auto"),
}
# Settings that are used in another way, or state the only behaviour.
_ELSEWHERE = ("size", "aspect_ratio", "negative_prompt", "enhance_prompt")
_SO_ANYWAY = {"sequential_image_generation": "disabled", "max_images": 1}


class OpenAIImageProvider:
    """The model of the registry is the image model, or `CALLER/IMAGE-MODEL` if another model than CALLER_MODEL calls
    the tool."""

    name = "openai"

    def __init__(self, service: OpenAIService, pictures: Pictures) -> None:
        self._service = service
        self._pictures = pictures

    async def start(self, request: GenerationRequest) -> Operation:
        _refuse_unusable(request)
        caller, _, image_model = request.model.rpartition("/")
        tool, warnings = _tool(image_model, request)
        used, unused = request.images[:IMAGES_MAX], request.images[IMAGES_MAX:]
        asked = [{"type": "input_text", "text": _prompt(request)}, *await self._pictures.of(used)]
        reply = await self._service.start(
            model=caller or CALLER_MODEL,
            instructions=INSTRUCTIONS,
            input=[{"role": "user", "content": asked}],
            tools=[tool],
            tool_choice={"type": "image_generation"},
            max_tool_calls=1,
            metadata={"attempt_key": request.attempt_key},
        )
        warnings += [f"openai: the {one.role} picture is not used: {IMAGES_MAX} is all it takes" for one in unused]
        return Operation({"id": reply.id}, CHECK_AFTER_SECONDS, tuple(warnings))

    async def check(self, operation: Operation) -> Pending | Succeeded:
        reply = await self._service.retrieve(operation.handle["id"])
        if reply.status in ("queued", "in_progress"):
            return Pending(CHECK_AFTER_SECONDS)
        error = error_of_end(reply)
        if error:
            raise _final(error)
        return _succeeded(reply, tuple(operation.warnings))

    async def cancel(self, operation: Operation) -> CancelResult:
        reply = await self._cancelled(operation.handle["id"])
        match reply.status:
            case "cancelled":
                return CancelResult.STOPPED
            case "completed" | "failed" | "incomplete":
                return CancelResult.TOO_LATE
            case status:
                raise ProviderContractBroken(f"openai: status {status!r} after cancelling")

    async def _cancelled(self, response_id: str) -> Reply:
        """Cancel the response. One that has ended may refuse; then it is retrieved, and its status is the answer."""
        try:
            return await self._service.cancel(response_id)
        except ProviderRejected:
            return await self._service.retrieve(response_id)

    async def look_up(self, attempt_key: str, noted_at: datetime) -> Operation | None:
        """The metadata of a response hold the key, but the API has no list of responses."""
        raise LookupUnsupported("openai: responses cannot be looked up by their metadata")


def _refuse_unusable(request: GenerationRequest) -> None:
    if not request.prompt.strip() or len(request.prompt) > PROMPT_CHARS_MAX:
        raise ProviderRejected(f"openai: a prompt has 1 to {PROMPT_CHARS_MAX} characters", code="EMPTY_PROMPT")


def _prompt(request: GenerationRequest) -> str:
    unwanted = request.settings.get("negative_prompt")
    return f"{request.prompt}\nNothing of this may be in the picture: {unwanted}" if unwanted else request.prompt


def _tool(image_model: str, request: GenerationRequest) -> tuple[Json, list[str]]:
    """The tool with the settings that it knows, and warnings about the others that the customer has set."""
    size, said = size_for(image_model, request.settings)
    warnings = said if any(map(request.is_told_of, ("size", "aspect_ratio"))) else []
    chosen: Json = {}
    for name, value in request.settings.items():
        if name in _CHOICES and value in _CHOICES[name]:
            chosen[name] = value
        elif (
            request.is_told_of(name)
            and name not in _ELSEWHERE
            and not (name in _SO_ANYWAY and value == _SO_ANYWAY[name])
        ):
            warnings.append(f"openai: {excerpt(name, 40)} {excerpt(str(value), 40)!r} is not used")
    return {"type": "image_generation", "model": image_model, "size": size} | chosen, warnings


def _final(error: ProviderError) -> ProviderError:
    """The error of a response that has ended. Checking it again cannot help, even if a new start might."""
    return ProviderError(str(error), details=error.details) if error.retryable else error


def _succeeded(reply: Reply, warnings: tuple[str, ...]) -> Succeeded:
    call = next((call for call in reply.image_calls if call.result), None)
    if call is None:
        raise _error_without_picture(reply)
    media_type = f"image/{call.output_format or 'png'}"
    response = {"response_id": reply.id, **call.model_dump(include={"size", "quality", "revised_prompt"})}
    return Succeeded((OutputFile(media_type, content=_bytes_of(call)),), response, warnings)


def _error_without_picture(reply: Reply) -> ProviderError:
    problem = next((call.error for call in reply.image_calls if call.error), None)
    if problem:
        return _final(error_of_failure(problem.code, problem.message or ""))
    if refused := refusal_in_words(reply):
        return refused
    said = excerpt(reply.text, 200)
    return ProviderContractBroken(
        f"openai: response {reply.id} is completed without a picture: {said!r}", code="NO_URL"
    )


def _bytes_of(call: ImageCall) -> bytes:
    content = content_of(call.result or "")
    if content is None:
        raise ProviderContractBroken("openai: a picture that is no base64")
    return content
