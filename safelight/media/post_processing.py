"""Makes the picture of one position from its base image (domain/sets/post_processing.py draws the changes)."""

import io
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from safelight.domain.sets.post_processing import Changes, PostProcessing
from safelight.media import decode, formats

MEDIA_TYPES: Mapping[str, str] = {"jpeg": "image/jpeg", "webp": "image/webp"}
_FORMATS = {"image/jpeg": "JPEG", "image/webp": "WEBP"}
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# Rows of a picture that are changed at a time, so that the numbers beside its pixels stay small.
ROWS_AT_ONCE = 256


# Beside what decoding takes: the picture without transparency, its changed copy, and one with a border.
_BYTES_PER_PIXEL = 12


def bytes_to_process(head: bytes) -> int:
    """Memory that `processed` may take beside the file, by the beginning of the file."""
    size = formats.size_of_picture(head)
    pixels = min(size[0] * size[1], decode.PIXELS_MAX) if size else 0
    return min(decode.bytes_to_decode(head) + pixels * _BYTES_PER_PIXEL, decode.DECODE_BYTES_MAX)


def processed(content: bytes, wanted: PostProcessing, changes: Changes, provenance: Mapping[str, str]) -> bytes:
    """As `processed_with_size`, without the size."""
    return processed_with_size(content, wanted, changes, provenance)[0]


def processed_with_size(
    content: bytes, wanted: PostProcessing, changes: Changes, provenance: Mapping[str, str]
) -> tuple[bytes, tuple[int, int]]:
    """The picture of one position, in the format that the settings name, and its size.

    `provenance` is written into the file as it is (job, variant, source, seed, model), beside the statement that the
    picture was made by a model. No other metadata is in the file.

    Raises:
        AssetUnreadable: the base image is not a picture, or is truncated.
    """
    image = _opened(content)
    image = _cropped(image, wanted.crop)
    if wanted.side_max and max(image.size) > wanted.side_max:
        image.thumbnail((wanted.side_max, wanted.side_max), Image.Resampling.LANCZOS)
    pixels = np.asarray(image).copy()
    noise = np.random.Generator(np.random.PCG64(changes.noise_seed))
    for top in range(0, len(pixels), ROWS_AT_ONCE):
        pixels[top : top + ROWS_AT_ONCE] = _changed(pixels[top : top + ROWS_AT_ONCE], changes, noise)
    image = Image.fromarray(pixels)
    if changes.border_px:
        image = ImageOps.expand(image, changes.border_px, fill="white")
    return _saved(image, MEDIA_TYPES[wanted.format], changes.quality, provenance), image.size


def _opened(content: bytes) -> Image.Image:
    """The picture upright, in sRGB, without transparency."""
    image = decode.open_picture(content)
    upright = decode.upright(content, image, max(image.size))
    if upright.mode == "RGBA":
        white = Image.new("RGBA", upright.size, "white")
        white.alpha_composite(upright)
        upright = white
    return upright.convert("RGB")


def _cropped(image: Image.Image, ratio: str) -> Image.Image:
    """The middle of the picture in this ratio."""
    if ratio == "auto":
        return image
    across, down = (int(part) for part in ratio.split(":"))
    width, height = image.size
    is_too_wide = width * down > height * across
    size = (height * across // down, height) if is_too_wide else (width, width * down // across)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    return image.crop((left, top, left + size[0], top + size[1]))


def _changed(rows: NDArray[np.uint8], changes: Changes, noise: np.random.Generator) -> NDArray[np.uint8]:
    """Turn the hue, scale saturation and lightness, add grain. The hue turns around the grey axis of RGB."""
    colours = rows.astype(np.float32) / 255
    colours = colours @ _hue_rotation(changes.hue_degrees)
    grey = colours.mean(axis=2, keepdims=True)
    colours = grey + (colours - grey) * np.float32(1 + changes.saturation_percent / 100)
    colours *= np.float32(1 + changes.lightness_percent / 100)
    if changes.noise_percent:
        grain = noise.standard_normal(colours.shape[:2], dtype=np.float32)
        colours += grain[:, :, np.newaxis] * np.float32(changes.noise_percent / 100)
    changed: NDArray[np.uint8] = (np.clip(colours, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
    return changed


def _hue_rotation(degrees: float) -> NDArray[np.float32]:
    angle = np.deg2rad(degrees)
    side = (1 - np.cos(angle)) / 3
    across = np.sqrt(1 / 3) * np.sin(angle)
    same = np.cos(angle) + side
    turned = [
        [same, side + across, side - across],
        [side - across, same, side + across],
        [side + across, side - across, same],
    ]
    return np.array(turned, dtype=np.float32)


def _saved(image: Image.Image, media_type: str, quality: int, provenance: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    image.save(out, _FORMATS[media_type], quality=quality, xmp=_xmp(provenance))
    return out.getvalue()


def _xmp(provenance: Mapping[str, str]) -> bytes:
    own = "".join(f" safelight:{name}={quoteattr(value)}" for name, value in provenance.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:safelight="urn:safelight:provenance"'
        f' xmp:CreatorTool="safelight" Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPE}"{own}/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()
