"""Bodies of the type `multipart/form-data` (RFC 7578): fields, and files."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import HTTP

from safelight.domain.errors.base import InvalidInput

PARTS_MAX = 50
FIELD_CHARS_MAX = 8000
HEAD_BYTES_MAX = 8 * 1024  # of one part
NAME_CHARS_MAX = 200
BOUNDARY_CHARS_MAX = 70  # RFC 2046, section 5.1.1


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file of a form, by the name that it has at the client's."""

    field: str
    name: str
    content: bytes

    def data_url(self) -> str:
        """Return the file as other clients send it. What it is, its bytes say."""
        return f"data:application/octet-stream;base64,{base64.b64encode(self.content).decode()}"


def read_parts(content: bytes, content_type: str, *, files_max: int) -> tuple[list[tuple[str, str]], list[FilePart]]:
    """Return the fields, by name, and the files.

    Raises:
        InvalidInput: INVALID_FORM, with the reason.
    """
    fields: list[tuple[str, str]] = []
    files: list[FilePart] = []
    for head, start, end in _parts(content, _boundary(content_type)):
        name, file_name = _parameter(head, "name"), _parameter(head, "filename")
        if name is None:
            raise _invalid("a part has no name")
        if file_name is None:
            fields.append((name, _text(name, content[start:end])))
        elif len(files) == files_max:
            raise _invalid("it has more than one file" if files_max == 1 else f"it has more than {files_max} files")
        else:
            files.append(FilePart(name, file_name, content[start:end]))
    return fields, files


def _boundary(content_type: str) -> bytes:
    stated = Message()
    stated["content-type"] = content_type
    mark = str(stated.get_boundary("")).encode("latin-1", "replace")
    if not 0 < len(mark) <= BOUNDARY_CHARS_MAX:
        raise _invalid(f"its Content-Type has no boundary of 1 to {BOUNDARY_CHARS_MAX} characters")
    return mark


def _parts(content: bytes, mark: bytes) -> Iterator[tuple[Message, int, int]]:
    """The head of each part, and where its content begins and ends: a file is not copied to find its end."""
    between = b"\r\n--" + mark
    first = -2 if content.startswith(between[2:]) else content.find(between)
    if first == -1:
        raise _invalid("its boundary is not in it")
    at = first + len(between)
    for _ in range(PARTS_MAX):
        if content.startswith(b"--", at):
            return
        start = content.find(b"\r\n\r\n", at, at + HEAD_BYTES_MAX)
        end = content.find(between, start + 2)
        if not content.startswith(b"\r\n", at) or start < 0 or end < 0:
            raise _invalid("a part has no head or no end, or the form ends before its last boundary")
        yield BytesHeaderParser(policy=HTTP).parsebytes(content[at + 2 : start + 4]), start + 4, max(start + 4, end)
        at = end + len(between)
    raise _invalid(f"it has more than {PARTS_MAX} parts")


def _parameter(head: Message, name: str) -> str | None:
    """A parameter of the head's Content-Disposition."""
    found = head.get_param(name, header="content-disposition")
    stated = found[2] if isinstance(found, tuple) else found
    return None if stated is None else str(stated)[:NAME_CHARS_MAX]


def _text(name: str, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"the field {name!r} is not UTF-8 text") from error
    if len(text) > FIELD_CHARS_MAX:
        raise _invalid(f"the field {name!r} has more than {FIELD_CHARS_MAX} characters")
    return text


def _invalid(reason: str) -> InvalidInput:
    return InvalidInput(f"The body is not a valid multipart form: {reason}.", code="INVALID_FORM")
