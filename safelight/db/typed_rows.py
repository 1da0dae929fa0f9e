"""Rows as objects: a statement names its columns as the fields of the dataclass that it fills."""

from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from safelight.db.connection.database import Row

T = TypeVar("T")


def row_as(kind: Callable[..., T], row: Row | None) -> T | None:
    return None if row is None else kind(**row)


async def rows_as(kind: Callable[..., T], rows: AsyncIterable[Row]) -> list[T]:
    return [kind(**row) async for row in rows]


def values_as(kind: Callable[..., T], values: Iterable[Row]) -> tuple[T, ...]:
    """As `rows_as`, for rows that a statement has gathered into one JSON value."""
    return tuple(kind(**value) for value in values)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row that is shown as it is stored, in a customer's history or by a command's `--json`: `columns` has the
    columns' own names. Subclasses name those that the code reads, each with `column`."""

    columns: Row


def column(name: str) -> Any:
    return property(lambda row: row.columns[name])
