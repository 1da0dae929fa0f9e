"""Checks of the style of the code. The numbers here only ever go down."""

import ast
import re
import subprocess
from collections.abc import AsyncIterable
from pathlib import Path
from statistics import median
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel
from starlette.responses import Response

from safelight.config import Settings
from tests.support import scope, settings_page

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "safelight").rglob("*.py"), *ROOT.glob("packages/*/safelight_*/**/*.py")])
FILE_LINES_MAX = 420
FUNCTION_LINES_MAX = 62
FUNCTION_LINES_MEDIAN_MAX = 9
FUNCTIONS_OVER_40_SHARE_MAX = 0.02
BROAD_EXCEPTS_MAX = 2
ROWS_OF_OTHER_DATABASES = {"backfill.py"}
VAGUE_NAMES = {"utils", "helpers", "services_base", "managers", "misc", "common"}


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def test_a_file_is_one_room():
    for path in SOURCES:
        text = path.read_text()
        assert len(text.splitlines()) <= FILE_LINES_MAX, f"{path}: split the file by noun"
        assert path.stem not in VAGUE_NAMES, f"{path}: name the file after what it is about"
        tree = ast.parse(text)
        if tree.body:
            assert ast.get_docstring(tree), f"{path}: say in one line what the module is for"
        for function in functions(tree):
            assert lines_of(function) <= FUNCTION_LINES_MAX, f"{path}: {function.name}: give its parts names"


def test_most_functions_are_short():
    lengths = [lines_of(function) for path in SOURCES for function in functions(ast.parse(path.read_text()))]
    assert median(lengths) <= FUNCTION_LINES_MEDIAN_MAX
    assert sum(length > 40 for length in lengths) / len(lengths) <= FUNCTIONS_OVER_40_SHARE_MAX


def test_broad_excepts_are_counted():
    broad = [
        f"{path.name}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
    ]
    assert len(broad) <= BROAD_EXCEPTS_MAX, f"catch what you can name: {broad}"


def test_only_the_configuration_reads_the_environment():
    readers = [path for path in SOURCES if re.search(r"\bos\.(environ|getenv)\b", path.read_text())]
    assert [path for path in readers if path.name != "config.py"] == [], "add a setting to config.py and hand it in"


def room_of(path: Path) -> str:
    first, *rest = path.relative_to(ROOT).parts
    return rest[0] if first == "safelight" else first


def test_only_the_database_layer_knows_columns():
    """`db/` returns dataclasses. Benchmarks write SQL of their own."""
    statement = re.compile(r"\b(select|insert into|update|delete from)\b .*\bmega_", re.I)
    for path in (path for path in SOURCES if room_of(path) not in ("db", "testing")):
        text = path.read_text()
        assert not statement.search(text), f"{path}: put SQL into db/"
        assert not re.findall(r"""\w\[f?["']mg_|\.get\(f?["']mg_""", text), (
            f"{path}: name the column as a field, in db/"
        )


@pytest.mark.parametrize("room", ["api", "cli", "ops", "reports"])
def test_whoever_shows_rows_gets_dataclasses(room: str):
    for path in SOURCES:
        if room_of(path) == room and path.name not in ROWS_OF_OTHER_DATABASES:
            imported = re.findall(
                r"from safelight\.db\.connection\.(?:database|sessions) import (.*)", path.read_text()
            )
            assert "Row" not in " ".join(imported).replace(",", " ").split(), f"{path}: have db/ return a dataclass"


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines()]


def test_the_slowest_test_files_are_there():
    names = {path.stem for folder in ("tests", "packages") for path in (ROOT / folder).rglob("test_*.py")}
    assert set(scope.SLOWEST) <= names, "name the file in tests/support/scope.py as it is called now"


def test_no_file_names_one_machine():
    for path in tracked_files():
        if (
            path.suffix in (".jpg", ".png", ".mp4", ".webp")
            or path.parent.name == "samples"
            or path == Path(__file__)
            or not path.exists()
        ):
            continue
        found = re.search(r"/home/\w+/|/root/|files\.pythonhosted|registry\.npmjs", path.read_text())
        assert not found, f"{path}: {found and found[0]}"


def test_every_setting_is_explained():
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name}: say what it does"
        assert field.description.endswith("."), f"{name}: write full sentences"


def test_the_page_of_settings_is_the_one_that_is_generated():
    assert settings_page.FILE.read_text() == settings_page.page(), "run python -m tests.support.settings_page"
    assert {name for group in settings_page.GROUPS for name in group.model_fields} == set(Settings.model_fields)


def test_no_file_refers_to_a_document_that_is_not_here():
    """Migrations are never edited; docs/contract/README.md says what their seed numbers mean."""
    outside = re.compile(r"\bseeds? 00\d|\bcontracts? (?:section|appendix|[0-9B]\.)", re.IGNORECASE)
    for path in tracked_files():
        if path.suffix not in (".py", ".sql", ".md", ".toml") or "migrations" in path.parts or not path.exists():
            continue
        if path in (ROOT / "docs" / "contract" / "README.md", Path(__file__)):
            continue
        found = outside.search(path.read_text())
        assert not found, f"{path}: {found and found[0]}: say it in docs/contract, and link to that"


@pytest.mark.parametrize("document", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_links_of_documents_lead_somewhere(document: Path):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name}: {target} is not there"


# --- the API --------------------------------------------------------------------------------------------------------


def test_every_route_returns_a_model_or_a_response():
    """A dictionary would be described a second time in the document, and checked by nobody."""
    from safelight.api.app import create_api  # noqa: PLC0415
    from tests.support.route_matrix import api_routes  # noqa: PLC0415

    app = create_api(None, cors_origins=[])  # type: ignore[arg-type]
    routes = [one for one in api_routes(app.routes) if one.endpoint.__module__.startswith("safelight.")]
    assert len(routes) > 40
    for route in routes:
        stated = get_type_hints(route.endpoint)["return"]
        parts = get_args(stated) if isinstance(stated, UnionType) or get_origin(stated) is Union else (stated,)
        for part in parts:
            if get_origin(part) is AsyncIterable:
                continue  # a stream of events
            assert isinstance(part, type), f"{route.path}: {part} is no model"
            assert issubclass(part, BaseModel | Response), f"{route.path}: return a model, not {part}"
