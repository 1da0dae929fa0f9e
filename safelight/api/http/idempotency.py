"""Writes that a client may repeat: with the header `Idempotency-Key` one is done once, and has one answer.

The key belongs to whoever acts (a customer, an operator) at one route, for a day. The same request gets the same
answer, another one a 422. Orders of generations have keys of their own, which do not expire (`pipelines/accept.py`).
"""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from safelight.api.http.bodies.json import JSON_BYTES_MAX, StrictRequest
from safelight.api.http.services import FromApp
from safelight.api.schemas.aliases import clean_text
from safelight.db.connection.database import Connection
from safelight.db.generations import idempotency
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import IdempotencyConflict
from safelight.domain.errors.retries import RequestInProgress
from safelight.domain.identities import ActingCustomer
from safelight.domain.ids import new_id
from safelight.pipelines.accept import ANSWER_SECONDS_MAX

Model = TypeVar("Model", bound=BaseModel)

KEY_CHARS_MAX = 200
BUSY_SECONDS = 60.0
WAIT_SECONDS_MAX = 15.0  # for whoever does the same just now
LOOK_SECONDS = 0.1

WriteKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=KEY_CHARS_MAX,
        description=f"The same key with the same request is done once and has the same answer, for"
        f" {idempotency.KEPT_HOURS} hours; with another request it is a 422. It belongs to the customer who is stated,"
        " or to the operator; a request that states nobody has none.",
    ),
]


Caller = ActingCustomer | Operator | None  # nobody has no keys


def _name(by: Caller) -> str | None:
    """The name under which keys of a caller are kept."""
    if isinstance(by, Operator):
        return f"operator:{by.name}"
    return f"customer:{by.pass_id}" if by else None


class Once:
    """Does a request's write once for its key; without a key, each time. The answer is kept as the JSON of its model:
    a field that a model gets later has a default, because answers without it are kept for a while."""

    def __init__(self, request: Request, services: FromApp, key: WriteKey = None) -> None:
        self._request = request
        self._services = services
        self._key = key

    def id_for(self, by: Caller) -> str:
        """An id for what the write makes: the same one for all its tries."""
        key_hash = self._key_hash(by)
        return str(uuid.UUID(key_hash[:32], version=5)) if key_hash else new_id()

    async def in_transaction(
        self,
        by: Caller,
        model: type[Model],
        work: Callable[[Connection], Awaitable[Model]],
        *,
        retries: bool = False,
    ) -> Model:
        """Return the answer of `work`, which writes in the transaction that keeps its key. `retries` where doing it
        twice is doing it once also without a key: then it is tried again through trouble with the database.

        Raises:
            IdempotencyConflict: the key was used for another request.
        """
        key_hash = self._key_hash(by)
        request_hash = await self._request_hash() if key_hash else ""

        async def attempt(conn: Connection) -> Model:
            async with conn.transaction():
                if key_hash is None:
                    return await work(conn)
                earlier = await idempotency.claim(conn, key_hash, request_hash)
                if earlier:
                    return self._repeated(earlier, request_hash, model)
                answer = await work(conn)
                await idempotency.keep(conn, key_hash, answer.model_dump(mode="json"))
                return answer

        if retries or key_hash:
            return await self._services.db.retry_transient(attempt, seconds=ANSWER_SECONDS_MAX)
        async with self._services.db.connection() as conn:
            return await attempt(conn)

    async def outside(
        self,
        by: Caller,
        model: type[Model],
        work: Callable[[], Awaitable[Model]],
        *,
        is_final: Callable[[Model], bool] = lambda answer: True,
    ) -> Model:
        """As `in_transaction`, for work that takes long or happens elsewhere, and that may be done again where its
        process dies. An answer that is not final is not kept.

        Raises:
            IdempotencyConflict: the key was used for another request.
            RequestInProgress: it is being done, and takes long.
        """
        key_hash = self._key_hash(by)
        if key_hash is None:
            return await work()
        request_hash = await self._request_hash()
        earlier = await self._claimed(key_hash, request_hash)
        if earlier:
            return self._repeated(earlier, request_hash, model)
        answer: Model | None = None
        try:
            answer = await work()
            return answer
        finally:
            async with self._services.db.connection() as conn:
                if answer is not None and is_final(answer):
                    await idempotency.keep(conn, key_hash, answer.model_dump(mode="json"))
                else:
                    await idempotency.release(conn, key_hash)

    async def _claimed(self, key_hash: str, request_hash: str) -> idempotency.Earlier | None:
        """None where the key is ours now; else what was answered before, which is waited for."""
        give_up = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            async with self._services.db.transaction() as conn:
                earlier = await idempotency.claim(conn, key_hash, request_hash, busy_seconds=BUSY_SECONDS)
            if earlier is None or earlier.answer is not None or earlier.request_hash != request_hash:
                return earlier
            if time.monotonic() > give_up:
                raise RequestInProgress("The same request is being done.", retry_after_seconds=BUSY_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)

    def _repeated(self, earlier: idempotency.Earlier, request_hash: str, model: type[Model]) -> Model:
        if earlier.request_hash != request_hash:
            raise IdempotencyConflict("The idempotency key was used for another request.")
        answer = model.model_validate(earlier.answer)
        self._request.state.pass_id = getattr(answer, "passId", None) or getattr(self._request.state, "pass_id", None)
        return answer

    def _key_hash(self, by: Caller) -> str | None:
        key, actor = (self._key or "").strip(), _name(by)
        if not key or actor is None:
            return None
        return hashlib.sha256("\n".join((actor, self._request.scope["route"].path, key)).encode()).hexdigest()

    async def _request_hash(self) -> str:
        """Of the method, the path and what the body says; a large one, an upload's, counts byte by byte."""
        content = await self._request.body()
        if content and len(content) <= JSON_BYTES_MAX and isinstance(self._request, StrictRequest):
            stated = _as_of_a_form(await self._request.json())
            content = await asyncio.to_thread(lambda: json.dumps(stated, sort_keys=True).encode())
        head = f"{self._request.method} {self._request.url.path}\n".encode()
        return await asyncio.to_thread(lambda: hashlib.sha256(head + content).hexdigest())


def _as_of_a_form(value: Any) -> Any:
    """A form, where numbers and flags are texts, says the same as its JSON."""
    match value:
        case dict():
            return {name: _as_of_a_form(item) for name, item in value.items()}
        case list():
            return [_as_of_a_form(item) for item in value]
    return clean_text(str(value)) if isinstance(value, str) else clean_text(value)


OnceForKey = Annotated[Once, Depends()]
