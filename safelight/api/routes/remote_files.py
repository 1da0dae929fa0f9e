"""Copies of remote files. A file of ours stays where it is, and does not count against any rate limit."""

from fastapi import APIRouter, Depends, Request

from safelight.api.auth.principals import IdentifiedByBody
from safelight.api.http.bodies.json import SmallRoute
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import Once, OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup, check_address
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import examples
from safelight.api.schemas.aliases import Short, Url, aliased
from safelight.api.schemas.requests import IdentityBody
from safelight.api.schemas.responses import OwnCopy
from safelight.domain.errors.base import InvalidInput
from safelight.domain.identities import ActingCustomer

router = APIRouter(route_class=SmallRoute, tags=["files"])


class StoreRemoteBody(IdentityBody):
    """A remote file to keep a copy of."""

    url: Url | None = aliased("sourceUrl", "Where the file is now.", example=examples.SAMPLE_URL)
    kind: Short = aliased("folder", "What it is.", default="generations")


def _count(request: Request, services: Services, url: str | None) -> None:
    """A file of ours costs nothing: clients ask for each item of a history. Raises TooManyRequests."""
    if not (url and services.assets.key_of(url)):
        check_address(request, RateLimitGroup.WRITES)


async def _count_remote(request: Request, services: FromApp, body: StoreRemoteBody) -> None:
    _count(request, services, body.url)


@router.post(
    "/api/r2/store-remote-signed",
    summary="Keep our own copy of a remote file",
    dependencies=[Depends(_count_remote)],
)
async def store_remote(services: FromApp, once: OnceForKey, body: StoreRemoteBody, owner: IdentifiedByBody) -> OwnCopy:
    return await _own_copy(services, once, owner, body.url, body.kind, "MISSING_URL")


class StoreGenerationBody(IdentityBody):
    """A result to keep a copy of, by its URL or the first of several."""

    url: Url | None = aliased("urls.0", "Where the file is now.", example=examples.SAMPLE_URL)
    folder: Short = aliased("", "What it is.", default="generations")


async def _count_generation(request: Request, services: FromApp, body: StoreGenerationBody) -> None:
    _count(request, services, body.url)


@router.post(
    "/store-remote-generation",
    summary="Keep our own copy of a result",
    responses=error_responses(described={400: "NO_URL, or the file cannot be had."}),
    dependencies=[Depends(_count_generation)],
)
async def store_remote_generation(
    services: FromApp, once: OnceForKey, body: StoreGenerationBody, owner: IdentifiedByBody
) -> OwnCopy:
    return await _own_copy(services, once, owner, body.url, body.folder, "NO_URL")


async def _own_copy(
    services: Services, once: Once, owner: ActingCustomer | None, url: str | None, kind: str, code: str
) -> OwnCopy:
    """Copy the file to our storage, unless it is ours already. Raises InvalidInput (`code`) without a URL."""
    if not url:
        raise InvalidInput("url: the address of the file to copy is needed.", code=code)
    known_key = services.assets.key_of(url)
    if known_key is None:
        services.rates.check_customer(RateLimitGroup.WRITES, owner)

    async def work() -> OwnCopy:
        customer = owner.pass_id if owner else None
        key = known_key or (await services.remote_files.copy(url, kind=kind, customer=customer)).key
        own_url = services.assets.url_of(key)
        return OwnCopy(key=key, url=own_url, publicUrl=own_url)

    return await once.outside(owner, OwnCopy, work)
