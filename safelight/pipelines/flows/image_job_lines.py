"""The job log of an image job, in the steps and with the details of docs/contract/job-log.md. A job of many variants
says each thing for every tenth of them only; errors are always said."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from safelight.domain.errors.base import Cancelled, ProviderError, ProviderTimeout, SafelightError
from safelight.domain.errors.codes import public_code
from safelight.domain.job_log import Level, LogLine
from safelight.domain.orders import ImageJob
from safelight.domain.sets.image_jobs import Position, variant_id
from safelight.domain.steps import StepType
from safelight.pipelines.engine.lines import Lines, StepLines
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.step import Step
from safelight.redaction import excerpt

Json = dict[str, Any]

ALL_SAID_UP_TO = 50  # variants
SAID_EVERY = 10
PROMPT_CHARS_MAX = 4_000
ERROR_CHARS_MAX = 500
FINAL_STATUSES = (400, 401)  # of a provider's answer, after which no other attempt is made


@dataclass(slots=True)
class Counted:
    """Counts how many of `total` steps have ended, and how many of these without an error."""

    total: int
    ended: int
    succeeded: int

    def add(self, *, succeeded: bool) -> None:
        self.ended += 1
        self.succeeded += succeeded

    @property
    def is_last(self) -> bool:
        return self.ended == self.total


class ValidationLines(StepLines):
    def __init__(self, run: Run) -> None:
        self._run, self._order = run, run.order_as(ImageJob)

    def begun(self, step: Step, usual: Lines) -> Lines:
        if len(step.payload.attempts) > 1:
            return usual
        order = self._order
        picked_up = {
            "jobName": order.title,
            "variants": order.variants,
            "templateName": order.template_name or f"{order.title} Template",
        }
        return [*usual, LogLine("info", "initialization", "Your job has begun.", picked_up)]

    def ended(self, step: Step, usual: Lines) -> Lines:
        found = step.payload.output["sources"]
        readable = sum("error" not in source for source in found)
        lines = [LogLine("info", step.type, f"Found {readable} source pictures.", {"sourceImages": readable})]
        unreadable = [self._unreadable(source, _elapsed_ms(step)) for source in found if "error" in source]
        return [*usual, *lines, *unreadable]

    def _unreadable(self, source: Json, elapsed_ms: int | None) -> LogLine:
        number, error = source["source"], source["error"]
        details = {
            "imageIndex": number,
            "sourceUrl": self._order.sources[number].url,
            "error": error["message"],
            "errorCode": error["code"],
            "elapsedMs": elapsed_ms,
        }
        return LogLine("error", StepType.VALIDATION, f"Source {number + 1} cannot be read.", details)


def failure_details(step: Step, error: SafelightError) -> Json:
    """The details that each line of a failure has."""
    return {"error": error.safe_message, "errorCode": error.code, "elapsedMs": _elapsed_ms(step)}


def no_sources_line(run: Run, step: Step, error: SafelightError) -> LogLine:
    """The line of a job that has no source that can be read."""
    order = run.order_as(ImageJob)
    described = json.dumps({"source_images": [source.url for source in order.sources]})
    details = {"templateDescription": excerpt(described, PROMPT_CHARS_MAX), "sourceImages": 0}
    details |= failure_details(step, error)
    return LogLine("error", StepType.VALIDATION, "No source picture can be read.", details)


class BaseLines(StepLines):
    """The lines of one base image."""

    def __init__(self, run: Run, source: Json, prompt: str, sources: int, count: Counted) -> None:
        self._run, self._number, self._prompt = run, source["source"], prompt
        self._url, self._sources, self._count = source["url"], sources, count

    def _line(self, level: Level, text: str, **details: Any) -> LogLine:
        return LogLine(level, StepType.BASE_GENERATION, text, {"imageIndex": self._number} | details)

    def begun(self, step: Step, usual: Lines) -> Lines:
        attempt, most = step.tries, self._run.policy.attempts_max
        trying = self._line("info", f"Attempt {attempt} of {most}.", attempt=attempt)
        if len(step.payload.attempts) > 1:
            return [trying]
        given = step.payload.input
        size = given["settings_resolved"].get("size")
        return [
            self._line(
                "info",
                f"Making base image {self._number + 1} of {self._sources}.",
                sourceUrl=self._url,
                prompt=self._prompt,
            ),
            self._line(
                "info",
                "The prompt was put into our instruction.",
                originalPrompt=self._prompt,
                wrappedPrompt=excerpt(given["prompt"], 2 * PROMPT_CHARS_MAX),
                size=size,
            ),
            trying,
        ]

    def retried(self, step: Step, error: SafelightError, seconds: float, usual: Lines) -> Lines:
        delay = round(seconds * 1000)
        failed = self._failure(step, error)
        status = failed["status"]
        if status is not None:
            text = f"The picture service answered {status}; trying again in {delay / 1000:.1f} s."
            return [self._line("warning", text, retryDelay=delay, **failed)]
        attempt = f"Attempt {step.tries} failed: {error.safe_message}"
        return [
            self._line("error", attempt, isTimeout=_is_timeout(error), **failed),
            self._line("info", f"Waiting {delay / 1000:.1f} s before the next attempt.", retryDelay=delay),
        ]

    def failed(self, step: Step, error: SafelightError, usual: Lines) -> Lines:
        self._count.add(succeeded=False)
        if isinstance(error, Cancelled):
            return [*usual, *self._summary()]
        failure = self._failure(step, error)
        most = self._run.policy.attempts_max
        if failure["status"] in FINAL_STATUSES:
            line = self._line(
                "error", f"The picture service answered {failure['status']}: no other attempt.", **failure
            )
        elif not isinstance(error, ProviderError):
            line = self._line("error", f"Base image {self._number + 1} failed: {error.safe_message}", **failure)
        else:
            text = f"Base image {self._number + 1} could not be made: {error.safe_message}"
            line = self._line("error", text, maxRetries=most, isTimeout=_is_timeout(error), **failure)
        return [line, *self._summary()]

    def ended(self, step: Step, usual: Lines) -> Lines:
        self._count.add(succeeded=True)
        output = step.payload.output
        warnings = [line for line in usual if line.level == "warning"]
        answered = self._line(
            "success", "The picture service answered.", attempt=step.tries, responseTime=_elapsed_ms(step)
        )
        size = f"{output['width']}x{output['height']}"
        decoded = self._line(
            "success",
            f"Base image {self._number + 1} is there ({size}).",
            width=output["width"],
            height=output["height"],
            size=output["bytes"],
            storagePath=output["output_key"],
        )
        return [*warnings, answered, decoded, *self._summary()]

    def _failure(self, step: Step, error: SafelightError) -> Json:
        return {
            "attempt": step.tries,
            "error": error.safe_message,
            "errorCode": public_code(step.type, error),
            "status": getattr(error, "provider_http_status", None),
            "elapsedMs": _elapsed_ms(step),
        }

    def _summary(self) -> Lines:
        """After the last base image of the round: how many there are."""
        count = self._count
        if not count.is_last:
            return []
        if count.succeeded == 0:
            told = {"attemptedCount": count.total}
            return [LogLine("error", StepType.BASE_GENERATION, "No base image could be made.", told)]
        if count.succeeded < count.total:
            text = f"{count.succeeded} of {count.total} base images are there."
            failed = count.total - count.succeeded
            told = {"successCount": count.succeeded, "totalCount": count.total, "failedCount": failed}
            return [LogLine("warning", StepType.BASE_GENERATION, text, told)]
        text = f"All {count.total} base images are there."
        return [LogLine("success", StepType.BASE_GENERATION, text, {"totalCount": count.total})]


@dataclass
class VariantLines(StepLines):
    """The lines of one variant; those of its pictures are gathered while they are made."""

    run: Run
    variant: int
    variants: int
    folder: str
    count: Counted
    _slides: Lines = field(default_factory=list)

    @property
    def is_said(self) -> bool:
        return self.variants <= ALL_SAID_UP_TO or self.variant % SAID_EVERY == 0

    def _details(self, position: Position) -> Json:
        return {"variantIndex": position.variant, "imageIndex": position.source}

    def forget(self) -> None:
        """The pictures of the variant are made again."""
        self._slides.clear()

    def slide_begins(self, position: Position, settings: Json) -> None:
        if self.is_said:
            text = f"Making picture {position.source + 1} of variant {position.variant + 1}."
            self._slides.append(LogLine("info", "processing", text, self._details(position) | {"settings": settings}))

    def slide_stored(self, position: Position, key: str) -> None:
        if self.is_said:
            text = f"Stored picture {position.source + 1} of variant {position.variant + 1}."
            named = {"storagePath": key, "fileName": key.rsplit("/", 1)[-1]}
            self._slides.append(LogLine("success", "upload", text, self._details(position) | named))

    def slide_failed(self, position: Position, key: str, error: SafelightError) -> None:
        text = f"Picture {position.source + 1} of variant {position.variant + 1} is missing: {error.safe_message}"
        told = self._details(position) | {"error": error.safe_message, "errorCode": error.code, "storagePath": key}
        step = "upload" if error.retryable else StepType.VARIANT_CREATION
        self._slides.append(LogLine("error", step, text, told))

    def begun(self, step: Step, usual: Lines) -> Lines:
        if not self.is_said or len(step.payload.attempts) > 1:
            return []
        details = {
            "variantIndex": self.variant,
            "variantId": variant_id(self.run.generation_id, self.variant),
            "folderPath": self.folder,
        }
        return [LogLine("info", step.type, f"Making variant {self.variant + 1} of {self.variants}.", details)]

    def ended(self, step: Step, usual: Lines) -> Lines:
        self.count.add(succeeded=step.payload.error is None)
        elapsed = {"elapsedMs": _elapsed_ms(step)}
        slides = [
            LogLine(line.level, line.step, line.message, (line.details or {}) | elapsed)
            if line.level == "error"
            else line
            for line in self._slides
        ]
        return [*slides, *self._milestone()]

    def failed(self, step: Step, error: SafelightError, usual: Lines) -> Lines:
        self.count.add(succeeded=False)
        if isinstance(error, Cancelled):
            return [*usual, *self._milestone()]
        details = {
            "variantIndex": self.variant,
            "error": error.safe_message,
            "errorCode": error.code,
            "storagePath": self.folder,
            "elapsedMs": _elapsed_ms(step),
        }
        text = f"Variant {self.variant + 1} could not be made: {error.safe_message}"
        return [LogLine("error", step.type, text, details), *self._milestone()]

    def _milestone(self) -> Lines:
        count = self.count
        if self.variants <= ALL_SAID_UP_TO or count.ended % SAID_EVERY:
            return []
        percent = 100 * count.ended // count.total
        told = {"completedVariants": count.ended, "totalVariants": count.total, "percentComplete": percent}
        return [LogLine("info", StepType.VARIANT_CREATION, f"{count.ended} of {count.total} variants are there.", told)]


def failure_counts(steps: Iterable[Step]) -> dict[str, int]:
    """Count how often each error ended one of these steps."""
    return dict(Counter(step.payload.error.error_code.removeprefix("MMA_") for step in steps if step.payload.error))


def _is_timeout(error: SafelightError) -> bool:
    return isinstance(error, ProviderTimeout) or error.category.value == "TIMEOUT"


def _elapsed_ms(step: Step) -> int | None:
    """Milliseconds since the last attempt began."""
    if not step.payload.attempts:
        return None
    last = step.payload.attempts[-1]
    ended = datetime.fromisoformat(last.ended_at) if last.ended_at else step.clock.now()
    return round((ended - datetime.fromisoformat(last.started_at)).total_seconds() * 1000)
