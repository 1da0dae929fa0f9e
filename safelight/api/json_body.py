"""Reads a request's JSON strictly and with bounds, before anything else looks at it; a form is the object it stands
for (contract section 1.1)."""

import json
import re
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope

from safelight.api.body_room import BodyRoom
from safelight.domain.errors import InvalidInput

JSON_BYTES_MAX = 1 * 1024 * 1024
UPLOAD_JSON_BYTES_MAX = 30 * 1024 * 1024  # a picture as a base64 data URL
DEPTH_MAX = 32
FORM = "application/x-www-form-urlencoded"
FORM_FIELDS_MAX = 200
IS_FORM = "safelight.form"
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
    keeps_room = False  # until the request is answered; else until its body is read

    def __init__(self, scope: Scope, receive: Receive, room: AsyncExitStack) -> None:
        super().__init__(scope, receive)
        self.room = room

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            bodies: BodyRoom = self.app.state.services.bodies
            self._body = await self.room.enter_async_context(bodies.received(self.stream(), self.bytes_max))
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            read = parse_form if self.scope.get(IS_FORM) else parse
            self._json = read(await self.body())
            self._body = self._body or b"{}"  # a form without fields; of no body the framework makes no object
        return self._json


class StrictUploadRequest(StrictRequest):
    bytes_max = UPLOAD_JSON_BYTES_MAX
    keeps_room = True


async def body_of(request: Request) -> bytes:
    """The body as it came, bounded, for routes that check a signature of it first."""
    async with AsyncExitStack() as room:
        return await StrictRequest(request.scope, request.receive, room).body()


def parse(content: bytes) -> Any:
    """Raises InvalidInput (INVALID_JSON) with the reason."""
    try:
        text = content.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
        _check(value, 0)
    except RecursionError as error:
        raise _invalid(f"it is nested deeper than {DEPTH_MAX} levels") from error
    except UnicodeDecodeError as error:
        raise _invalid("it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise _invalid(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # a number of more digits than Python converts
        raise _invalid(str(error)) from error
    return value


def parse_form(content: bytes) -> dict[str, Any]:
    """A field that is there twice, or whose name ends with `[]`, is a list. Raises InvalidInput (INVALID_FORM)."""
    try:
        fields = parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidInput("The body is not a form in UTF-8.", code="INVALID_FORM") from error
    except ValueError as error:
        raise InvalidInput(f"The form has more than {FORM_FIELDS_MAX} fields.", code="INVALID_FORM") from error
    found: dict[str, Any] = {}
    for name, text in ((name, FormText(text)) for name, text in fields):
        plain = name.removesuffix("[]")
        if plain != name or plain in found:
            before = found.get(plain, [])
            found[plain] = [*(before if isinstance(before, list) else [before]), text]
        else:
            found[plain] = text
    _check(found, 0)
    return found


def _invalid(reason: str) -> InvalidInput:
    return InvalidInput(f"The body is not valid JSON: {reason}.", code="INVALID_JSON")


def _refuse_constant(name: str) -> None:
    raise _invalid(f"{name} is no JSON value")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _invalid("an object has the same key twice")
    return found


def _check(value: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _invalid(f"it is nested deeper than {DEPTH_MAX} levels")
    match value:
        case str():
            _check_text(value)
        case float() | int() if not isinstance(value, bool):
            if abs(value) > NUMBER_MAX:  # infinity too; a whole number may be too long to become a float
                raise _invalid(f"a number is larger than {NUMBER_MAX:.0e}")
        case dict():
            for key, item in value.items():
                _check_text(key)
                _check(item, depth + 1)
        case list():
            for item in value:
                _check(item, depth + 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _invalid("a text holds the character NUL")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise _invalid("a text holds half of a surrogate pair")


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRoute(APIRoute):
    """A route whose body is read by StrictRequest."""

    request_class: type[StrictRequest] = StrictRequest

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            async with AsyncExitStack() as room:
                checked = self.request_class(_scope_of(request), request.receive, room)
                if request.method == "POST":
                    await checked.json()  # here, because the framework gives every parsing error the same words
                if not checked.keeps_room:
                    await room.aclose()
                return await handle(checked)

        return strict


def _scope_of(request: Request) -> Scope:
    """The framework asks for `json()` only where the headers say that there is JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return request.scope
    others = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
    return {**request.scope, "headers": [*others, (b"content-type", b"application/json")], IS_FORM: True}


class StrictUploadRoute(StrictRoute):
    request_class = StrictUploadRequest
