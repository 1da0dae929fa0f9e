"""Routes of `/api/v1`: JSON bodies, no unknown query parameter, opaque cursors."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from fastapi.dependencies.models import Dependant

from safelight.api.http.bodies import json as bodies
from safelight.api.http.bodies.json import Handler, StrictRequest, StrictRoute, StrictUploadRequest
from safelight.api.http.rate_limits import RateLimitGroup, check_address, limited_route
from safelight.api.http.request_ids import request_id
from safelight.api.http.services import Services
from safelight.api.schemas.problems import PREFIX, invalid, unknown_parameters
from safelight.db.generations import listing
from safelight.db.generations.listing import GenerationListing, PagePlace
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import NotFound
from safelight.domain.identities import ActingCustomer

CURSOR_CHARS_MAX = 400
PAGE_DEFAULT, PAGE_MAX = 20, 100
RESULTS_LISTED_MAX = 4  # of each generation of a list
RESULTS_SHOWN_MAX = 100  # of one generation

GenerationPath = Annotated[str, Path(max_length=200, description="The generation's id.")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="The most items of one page.")]
Cursor = Annotated[
    str | None, Query(max_length=CURSOR_CHARS_MAX, description="`next_cursor` of the page before. It is opaque.")
]


class V1Request(StrictRequest):
    media_types: tuple[str, ...] = (bodies.JSON,)


class V1UploadRequest(StrictUploadRequest):
    """JSON, or a form whose files are read as data URLs under the names of their parts."""

    media_types = (bodies.JSON, bodies.MULTIPART)

    def _reader(self) -> Callable[[bytes], Any]:
        stated = self.scope.get(bodies.READ_AS)
        return partial(bodies.parse_files, content_type=stated) if stated else super()._reader()


def v1_route(body: type[StrictRequest] = V1Request) -> type[StrictRoute]:
    """The class of routes that also refuse query parameters they do not have. Reading is limited by address, except of
    one generation, which pages that wait read often."""

    class V1Route(limited_route(RateLimitGroup.WRITES, body)):  # type: ignore[misc]
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()
            known = sorted(set(_query_parameters(self.dependant)))
            is_limited = "GET" in self.methods and "{generation_id}" not in self.path

            async def with_known_parameters(request: Request) -> Response:
                if is_limited:
                    check_address(request, RateLimitGroup.PUBLIC)
                if unknown := [name for name in request.query_params if name not in known]:
                    raise unknown_parameters(unknown, known)
                answer: Response = await handle(request)
                return answer

            return with_known_parameters

    return V1Route


def _query_parameters(dependant: Dependant) -> Iterator[str]:
    yield from (one.alias for one in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_parameters(inner)


def path_of(generation_id: str, *more: str) -> str:
    return "/".join((f"{PREFIX}/generations/{generation_id}", *more))


def origin_of(request: Request) -> dict[str, Any]:
    """The place an order came from, for the ops plane."""
    return {"request_id": request_id(), "route": request.scope["route"].path, "method": request.method}


# --- cursors --------------------------------------------------------------------------------------------------------


def cursor_of(position: PagePlace | None) -> str | None:
    if position is None:
        return None
    content = json.dumps([position.created_at, position.key], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def position_of(cursor: str | None) -> PagePlace:
    """The place that a cursor names. Raises InvalidInput: it is none of ours."""
    if cursor is None:
        return PagePlace()
    try:
        created_at, key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return PagePlace(_time_of(created_at), _text(key))
    except (ValueError, TypeError, binascii.Error) as error:
        raise invalid("cursor", "It is no `next_cursor` of this list.", code="INVALID_CURSOR") from error


def _time_of(stated: Any) -> str:
    """Raises ValueError."""
    found = datetime.fromisoformat(_text(stated))
    if found.tzinfo is None:
        raise ValueError(stated)
    return found.isoformat()


def _text(stated: Any) -> str:
    if not isinstance(stated, str) or "\0" in stated:
        raise ValueError(stated)
    return str(stated.encode("utf-8", "strict").decode())


# --- a generation by its id -----------------------------------------------------------------------------------------


async def visible_generation(
    services: Services, generation_id: str, by: ActingCustomer | Operator | None, *, made_max: int = RESULTS_SHOWN_MAX
) -> GenerationListing:
    """The generation, if it is the customer's; operators, and who has a token for it, see any.

    Raises:
        NotFound: there is no such generation, or it is another customer's, or was deleted.
    """
    async with services.db.connection() as conn:
        row = await listing.find(conn, generation_id, made_max=made_max)
    is_theirs = row is not None and (not isinstance(by, ActingCustomer) or row.pass_id == by.pass_id)
    is_gone = row is not None and row.deleted_at is not None and not isinstance(by, Operator)
    if row is None or not is_theirs or is_gone:
        raise NotFound(f"There is no generation {generation_id!r}.")
    return row
