"""The scene of a still apart from its product, as read from a prompt: base text first, then each revision in order."""

import re
from dataclasses import dataclass, replace

from safelight_local.colours import Rgb

REVISION = "Revision:"
KEPT_AS_IT_IS = "Keep the product exactly as it is:"
TAKEN_AFTER = "Colours and mood take after the inspiration:"

STOPS_MAX = 3.0
ZOOM_RANGE = (0.45, 1.9)
SHIFT_MAX = 0.3


@dataclass(frozen=True, slots=True)
class Scene:
    """None and empty mean: chosen to suit the product, by the seed. `*_stops` are photographic stops."""

    wall: Rgb | None = None
    ground: Rgb | None = None
    surface: str = ""
    stage: str = ""
    pattern: str = ""
    light_from: float | None = None  # -1 is left, 1 is right
    light_hardness: float = 0.3
    light_stops: float = 0.0
    glow: Rgb | None = None
    second_glow: Rgb | None = None
    backlight: float = 0.0
    backdrop_stops: float = 0.0
    backdrop_blur: float = 0.0
    exposure_stops: float = 0.0
    warmth: float = 0.0
    contrast: float = 0.0
    saturation: float = 1.0
    shadow: float = 1.0
    reflection: float | None = None
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    logo: float = 1.0
    steam: float = 0.0
    vignette: float = 0.3
    grain: float = 1.0
    reseed: int = 0

    def bounded(self) -> "Scene":
        """However often somebody says `darker`, there is still a picture."""
        return replace(
            self,
            backdrop_stops=_within(self.backdrop_stops, -STOPS_MAX, 1.5),
            exposure_stops=_within(self.exposure_stops, -STOPS_MAX, 1.2),
            light_stops=_within(self.light_stops, -2.0, 1.2),
            light_hardness=_within(self.light_hardness, 0.0, 1.0),
            warmth=_within(self.warmth, -2.0, 2.0),
            contrast=_within(self.contrast, -0.6, 0.8),
            saturation=_within(self.saturation, 0.0, 1.8),
            shadow=_within(self.shadow, 0.0, 1.6),
            reflection=None if self.reflection is None else _within(self.reflection, 0.0, 0.85),
            zoom=_within(self.zoom, *ZOOM_RANGE),
            shift_x=_within(self.shift_x, -SHIFT_MAX, SHIFT_MAX),
            shift_y=_within(self.shift_y, -SHIFT_MAX, SHIFT_MAX),
            logo=_within(self.logo, 0.0, 2.5),
            backdrop_blur=_within(self.backdrop_blur, 0.0, 3.0),
            vignette=_within(self.vignette, 0.0, 1.0),
        )


def split_prompt(prompt: str) -> tuple[str, list[str]]:
    """The base text and its revisions."""
    base, *revisions = re.split(re.escape(REVISION), prompt, flags=re.IGNORECASE)
    return base.strip(), [revision.strip() for revision in revisions if revision.strip()]


def spoken_of_scene(base: str) -> str:
    """The base text without the sentences that only say what the given pictures look like."""
    told = f"{re.escape(KEPT_AS_IT_IS)}|{re.escape(TAKEN_AFTER)}"
    return re.sub(rf"(?:{told})[^.]*(?:\.|$)", " ", base, flags=re.IGNORECASE)


def _within(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))
