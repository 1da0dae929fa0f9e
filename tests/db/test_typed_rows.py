"""Rows become dataclasses: a statement and its class name the same columns, or the first read says which differ."""

from collections.abc import AsyncIterator
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from safelight.db.typed_rows import StoredRow, column, row_as, rows_as, values_as


@dataclass(frozen=True, slots=True)
class Fruit:
    name: str
    grams: int


@dataclass(frozen=True, slots=True)
class StoredFruit(StoredRow):
    name = column("mg_name")


async def rows(*found: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for row in found:
        yield row


async def test_rows_fill_their_class_in_order():
    pear, fig = {"name": "pear", "grams": 180}, {"name": "fig", "grams": 40}
    assert row_as(Fruit, pear) == Fruit("pear", 180)
    assert row_as(Fruit, None) is None
    assert await rows_as(Fruit, rows(pear, fig)) == [Fruit("pear", 180), Fruit("fig", 40)]
    assert values_as(Fruit, [pear, fig]) == (Fruit("pear", 180), Fruit("fig", 40))


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"name": "pear"}, "grams"),
        ({"grams": 180}, "name"),
        ({"name": "pear", "grams": 180, "colour": "green"}, "colour"),
        ({"name": "pear", "mg_grams": 180}, "mg_grams"),
        ({}, "name"),
    ],
)
async def test_a_statement_whose_columns_are_not_the_fields_is_an_error_that_names_one(row: dict[str, Any], named: str):
    with pytest.raises(TypeError, match=named):
        row_as(Fruit, row)
    with pytest.raises(TypeError, match=named):
        await rows_as(Fruit, rows(row))


def test_a_stored_row_is_shown_as_it_is_and_read_by_name():
    fruit = StoredFruit({"mg_name": "pear", "mg_grams": 180})
    assert fruit.name == "pear"
    assert list(fruit.columns) == ["mg_name", "mg_grams"]


def test_no_row_is_changed_after_it_was_read():
    fruit, stored = Fruit("pear", 180), StoredFruit({"mg_name": "pear"})
    with pytest.raises(FrozenInstanceError):
        fruit.grams = 1  # type: ignore[misc]
    with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
        stored.columns = {}  # type: ignore[misc]
