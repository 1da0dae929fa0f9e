"""Reads a request's JSON strictly and with bounds, before anything else looks at it; a form is the object it stands
for (docs/contract/http.md). Bodies of other types are refused."""

import json
import re
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Scope

from safelight.api.http.bodies.multipart import read_parts
from safelight.api.http.bodies.spooling import RequestBodies
from safelight.domain.errors.base import InvalidInput, PayloadTooLarge, UnsupportedMediaType
from safelight.redaction import excerpt

SMALL_JSON_BYTES_MAX = 64 * 1024
JSON_BYTES_MAX = 1 * 1024 * 1024
UPLOAD_JSON_BYTES_MAX = 28 * 1024 * 1024  # a picture as a base64 data URL
DATA_URL_BYTES_MIN = 64 * 1024  # shorter ones are read as any other text
TEXTS_TRIED_MAX = 100
DEPTH_MAX = 32
VALUES_MAX = 50_000
FORM = "application/x-www-form-urlencoded"
FORM_FIELDS_MAX = 200
FILES_MAX = 20  # of one form
FORM_ESCAPES_MAX = 1_000_000  # a picture of 20 MB has about 800,000
MULTIPART = "multipart/form-data"
JSON = "application/json"
WITH_BODY = ("POST", "PATCH")
READ_AS = "safelight.read_as"  # the media type of a body that is no JSON
NUMBER_MAX = 1e15
WHOLE_NUMBER = re.compile(r"\s*-?[0-9]{1,15}\s*")


class FormText(str):
    """A value of a form, where numbers are texts too."""

    __slots__ = ()


def whole_number(value: Any) -> Any:
    """The number that a form's text writes out; anything else as it is."""
    return int(value) if isinstance(value, FormText) and WHOLE_NUMBER.fullmatch(value) else value


class StrictRequest(Request):
    """A request whose `json()` refuses what a database or another parser would stumble over."""

    bytes_max = JSON_BYTES_MAX
    keeps_room = False  # for its body, until the request is answered; else until the body is read
    media_types: tuple[str, ...] = (JSON, FORM)

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = await self.bodies.read(self, self.bytes_max)
        return self._body

    async def json(self) -> Any:
        """The object that the body says, whichever type it has; no body is an object without fields."""
        if not hasattr(self, "_json"):
            content = await self.bodies.read(self, self.bytes_max)
            self._json = await self.bodies.work(self._reader(), content) if content else {}
            self._body = b"{}"  # the framework makes no object of no body, and nobody needs the bytes any more
        return self._json

    def _reader(self) -> Callable[[bytes], Any]:
        match self.scope.get(READ_AS):
            case None:
                return partial(parse, bytes_max=JSON_BYTES_MAX)
            case media_type if media_type == FORM:
                return parse_form
        return partial(parse_multipart, content_type=self.scope[READ_AS])

    @property
    def bodies(self) -> RequestBodies:
        found: RequestBodies = self.app.state.services.bodies
        return found


class SmallRequest(StrictRequest):
    """For routes whose bodies are read before it is counted how often they are asked."""

    bytes_max = SMALL_JSON_BYTES_MAX


class StrictUploadRequest(StrictRequest):
    bytes_max = UPLOAD_JSON_BYTES_MAX
    keeps_room = True
    media_types: tuple[str, ...] = (JSON, FORM, MULTIPART)


