"""The table of threats names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if re.match(r"\| (?!threat|---)", line)
]


@pytest.mark.parametrize("row", ROWS)
def test_each_threat_names_a_test_that_is_there(row: str):
    _, threat, holds, tests, _ = re.split(r"(?<!\\)\|", row)
    assert threat.strip()
    assert holds.strip()
    named = re.findall(r"(test_\w+\.py)?(?:::(test_\w+))?", tests)
    files = [file for file, _ in named if file]
    assert files
    current = ""
    for file, name in named:
        current = file or current
        if name:
            (path,) = (path for folder in ("tests", "packages") for path in (ROOT / folder).rglob(current))
            assert f"def {name}(" in path.read_text(), f"{current}::{name}"
