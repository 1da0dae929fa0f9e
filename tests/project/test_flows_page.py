"""docs/flows.md: its flow and its test, run as they stand there."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import StartBackend

PAGE = Path(__file__).parents[2] / "docs" / "flows.md"
LINES_MAX = 60


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


async def test_the_flow_of_the_page_passes_the_test_of_the_page(start: StartBackend, monkeypatch: pytest.MonkeyPatch):
    flow, test = blocks()
    palette, test_palette = ModuleType("palette"), ModuleType("test_palette")
    monkeypatch.setitem(sys.modules, "palette", palette)
    exec(compile(flow, str(PAGE), "exec"), palette.__dict__)
    exec(compile(test, str(PAGE), "exec"), test_palette.__dict__)
    [check] = [value for name, value in vars(test_palette).items() if name.startswith("test_")]
    await check(start, monkeypatch)


def test_a_flow_fits_into_sixty_lines():
    assert len(blocks()[0].splitlines()) <= LINES_MAX
