"""Examples of the OpenAPI document: ids, URLs and bodies about one product photo and the results made of it."""

import tomllib
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SERVER = "http://127.0.0.1:8787"  # the document has the server's own address in its place
SAMPLE_KEY = "samples/coffee.jpg"
SAMPLE_PATH = f"assets/{SAMPLE_KEY}"
SAMPLE_URL = f"{SERVER}/{SAMPLE_PATH}"
FILE_KEY = "product/o.5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1766131200000-0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11-cup.jpg"
FILE_URL = f"{SERVER}/assets/{FILE_KEY}"

GENERATION = "019a9f1c-7d2e-7c11-a5a0-6f2b8c1d9e42"
PARENT = "019a9f1b-11aa-7b02-9c3d-2e4f6a8b0c1d"
SESSION = "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"
USER = SESSION
PASS = "pass:user:42"  # noqa: S105 - an id, no secret
REQUEST = "req_1766131200000_7f1d2c1e-6a51-4a55-9a5e-7f6f1f0b7c55"
PROMPT = "A cup on a stone table …"
STILL_URL = f"{SERVER}/assets/mma/still/{GENERATION}-5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1.png"
VIDEO_URL = f"{SERVER}/assets/mma/video/{GENERATION}-5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1.mp4"

ORDERS: Json = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())  # by flow
CANCEL: Json = {"by its owner": {"value": {"passId": PASS}}}
