"""Copies of remote files. A file of ours stays where it is, and does not count against any rate limit."""

from fastapi import APIRouter, Depends, Request

from safelight.api.auth.principals import IdentifiedByBody
from safelight.api.http import idempotency
from safelight.api.http.bodies.json import SmallRoute
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup, check_address, check_pass
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


async def _count_remote(request: Request, services: FromApp, body: StoreRemoteBody) -> None:
    _count(request, services, body.url)


@router.post(
    "/api/r2/store-remote-signed",
    summary="Keep our own copy of a remote file",
    dependencies=[Depends(_count_remote)],
)
async def store_remote(
    request: Request, services: FromApp, once: OnceForKey, body: StoreRemoteBody, owner: IdentifiedByBody
) -> OwnCopy:
    if not (url := body.url):
        raise InvalidInput("url: the address of the file to copy is needed.", code="MISSING_URL")
    customer = _counted(request, services, owner, url)
    actor = idempotency.actor(owner)
    return await once.outside(actor, OwnCopy, lambda: _own_copy(services, url, body.kind, customer))


class StoreGenerationBody(IdentityBody):
    """A result to keep a copy of, by its URL or the first of several."""

    url: Url | None = aliased("urls.0", "Where the file is now.", example=examples.SAMPLE_URL)
    folder: Short = aliased("", "What it is.", default="generations")


async def _count_generation(request: Request, services: FromApp, body: StoreGenerationBody) -> None:
    _count(request, services, body.url)


@router.post(
    "/store-remote-generation",
    summary="Keep our own copy of a result",
    responses={400: {"description": "NO_URL, or the file cannot be had."}},
    dependencies=[Depends(_count_generation)],
)
async def store_remote_generation(
    request: Request, services: FromApp, once: OnceForKey, body: StoreGenerationBody, owner: IdentifiedByBody
) -> OwnCopy:
    if not (url := body.url):
        raise InvalidInput("url: the address of the file to copy is needed.", code="NO_URL")
    customer = _counted(request, services, owner, url)
    actor = idempotency.actor(owner)
    return await once.outside(actor, OwnCopy, lambda: _own_copy(services, url, body.folder, customer))


def _count(request: Request, services: Services, url: str | None) -> None:
    """A file of ours costs nothing: clients ask for each item of a history. Raises TooManyRequests."""
    if not (url and services.assets.key_of(url)):
        check_address(request, RateLimitGroup.WRITES)


def _counted(request: Request, services: Services, owner: ActingCustomer | None, url: str) -> str | None:
    """Return the owner's pass id; None is nobody. Raises TooManyRequests."""
    if owner and services.assets.key_of(url) is None:
        check_pass(request, RateLimitGroup.WRITES, owner.pass_id)
    return owner.pass_id if owner else None


async def _own_copy(services: Services, url: str, kind: str, customer: str | None) -> OwnCopy:
    """Copy the file to our storage, unless it is ours already, and return its key and URL."""
    key = services.assets.key_of(url)
    if key is None:
        stored = await services.remote_files.copy(url, kind=kind, customer=customer)
        key = stored.key
    own_url = services.assets.url_of(key)
    return OwnCopy(key=key, url=own_url, publicUrl=own_url)
