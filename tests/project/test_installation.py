"""Contents of an installation: the licence, the types, the recipes, hints that fit how it was
installed; the renderer, the embedded server and openai are extras, and a missing one is named."""

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from email import message_from_bytes
from pathlib import Path

import pytest
import typer

from safelight import cli, serve
from safelight.app import App
from safelight.cli.lazy import LazyCommand, LazyGroup
from safelight.config import Settings
from safelight.extras import Extra
from safelight.pipelines.registry import serve_every_engine_with
from safelight.providers.simulated.faults import Faults, Latency
from safelight.providers.simulated.server import HangUpProtocol, Simulation
from tests.conftest import Backend, client_of
from tests.support import installation, licences

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(installation.wheel_of(ROOT, tmp_path_factory.mktemp("wheel")))


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


# --- safelight without extras ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def production(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which the wheel of safelight alone is installed."""
    return installation.install(Path(str(wheel.filename)), tmp_path_factory.mktemp("production") / "environment")


def run(production: Path, home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [str(production / "bin" / "safelight"), *arguments]
    environment = installation.environment_of(home, **settings)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_production_installation_is_small_and_has_no_extras(production: Path):
    assert installation.installed_bytes(production) <= installation.INSTALLED_BYTES_MAX
    names = {path.name for path in production.glob("lib/python*/site-packages/*")}
    assert not names & {"cv2", *(extra.module for extra in Extra)}


@pytest.mark.parametrize(
    ("arguments", "settings", "extra"),
    [
        (["up"], {}, Extra.EMBEDDED),
        (["migrate"], {}, Extra.EMBEDDED),
        (["generations", "list"], {}, Extra.EMBEDDED),
        (["demo"], {}, Extra.LOCAL),
        (["worker"], {"SAFELIGHT_STAND_IN": "allow"}, Extra.LOCAL),
        (["up", "--port", "0"], {"SAFELIGHT_STAND_IN": "allow"}, Extra.LOCAL),
        (["worker"], {"SAFELIGHT_OPENAI_API_KEY": "sk-test", "SAFELIGHT_FAL_KEY": "fal-test"}, Extra.OPENAI),
    ],
)
def test_a_missing_extra_is_one_line_that_names_it(
    production: Path, tmp_path: Path, dsn: str, arguments: list[str], settings: dict[str, str], extra: Extra
):
    if settings:
        settings = settings | {"SAFELIGHT_DATABASE_URL": dsn}
    done = run(production, tmp_path, *arguments, **settings)
    lines = [line for line in done.stderr.splitlines() if line.startswith("safelight: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert f"pip install 'safelight[{extra}]'" in lines[0]


@asynccontextmanager
async def process(production: Path, home: Path, begins: str, *arguments: str, **settings: str) -> AsyncIterator[str]:
    """A command that runs inside this context, and the line of its output that begins so."""
    started = await asyncio.create_subprocess_exec(
        production / "bin" / "safelight",
        *arguments,
        env=installation.environment_of(home, **settings),
        stdout=asyncio.subprocess.PIPE,
    )
    assert started.stdout is not None
    try:
        lines = [line.decode() async for line in _until(started.stdout, begins)]
        assert lines and lines[-1].startswith(begins), "it ended by itself"
        yield lines[-1].strip()
    finally:
        if started.returncode is None:
            started.terminate()
        await started.communicate()


async def _until(stream: asyncio.StreamReader, begins: str) -> AsyncIterator[bytes]:
    async for line in stream:
        yield line
        if line.decode().startswith(begins):
            return


async def test_the_wheel_alone_serves_and_works_on_another_postgres(production: Path, dsn: str, tmp_path: Path):
    """With another service than those of the extras behind every engine."""
    async with App(Settings(database_url=dsn)).database() as db, db.transaction() as conn:
        await serve_every_engine_with(conn, "simulated")
    simulation, listening = Simulation(1, Faults(), Latency(0, 0, 0)), serve.listen("127.0.0.1", 0)
    settings = {
        "SAFELIGHT_DATABASE_URL": dsn,
        "SAFELIGHT_SIMULATED_URL": f"http://127.0.0.1:{listening.getsockname()[1]}",
        "SAFELIGHT_FETCH_ALLOW_HOSTS": f"127.0.0.1:{listening.getsockname()[1]}",
        "SAFELIGHT_WORKER_POLL_SECONDS": "0.1",
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve.answering(simulation.app, listening, HangUpProtocol))
        api = process(production, tmp_path, "API ", "api", "--port", "0", **settings)
        address = (await stack.enter_async_context(api)).split()[-1]
        settings["SAFELIGHT_PUBLIC_URL"] = address
        await stack.enter_async_context(process(production, tmp_path, "worker: ", "worker", **settings))
        client = await stack.enter_async_context(client_of(address))
        backend = Backend(App(Settings(database_url=dsn, home=tmp_path)), client, AsyncExitStack())
        await backend.grant(1)
        assert (await backend.finished(await backend.create()))["status"] == "done"


# --- what commands import --------------------------------------------------------------------------------------------

HEAVY = ["PIL", "av", "cv2", "fastapi", "numpy", "obstore", "openai", "uvicorn", "safelight.app", "safelight_local"]
RUN = "import sys; from safelight.cli import main\ntry: main()\nfinally: print('|', *sys.modules)"


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["--help"], ["psycopg", "pydantic", "procrastinate", "safelight.config"]),
        (["--version"], ["psycopg", "pydantic", "procrastinate", "safelight.config"]),
        (["generations", "--help"], ["psycopg", "procrastinate", "safelight.config"]),
        (["generations", "list"], []),
        (["generations", "show", "none"], []),
        (["status", "--json"], []),
        (["db", "url"], []),
    ],
)
def test_a_command_imports_what_it_needs_and_no_more(tmp_path: Path, dsn: str, arguments: list[str], more: list[str]):
    """Everything is installed here, and would be found."""
    environment = installation.environment_of(tmp_path, SAFELIGHT_DATABASE_URL=dsn)
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    imported = set(done.stdout.rpartition("|")[2].split())
    assert "safelight.cli" in imported, done.stderr
    assert not imported & {*HEAVY, *more}


def lazy_commands(group: LazyGroup) -> list[LazyCommand]:
    groups = [one for one in group.commands.values() if isinstance(one, LazyGroup)]
    own = [one for one in group.commands.values() if isinstance(one, LazyCommand)]
    return own + [command for one in groups for command in lazy_commands(one)]


def test_the_list_of_commands_says_of_each_what_the_command_says_itself():
    group = typer.main.get_command(cli.application)
    assert isinstance(group, LazyGroup)
    for listed in lazy_commands(group):
        assert listed.get_short_help_str(1000) == listed.load().get_short_help_str(1000), listed.name


@pytest.mark.parametrize("project", [ROOT, installation.LOCAL], ids=["safelight", "safelight-local"])
def test_opencv_belongs_to_the_renderer_alone(project: Path, tmp_path: Path):
    archive = zipfile.ZipFile(installation.wheel_of(project, tmp_path))
    texts = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist() if "dist-info" in name}
    required = [
        value for name, value in message_from_bytes(texts["METADATA"].encode()).items() if name == "Requires-Dist"
    ]
    assert any(one.startswith("opencv") for one in required) == (project == installation.LOCAL)
    if project == installation.LOCAL:
        assert "[safelight.adapters]\nlocal = safelight_local.adapter:make_adapter" in texts["entry_points.txt"]
        assert "licenses/LICENSE" in " ".join(archive.namelist())
