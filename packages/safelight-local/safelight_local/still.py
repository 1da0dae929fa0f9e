"""Composes a still: a product, or shapes where there is none, in a scene the prompt describes."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np

from safelight.domain.untrusted.json import parse_json
from safelight.media import decode
from safelight.media.decode import Pixels
from safelight_local import retouch
from safelight_local.colours import Rgb, Swatch, blend, chroma, hls, palette, shaded
from safelight_local.picture import SUBJECT_BOX, SUBJECT_OUTLINE, Picture, Rendered, StillOrder
from safelight_local.product import logo as logos
from safelight_local.product import outline, placing, shapes
from safelight_local.product.cutout import Subject
from safelight_local.raster import Field, dice, field, grid, over, smoothstep, to_pixels
from safelight_local.scene.backdrop import Stage, build, plinth
from safelight_local.scene.materials import material
from safelight_local.scene.reader import read_scene
from safelight_local.scene.scene import Scene

PARENT = "parent_output"
SOURCE = "source"  # of an edit: the picture stays as it is, but for what the prompt asks for
RECIPE = "safelight-recipe"
RECIPE_VERSION = 1
SOURCES_MAX = 12
INSPIRATIONS_USED_MAX = 3
PRODUCT_EDGE_MAX, LOGO_EDGE_MAX, INSPIRATION_EDGE_MAX = 1600, 1024, 512
DRAWN_EDGE_MAX = 1536  # what is larger is drawn so large, and enlarged
LONG_EDGE = {"1K": 1024, "2K": 1536, "4K": 2400}
RATIOS = ("9:16", "2:3", "3:4", "4:5", "1:1", "5:4", "4:3", "3:2", "16:9", "21:9")
PLINTH_LIFT = 0.07
MATCH_INPUT = "match_input_image"
_HARMONIES: tuple[Rgb, ...] = (
    (222, 206, 184), (232, 208, 196), (190, 200, 176), (188, 202, 214), (206, 196, 184), (240, 230, 210),
    (214, 168, 138), (206, 198, 216), (150, 166, 164), (226, 190, 150),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """The inputs of a still. They are stored inside the still, so that a tweak can make the same scene again."""

    prompt: str
    seed: int
    settings: Mapping[str, Any]
    images: tuple[tuple[str, str], ...]

    def to_text(self) -> str:
        images = [{"role": role, "url": url} for role, url in self.images]
        shape = asdict(self) | {"version": RECIPE_VERSION, "settings": dict(self.settings), "images": images}
        return json.dumps(shape, sort_keys=True, default=str)


@dataclass(frozen=True, slots=True)
class Cast:
    """The pictures that play a part, by role, decoded."""

    product: Pixels | None
    logo: Pixels | None
    inspirations: tuple[Pixels, ...]


def source_urls(parent: bytes) -> list[str]:
    """The pictures the parent was made from."""
    recipe = _recipe_in(parent)
    return [url for _, url in recipe.images] if recipe else []


def compose(order: StillOrder) -> Rendered:
    source = next((picture for picture in order.pictures if picture.role == SOURCE), None)
    if source is not None:
        return _edited(order, source)
    parent = next((picture for picture in order.pictures if picture.role == PARENT), None)
    if parent is None:
        return _made(order, _recipe_of(order), order.pictures)
    recipe = _recipe_in(parent.content)
    if recipe is None or any(url not in order.sources for _, url in recipe.images):
        return _retouched(order, parent)
    pictures = tuple(Picture(role, url, order.sources[url]) for role, url in recipe.images)
    again = replace(recipe, prompt=order.prompt, settings={**recipe.settings, **order.settings})
    return _made(order, again, pictures)


def _made(order: StillOrder, recipe: Recipe, pictures: tuple[Picture, ...]) -> Rendered:
    cast, warnings = _cast(pictures)
    scene = read_scene(recipe.prompt)
    width, height, unknown = _size(recipe.settings, cast.product)
    drawn = min(1.0, DRAWN_EDGE_MAX / max(width, height))
    subject = placing.subject_of(cast.product) if cast.product is not None else None
    stage = _stage(scene, round(width * drawn), round(height * drawn), recipe.seed, cast, subject)
    light = _developed(_shot(stage, subject, cast), stage)
    texts = {RECIPE: recipe.to_text()}
    if subject:
        texts[SUBJECT_BOX] = json.dumps(placing.place_of(subject, stage))
        texts[SUBJECT_OUTLINE] = outline.to_text(placing.place(subject, stage).cover)
    content = decode.encode_png(_enlarged(to_pixels(light), width, height), texts)
    return Rendered(content, "image/png", width, height, (*warnings, *unknown))


def _enlarged(pixels: Pixels, width: int, height: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LANCZOS4), np.uint8)


def _shot(stage: Stage, subject: Subject | None, cast: Cast) -> Field:
    canvas = build(stage)
    canvas = _with_product(canvas, stage, subject) if subject else shapes.arranged(canvas, stage)
    if cast.logo is not None and stage.scene.logo > 0:
        canvas = logos.signed(canvas, cast.logo, stage.scene.logo)
    return canvas


def _with_product(canvas: Field, stage: Stage, subject: Subject) -> Field:
    placed = placing.place(subject, stage)
    if stage.set_piece == "plinth":
        left, _, right, _ = placed.box
        canvas = plinth(stage, canvas, min(0.46 * stage.width, 0.62 * (right - left)))
    colour = placing.lit(placed, stage)
    canvas = placing.reflected(canvas, placed, colour, stage)
    canvas = placing.shadowed(canvas, placed, stage)
    canvas = over(canvas, colour, placed.cover)
    return placing.with_steam(canvas, placed, stage)


def _developed(canvas: Field, stage: Stage) -> Field:
    """Exposure, colour and grain: what is done to the whole picture at the end."""
    scene = stage.scene
    x, y = grid(stage.width, stage.height)
    corner = np.hypot((x - 0.5) * 1.1, y - 0.5)
    canvas *= (1.0 - 0.5 * scene.vignette * smoothstep(0.38, 0.86, field(corner)))[..., None]
    canvas = retouch.rolled_off(retouch.graded(canvas, scene))
    speckle = field(dice(stage.seed, "grain").standard_normal((stage.height, stage.width), dtype=np.float32))
    return field(canvas * (1.0 + 0.010 * scene.grain * speckle)[..., None])


# --- choices -------------------------------------------------------------------------------------------------------


def _stage(scene: Scene, width: int, height: int, seed: int, cast: Cast, subject: Subject | None) -> Stage:
    """Decide what the prompt leaves open."""
    seed = seed + scene.reseed * 7919
    wall = scene.wall or _fitting_wall(cast, seed)
    surface = scene.surface or "sweep"
    from_above = subject is not None and subject.tilt > placing.FLAT_TILT
    side = (-0.7, 0.7)[int(dice(seed, "light").integers(2))]
    set_piece = _set_piece(scene, seed, from_above, subject)
    lifted = PLINTH_LIFT if set_piece == "plinth" and subject is not None else 0.0
    return Stage(
        scene=scene,
        width=width,
        height=height,
        seed=seed,
        wall=wall,
        ground=scene.ground or _ground(surface, wall),
        light_from=side if scene.light_from is None else scene.light_from,
        surface=surface,
        set_piece=set_piece,
        edge=0.30 if from_above else 0.62,
        horizon=-0.45 if from_above else 0.40,
        foot=_foot(from_above, subject, width, height) + scene.shift_y - lifted,
        centre=0.5 + scene.shift_x,
    )


def _foot(from_above: bool, subject: Subject | None, width: int, height: int) -> float:
    """A tall product stands lower in the frame than a wide one, so that both look centred."""
    if subject is None:
        return 0.74
    tall, wide = subject.cover.shape
    across, down = placing.frame_share(subject)
    scale = min(across * width / wide, down * height / tall)
    part = tall * scale / height
    middle = 0.575 if from_above else 0.50
    return float(np.clip(middle + part / 2, 0.68, 0.84))


def _set_piece(scene: Scene, seed: int, from_above: bool, subject: Subject | None) -> str:
    if from_above:
        return ""  # an arch far behind, or a plinth seen from the front, would not fit the view from above
    if scene.stage:
        return scene.stage
    open_choice = subject is not None and not scene.pattern and not scene.glow
    return str(dice(seed, "set piece").choice(["", "", "disc", "arch"])) if open_choice else ""


def _fitting_wall(cast: Cast, seed: int) -> Rgb:
    if cast.inspirations:
        return _wall_of(palette(cast.inspirations[0]))
    if cast.product is None:
        return _HARMONIES[int(dice(seed, "wall").integers(len(_HARMONIES)))]
    main = max(palette(cast.product), key=lambda swatch: swatch.share * (0.15 + chroma(swatch.rgb)))
    ranked = sorted(_HARMONIES, key=lambda rgb: _likeness(rgb, main.rgb))
    return ranked[int(dice(seed, "wall").integers(3))]


def _wall_of(swatches: list[Swatch]) -> Rgb:
    """The colour of an inspiration that says most, calmed down to wall paint."""
    telling = max(swatches, key=lambda swatch: swatch.share**0.5 * (0.1 + chroma(swatch.rgb)))
    light = hls(telling.rgb)[1]
    return shaded(telling.rgb, 0.85 if light > 0.8 else 1.25 if light < 0.35 else 1.0, 0.8)


def _likeness(one: Rgb, other: Rgb) -> float:
    hue_apart = abs(hls(one)[0] - hls(other)[0])
    hue_apart = min(hue_apart, 1 - hue_apart)
    return -(abs(hls(one)[1] - hls(other)[1]) + 0.5 * hue_apart)


def _ground(surface: str, wall: Rgb) -> Rgb:
    made = material(surface)
    if surface == "sweep":
        return wall
    return blend(made.colour, wall, made.tinted)


def _cast(pictures: tuple[Picture, ...]) -> tuple[Cast, list[str]]:
    by_role: dict[str, list[Picture]] = {}
    for picture in pictures:
        by_role.setdefault(picture.role, []).append(picture)
    inspiring = by_role.pop("style_hero", []) + by_role.pop("inspiration", [])
    product, logo = by_role.pop("product", []), by_role.pop("logo", [])
    warnings = [f"local: {len(extra)} picture(s) not used: {role}" for role, extra in by_role.items()]
    unused = {"product": product[1:], "logo": logo[1:], "inspiration": inspiring[INSPIRATIONS_USED_MAX:]}
    warnings += [f"local: {len(extra)} picture(s) not used: {role}" for role, extra in unused.items() if extra]
    cast = Cast(
        decode.decode_image(product[0].content, PRODUCT_EDGE_MAX) if product else None,
        decode.decode_image(logo[0].content, LOGO_EDGE_MAX) if logo else None,
        tuple(
            decode.decode_image(picture.content, INSPIRATION_EDGE_MAX) for picture in inspiring[:INSPIRATIONS_USED_MAX]
        ),
    )
    return cast, warnings


def _size(settings: Mapping[str, Any], product: Pixels | None) -> tuple[int, int, list[str]]:
    """Exact in its ratio where the ratio has small parts; even sizes, so that it can be filmed."""
    wanted, warnings = str(settings.get("aspect_ratio") or "1:1"), []
    if wanted == MATCH_INPUT and product is not None:
        high, wide = product.shape[:2]
        wanted = min(RATIOS, key=lambda ratio: abs(np.log(_parts(ratio)[0] / _parts(ratio)[1] * high / wide)))
    if wanted not in RATIOS:
        warnings.append(f"local: aspect ratio {wanted!r} is not known, made 1:1")
        wanted = "1:1"
    size = str(settings.get("size") or "2K")
    if size not in LONG_EDGE:
        warnings.append(f"local: size {size!r} is not known, made 2K")
    wide, high = _parts(wanted)
    unit = LONG_EDGE.get(size, LONG_EDGE["2K"]) // (2 * max(wide, high)) * 2
    return wide * unit, high * unit, warnings


def _parts(ratio: str) -> tuple[int, int]:
    wide, _, high = ratio.partition(":")
    return int(wide), int(high)


# --- tweaks --------------------------------------------------------------------------------------------------------


def _recipe_of(order: StillOrder) -> Recipe:
    images = tuple((picture.role, picture.url) for picture in order.pictures[:SOURCES_MAX])
    return Recipe(order.prompt, order.seed, order.settings, images)


def _recipe_in(parent: bytes) -> Recipe | None:
    """Only a parent's own recipe is read: parents are stills we have made, nobody can hand one in."""
    text = decode.image_texts(parent).get(RECIPE)
    if text is None:
        return None
    try:
        shape = parse_json(text)
        images = tuple((str(image["role"]), str(image["url"])) for image in shape["images"][:SOURCES_MAX])
        return Recipe(str(shape["prompt"]), int(shape["seed"]), dict(shape["settings"]), images)
    except (ValueError, KeyError, TypeError):
        return None


