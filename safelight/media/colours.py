"""Colours as a browser shows them: every mode and every ICC profile of a picture becomes 8-bit sRGB."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from safelight.media.heic import LazyPicture

ToSrgb = Callable[[Image.Image], Image.Image]

PROFILE_BYTES_MAX = 4 * 1024 * 1024
SRGB_DIFFERENCE_MAX = 2  # of 255: a profile that shifts no colour by more counts as sRGB

_PLAIN_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
_WIDE_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_MODE_OF_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


def to_srgb(image: LazyPicture) -> ToSrgb:
    """Return a function that converts the picture, or parts of it, to RGBA in sRGB. A profile that cannot be used is
    ignored, as browsers do."""
    scale = _scale(image) if image.mode in _WIDE_MODES else 1.0
    profile = _profile(image)
    transform = _transform(profile, image.mode) if profile else None
    mode = _MODE_OF_SPACE.get(_space(profile), "RGB") if profile else "RGB"

    def convert(part: Image.Image) -> Image.Image:
        plain = _with_8_bits(part, scale) if part.mode in _WIDE_MODES else part
        if transform is None:
            return plain.convert("RGBA")
        return _applied(transform, plain, mode)

    return convert


def is_plain(image: LazyPicture) -> bool:
    """True if software without colour management shows the picture's colours correctly."""
    if image.mode not in _PLAIN_MODES:
        return False
    profile = _profile(image)
    return profile is None or _is_srgb(profile, image.mode)


def _profile(image: LazyPicture) -> ImageCms.ImageCmsProfile | None:
    """The embedded profile; None if there is none, or it does not fit the picture's mode."""
    if image.mode == "LAB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    content = image.info.get("icc_profile")
    if not isinstance(content, bytes) or not 0 < len(content) <= PROFILE_BYTES_MAX:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
    except _PROFILE_ERRORS:
        return None
    return profile if _fits(_space(profile), image.mode) else None


def _fits(space: str, mode: str) -> bool:
    """A CMYK picture needs a CMYK profile; a grey one takes a profile of greys or of RGB."""
    if mode == "CMYK" or space == "CMYK":
        return mode == space
    is_grey = mode in _WIDE_MODES or mode in ("1", "L", "LA", "La")
    return space == "RGB" or (space == "GRAY" and is_grey)


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    return str(profile.profile.xcolor_space).strip()


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform | None:
    """With perceptual intent, which is the default of littlecms."""
    source = "LAB" if mode == "LAB" else _MODE_OF_SPACE[_space(profile)]
    srgb = ImageCms.createProfile("sRGB")
    try:
        return ImageCms.buildTransform(profile, ImageCms.ImageCmsProfile(srgb), source, "RGB")
    except _PROFILE_ERRORS:
        return None


def _applied(transform: ImageCms.ImageCmsTransform, part: Image.Image, mode: str) -> Image.Image:
    has_alpha = part.mode in _ALPHA_MODES or "transparency" in part.info
    alpha = part.convert("RGBA").getchannel("A") if has_alpha else None
    if part.mode == "LAB":
        mode = "LAB"
    coloured = part if part.mode == mode else part.convert(mode)
    out = ImageCms.applyTransform(coloured, transform)
    assert out is not None  # only a transformation in place returns None
    shown = out.convert("RGBA")
    if alpha:
        shown.putalpha(alpha)
    return shown


def _is_srgb(profile: ImageCms.ImageCmsProfile, mode: str) -> bool:
    transform = _transform(profile, mode)
    if transform is None:
        return True
    sample = _sample().convert(_MODE_OF_SPACE[_space(profile)])
    moved = np.asarray(_applied(transform, sample, sample.mode).convert("RGB"), np.int16)
    return int(np.abs(moved - np.asarray(sample.convert("RGB"), np.int16)).max()) <= SRGB_DIFFERENCE_MAX


def _sample() -> Image.Image:
    """A picture with colours from the whole RGB cube."""
    steps = np.linspace(0, 255, 8).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1)
    return Image.fromarray(np.ascontiguousarray(cube.reshape(8, 64, 3)))


def _scale(image: LazyPicture) -> float:
    """The factor that brings the values of a picture of more than 8 bits into 0 to 255."""
    if image.mode.startswith("I;16"):
        return 255 / 65535
    extrema = image.getextrema()
    highest = float(extrema[1]) if isinstance(extrema[1], int | float) else 0.0
    if image.mode == "F" and highest <= 1.0:
        return 255.0
    for whole in (255, 65535):
        if highest <= whole:
            return 255 / whole
    return 255 / highest


def _with_8_bits(part: Image.Image, scale: float) -> Image.Image:
    values = np.asarray(part).astype(np.float32) * scale
    return Image.fromarray(np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8))
