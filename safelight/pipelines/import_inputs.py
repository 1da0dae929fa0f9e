"""Makes private files of the input pictures that are on other people's servers, before a worker begins with the order.

Imports are jobs of a queue of their own, so a server that answers slowly, or never, holds no place of a worker; jobs of
one customer share a few locks, so they hold few places here. An import that a dead process leaves is taken over and
begins again: what is stored already keeps the key it has.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from safelight import telemetry
from safelight.db.connection.database import Connection, Database
from safelight.db.connection.notifications import Notifier
from safelight.db.generations import imports
from safelight.db.generations.imports import PendingImports
from safelight.domain import variables
from safelight.domain.errors.base import (
    AssetUnreachable,
    Cancelled,
    ConfigError,
    InvalidInput,
    RemoteFileRefused,
    SafelightError,
    StorageError,
    WorkerLost,
)
from safelight.domain.orders import ImageJob, Order, read_order
from safelight.pipelines.engine.run_store import OUTAGE_SECONDS_MAX
from safelight.pipelines.engine.sealing import Sealer
from safelight.pipelines.engine.snooze import Snooze
from safelight.pipelines.engine.step import TAKEOVERS_MAX
from safelight.storage.assets import UPLOAD_BYTES_MAX, AssetStore
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool

Json = dict[str, Any]
Refuse = Callable[[str, SafelightError], Awaitable[None]]
Result = TypeVar("Result")
Defer = Callable[[Connection, str], Awaitable[None]]

KIND = "inputs"
IMPORTED_LINE = "Your pictures have arrived."
STORAGE_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PictureImport:
    """Makes files of ours of pictures that orders name. `seconds_max` is for all pictures of an order together."""

    assets: AssetStore
    fetcher: GuardedFetcher
    spool: Spool
    sealer: Sealer | None
    seconds_max: float

    async def one(self, picture: Json, customer: str) -> str:
        """Returns the address of our copy. `picture` is the note of it.

        Raises:
            AssetUnreachable: it cannot be had.
            StorageError: it cannot be stored now.
        """
        if "key" in picture:
            return await self.copied(picture, customer)
        with await self.fetched(self.url(picture), picture["field"]) as file:
            return await self.stored(file, picture["field"], customer)

    def url(self, picture: Json) -> str:
        if "sealed" not in picture or self.sealer is None:
            return str(picture["url"])
        try:
            return self.sealer.unseal(picture["sealed"])
        except ConfigError as error:
            raise AssetUnreachable(picture["field"], str(error)) from error

    async def fetched(self, url: str, field: str) -> BinaryIO:
        try:
            stream = self.fetcher.stream(url, bytes_max=UPLOAD_BYTES_MAX, seconds_max=self.seconds_max)
            async with stream as chunks:
                return await self.spool.receive(chunks)
        except RemoteFileRefused as error:
            raise AssetUnreachable(field, str(error)) from error

    async def stored(self, file: BinaryIO, field: str, customer: str) -> str:
        try:
            stored = await self.assets.put_private_picture(file, kind=KIND, customer=customer)
        except InvalidInput as error:
            raise AssetUnreachable(field, str(error)) from error
        return self.assets.private_address(stored.key)

    async def copied(self, picture: Json, customer: str) -> str:
        """Our own copy of a private file of somebody else, who gave out a URL for it."""
        try:
            stored = await self.assets.copy_private_picture(picture["key"], kind=KIND, customer=customer)
        except InvalidInput as error:  # NotFound is one
            raise AssetUnreachable(picture["field"], str(error)) from error
        return self.assets.private_address(stored.key)


@dataclass(frozen=True, slots=True)
class InputImporter:
    """`refuse` ends a generation that no worker began."""

    db: Database
    notifier: Notifier
    pictures: PictureImport
    refuse: Refuse

    async def run(self, generation_id: str, defer: Defer) -> None:
        """Import the pictures of the generation and hand it over to the workers with `defer`, or end it, refunded.

        Raises:
            Snooze: our own storage is away.
        """
        with telemetry.about(telemetry.LogIds(generation_id=generation_id)):
            await self._run(generation_id, defer)

    async def _run(self, generation_id: str, defer: Defer) -> None:
        async with self.db.connection() as conn:
            pending = await imports.pending(conn, generation_id)
        if pending is None:
            return
        telemetry.note(pass_id=pending.pass_id, request_id=pending.request_id)
        try:
            imported = await self._imported(pending)
        except StorageError as error:
            telemetry.warning(telemetry.Tag.STORAGE_FILE, f"import: {error}", generation_id=generation_id)
            raise Snooze(STORAGE_PAUSE_SECONDS) from error
        except (AssetUnreachable, Cancelled, WorkerLost) as error:
            await self.refuse(generation_id, error)
            return
        order = read_order(pending.order).with_pictures({one["field"]: one["address"] for one in imported})
        await self.db.retry_transient(
            lambda conn: self._hand_over(conn, generation_id, order, imported, defer), seconds=OUTAGE_SECONDS_MAX
        )
        self.notifier.notify(generation_id)

    async def _imported(self, pending: PendingImports) -> list[Json]:
        """The pictures, each with the address of our copy. An image job goes on without those that cannot be had.

        Raises:
            AssetUnreachable: one cannot be had.
            Cancelled: nobody wants them any more.
            WorkerLost: they keep killing the process that imports them.
            StorageError: they cannot be stored now.
        """
        if pending.cancelling:
            raise Cancelled("stopped on request")
        if pending.takeovers >= TAKEOVERS_MAX:
            raise WorkerLost(f"{TAKEOVERS_MAX} processes were lost while they imported the pictures")
        is_image_job = isinstance(read_order(pending.order), ImageJob)
        batch = _Batch(self.pictures, pending.pass_id, goes_on=is_image_job)
        async with AsyncExitStack() as stack:
            return await batch.imported(pending.pictures, stack)

    async def _hand_over(
        self, conn: Connection, generation_id: str, order: Order, imported: list[Json], defer: Defer
    ) -> None:
        """The order goes on with our copies, and its job goes to the workers. Doing it twice is doing it once."""
        known = variables.initial(order)
        async with conn.transaction():
            is_new = await imports.store(
                conn,
                generation_id,
                order=order.model_dump(mode="json"),
                variables={name: known[name] for name in ("assets", "inputs") if name in known},
                imported=imported,
                message=IMPORTED_LINE,
            )
            if is_new:
                await defer(conn, generation_id)


class _Batch:
    """The pictures of one order. With `goes_on`, one that cannot be had is noted, and the others are imported."""

    def __init__(self, pictures: PictureImport, customer: str, *, goes_on: bool) -> None:
        self._pictures, self._customer, self._goes_on = pictures, customer, goes_on
        self._errors: dict[str, AssetUnreachable] = {}

    async def imported(self, noted: list[Json], stack: AsyncExitStack) -> list[Json]:
        """The notes with the addresses of our copies; of one that could not be had, with the error."""
        urls = {one["field"]: self._pictures.url(one) for one in noted if "key" not in one}
        fields = {url: field for field, url in reversed(urls.items())}  # a picture that is named twice is fetched once
        files = await self._fetched(fields, stack)
        addresses = {
            url: await self._or_error(url, self._pictures.stored(file, fields[url], self._customer))
            for url, file in files.items()
        }
        return [await self._note(one, urls, addresses) for one in noted]

    async def _note(self, noted: Json, urls: dict[str, str], addresses: dict[str, str | None]) -> Json:
        field = noted["field"]
        if field in urls:
            url = urls[field]
            address = addresses.get(url)
        else:
            url = noted["key"]
            address = await self._or_error(url, self._pictures.copied(noted, self._customer))
        if address is None:
            return noted | {"address": noted["url"], "error": str(self._errors[url])}
        return {"field": field, "url": noted["url"], "address": address}

    async def _fetched(self, fields: dict[str, str], stack: AsyncExitStack) -> dict[str, BinaryIO]:
        """The files by their URL, side by side, all within the time for one order."""
        files: dict[str, BinaryIO] = {}

        async def fetch(url: str, field: str) -> None:
            file = await self._or_error(url, self._pictures.fetched(url, field))
            if file is not None:
                files[url] = stack.enter_context(file)

        try:
            async with asyncio.TaskGroup() as group:
                for url, field in fields.items():
                    group.create_task(fetch(url, field))
        except ExceptionGroup as group_of_errors:
            raise group_of_errors.exceptions[0] from None
        return files

    async def _or_error(self, url: str, call: Awaitable[Result]) -> Result | None:
        """None where it cannot be had, and the order goes on without it."""
        try:
            return await call
        except AssetUnreachable as error:
            if not self._goes_on:
                raise
            self._errors[url] = error
            return None
