"""What the pipelines ask of an outside service, and what comes back.

An adapter translates: it does not wait, loop, charge or store. `start` hands work to the service and returns
the handle of what is now in progress; `check` asks about that handle. A `start` that was sent and got no answer raises
OutcomeUnknown, never a plain time-out: the service may be at work, and paid. Results are files we then copy to our
own storage. Errors are raised as `safelight.domain.errors.base.ProviderError` and its children.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from safelight.media.decoding_pool import MediaPool
from safelight.providers.fault_injection import Fault

Json = dict[str, Any]
ReadImage = Callable[[str], Awaitable[bytes]]  # the bytes behind an input URL


@dataclass(frozen=True, slots=True)
class ReferenceImage:
    """A picture a request refers to: `url` as the outside service would be given it; `role` says what it shows
    (`product`, `logo`, `inspiration`, `style_hero`, `parent_output`, `start_frame`, `end_frame`, `video_frame`)."""

    role: str
    url: str
    content: bytes | None = None  # set where the picture has no URL, e.g. a frame taken out of a video


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One still. `settings` is the resolved set: provider defaults, then preferences, then the request's own; `stated`
    are those that the customer has set, None all of them: what is not done with another one is no warning."""

    step_type: str
    model: str
    prompt: str
    images: tuple[ReferenceImage, ...]
    settings: Mapping[str, Any]
    seed: int
    attempt_key: str
    stated: frozenset[str] | None = None

    def is_told_of(self, name: str) -> bool:
        """Whether the customer is to know what became of this setting."""
        return self.stated is None or name in self.stated


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """One video that begins with the `start_frame` image, and ends with the `end_frame` image if there is one."""

    step_type: str
    model: str
    prompt: str
    images: tuple[ReferenceImage, ...]
    settings: Mapping[str, Any]
    seed: int
    attempt_key: str
    stated: frozenset[str] | None = None

    def is_told_of(self, name: str) -> bool:
        """Whether the customer is to know what became of this setting."""
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
    how long ago it was started, by the database's clock; whoever asks about it says so."""

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
    """What became of asking the service to stop."""

    STOPPED = "stopped"
    TOO_LATE = "too_late"  # the result is there, or will be
    UNSUPPORTED = "unsupported"  # the service has no way to be stopped: it goes on and may cost


@dataclass(frozen=True, slots=True)
class Answer:
    """`data` is the parsed JSON object; `text` what the model really sent."""

    data: Json
    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None


class ImageProvider(Protocol):
    """`find` looks a start up whose answer was lost, by its attempt key; it was sent after `noted_at`, which is the
    database's time. None means that the service never got it. It raises LookupUnsupported if the service cannot say."""

    name: str

    async def start(self, request: ImageRequest) -> Operation: ...
    async def check(self, operation: Operation) -> Pending | Succeeded: ...
    async def cancel(self, operation: Operation) -> CancelResult: ...
    async def find(self, attempt_key: str, noted_at: datetime) -> Operation | None: ...


class VideoProvider(Protocol):
    """`find` looks a start up whose answer was lost, by its attempt key; it was sent after `noted_at`, which is the
    database's time. None means that the service never got it. It raises LookupUnsupported if the service cannot say."""

    name: str

    async def start(self, request: VideoRequest) -> Operation: ...
    async def check(self, operation: Operation) -> Pending | Succeeded: ...
    async def cancel(self, operation: Operation) -> CancelResult: ...
    async def find(self, attempt_key: str, noted_at: datetime) -> Operation | None: ...


class TextModel(Protocol):
    name: str

    async def complete(self, request: TextRequest) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """What one service offers."""

    text: TextModel | None = None
    image: ImageProvider | None = None
    video: VideoProvider | None = None


@dataclass(frozen=True, slots=True)
class AdapterContext:
    """Given to the function that an installed package names in the entry point group `safelight.adapters`.

    Adapters decode and draw in `media_pool`, which bounds the memory of the whole process. `fault` and
    `latency_seconds` are set for the adapter `local` alone, from SAFELIGHT_LOCAL_FAULT and
    SAFELIGHT_LOCAL_WAIT_SECONDS.
    """

    read_image: ReadImage
    media_pool: MediaPool
    fault: Fault | None = None
    latency_seconds: float = 0.0

    async def __call__(self, url: str) -> bytes:
        """As `read_image`: a function that takes only a `ReadImage` is given the context as one."""
        return await self.read_image(url)
