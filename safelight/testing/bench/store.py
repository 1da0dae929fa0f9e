"""The memory that a process needs to copy a long film from its provider to our storage: to a folder and to S3."""

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from safelight.config import Settings
from safelight.domain.errors.base import SafelightError
from safelight.providers.simulated import results
from safelight.storage.buckets import S3Keys
from safelight.storage.simulated import SimulatedS3
from safelight.testing.bench.scratch import BenchResult, serving

BLOCK = bytes(range(256)) * 4096
SECONDS_MAX = 3600
KEYS = S3Keys("bench", "bench")
BOX_HEAD_BYTES = 16


@dataclass(frozen=True, slots=True)
class Copied:
    """`growth_mb` is how much the process's highest memory rose by the copy."""

    storage: str
    seconds: float
    megabytes_per_second: float
    before_mb: float
    growth_mb: float
    is_whole: bool


@dataclass(frozen=True, slots=True)
class StoreResult(BenchResult):
    megabytes: int
    copies: tuple[Copied, ...]


async def store(megabytes: int) -> StoreResult:
    """Copy a film of this size to each kind of storage."""
    head, blocks = _film(megabytes)
    size = len(head) + blocks * len(BLOCK)
    with tempfile.TemporaryDirectory(prefix="safelight-bench-") as home:
        film, bucket = Starlette(routes=[Route("/film.mp4", _sender(head, blocks))]), SimulatedS3(keep=False).app
        async with serving(film) as provider, serving(bucket) as endpoint:
            settings = Settings(home=Path(home), fetch_allow_hosts=provider)
            in_s3 = {
                "storage_url": f"s3://bench?endpoint=http://{endpoint}",
                "s3_access_key_id": SecretStr(KEYS.access_key_id),
                "s3_secret_access_key": SecretStr(KEYS.secret_access_key),
            }
            kinds: tuple[tuple[str, dict[str, Any]], ...] = (("folder", {}), ("s3", in_s3))
            wanted = (size, _sha256(head, blocks))
            copies = [
                await _copied(name, f"http://{provider}/film.mp4", settings.model_copy(update=more), wanted)
                for name, more in kinds
            ]
    return StoreResult(megabytes, tuple(copies))


async def _copied(name: str, url: str, settings: Settings, wanted: tuple[int, str]) -> Copied:
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "safelight.testing.bench.copying",
        url,
        env=settings.as_environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS_MAX):
        output, _ = await process.communicate()
    if process.returncode:
        raise SafelightError(f"the copying process ended with status {process.returncode}")
    told, seconds = json.loads(output), time.perf_counter() - started
    return Copied(
        storage=name,
        seconds=round(seconds, 1),
        megabytes_per_second=round(wanted[0] / 1e6 / seconds, 1),
        before_mb=told["before_mb"],
        growth_mb=round(told["after_mb"] - told["before_mb"], 1),
        is_whole=(told["bytes"], told["sha256"]) == wanted,
    )


def _film(megabytes: int) -> tuple[bytes, int]:
    """A film's beginning, and how many blocks follow it in a box that players skip."""
    film, blocks = results.film("bench"), megabytes * 1_000_000 // len(BLOCK)
    box = (1).to_bytes(4, "big") + b"free" + (BOX_HEAD_BYTES + blocks * len(BLOCK)).to_bytes(8, "big")
    return film + box, blocks


def _sha256(head: bytes, blocks: int) -> str:
    digest = hashlib.sha256(head)
    for _ in range(blocks):
        digest.update(BLOCK)
    return digest.hexdigest()


def _sender(head: bytes, blocks: int) -> Callable[[Request], StreamingResponse]:
    def film() -> Iterator[bytes]:
        yield head
        for _ in range(blocks):
            yield BLOCK

    def answer(_: Request) -> StreamingResponse:
        size = len(head) + blocks * len(BLOCK)
        return StreamingResponse(film(), media_type="video/mp4", headers={"Content-Length": str(size)})

    return answer
