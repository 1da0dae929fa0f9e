"""Every command of docs/api-v1.md is run, in its order, against a live API."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import COFFEE, Backend

PAGE = Path(__file__).parents[3] / "docs" / "api-v1.md"
# The first command that has such a part and such an end answers with the id that later ones call so.
NAMED = {
    "ID": ("", "$API/api/v1/generations"),
    "JOB": ("none.jpg", "$API/api/v1/generations"),
    "TEMPLATE": ("$JOB", "$API/api/v1/templates"),
}
CURL = "curl --silent --show-error --fail-with-body"

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


async def test_every_command_of_the_page_works(backend: Backend):
    await backend.grant(1000)
    known = {"API": str(backend.client.base_url).rstrip("/"), "PASS": backend.pass_id, "PHOTO": str(COFFEE)}
    for command in commands():
        process = await asyncio.create_subprocess_shell(
            command.replace("curl ", f"{CURL} ", 1),
            env=known,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        text = said.decode()
        assert process.returncode == 0, f"{command}: {text}"
        for name, (part, end) in NAMED.items():
            if name not in known and part in command and command.endswith(end):
                known[name] = json.loads(text)["id"]
        if command.endswith("/stream"):
            assert "event: done" in text
        if command.endswith("/$JOB/stream"):
            assert '"status": "completed_partial"' in text
    assert len(commands()) > 40
