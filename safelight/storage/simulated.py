"""A simulated S3 service over HTTP, for drills and benchmarks. It takes every signature: a real server checks them."""

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PART_BYTES_MIN = 5 * 1024 * 1024  # of all parts but the last
LISTED_MAX = 1000
REMEMBERED_BYTES = 1024 * 1024

Upload = dict[int, "StoredObject"]


@dataclass(frozen=True, slots=True)
class StoredObject:
    content: bytes
    size: int
    etag: str
    headers: dict[str, str] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def part(self, start: int, end: int) -> bytes:
        return self.content[start:end].ljust(end - start, b"\x00")


class Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class SimulatedS3:
    """Buckets are created by the first write. While `is_down`, every answer is 503. Without `keep`, only the beginning
    of a file is stored, and the rest is read as zeros."""

    def __init__(self, *, keep: bool = True) -> None:
        self.is_down = False
        self.objects: dict[tuple[str, str], StoredObject] = {}
        self.uploads: dict[tuple[str, str, str], Upload] = {}
        self._keep = keep
        self._numbers = itertools.count(1)
        every = ["GET", "HEAD", "PUT", "POST", "DELETE"]
        self.app = Starlette(
            routes=[
                Route("/{bucket}", self.answer, methods=every),
                Route("/{bucket}/{key:path}", self.answer, methods=every),
            ]
        )

    async def answer(self, request: Request) -> Response:
        try:
            if self.is_down:
                raise Refused(503, "ServiceUnavailable")
            return self._route(request, await request.body())
        except Refused as refused:
            return _xml(f"<Error><Code>{refused.code}</Code></Error>", refused.status)

    def _route(self, request: Request, body: bytes) -> Response:
        bucket, key, query = request.path_params["bucket"], request.path_params.get("key", ""), request.query_params
        match request.method:
            case "GET" if not key:
                return self._list(bucket, query.get("prefix", ""), query.get("start-after", ""), query)
            case "POST" if "delete" in query:
                return self._delete_many(bucket, body)
            case "POST" if "uploads" in query:
                return self._begin(bucket, key, request)
            case "POST" if "uploadId" in query:
                return self._complete((bucket, key, query["uploadId"]), body)
            case "PUT" if "partNumber" in query:
                return self._put_part((bucket, key, query["uploadId"]), int(query["partNumber"]), body)
            case "PUT" if key:
                return self._put((bucket, key), request, body)
            case "DELETE" if "uploadId" in query:
                self._upload((bucket, key, query["uploadId"]))
                del self.uploads[bucket, key, query["uploadId"]]
                return Response(status_code=204)
            case "DELETE" if key:
                self.objects.pop((bucket, key), None)
                return Response(status_code=204)
            case "GET" | "HEAD" if key:
                return self._get(bucket, key, request)
        raise Refused(405, "MethodNotAllowed")

    # --- objects -----------------------------------------------------------------------------------------------------

    def _object(self, body: bytes, headers: dict[str, str]) -> StoredObject:
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        return StoredObject(body if self._keep else body[:REMEMBERED_BYTES], len(body), etag, headers)

    def _put(self, name: tuple[str, str], request: Request, body: bytes) -> Response:
        if request.headers.get("if-none-match") == "*" and name in self.objects:
            raise Refused(412, "PreconditionFailed")
        self.objects[name] = stored = self._object(body, _kept_headers(request))
        return Response(headers={"ETag": stored.etag})

    def _get(self, bucket: str, key: str, request: Request) -> Response:
        stored = self.objects.get((bucket, key))
        if stored is None:
            raise Refused(404, "NoSuchKey")
        at = stored.at.strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"ETag": stored.etag, "Last-Modified": at, **stored.headers}
        if request.method == "HEAD":
            return Response(headers=headers | {"Content-Length": str(stored.size)})
        stated = request.headers.get("range", "")
        if not stated:
            return Response(stored.part(0, stored.size), headers=headers)
        start, _, end = stated.removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end or stored.size), stored.size - 1)
        if first >= stored.size:
            raise Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {first}-{last}/{stored.size}"
        return Response(stored.part(first, last + 1), 206, headers=headers)

    def _list(self, bucket: str, prefix: str, after: str, query: Any) -> Response:
        after = max(after, query.get("continuation-token", ""))
        keys = sorted(key for where, key in self.objects if where == bucket and key.startswith(prefix) and key > after)
        shown, rest = keys[:LISTED_MAX], keys[LISTED_MAX:]
        contents = "".join(_listed(key, self.objects[bucket, key]) for key in shown)
        more = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if rest else ""
        cut = "true" if rest else "false"
        return _xml(f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{more}{contents}</ListBucketResult>")

    def _delete_many(self, bucket: str, body: bytes) -> Response:
        keys = [named.text or "" for named in ET.fromstring(body).iter() if named.tag.endswith("Key")]  # noqa: S314
        for key in keys:
            self.objects.pop((bucket, key), None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return _xml(f"<DeleteResult>{deleted}</DeleteResult>")

    # --- uploads in parts --------------------------------------------------------------------------------------------

    def _upload(self, name: tuple[str, str, str]) -> Upload:
        if name not in self.uploads:
            raise Refused(404, "NoSuchUpload")
        return self.uploads[name]

    def _begin(self, bucket: str, key: str, request: Request) -> Response:
        name = f"upload-{next(self._numbers)}"
        self.uploads[bucket, key, name] = {0: self._object(b"", _kept_headers(request))}
        shown = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{name}</UploadId>"
        return _xml(f"<InitiateMultipartUploadResult>{shown}</InitiateMultipartUploadResult>")

    def _put_part(self, name: tuple[str, str, str], number: int, body: bytes) -> Response:
        self._upload(name)[number] = part = self._object(body, {})
        return Response(headers={"ETag": part.etag})

    def _complete(self, name: tuple[str, str, str], body: bytes) -> Response:
        upload = self._upload(name)
        numbers = [int(one.text or 0) for one in ET.fromstring(body).iter() if one.tag.endswith("PartNumber")]  # noqa: S314
        if not numbers or any(number not in upload for number in numbers):
            raise Refused(400, "InvalidPart")
        if any(upload[number].size < PART_BYTES_MIN for number in numbers[:-1]):
            raise Refused(400, "EntityTooSmall")
        remembered = numbers if self._keep else numbers[:1]
        whole = b"".join(upload[number].content for number in remembered)
        size = sum(upload[number].size for number in numbers)
        etag = f'"{hashlib.md5(whole, usedforsecurity=False).hexdigest()}-{len(numbers)}"'
        self.objects[name[0], name[1]] = StoredObject(whole, size, etag, upload[0].headers)
        del self.uploads[name]
        shown = f"<Bucket>{name[0]}</Bucket><Key>{escape(name[1])}</Key><ETag>{escape(etag)}</ETag>"
        return _xml(f"<CompleteMultipartUploadResult>{shown}</CompleteMultipartUploadResult>")


def _kept_headers(request: Request) -> dict[str, str]:
    return {name: request.headers[name] for name in ("content-type", "cache-control") if name in request.headers}


def _listed(key: str, stored: StoredObject) -> str:
    at = stored.at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{escape(key)}</Key><Size>{stored.size}</Size>"
        f"<LastModified>{at}</LastModified><ETag>{escape(stored.etag)}</ETag></Contents>"
    )


def _xml(text: str, status: int = 200) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{text}', status, media_type="application/xml")
