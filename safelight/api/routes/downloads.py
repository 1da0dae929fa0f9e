"""`/public/download`: serves a file of ours as an attachment (docs/contract/legacy.md)."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from safelight.api.auth.principals import no_identity
from safelight.api.http.error_responses import error_responses
from safelight.api.http.file_responses import FILE_RESPONSES, StoredFileResponse
from safelight.api.http.rate_limits import RateLimitGroup, per_address
from safelight.api.http.services import FromApp, Services
from safelight.domain.errors.base import InvalidInput, NotFound, StorageError
from safelight.domain.errors.requests import DownloadFailed
from safelight.storage import keys
from safelight.storage.buckets import IMMUTABLE

URL_CHARS_MAX = 600  # of ours; encoded, it still fits into a request

router = APIRouter(tags=["files"])


@router.get(
    "/public/download",
    summary="A public file of ours, as an attachment",
    response_class=Response,
    responses={
        **FILE_RESPONSES,
        **error_responses(404, 503),
        502: {"description": "Its store does not give it to us."},
    },
    dependencies=[
        per_address(RateLimitGroup.PUBLIC),
        no_identity("A public file is for everybody who has its address; no other is given out."),
    ],
)
async def download(
    services: FromApp,
    url: Annotated[str, Query(max_length=URL_CHARS_MAX, description="The file's permanent URL.")],
) -> Response:
    """Nothing of other servers is read: this is no proxy."""
    key = services.assets.key_of(url)
    if key is None:
        raise InvalidInput("url: the address of a public file of ours is needed.")
    name = key.rpartition("/")[2]
    if path := services.assets.path_of(key):
        return StoredFileResponse(path, key, cache_control=IMMUTABLE, download_name=name)
    return await _from_store(services, key, name)


async def _from_store(services: Services, key: str, name: str) -> Response:
    """Raises NotFound or DownloadFailed."""
    bucket = services.assets.public
    try:
        entry = await bucket.entry(key)
    except NotFound as error:
        raise NotFound("There is no such file.") from error
    except StorageError as error:
        raise DownloadFailed(f"{key}: {error}") from error
    headers = {
        "Content-Length": str(entry.bytes),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": IMMUTABLE,
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(bucket.chunks(key), media_type=keys.media_type_of_key(key), headers=headers)
