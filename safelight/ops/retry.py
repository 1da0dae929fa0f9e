"""Retries, by an operator or their owner, of generations that ended without a result: a new generation for the same
order."""

from dataclasses import dataclass
from typing import Any

from safelight.db.connection.database import Database
from safelight.db.generations import generations
from safelight.db.generations.generations import GenerationRow, GenerationStatus
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.domain.identities import ActingCustomer
from safelight.domain.orders import Order, read_order
from safelight.domain.statuses import Status
from safelight.pipelines.accept import Acceptance, AcceptedOrder, Retry
from safelight.pipelines.engine.sealing import SEALED, Sealer, restored
from safelight.storage.assets import AssetStore

Json = dict[str, Any]

RETRYABLE = frozenset({Status.ERROR, Status.CANCELLED})
COPY_SECONDS = 3600  # how long the URL of a private file that is still to be copied passes


@dataclass(frozen=True, slots=True)
class GenerationRetry:
    db: Database
    acceptance: Acceptance
    assets: AssetStore
    sealer: Sealer

    async def retry(
        self, generation_id: str, by: Operator | ActingCustomer, *, is_free: bool = False, request: Json | None = None
    ) -> AcceptedOrder:
        """Order again what the generation was to be, for its customer, who is charged today's price unless it is free.
        The new generation names the first as `retry_of`. Two retries at the same moment make one.

        Raises:
            NotFound: there is no such generation, or it is another customer's.
            InvalidInput: it did not end without a result, or a retry of it has not either.
            InsufficientCredits: nothing was written.
        """
        async with self.db.connection() as conn:
            row = await generations.get(conn, generation_id)
            if row is None or (isinstance(by, ActingCustomer) and by.pass_id != row.pass_id):
                raise NotFound(f"there is no generation {generation_id!r}")
            earlier = await generations.retries_of(conn, generation_id, pass_id=row.pass_id)
        _check(row, earlier)
        return await self.acceptance.accept(
            await self._order(row),
            by if isinstance(by, ActingCustomer) else ActingCustomer(row.pass_id),
            idempotency_key=f"retry:{generation_id}:{len(earlier) + 1}",
            request=request or _origin(by),
            retry=Retry(generation_id, by if isinstance(by, Operator) else None, is_free),
        )

    async def _order(self, row: GenerationRow) -> Order:
        """The order as it was written, with the addresses of pictures that could not be imported as they were stated.

        Raises:
            ConfigError: another secret sealed them.
        """
        payload = row.payload or {}
        pictures = payload.get("imports", {}).get("pictures", ())
        order = restored(self.sealer, payload["order"], payload.get(SEALED, {}))
        return read_order(order).with_pictures({picture["field"]: await self._url(picture) for picture in pictures})

    async def _url(self, picture: Json) -> str:
        if "key" in picture:
            return await self.assets.signed_url(picture["key"], COPY_SECONDS)
        return self.sealer.unseal(picture["sealed"]) if "sealed" in picture else str(picture["url"])


def _origin(by: Operator | ActingCustomer) -> Json:
    if isinstance(by, ActingCustomer):
        return {}
    return {"request_id": by.request_id, "route": by.route, "method": by.method}


def _check(row: GenerationRow, earlier: list[GenerationStatus]) -> None:
    """Raises InvalidInput: the generation cannot be retried."""
    generation_id, status = row.generation_id, row.status
    if status is None or "order" not in (row.payload or {}):
        raise InvalidInput(f"generation {generation_id} was made by an older backend, which kept no order of it")
    if status not in RETRYABLE:
        unfinished = "" if Status(status).is_terminal else "; to stop it: safelight generations cancel"
        raise InvalidInput(
            f"generation {generation_id} is {status}; only one that is error or cancelled can be retried{unfinished}"
        )
    for one in earlier:
        if one.status not in RETRYABLE:
            raise InvalidInput(f"generation {generation_id} was retried as {one.id}, which is {one.status}")