def parse(content: bytes | bytearray, *, bytes_max: int = UPLOAD_JSON_BYTES_MAX) -> Any:
    """The value, which has more than `bytes_max` bytes only by a data URL among its fields.

    Raises:
        InvalidInput: INVALID_JSON, with the reason.
        PayloadTooLarge: it is larger, without the data URL.
    """
    rest, token, data_url = _apart(content) if len(content) > bytes_max else (content, "", "")
    if len(rest) > bytes_max:
        raise PayloadTooLarge(f"Beside a file as a data URL the body may have at most {bytes_max} bytes.")
    try:
        value = json.loads(rest.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
        _check(value)
    except RecursionError as error:
        raise _invalid(f"it is nested deeper than {DEPTH_MAX} levels") from error
    except UnicodeDecodeError as error:
        raise _invalid("it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise _invalid(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # a number of more digits than Python converts
        raise _invalid(str(error)) from error
    return _together(value, token, data_url) if token else value


def _apart(content: bytes | bytearray) -> tuple[bytes | bytearray, str, str]:
    """The content with a token in place of its first long data URL, the token, and the data URL.

    In valid JSON a quote before `data:` that no backslash precedes begins a text, and the next quote ends it; content
    that is not valid is not made so.
    """
    start, tried = content.find(b'"data:'), 0
    while start >= 0 and tried < TEXTS_TRIED_MAX:
        end = content.find(b'"', start + 1)
        if end - start > DATA_URL_BYTES_MIN and content[start - 1 : start] != b"\\":
            text = content[start + 1 : end].replace(b"\\/", b"/")
            if b"\\" in text or not text.isascii():
                break
            token = secrets.token_hex()
            return content[: start + 1] + token.encode() + content[end:], token, text.decode("ascii")
        start, tried = content.find(b'"data:', end) if end >= 0 else -1, tried + 1
    return content, "", ""


def _together(value: Any, token: str, data_url: str) -> Any:
    """The value with the data URL in its place again, which is a field of the body itself."""
    name = next((name for name, text in value.items() if text == token), None) if isinstance(value, dict) else None
    if name is None:
        raise PayloadTooLarge("A file as a data URL is to be a field of the body itself.")
    _check_text(data_url)
    return value | {name: data_url}


def parse_form(content: bytes | bytearray) -> dict[str, Any]:
    """A field that is there twice, or whose name ends with `[]`, is a list. Raises InvalidInput (INVALID_FORM)."""
    return _together_by_name(_form_fields(bytes(content)))


def parse_multipart(content: bytes | bytearray, *, content_type: str) -> dict[str, Any]:
    """As `parse_form`; the one file that there may be is the field `dataUrl`. Raises InvalidInput (INVALID_FORM)."""
    fields, files = read_parts(bytes(content), content_type, files_max=1)
    found = _together_by_name([(name, FormText(text)) for name, text in fields])
    for file in files:
        found = {"filename": file.name} | found | {"dataUrl": file.data_url()}
    return found


def parse_files(content: bytes | bytearray, *, content_type: str) -> dict[str, Any]:
    """As `parse_form`, with any number of files, each a data URL under the name of its part. Raises InvalidInput."""
    fields, files = read_parts(bytes(content), content_type, files_max=FILES_MAX)
    named = [(name, FormText(text)) for name, text in fields]
    return _together_by_name([*named, *((file.field, FormText(file.data_url())) for file in files)])


def _together_by_name(fields: Iterable[tuple[str, FormText]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in fields:
        plain = name.removesuffix("[]")
        if plain != name or plain in found:
            before = found.get(plain, [])
            found[plain] = [*(before if isinstance(before, list) else [before]), text]
        else:
            found[plain] = text
    _check(found)
    return found


def _form_fields(content: bytes) -> list[tuple[str, FormText]]:
    if content.count(b"&") >= FORM_FIELDS_MAX:
        raise InvalidInput(f"The form has more than {FORM_FIELDS_MAX} fields.", code="INVALID_FORM")
    if content.count(b"%") > FORM_ESCAPES_MAX:
        raise InvalidInput(f"The form has more than {FORM_ESCAPES_MAX} escaped characters.", code="INVALID_FORM")
    try:
        pairs = [field.partition(b"=") for field in content.split(b"&") if field]
        return [(_unquoted(name), FormText(_unquoted(text))) for name, _, text in pairs]
    except UnicodeDecodeError as error:
        raise InvalidInput("The body is not a form in UTF-8.", code="INVALID_FORM") from error


def _unquoted(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode()


def _invalid(reason: str) -> InvalidInput:
    return InvalidInput(f"The body is not valid JSON: {reason}.", code="INVALID_JSON")


def _refuse_constant(name: str) -> None:
    raise _invalid(f"{name} is no JSON value")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _invalid("an object has the same key twice")
    return found


def _check(value: Any) -> None:
    level, depth, count = [value], 0, 0
    while level:
        count += len(level)
        if depth > DEPTH_MAX:
            raise _invalid(f"it is nested deeper than {DEPTH_MAX} levels")
        if count > VALUES_MAX:
            raise _invalid(f"it has more than {VALUES_MAX} values")
        level, depth = [inner for item in level for inner in _checked_inside(item)], depth + 1


def _checked_inside(value: Any) -> Iterable[Any]:
    """Yield the values inside a value that is right itself."""
    match value:
        case str():
            _check_text(value)
        case float() | int() if not isinstance(value, bool):
            if not -NUMBER_MAX <= value <= NUMBER_MAX:  # infinity too; a whole number may be too long to become a float
                raise _invalid(f"a number is larger than {NUMBER_MAX:.0e}")
        case dict():
            for key in value:
                _check_text(key)
            return value.values()
        case list():
            return value
    return ()


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _invalid("a text holds the character NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _invalid("a text holds half of a surrogate pair") from error


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRoute(APIRoute):
    """A route whose body is read by StrictRequest."""

    request_class: type[StrictRequest] = StrictRequest

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            scope = _scope_of(request, self.request_class.media_types)
            checked = self.request_class(scope, request.receive)
            if request.method in WITH_BODY:
                await checked.json()  # here, because the framework gives every parsing error the same words
            if not checked.keeps_room:
                checked.bodies.release(checked)
            return await handle(checked)

        return strict


def _scope_of(request: Request, media_types: Collection[str]) -> Scope:
    """The framework asks for `json()` only where the headers say that there is JSON. Raises UnsupportedMediaType."""
    stated = request.headers.get("content-type", "")
    media_type = stated.partition(";")[0].strip().lower()
    if request.method not in WITH_BODY or media_type == JSON:
        return request.scope
    has_body = "transfer-encoding" in request.headers or request.headers.get("content-length", "0").strip("0 ")
    is_json = not media_type or media_type.endswith("+json") or not has_body
    if not is_json and media_type not in media_types:
        raise UnsupportedMediaType(f"Content-Type: {excerpt(media_type, 100)!r} is none of {', '.join(media_types)}.")
    others = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
    scope = {**request.scope, "headers": [*others, (b"content-type", JSON.encode())]}
    return scope if is_json else {**scope, READ_AS: stated if media_type == MULTIPART else media_type}


class SmallRoute(StrictRoute):
    request_class = SmallRequest
