"""Files in and out: uploads in their forms, and the stored files themselves."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from safelight import telemetry
from safelight.api.auth.principals import IdentifiedByBody, no_identity
from safelight.api.http.bodies.json import StrictUploadRequest
from safelight.api.http.error_responses import error_responses
from safelight.api.http.file_responses import FILE_BODY, FILE_RESPONSES, StoredFileResponse
from safelight.api.http.idempotency import Once, OnceForKey
from safelight.api.http.middleware import is_head
from safelight.api.http.rate_limits import RateLimitGroup, limited_route, per_address
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import responses
from safelight.api.schemas.aliases import Short, aliased
from safelight.api.schemas.fields import Json
from safelight.api.schemas.requests import IdentityBody
from safelight.db.money import customers
from safelight.domain.errors.base import AlreadyStored, AuthError, InvalidInput, NotFound, PayloadTooLarge, StorageError
from safelight.domain.errors.retries import DownloadFailed
from safelight.domain.identities import ActingCustomer
from safelight.media import publishing
from safelight.storage import assets, keys, thumbnails
from safelight.storage.buckets import IMMUTABLE

URL_CHARS_MAX = 600  # of ours; encoded, it still fits into a request
Expires = Annotated[int, Query(ge=0)]
Signature = Annotated[str, Query(max_length=200)]
BASE64_CHARS_AT_ONCE = 1024 * 1024  # a multiple of four
DATA_URL_CHARS_MAX = assets.UPLOAD_BYTES_MAX * 4 // 3 + 200

uploads = APIRouter(route_class=limited_route(RateLimitGroup.WRITES, StrictUploadRequest), tags=["files"])
router = APIRouter(route_class=limited_route(RateLimitGroup.WRITES), tags=["files"])


_TEXT: Json = {"text/plain": {"schema": {"type": "string"}}}
_REFUSAL: Json = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
_WRONG_RANGE: Json = {
    "description": "The parameters or the bytes of `Range` cannot be read.",
    "content": _TEXT | _REFUSAL,
}
_PUBLIC = no_identity("A public file is for everybody who has its address.")
_SIGNED = no_identity("The URL was signed for what it does, and lets whoever has it pass.")


class UploadBody(IdentityBody):
    """With `dataUrl` the bytes are stored now; without it the answer holds a URL to PUT them to. The same route takes
    `multipart/form-data`: the file as the one part with a file name, and these fields beside it."""

    data_url: str | None = aliased(
        "dataUrl", "The file as a base64 data URL.", example="data:image/png;base64,iVBORw0…"
    )
    kind: Short = aliased("folder", "What it is: product, logo, inspiration, …", default="uploads", example="product")
    filename: Short = aliased("fileName|file_name", "The file's name.", default="", example="cup.jpg")
    content_type: Short | None = aliased("contentType", "The media type that will be PUT.", example="image/jpeg")
    private: bool = aliased("isPrivate", "Only its owner may read it, by URLs that pass.", default=False)


@uploads.post("/api/r2/upload-signed", summary="Upload a file, or get a URL to upload it to")
async def upload(services: FromApp, once: OnceForKey, body: UploadBody, owner: IdentifiedByBody) -> responses.Upload:
    services.rates.check_customer(RateLimitGroup.WRITES, owner)
    data_url = body.data_url
    if data_url is None:
        return await _upload_ticket(services, once, body, owner)
    telemetry.info("📤", telemetry.Tag.STORAGE_FILE, f"Starting file upload for user {_pass_id(owner) or keys.NOBODY}")
    kept = await once.outside(owner, responses.KeptFile, lambda: _store(services, body, owner, data_url))
    stored = kept.model_dump()
    if body.private:
        signed_url = await services.assets.signed_url(kept.key, assets.SIGNED_SECONDS)
        return responses.StoredPrivate(**stored, url=signed_url, expiresIn=assets.SIGNED_SECONDS)
    url = services.assets.url_of(kept.key)
    return responses.StoredPublic(**stored, url=url, publicUrl=url)


async def _store(
    services: Services, body: UploadBody, owner: ActingCustomer | None, data_url: str
) -> responses.KeptFile:
    """Store the file and return the answer but for its URLs: a signed one is made fresh each time, and never kept."""
    content, named = await services.bodies.work(decode_data_url, data_url), {"kind": body.kind, "name": body.filename}
    if body.private:
        stored = await services.assets.put_private(content, customer=_require_customer(owner).pass_id, **named)
    else:
        stored = await services.assets.put_upload(content, customer=_pass_id(owner), **named)
    return responses.KeptFile(key=stored.key, contentType=stored.media_type, bytes=stored.bytes)


async def _upload_ticket(
    services: Services, once: Once, body: UploadBody, owner: ActingCustomer | None
) -> responses.Ticket:
    if body.content_type is None:
        raise InvalidInput(
            f"dataUrl, a file, or contentType as one of {keys.TAKEN}: one is needed.", code="MISSING_DATAURL"
        )
    media_type = publishing.UPLOADED_AS.get(body.content_type, body.content_type)
    if media_type not in keys.EXTENSIONS:
        raise InvalidInput(
            f"contentType: {body.content_type} is none of the types we take: {keys.TAKEN}.", code="UNSUPPORTED_TYPE"
        )
    if body.private:
        raise InvalidInput("private: such a file has to come with the request, as dataUrl.", code="MISSING_DATAURL")

    async def work() -> responses.KeptKey:
        return responses.KeptKey(key=services.assets.upload_key(body.kind, _pass_id(owner), body.filename, media_type))

    key = (await once.outside(owner, responses.KeptKey, work)).key
    public_url = services.assets.url_of(key)
    return responses.Ticket(
        key=key,
        uploadUrl=services.assets.signed_upload_url(key),
        publicUrl=public_url,
        url=public_url,
        expiresIn=assets.UPLOAD_URL_SECONDS,
    )


@router.post("/api/r2/presign", summary="Get a URL to upload a file to")
async def presign(services: FromApp, once: OnceForKey, body: UploadBody, owner: IdentifiedByBody) -> responses.Ticket:
    services.rates.check_customer(RateLimitGroup.WRITES, owner)
    return await _upload_ticket(services, once, body, owner)


@router.get(
    assets.ROUTE + "/{key:path}",
    summary="A public file",
    response_class=Response,
    responses=FILE_RESPONSES
    | {400: _WRONG_RANGE}
    | error_responses(404, described={307: "Where it is, where the storage is S3."}),
    dependencies=[_PUBLIC],
)
async def read_asset(request: Request, services: FromApp, key: str) -> Response:
    if not keys.is_valid_key(key):
        raise NotFound(f"There is no file {key!r}.")
    path = services.assets.path_of(key)
    if path:
        return StoredFileResponse(path, key, cache_control=IMMUTABLE)
    store_url = await services.assets.passing_url(key, "HEAD" if is_head(request) else "GET")
    if store_url is None:
        raise NotFound(f"There is no file {key!r}.")
    return RedirectResponse(store_url, headers={"Cache-Control": f"public, max-age={assets.SIGNED_SECONDS // 2}"})


@router.get(
    assets.PRIVATE_ROUTE + "/{key:path}",
    summary="A private file, by a URL that was signed for it",
    response_class=Response,
    responses=FILE_RESPONSES
    | {400: _WRONG_RANGE}
    | error_responses(404, described={403: "The URL is not valid, or no longer."}),
    dependencies=[_SIGNED],
)
async def read_private(services: FromApp, key: str, expires: Expires, signature: Signature) -> Response:
    if not keys.is_valid_key(key) or not services.assets.is_valid_signature("GET", key, expires, signature):
        raise UrlRefused("This URL is not valid, or no longer.", code="URL_INVALID")
    path = services.assets.private.path_of(key)
    if path is None:
        raise NotFound(f"There is no file {key!r}.")
    return StoredFileResponse(path, key, cache_control="private, no-store")


class SignedUrlBody(IdentityBody):
    """A private file, and how long its URL may be used."""

    key: Short = aliased("path|filePath", "The file's key.", default="")
    expires_in: int = aliased(
        "expiresIn",
        "Seconds.",
        default=assets.SIGNED_SECONDS,
        example=3600,
        ge=assets.SIGNED_SECONDS_MIN,
        le=assets.SIGNED_SECONDS_MAX,
    )


@router.post(
    "/api/assets/signed-url",
    summary="A fresh URL of a private file of one's own",
    responses=error_responses(404),
)
async def sign_url(services: FromApp, body: SignedUrlBody, owner: IdentifiedByBody) -> responses.SignedUrl:
    services.rates.check_customer(RateLimitGroup.WRITES, owner)
    async with services.db.connection() as conn:
        pass_ids = await customers.pass_ids_of(conn, _require_customer(owner).pass_id)
    await services.assets.owned(body.key, pass_ids)
    return responses.SignedUrl(
        key=body.key,
        url=await services.assets.signed_url(body.key, body.expires_in),
        expiresIn=body.expires_in,
        expiresAt=datetime.now(UTC) + timedelta(seconds=body.expires_in),
    )


@router.get(
    "/thumbnails/{size}/{key:path}",
    summary="A small picture of a public file",
    dependencies=[per_address(RateLimitGroup.PUBLIC), _PUBLIC],
    response_class=Response,
    status_code=307,
    responses=error_responses(404, described={307: "Where it is, for good."}),
)
async def read_thumbnail(services: FromApp, size: int, key: str) -> Response:
    small = await thumbnails.thumbnail(services.assets, key, size)
    return RedirectResponse(services.assets.url_of(small), headers={"Cache-Control": IMMUTABLE})


@router.put(
    assets.ROUTE + "/{key:path}",
    summary="Upload to a URL that was given out for it",
    dependencies=[_SIGNED],
    responses=error_responses(
        404, 503, described={403: "The URL is not valid, or no longer, or has been used: it takes one file."}
    ),
    openapi_extra=FILE_BODY,
)
async def write_asset(
    request: Request,
    services: FromApp,
    key: str,
    expires: Expires,
    signature: Signature,
) -> responses.Written:
    if not keys.is_valid_key(key) or not services.assets.is_valid_signature("PUT", key, expires, signature):
        raise UrlRefused("This upload URL is not valid, or no longer.", code="UPLOAD_URL_INVALID")
    promised = keys.media_type_of_key(key)
    ours = await services.assets.checked(await services.bodies.read(request, assets.UPLOAD_BYTES_MAX), promised)
    if ours.media_type != promised:
        raise InvalidInput(f"The URL is for {promised}, the file is {ours.media_type}.")
    try:
        stored = await services.assets.put_promised(key, ours.content, promised)
    except AlreadyStored as error:
        raise UrlRefused("This upload URL has been used: it takes one file.", code="UPLOAD_URL_USED") from error
    return responses.Written(key=stored.key, url=stored.url, publicUrl=stored.url, bytes=stored.bytes)


class UrlRefused(InvalidInput):
    http_status = 403


def _pass_id(owner: ActingCustomer | None) -> str | None:
    return owner.pass_id if owner else None


def _require_customer(owner: ActingCustomer | None) -> ActingCustomer:
    """Raises AuthError where nobody says who asks."""
    if owner is None:
        raise AuthError("passId: a private file has an owner; say who that is.")
    return owner


def decode_data_url(data_url: str, field: str = "dataUrl") -> bytes:
    """Raises InvalidInput where it is no base64 data URL, or larger than a file may be."""
    if len(data_url) > DATA_URL_CHARS_MAX:
        raise PayloadTooLarge(f"A file may have at most {assets.UPLOAD_BYTES_MAX} bytes.")
    head, comma, encoded = data_url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise InvalidInput(
            f"{field}: it must begin with data:<type>;base64, and hold the file.", code="MISSING_DATAURL"
        )
    try:
        return b"".join(_decoded_parts(encoded))
    except ValueError as error:  # binascii.Error, or letters beyond ASCII
        raise InvalidInput(f"{field}: it is not base64 ({error}).", code="MISSING_DATAURL") from error


def _decoded_parts(encoded: str) -> Iterator[bytes]:
    """Part by part, so that other threads have their turn."""
    for at in range(0, len(encoded), BASE64_CHARS_AT_ONCE):
        part = encoded[at : at + BASE64_CHARS_AT_ONCE]
        if part.endswith("=") and at + BASE64_CHARS_AT_ONCE < len(encoded):
            raise ValueError("Excess data after padding")
        yield base64.b64decode(part, validate=True)


@router.get(
    "/public/download",
    summary="A public file of ours, as an attachment",
    response_class=Response,
    responses=FILE_RESPONSES | error_responses(404, 503, described={502: "Its store does not give it to us."}),
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


router.include_router(uploads)
