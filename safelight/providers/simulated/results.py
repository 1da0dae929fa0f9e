"""Results of the simulated service: small real files, each of them different, and answers that match a JSON Schema."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from safelight.media import decode
from safelight.media.mp4 import encode_mp4

SAMPLE = Path(__file__).parents[2] / "samples" / "coffee.jpg"
IMAGE_WIDTH = 512
FILM_WIDTH, FILM_HEIGHT, FILM_FRAMES = 256, 160, 24
WORDS = "A coffee cup on pale stone, soft light from the left."


def image(prediction_id: str) -> bytes:
    """A JPEG with the prediction's id after its end marker, so that no two files are equal."""
    return _jpeg() + prediction_id.encode()


def film(prediction_id: str) -> bytes:
    """An MP4, with the prediction's id in a box that players skip."""
    box = prediction_id.encode()
    return _mp4() + (8 + len(box)).to_bytes(4, "big") + b"free" + box


def answer(schema: Mapping[str, Any]) -> Any:
    """A minimal value that matches the schema, with all named properties and no others."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: answer(part) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [answer(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return _text(schema.get("minLength", 0), schema.get("maxLength", len(WORDS)))


def _text(least: int, most: int) -> str:
    return (WORDS * (1 + least // len(WORDS)))[: max(least, min(most, len(WORDS)))]


@cache
def _jpeg() -> bytes:
    return decode.encode_jpeg(_sample(IMAGE_WIDTH), quality=80)


@cache
def _mp4() -> bytes:
    wide = _sample(FILM_WIDTH + FILM_FRAMES)
    frames = (wide[:FILM_HEIGHT, left : left + FILM_WIDTH, :3] for left in range(FILM_FRAMES))
    return encode_mp4(frames, width=FILM_WIDTH, height=FILM_HEIGHT)


def _sample(width: int) -> decode.Pixels:
    pixels = decode.decode_image(SAMPLE.read_bytes())
    height = round(pixels.shape[0] * width / pixels.shape[1])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
