"""The interface between the pipelines and an outside service.

An adapter translates: it does not wait, loop, charge or store. `start` sends work to the service and returns the handle
of the operation; `check` asks for its state. A `start` that was sent and got no answer raises OutcomeUnknown, never a
plain time-out: the service may have accepted it, and charge for it. Results are files, which are then copied to our own
storage. Errors are `safelight.domain.errors.base.ProviderError` and its subclasses.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

from safelight.domain.flows import Mode
from safelight.media.decoding_pool import MediaPool
from safelight.providers.fault_injection import Fault

Json = dict[str, Any]
Kind = Literal["image", "video"]
ReadImage = Callable[[str], Awaitable[bytes]]  # the bytes behind an input URL


@dataclass(frozen=True, slots=True)
class ReferenceImage:
    """An input picture of a request: `url` as it is given to the service; `role` is its part in the request
    (`product`, `logo`, `inspiration`, `style_hero`, `parent_output`, `start_frame`, `end_frame`, `video_frame`)."""

    role: str
    url: str
    content: bytes | None = None  # set if the picture has no URL, e.g. a frame of a video


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One still or one video to generate; a video begins with the `start_frame` image and ends with the `end_frame`
    image, if there is one. `settings` is the resolved set: provider defaults, then preferences, then the request's own.
    `stated` names those that the customer has set (None: all of them); only they lead to a warning if the service
    cannot follow them."""

    step_type: str
    model: str
    prompt: str
    images: tuple[ReferenceImage, ...]
    settings: Mapping[str, Any]
    seed: int
    attempt_key: str
    stated: frozenset[str] | None = None

    def is_told_of(self, name: str) -> bool:
        """True if the customer is told what became of this setting."""
        return self.stated is None or name in self.stated


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A question to a vision-language model whose answer must match `schema` (a JSON Schema)."""

    step_type: str
    model: str
    context_key: str
    system: str
    user: str
    schema: Mapping[str, Any]
    images: tuple[ReferenceImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """The provider's handle of work in progress: small JSON, stored before anyone waits for it. `under_way_seconds` is
    the time since its start by the database's clock; the caller of `check` sets it."""

    handle: Json
    check_after_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    under_way_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A result file: either `url` (to be copied before it expires) or `content`."""

    media_type: str
    url: str | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    check_after_seconds: float


@dataclass(frozen=True, slots=True)
class Succeeded:
    outputs: tuple[OutputFile, ...]
    response: Json = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class CancelResult(StrEnum):
    STOPPED = "stopped"
    TOO_LATE = "too_late"  # the result exists, or will
    UNSUPPORTED = "unsupported"  # the service cannot cancel: the work goes on and may cost


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """`data` is the parsed JSON object; `text` is the literal answer of the model."""

    data: Json
    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None


class MediaProvider(Protocol):
    """Generates stills or videos; the registry's `modes` say which of the two an engine makes. `look_up` finds, by its
    attempt key, a start whose answer was lost; it was sent after `noted_at`, which is the database's time. It returns
    None if the service never received the start, and raises LookupUnsupported if the service cannot say."""

    name: str

    async def start(self, request: GenerationRequest) -> Operation: ...
    async def check(self, operation: Operation) -> Pending | Succeeded: ...
    async def cancel(self, operation: Operation) -> CancelResult: ...
    async def look_up(self, attempt_key: str, noted_at: datetime) -> Operation | None: ...


class TextModel(Protocol):
    name: str

    async def complete(self, request: TextRequest) -> TextAnswer: ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """The interfaces that one service offers; None for those that it does not."""

    text: TextModel | None = None
    image: MediaProvider | None = None
    video: MediaProvider | None = None

    def media(self, mode: Mode) -> MediaProvider | None:
        return self.video if mode == "video" else self.image


@dataclass(frozen=True, slots=True)
class AdapterContext:
    """The argument of the function that an installed package names in the entry point group `safelight.adapters`.

    Adapters decode and draw in `media_pool`, which bounds the memory of the whole process. `fault` and
    `latency_seconds` are set for the adapter `local` alone, from SAFELIGHT_LOCAL_FAULT and
    SAFELIGHT_LOCAL_LATENCY_SECONDS.
    """

    read_image: ReadImage
    media_pool: MediaPool
    fault: Fault | None = None
    latency_seconds: float = 0.0

    async def __call__(self, url: str) -> bytes:
        """As `read_image`: a function that takes only a `ReadImage` is given the context as one."""
        return await self.read_image(url)
