"""Files in and out: uploads in both forms, copies of remote files, and the public assets themselves."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from pydantic import Field

from safelight import telemetry
from safelight.api import answers, examples
from safelight.api.bodies import IdentityBody
from safelight.api.errors import request_id
from safelight.api.folding import Short, Spelt, Url
from safelight.api.identity import SIGN_IN, PassIdHeader, caller, stated_pass_id
from safelight.api.json_body import StrictUploadRoute
from safelight.api.rates import Kind, check_pass, limited_route, per_address
from safelight.api.refusals import Responses, may_be
from safelight.api.services import FromApp, Services
from safelight.db import customers
from safelight.domain.errors import AlreadyStored, AuthError, InvalidInput, NotFound, PayloadTooLarge
from safelight.storage import keys, thumbnails
from safelight.storage.assets import (
    PRIVATE_ROUTE,
    ROUTE,
    SIGNED_SECONDS,
    SIGNED_SECONDS_MAX,
    SIGNED_SECONDS_MIN,
    UPLOAD_BYTES_MAX,
    UPLOAD_URL_SECONDS,
    StoredFile,
    checked,
)
from safelight.storage.buckets import IMMUTABLE

Json = dict[str, Any]

Expires = Annotated[int, Query(ge=0)]
Signature = Annotated[str, Query(max_length=200)]
DATA_URL_CHARS_MAX = UPLOAD_BYTES_MAX * 4 // 3 + 200

uploads = APIRouter(route_class=limited_route(Kind.ORDERS, StrictUploadRoute), tags=["files"])
router = APIRouter(route_class=limited_route(Kind.ORDERS), tags=["files"])


_KEY = "product/o.5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1766131200000-0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11-cup.jpg"
_URL = f"http://127.0.0.1:8787{ROUTE}/{_KEY}"
_COPY = {"ok": True, "key": _KEY, "url": _URL, "publicUrl": _URL}
_TEXT: Json = {"text/plain": {"schema": {"type": "string"}}}
_REFUSAL: Json = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
_OF_RANGES: Responses = {
    400: {"description": "The parameters or the header `Range` cannot be read.", "content": _TEXT | _REFUSAL},
    416: {"description": "The file has no such part.", "content": _TEXT},
}
_FILES: Json = {media_type: {} for media_type in keys.EXTENSIONS}


class UploadBody(IdentityBody):
    """With `dataUrl` the bytes are stored now; without it the answer holds a URL to PUT them to."""

    data_url: Annotated[
        str | None,
        Spelt("dataUrl", "The file as a base64 data URL.", example="data:image/png;base64,iVBORw0…"),
    ] = None
    kind: Annotated[Short, Spelt("folder", "What it is: product, logo, inspiration, …", example="product")] = "uploads"
    filename: Annotated[Short, Spelt("fileName|file_name", "The file's name.", example="cup.jpg")] = ""
    content_type: Annotated[Short, Spelt("contentType", "The media type that will be PUT.", example="image/jpeg")] = (
        "application/octet-stream"
    )
    private: Annotated[bool, Spelt("isPrivate", "Only its owner may read it, by URLs that pass.")] = False


@uploads.post(
    "/api/r2/upload-signed",
    summary="Upload a file, or get a URL to upload it to",
    responses={
        200: examples.of(
            answers.Upload,
            {
                "ok": True,
                "key": _KEY,
                "url": _URL,
                "publicUrl": _URL,
                "contentType": "image/jpeg",
                "bytes": 79975,
            },
        ),
        **may_be(400, 401, 413, 429, 503),
    },
)
async def upload(request: Request, services: FromApp, body: UploadBody, pass_id_header: PassIdHeader = None) -> Json:
    customer = await _customer(request, services, body, pass_id_header)
    if body.data_url is None:
        return _upload_ticket(services, body, customer)
    content = _decode(body.data_url)
    telemetry.info("📤", telemetry.Tag.STORAGE_FILE, f"Starting file upload for user {customer or keys.NOBODY}")
    if body.private:
        return await _store_private(request, services, body, content)
    stored = await services.assets.put_upload(content, kind=body.kind, customer=customer, name=body.filename)
    return _stored(stored) | {"publicUrl": stored.url}


async def _store_private(request: Request, services: Services, body: UploadBody, content: bytes) -> Json:
    customer = _somebody(request)
    stored = await services.assets.put_private(content, kind=body.kind, customer=customer, name=body.filename)
    return _stored(stored) | {"publicUrl": None, "expiresIn": SIGNED_SECONDS}


def _stored(stored: StoredFile) -> Json:
    return {
        "ok": True,
        "key": stored.key,
        "url": stored.url,
        "contentType": stored.media_type,
        "bytes": stored.bytes,
    }


def _upload_ticket(services: Services, body: UploadBody, customer: str | None) -> Json:
    if body.content_type not in keys.EXTENSIONS:
        allowed = ", ".join(sorted(keys.EXTENSIONS))
        raise InvalidInput(
            f"dataUrl, or contentType as one of {allowed}: one of the two is needed.", code="MISSING_DATAURL"
        )
    if body.private:
        raise InvalidInput("private: such a file has to come with the request, as dataUrl.", code="MISSING_DATAURL")
    key = services.assets.upload_key(body.kind, customer, body.filename, body.content_type)
    public_url = services.assets.url_of(key)
    return {
        "ok": True,
        "key": key,
        "uploadUrl": services.assets.signed_upload_url(key),
        "publicUrl": public_url,
        "url": public_url,
        "expiresIn": UPLOAD_URL_SECONDS,
    }


_TICKET = {
    "ok": True,
    "key": _KEY,
    "uploadUrl": f"{_URL}?expires=1766131800&signature=0d0f5a3e",
    "publicUrl": _URL,
    "url": _URL,
    "expiresIn": UPLOAD_URL_SECONDS,
}


@router.post(
    "/api/r2/presign",
    summary="Get a URL to upload a file to",
    responses={200: examples.of(answers.Ticket, _TICKET), **may_be(400, 401, 413, 429, 503)},
)
async def presign(request: Request, services: FromApp, body: UploadBody, pass_id_header: PassIdHeader = None) -> Json:
    customer = await _customer(request, services, body, pass_id_header)
    return _upload_ticket(services, body, customer)


class StoreRemoteBody(IdentityBody):
    """A remote file to keep a copy of."""

    url: Annotated[Url | None, Spelt("sourceUrl", "Where the file is now.", example="https://example.com/a.png")] = None
    kind: Annotated[Short, Spelt("folder", "What it is.")] = "generations"


@router.post(
    "/api/r2/store-remote-signed",
    summary="Keep our own copy of a remote file",
    responses={200: examples.of(answers.OwnCopy, _COPY), **may_be(400, 401, 413, 429, 503)},
)
async def store_remote(
    request: Request, services: FromApp, body: StoreRemoteBody, pass_id_header: PassIdHeader = None
) -> Json:
    if not body.url:
        raise InvalidInput("url: the address of the file to copy is needed.", code="MISSING_URL")
    return await _own_copy(services, body.url, body.kind, await _customer(request, services, body, pass_id_header))


class StoreGenerationBody(IdentityBody):
    """A result to keep a copy of, by its URL or the first of several."""

    url: Annotated[Url | None, Spelt("urls.0", "Where the file is now.", example="https://example.com/a.png")] = None
    folder: Annotated[Short, Spelt("", "What it is.")] = "generations"


@router.post(
    "/store-remote-generation",
    summary="Keep our own copy of a result",
    responses={
        200: examples.of(answers.OwnCopy, _COPY),
        **may_be(401, 413, 429, 503),
        400: {"description": "NO_URL, or the file cannot be had."},
        500: {"description": "STORE_REMOTE_FAILED"},
    },
)
async def store_remote_generation(
    request: Request, services: FromApp, body: StoreGenerationBody, pass_id_header: PassIdHeader = None
) -> Json:
    if not body.url:
        raise InvalidInput("url: the address of the file to copy is needed.", code="NO_URL")
    return await _own_copy(services, body.url, body.folder, await _customer(request, services, body, pass_id_header))


async def _own_copy(services: Services, url: str, kind: str, customer: str | None) -> Json:
    """Where it is kept. What is ours already stays where it is."""
    key = services.assets.key_of(url)
    if key is None:
        content = await services.fetcher.fetch(url, bytes_max=UPLOAD_BYTES_MAX)
        name = url.split("?", 1)[0].rsplit("/", 1)[-1]
        key = (await services.assets.put_upload(content, kind=kind, customer=customer, name=name)).key
    own_url = services.assets.url_of(key)
    return {"ok": True, "key": key, "url": own_url, "publicUrl": own_url}


@router.get(
    ROUTE + "/{key:path}",
    summary="A public file",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": _FILES},
        206: {"description": "A part of it.", "content": _FILES},
        307: {"description": "Where it is, where the storage is S3."},
        **_OF_RANGES,
        **may_be(404),
    },
)
@router.head(ROUTE + "/{key:path}", include_in_schema=False)
async def read_asset(services: FromApp, key: str) -> Response:
    if not keys.is_valid_key(key):
        raise NotFound(f"There is no file {key!r}.")
    path = services.assets.path_of(key)
    if path:
        return _file(path, key, IMMUTABLE)
    store_url = await services.assets.passing_url(key)
    if store_url is None:
        raise NotFound(f"There is no file {key!r}.")
    return RedirectResponse(store_url, headers={"Cache-Control": f"public, max-age={SIGNED_SECONDS // 2}"})


def _file(path: Path, key: str, cache_control: str) -> Response:
    headers = {"Cache-Control": cache_control, "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=keys.media_type_of_key(key), headers=headers)


@router.get(
    PRIVATE_ROUTE + "/{key:path}",
    summary="A private file, by a URL that was signed for it",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": _FILES},
        206: {"description": "A part of it.", "content": _FILES},
        **_OF_RANGES,
        **may_be(404),
        403: {"description": "The URL is not valid, or no longer."},
    },
)
async def read_private(services: FromApp, key: str, expires: Expires, signature: Signature) -> Response:
    if not keys.is_valid_key(key) or not services.assets.is_valid_signature("GET", key, expires, signature):
        raise UrlRefused("This URL is not valid, or no longer.", code="URL_INVALID")
    path = services.assets.private.path_of(key)
    if path is None:
        raise NotFound(f"There is no file {key!r}.")
    return _file(path, key, "private, no-store")


class SignedUrlBody(IdentityBody):
    """Which private file is to be read, and for how long."""

    key: Annotated[Short, Spelt("path|filePath", "The file's key.")] = ""
    expires_in: Annotated[
        int, Spelt("expiresIn", "Seconds.", example=3600), Field(ge=SIGNED_SECONDS_MIN, le=SIGNED_SECONDS_MAX)
    ] = SIGNED_SECONDS


@router.post(
    "/api/assets/signed-url",
    summary="A fresh URL of a private file of one's own",
    responses={
        200: examples.of(
            answers.SignedUrl,
            {
                "ok": True,
                "key": _KEY,
                "url": f"{_URL}?expires=1766134800&signature=0d0f5a3e",
                "expiresIn": 3600,
                "expiresAt": "2025-12-19T09:00:00Z",
                "requestId": "req_…",
            },
        ),
        **may_be(400, 401, 404, 413, 429, 503),
    },
)
async def sign_url(
    request: Request, services: FromApp, body: SignedUrlBody, pass_id_header: PassIdHeader = None
) -> Json:
    await _customer(request, services, body, pass_id_header)
    async with services.db.connection() as conn:
        pass_ids = await customers.pass_ids_of(conn, _somebody(request))
    await services.assets.owned(body.key, pass_ids)
    return {
        "ok": True,
        "key": body.key,
        "url": await services.assets.signed_url(body.key, body.expires_in),
        "expiresIn": body.expires_in,
        "expiresAt": datetime.now(UTC) + timedelta(seconds=body.expires_in),
        "requestId": request_id(request),
    }


@router.get(
    "/thumbnails/{size}/{key:path}",
    summary="A small picture of a public file",
    dependencies=[per_address(Kind.VISITS)],
    response_class=Response,
    status_code=307,
    responses={307: {"description": "Where it is, for good."}, **may_be(400, 404, 429)},
)
async def read_thumbnail(services: FromApp, size: int, key: str) -> Response:
    small = await thumbnails.thumbnail(services.assets, key, size)
    return RedirectResponse(services.assets.url_of(small), headers={"Cache-Control": IMMUTABLE})


@router.put(
    ROUTE + "/{key:path}",
    summary="Upload to a URL that was given out for it",
    dependencies=[per_address(Kind.ORDERS)],
    responses={
        200: examples.of(answers.Written, _COPY | {"bytes": 79975}),
        **may_be(400, 404, 413, 429),
        403: {"description": "The URL is not valid, or no longer, or has been used: it takes one file."},
    },
    openapi_extra={"requestBody": {"required": True, "content": _FILES}},
)
async def write_asset(
    request: Request,
    services: FromApp,
    key: str,
    expires: Expires,
    signature: Signature,
) -> Json:
    if not keys.is_valid_key(key) or not services.assets.is_valid_signature("PUT", key, expires, signature):
        raise UrlRefused("This upload URL is not valid, or no longer.", code="UPLOAD_URL_INVALID")
    content, media_type = await asyncio.to_thread(checked, await _bounded_body(request))
    if media_type != keys.media_type_of_key(key):
        raise InvalidInput(f"The URL is for {keys.media_type_of_key(key)}, the file is {media_type}.")
    try:
        stored = await services.assets.put_promised(key, content, media_type)
    except AlreadyStored as error:
        raise UrlRefused("This upload URL has been used: it takes one file.", code="UPLOAD_URL_USED") from error
    return {"ok": True, "key": stored.key, "url": stored.url, "publicUrl": stored.url, "bytes": stored.bytes}


class UrlRefused(InvalidInput):
    http_status = 403


async def _bounded_body(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > UPLOAD_BYTES_MAX:
            raise PayloadTooLarge(f"A file may have at most {UPLOAD_BYTES_MAX} bytes.")
    return bytes(content)


async def _customer(request: Request, services: Services, body: IdentityBody, header: str | None) -> str | None:
    """Who is stated; None is a visitor."""
    async with services.db.connection() as conn:
        found = await stated_pass_id(conn, pass_id=body.pass_id, customer_key=body.customer_id, header=header)
    if found is None and caller().needs_token:
        raise AuthError(SIGN_IN)
    if found:
        check_pass(request, Kind.ORDERS, found)
    return found


def _somebody(request: Request) -> str:
    """Who asks. Raises AuthError where nobody says."""
    if not request.state.pass_id:
        raise AuthError("passId: a private file has an owner; say who that is.")
    return str(request.state.pass_id)


def _decode(data_url: str) -> bytes:
    """Raises InvalidInput where it is no base64 data URL, or larger than a file may be."""
    if len(data_url) > DATA_URL_CHARS_MAX:
        raise PayloadTooLarge(f"A file may have at most {UPLOAD_BYTES_MAX} bytes.")
    head, comma, encoded = data_url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise InvalidInput("dataUrl: it must begin with data:<type>;base64, and hold the file.", code="MISSING_DATAURL")
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:  # binascii.Error, or letters beyond ASCII
        raise InvalidInput(f"dataUrl: it is not base64 ({error}).", code="MISSING_DATAURL") from error
