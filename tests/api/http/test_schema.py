"""Schemathesis makes requests up from the OpenAPI document, right ones and wrong ones: no answer is a 5xx, and each is
of a declared status and of its schema.

About 600 cases, and 25,000 in the long run; `SAFELIGHT_SCHEMA_SEED=2` makes others."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import StartBackend
from tests.support.openapi import ROUTES
from tests.support.scope import amount

SHARE_MIN = 0.8  # some routes have fewer requests than they may be asked
CASES = amount(usual=600, all=25_000)
COMMAND = str(Path(sys.executable).with_name("schemathesis"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
ADMIN_TOKEN = "the-token-of-operators-0123456789abcdef"


@pytest.mark.scaled
@pytest.mark.timeout(3600)
async def test_no_request_is_answered_in_a_way_that_the_document_does_not_say(start: StartBackend, tmp_path: Path):
    backend = await start(admin_token=ADMIN_TOKEN, signup_credits=5, welcomes_per_day=0)
    options = {
        "--checks": CHECKS,
        "--phases": "examples,fuzzing",
        "--max-examples": str(max(1, CASES // len(ROUTES))),
        "--header": f"x-admin-secret: {ADMIN_TOKEN}",
        "--seed": os.environ.get("SAFELIGHT_SCHEMA_SEED", "1"),
        "--generation-database": "none",
        "--request-timeout": "60",
        "--suppress-health-check": "filter_too_much",  # few texts are the key of a file
    }
    arguments = [part for pair in options.items() for part in pair]
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "run",
        f"{backend.app.settings.base_url}/openapi.json",
        *arguments,
        "--continue-on-failure",
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    text = said.decode()[-20_000:]
    assert process.returncode == 0, text
    [made] = re.findall(r"(\d+) generated", text)
    assert int(made) > CASES * SHARE_MIN, text
