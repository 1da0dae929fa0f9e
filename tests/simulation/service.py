"""The provider as a model: it keeps the truth of what it accepted, and its answers get lost."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from safelight.domain.errors.base import (
    ContentRefused,
    LookupUnsupported,
    OutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    SchemaMismatch,
    StorageError,
)
from safelight.providers.base import CancelResult, Operation, OutputFile, Pending, Succeeded
from tests.simulation import clock
from tests.simulation.fault_schedule import ON_ITS_WAY_SECONDS_MAX, Weather

HANGS_SECONDS = 400.0
STORING_HANGS_SECONDS = 3000.0

UNREACHABLE, BUSY, REFUSED, DOWN, HANGS, LOST = "unreachable", "busy", "refused", "down", "hangs", "lost"
HANGS_LATE = "hangs after it accepted"


@dataclass
class Work:
    number: int
    attempt_key: str
    is_stale: bool  # asked for by a worker that had been taken over by then
    sent_at: float
    accepted_at: float
    ends_at: float
    is_stopped: bool = False
    is_answered: bool = False  # whoever asked has heard of it

    @property
    def step_no(self) -> int:
        return int(self.attempt_key.split(":")[1])

    @property
    def is_in_time(self) -> bool:
        return self.accepted_at - self.sent_at <= ON_ITS_WAY_SECONDS_MAX


class Service:
    """`denies_all` breaks its look-up on purpose: it says of every key that it never got it."""

    def __init__(self, weather: Weather, *, denies_all: bool = False) -> None:
        self.weather = weather
        self.denies_all = denies_all
        self.accepted: list[Work] = []
        self.on_their_way = 0
        self.look_ups_lost = 0

    async def receive(self, attempt_key: str, asking: Any, is_stale: Any) -> Work:
        """A start that was sent arrives, sooner or later, whatever became of whoever sent it."""
        sent_at = clock.seconds()
        self.on_their_way += 1
        await asyncio.sleep(self.weather.on_its_way_seconds())
        self.on_their_way -= 1
        now = clock.seconds()
        work = Work(len(self.accepted), attempt_key, is_stale(), sent_at, now, now + self.weather.work_seconds)
        self.accepted.append(work)
        asking.say(f"ACCEPTED {attempt_key}" + (" from a worker that was taken over" if work.is_stale else ""))
        return work

    @property
    def can_be_asked(self) -> bool:
        """True if every look-up was answered, and could be: all starts arrived in time."""
        return self.weather.looks_up and not self.look_ups_lost and all(work.is_in_time for work in self.accepted)

    def of_key(self, attempt_key: str) -> list[Work]:
        return [work for work in self.accepted if work.attempt_key == attempt_key]


class Client:
    """One process's way to the service: every call passes two points at which the process may stop."""

    def __init__(self, service: Service, process: Any) -> None:
        self._service, self._process, self._weather = service, process, service.weather

    async def start(self, attempt_key: str, is_stale: Any) -> Operation:
        fault = self._weather.call_fault(UNREACHABLE, BUSY, DOWN, REFUSED, HANGS, HANGS_LATE, "lost before", LOST, LOST)
        await self._process.point(f"start {attempt_key} ({fault or 'well'})")
        if fault == "lost before":
            raise OutcomeUnknown("the answer was lost, and so was the question")
        await _refuse(fault)
        arriving = self._process.world.spawn(self._service.receive(attempt_key, self._process, is_stale))
        work = await asyncio.shield(arriving)
        await self._process.point(f"start {attempt_key} is answered")
        if fault == LOST:
            raise OutcomeUnknown("the answer was lost")
        if fault == HANGS_LATE:
            await asyncio.sleep(HANGS_SECONDS)
        work.is_answered = True
        return Operation({"id": work.number}, check_after_seconds=self._weather.check_after_seconds)

    async def check(self, operation: Operation) -> Pending | Succeeded:
        await self._call("check", UNREACHABLE, BUSY, DOWN, HANGS)
        work = self._service.accepted[operation.handle["id"]]
        if work.is_stopped:
            raise ProviderRejected("stopped")
        if clock.seconds() < work.ends_at:
            return Pending(max(self._weather.check_after_seconds, 1.0))
        if self._weather.will_fail:
            raise ContentRefused("refused")
        return Succeeded((OutputFile("image/png", content=b"png"),))

    async def cancel(self, operation: Operation) -> CancelResult:
        await self._call("cancel", UNREACHABLE, DOWN, HANGS)
        work = self._service.accepted[operation.handle["id"]]
        if clock.seconds() >= work.ends_at:
            return CancelResult.TOO_LATE
        if not self._weather.stops_on_request:
            return CancelResult.UNSUPPORTED
        work.is_stopped = True
        return CancelResult.STOPPED

    async def look_up(self, attempt_key: str, noted_at: datetime) -> Operation | None:
        self._service.look_ups_lost += 1
        await self._call(f"find {attempt_key}", UNREACHABLE, BUSY, HANGS)
        self._service.look_ups_lost -= 1
        if not self._weather.looks_up:
            raise LookupUnsupported("no look-up")
        found = [] if self._service.denies_all else self._service.of_key(attempt_key)
        return Operation({"id": found[0].number}) if found else None

    async def store(self, key: str) -> None:
        fault = self._weather.call_fault(DOWN, HANGS)
        await self._process.point(f"store ({fault or 'well'})")
        if fault == HANGS:
            await asyncio.sleep(STORING_HANGS_SECONDS)
        elif fault:
            raise StorageError("the disk is full")
        await self._process.assets.public.put(key)

    async def answer(self) -> None:
        """A question to a model."""
        fault = self._weather.call_fault(UNREACHABLE, BUSY, DOWN, HANGS, REFUSED, "nonsense", "bug")
        await self._process.point(f"ask the model ({fault or 'well'})")
        if self._weather.asking_kills:
            self._process.kill()
        if fault == "nonsense":
            raise SchemaMismatch("no JSON")
        if fault == "bug":
            raise KeyError("a mistake of ours")
        await _refuse(fault)
        await self._process.point("the model answers")

    async def _call(self, name: str, *kinds: str) -> None:
        fault = self._weather.call_fault(*kinds)
        await self._process.point(f"{name} ({fault or 'well'})")
        await _refuse(fault)


async def _refuse(fault: str | None) -> None:
    match fault:
        case "unreachable":
            raise ProviderUnavailable("no route")
        case "busy":
            raise ProviderRateLimited("slowly", provider_http_status=429, retry_after_seconds=7)
        case "down":
            raise ProviderUnavailable("503", provider_http_status=503)
        case "refused":
            raise ContentRefused("no", provider_http_status=400)
        case "hangs":
            await asyncio.sleep(HANGS_SECONDS)
