"""What comes with an installation: the licence, the types, the recipes, and hints that fit how it was installed."""

import json
import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.support import licences

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([str(BIN / "uv"), "build", "-q", "--wheel", "--out-dir", folder, ROOT], check=True, timeout=120)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_has_the_licence_the_types_the_recipes_and_the_migrations(wheel: zipfile.ZipFile):
    names = set(wheel.namelist())
    for folder, place in (("docs/recipes", "safelight/recipes"), ("supabase/migrations", "safelight/db/migrations")):
        assert {f"{place}/{file.name}" for file in (ROOT / folder).glob("*.sql")} <= names
    assert "safelight/py.typed" in names
    [licence] = [name for name in names if name.endswith("licenses/LICENSE")]
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_metadata_say_who_where_and_under_which_licence(wheel: zipfile.ZipFile):
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    stated = message_from_bytes(wheel.read(name))
    assert stated["License-Expression"] == "Apache-2.0"
    assert stated["Author"] or stated["Author-Email"]
    assert {url.partition(",")[0] for url in stated.get_all("Project-URL", [])} >= {"Documentation", "Issues"}
    assert "Typing :: Typed" in stated.get_all("Classifier", [])


def test_every_run_time_package_is_in_the_list_of_licences_with_its_licence():
    assert licences.FILE.read_text().endswith(licences.table()), "run python -m tests.support.licences"
    assert all(licences.licence_of(package) for package in licences.run_time_packages())


def test_the_installed_wheel_lists_and_prints_the_recipes_it_brought(wheel: zipfile.ZipFile, tmp_path: Path):
    """The package unpacked into an empty folder, far from the checkout."""
    wheel.extractall(tmp_path)

    def safelight(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "safelight", "recipes", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    listed = json.loads(safelight("--json").stdout)
    assert {row["recipe"] for row in listed} == {file.stem for file in (ROOT / "docs" / "recipes").glob("*.sql")}
    assert all(row["question"].endswith(("?", ".", ")")) for row in listed)
    for name in ("timeline_of_a_generation", "stuck_generations.sql"):
        stem = name.removesuffix(".sql")
        assert safelight(name).stdout == (ROOT / "docs" / "recipes" / f"{stem}.sql").read_text()
    unknown = safelight("nonsense")
    assert unknown.returncode != 0
    assert "timeline_of_a_generation" in unknown.stderr


@pytest.mark.parametrize(
    ("command", "path", "hint"),
    [
        (["safelight"], f"{BIN}:{os.environ['PATH']}", "safelight recipes RECIPE"),
        ([".venv/bin/safelight"], "/usr/bin:/bin", ".venv/bin/safelight recipes RECIPE"),
        ([str(BIN / "safelight")], "/usr/bin:/bin", ".venv/bin/safelight recipes RECIPE"),
        ([str(BIN / "python"), "-m", "safelight"], "/usr/bin:/bin", "python -m safelight recipes RECIPE"),
    ],
)
def test_a_hint_calls_the_program_as_its_reader_can(tmp_path: Path, command: list[str], path: str, hint: str):
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(BIN)
    environment = {"PATH": path, "HOME": str(tmp_path), "COLUMNS": "200"}
    program = [str(BIN / "safelight")] if command == ["safelight"] else command
    cwd = BIN.parents[1] if command[0].startswith(str(BIN)) else tmp_path
    done = subprocess.run(
        [*program, "recipes"], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert hint in done.stdout
