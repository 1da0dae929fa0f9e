"""Changes to a finished picture: grading, and the tweaks of pictures whose recipe is not known."""

import numpy as np

from safelight.media.decode import Pixels
from safelight_local.product.cutout import cut
from safelight_local.raster import (
    Field,
    blur,
    bounded,
    field,
    linear,
    luminance,
    over,
    resize,
    smoothstep,
    to_linear,
    to_pixels,
)
from safelight_local.scene.reader import read_scene
from safelight_local.scene.scene import Scene, split_prompt

EDGE_MAX = 2560
SHOULDER = 0.82  # from here on highlights are rolled off instead of cut


def graded(light: Field, scene: Scene) -> Field:
    """Exposure, warmth, contrast and saturation of the scene."""
    warmth = scene.warmth
    balance = field([1.0 + 0.10 * warmth, 1.0 + 0.012 * warmth, 1.0 - 0.13 * warmth])
    light = field(field(light * 2.0**scene.exposure_stops) * balance)
    if scene.contrast:
        light = field(0.22 * np.power(np.maximum(light, 1e-4) / 0.22, 1.0 + scene.contrast))
    if scene.saturation != 1.0:
        grey = luminance(field(light))[..., None]
        light = field(grey + (light - grey) * scene.saturation)
    return field(np.maximum(light, 0.0))


def rolled_off(light: Field) -> Field:
    over_shoulder = np.maximum(light - SHOULDER, 0.0)
    room = 1.0 - SHOULDER
    return field(np.minimum(light, SHOULDER) + room * (1.0 - np.exp(-over_shoulder / room)))


def retouched(pixels: Pixels, prompt: str) -> Pixels:
    """Only the revisions count: the base text is what the picture already shows."""
    _, revisions = split_prompt(prompt)
    text = " ".join(f"Revision: {revision}" for revision in revisions) if revisions else f"Revision: {prompt}"
    scene = read_scene(text)
    photo = bounded(pixels, EDGE_MAX)
    light = to_linear(np.ascontiguousarray(photo[..., :3]))
    light = _with_backdrop(light, photo, scene)
    return to_pixels(_framed(graded(light, scene), scene))


def _with_backdrop(light: Field, photo: Pixels, scene: Scene) -> Field:
    """Everything but the subject, darker, blurred or in another colour."""
    if not (scene.backdrop_stops or scene.backdrop_blur or scene.wall):
        return light
    found = cut(photo)
    subject = found.cover if found.is_clean else _middle(light)
    behind = light * 2.0**scene.backdrop_stops
    if scene.wall:
        behind = luminance(field(behind))[..., None] / max(0.05, float(luminance(light).mean())) * linear(scene.wall)
    behind = blur(field(behind), scene.backdrop_blur * 0.008 * max(light.shape[:2]))
    return over(field(behind), light, subject)


def _middle(light: Field) -> Field:
    height, width = light.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    return smoothstep(1.1, 0.55, field(np.hypot((x / width - 0.5) / 0.5, (y / height - 0.52) / 0.5)))


def _framed(light: Field, scene: Scene) -> Field:
    """Closer or moved: a crop made large again. There is nothing beyond the edge, so farther is left as it is."""
    zoom = max(1.0, scene.zoom)
    if zoom == 1.0 and not (scene.shift_x or scene.shift_y):
        return light
    zoom = max(zoom, 1 / (1 - 2 * max(abs(scene.shift_x), abs(scene.shift_y))))
    height, width = light.shape[:2]
    crop_width, crop_height = round(width / zoom), round(height / zoom)
    left = round(float(np.clip((width - crop_width) / 2 - scene.shift_x * width, 0, width - crop_width)))
    top = round(float(np.clip((height - crop_height) / 2 - scene.shift_y * height, 0, height - crop_height)))
    window = field(np.ascontiguousarray(light[top : top + crop_height, left : left + crop_width]))
    return field(np.maximum(resize(window, width, height), 0.0))
