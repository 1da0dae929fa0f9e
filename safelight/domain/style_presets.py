"""The style presets that older clients name: a few words each, which are added to the brief."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StylePreset:
    keywords: tuple[str, ...]
    description: str


STYLE_PRESETS = {
    "vintage": StylePreset(
        ("vintage", "film grain", "warm faded tones"),
        "The look of an old print: soft contrast, warm tones that have faded a little, fine grain.",
    ),
    "gradient": StylePreset(
        ("gradient background", "smooth colour transitions", "clean"),
        "The subject alone before a seamless background that passes softly from one colour into another.",
    ),
    "back-light": StylePreset(
        ("back light", "rim light", "glowing edges"),
        "Light from behind: bright edges, long soft shadows towards the viewer, a calm dark front.",
    ),
}
