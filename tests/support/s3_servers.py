"""S3 servers for tests: SeaweedFS, our own simulation (which can fail on purpose), or any other that S3_TEST_URL names."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx2
import obstore
import obstore.exceptions
from obstore.store import S3Store

from safelight import serve
from safelight.domain.ids import new_id
from safelight.storage.buckets import S3Keys
from safelight.storage.simulated import SimulatedS3

KEYS = S3Keys("TESTKEY", "test/secret+key")
BUCKET = "assets"
OTHER_SERVER = os.environ.get("S3_TEST_URL")  # http://KEY:SECRET@HOST:PORT, with the bucket `assets`
SEAWEEDFS = Path(sys.executable).with_name("weed")
READY_SECONDS_MAX = 60


@asynccontextmanager
async def s3_server(*, keep: bool = True) -> AsyncIterator[tuple[SimulatedS3, dict[str, str]]]:
    """The simulation, and the settings that let a backend keep its files there."""
    simulation, listening = SimulatedS3(keep=keep), serve.listen("127.0.0.1", 0)
    async with serve.answering(simulation.app, listening):
        yield simulation, settings_for(f"http://127.0.0.1:{listening.getsockname()[1]}", KEYS)


@contextmanager
def seaweedfs(folder: Path) -> Iterator[tuple[str, S3Keys]]:
    """The address and keys of a real server with a bucket, which keeps its files in the folder."""
    if OTHER_SERVER:
        parts = urlsplit(OTHER_SERVER)
        yield (
            f"http://{parts.hostname}:{parts.port}",
            S3Keys(unquote(parts.username or ""), unquote(parts.password or "")),
        )
        return
    ports = _free_ports(8)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_command(folder, ports), stdout=log, stderr=subprocess.STDOUT)
    try:
        endpoint = f"http://127.0.0.1:{ports[0]}"
        _wait_until_it_answers(endpoint)
        _wait_until_it_stores(endpoint)
        yield endpoint, KEYS
    finally:
        process.kill()
        process.wait()


def _command(folder: Path, ports: list[int]) -> list[str]:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEYS.access_key_id, "secretKey": KEYS.secret_access_key}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    known = folder / "s3.json"
    known.write_text(json.dumps({"identities": [identity]}))
    names = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    listens = [f"-{name}={port}" for name, port in zip((*names, "filer.port", "filer.port.grpc"), ports, strict=True)]
    nothing_else = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"]
    where = [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={known}"]
    return [str(SEAWEEDFS), f"-logdir={folder}", "server", *where, *listens, *nothing_else]


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _wait_until_it_answers(endpoint: str) -> None:
    give_up = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            assert httpx2.get(endpoint, trust_env=False).status_code == 403, "it believes somebody without a signature"
        except httpx2.TransportError:
            assert time.monotonic() < give_up, "the S3 server does not answer"
            time.sleep(0.1)
        else:
            return


def _wait_until_it_stores(endpoint: str) -> None:
    """It answers before it knows of a disk to write to."""
    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        access_key_id=KEYS.access_key_id,
        secret_access_key=KEYS.secret_access_key,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    give_up = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            obstore.put(store, "ready", b"1")
        except obstore.exceptions.BaseError:
            assert time.monotonic() < give_up, "the S3 server stores nothing"
            time.sleep(0.1)
        else:
            return


def settings_for(endpoint: str, keys: S3Keys) -> dict[str, str]:
    """Folders of their own, so that tests may share a server."""
    options, name = f"?endpoint={endpoint}&region=us-east-1", new_id()
    return {
        "storage_url": f"s3://{BUCKET}/{name}/public{options}",
        "private_storage_url": f"s3://{BUCKET}/{name}/private{options}",
        "s3_access_key_id": keys.access_key_id,
        "s3_secret_access_key": keys.secret_access_key,
    }
