"""The process whose memory `safelight bench store` looks at: makes our own copy of one film, as a worker does."""

import asyncio
import json
import sys
from typing import Any

from safelight import telemetry
from safelight.app import App
from safelight.config import Settings
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.flows.ingest_outputs import own_copy
from safelight.providers.base import OutputFile
from safelight.testing.bench.memory import peak_mb


async def copy(url: str) -> dict[str, Any]:
    app = App(Settings())
    unused: Any = None
    context = PipelineContext(
        unused, unused, unused, app.assets(), app.fetcher(), unused, unused, app.file_spool(), unused
    )
    before = peak_mb("self")
    stored = await own_copy(
        context, OutputFile("video/mp4", url=url), mode="video", stem="mma/video/bench", vendor="bench"
    )
    return {"before_mb": before, "after_mb": peak_mb("self"), "bytes": stored.bytes, "sha256": stored.sha256}


if __name__ == "__main__":
    telemetry.configure("WARNING", None, console=False)
    sys.stdout.write(json.dumps(asyncio.run(copy(sys.argv[1]))))