def _edited(order: StillOrder, source: Picture) -> Rendered:
    """The source in the size that was asked for, retouched as the text in the outermost quotation marks says."""
    pixels = _covering(decode.decode_image(source.content), str(order.settings.get("size") or ""))
    quoted = re.search(r'"(.*)"', order.prompt, re.DOTALL)
    result = retouch.retouched(pixels, quoted[1] if quoted else order.prompt)
    height, width = result.shape[:2]
    return Rendered(decode.encode_png(result), "image/png", width, height, ())


def _covering(pixels: Pixels, size: str) -> Pixels:
    """The middle of the picture, scaled to this size; unchanged if the size is not known."""
    stated = re.fullmatch(r"([1-9]\d{2,3})x([1-9]\d{2,3})", size)
    if stated is None:
        return pixels
    width, height = int(stated[1]), int(stated[2])
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    wide, high = max(width, round(pixels.shape[1] * scale)), max(height, round(pixels.shape[0] * scale))
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4
    scaled = cv2.resize(pixels, (wide, high), interpolation=shrinks)
    left, top = (wide - width) // 2, (high - height) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width], np.uint8)


def _retouched(order: StillOrder, parent: Picture) -> Rendered:
    others = [picture.role for picture in order.pictures if picture is not parent]
    warnings = [f"local: not used in a retouch: {role}" for role in others]
    pixels = decode.decode_image(parent.content)
    result = retouch.retouched(pixels, order.prompt)
    height, width = result.shape[:2]
    return Rendered(decode.encode_png(result), "image/png", width, height, tuple(warnings))
