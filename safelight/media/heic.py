"""HEIC photos, decoded by libheif into an array: a Pillow image would take the same memory once more."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

# Measured, including the decoder's own memory, by chroma subsampling.
BYTES_PER_PIXEL: Mapping[int | None, float] = {400: 4.0, 420: 5.2}
BYTES_PER_PIXEL_MAX = 9.6
DEEP_BYTES_PER_PIXEL = 16.5  # with more than 8 bits a channel


class HeicPicture:
    """The primary picture of a file, turned as the file says. Nothing is decoded before `load`."""

    format = "HEIC"

    def __init__(self, content: bytes) -> None:
        """Raises ValueError, OSError, SyntaxError or RuntimeError if the content is not HEIC, or is truncated."""
        self._file = pillow_heif.open_heif(content)
        self.size: tuple[int, int] = self._file.size
        self.width, self.height = self.size
        self.mode: str = self._file.mode
        self.info: dict[str | tuple[int, int], Any] = {}
        if profile := self._file.info.get("icc_profile"):
            self.info["icc_profile"] = profile

    @property
    def bytes_per_pixel(self) -> float:
        """Memory that decoding takes for each pixel."""
        if self._file.info.get("bit_depth", 8) > 8:
            return DEEP_BYTES_PER_PIXEL
        return BYTES_PER_PIXEL.get(self._file.info.get("chroma"), BYTES_PER_PIXEL_MAX)

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> None:
        """Does nothing: the decoder cannot decode at a smaller size."""

    def load(self) -> None:
        self._pixels()

    def crop(self, box: tuple[int, int, int, int]) -> Image.Image:
        left, top, right, bottom = box
        return Image.fromarray(np.ascontiguousarray(self._pixels()[top:bottom, left:right]))

    def getextrema(self) -> tuple[float, float]:
        """The range of 8-bit values."""
        return 0, 255

    def _pixels(self) -> NDArray[np.uint8]:
        return np.asarray(self._file)[:, : self.width]


LazyPicture = Image.Image | HeicPicture  # decoded when its pixels are first read
