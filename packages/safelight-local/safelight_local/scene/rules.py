"""Maps the words of a prompt to changes of the scene, in the order they are looked for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from safelight_local.colours import NAMED
from safelight_local.scene.clauses import BACKDROP, LIGHT, SURFACE, Clause
from safelight_local.scene.scene import Scene

Change = Callable[[Scene, Clause], Scene]


def _sets(**fields: Any) -> Change:
    """The clause wants these values; negated it wants nothing of them."""

    def change(scene: Scene, clause: Clause) -> Scene:
        return scene if clause.negated else replace(scene, **fields)

    return change


def _with(scene: Scene, field: str, value: Any) -> Scene:
    changes: dict[str, Any] = {field: value}
    return replace(scene, **changes)


def _adds(field: str, step: float) -> Change:
    def change(scene: Scene, clause: Clause) -> Scene:
        sign = -0.5 if clause.negated else 1.0
        return _with(scene, field, getattr(scene, field) + step * clause.amount * sign)

    return change


def _multiplies(field: str, factor: float) -> Change:
    def change(scene: Scene, clause: Clause) -> Scene:
        power = -0.5 if clause.negated else 1.0
        value = getattr(scene, field) * factor ** (clause.amount * power)
        return _with(scene, field, value)

    return change


def _amounts(field: str, *, some: float, more: float) -> Change:
    """A thing one may have more of, less of, none of or simply have."""

    def change(scene: Scene, clause: Clause) -> Scene:
        now = getattr(scene, field)
        now = some if now is None else now
        value = _next_amount(clause, now, some, more)
        return _with(scene, field, value)

    return change


def _next_amount(clause: Clause, now: float, some: float, more: float) -> float:
    if clause.says(r"less|fewer|weaker|softer|subtler|fainter|lighter|reduce|smaller|tone down"):
        return now / (1 + (more - 1) * clause.amount)
    if clause.negated:
        return 0.0
    if clause.says(r"more|stronger|increase|deeper|darker|bigger|larger|longer|harder|bolder"):
        return max(now, some * 0.6) * (1 + (more - 1) * clause.amount)
    return max(now, some)


def _brightness(step: float) -> Change:
    """Of the backdrop where the clause is about it, else of the light or of the whole picture."""

    def change(scene: Scene, clause: Clause) -> Scene:
        field = "backdrop_stops" if clause.says(f"{BACKDROP}|{SURFACE}") else "exposure_stops"
        if clause.negated and not clause.says("so|too|as"):
            return scene
        size = 1.0 if field == "backdrop_stops" else 0.5
        return _with(scene, field, getattr(scene, field) + step * size * clause.amount)

    return change


def _monochrome(scene: Scene, clause: Clause) -> Scene:
    return replace(scene, saturation=1.0 if clause.negated else 0.0)


def _different(scene: Scene, clause: Clause) -> Scene:
    return scene if clause.negated else replace(scene, reseed=scene.reseed + 1)


def _leaf_shadows(scene: Scene, clause: Clause) -> Scene:
    if not clause.negated:
        return replace(scene, pattern="leaves", light_hardness=0.6)
    return replace(scene, pattern="") if scene.pattern == "leaves" else scene


def _stage(name: str) -> Change:
    def change(scene: Scene, clause: Clause) -> Scene:
        return replace(scene, stage="none" if clause.negated else name)

    return change


def _surface(name: str) -> Change:
    def change(scene: Scene, clause: Clause) -> Scene:
        if not clause.negated:
            return replace(scene, surface=name)
        return replace(scene, surface="sweep") if scene.surface == name else scene

    return change


def _to_side(scene: Scene, clause: Clause, side: float) -> Scene:
    """`from the left` is where the light comes from; `on the left` too only where the clause is about light."""
    if clause.says("from") or clause.says(f"{LIGHT}|window|sun|sunlight"):
        return replace(scene, light_from=side)
    return replace(scene, shift_x=scene.shift_x + (-0.1 if side < 0 else 0.1) * clause.amount)


# Things there can be more of or less of. The words of amount beside them belong to them.
AMOUNT_RULES: tuple[tuple[str, Change], ...] = (
    (r"\breflect\w*|\bmirror(?:ed|ing)?\b", _amounts("reflection", some=0.4, more=1.6)),
    (r"\b(?:drop )?shadow\w*", _amounts("shadow", some=1.0, more=1.5)),
    (
        r"\blogos?\b|\bwordmark\b|(?:remove|delete|hide|lose|drop)\b.*\b(?:text|lettering|writing)\b",
        _amounts("logo", some=1.0, more=1.45),
    ),
    (r"\bsteam\w*|\bsmoke\b|\bvapou?r\b", _amounts("steam", some=1.0, more=1.6)),
    (r"\bgrain\w*|\bnoise\b|\bfilm look\b", _amounts("grain", some=1.6, more=1.8)),
    (r"\bvignette\w*", _amounts("vignette", some=0.6, more=1.6)),
)

RULES: tuple[tuple[str, Change], ...] = (
    # light
    (
        r"golden[ -]hour|sunset|evening sun|late sun|low sun",
        _sets(warmth=0.9, light_hardness=0.65, pattern="window", light_stops=0.15, contrast=0.08),
    ),
    (
        r"\bmorning\b|sunrise|dawn|window[ -]?light|\bwindows?\b|daylight|sun[ -]?lit|sunny|sunlight|sunbeams?",
        _sets(warmth=0.3, light_hardness=0.5, pattern="window"),
    ),
    (
        r"dappled|\bleaf shadows?|tropical|\bpalms?\b|jungle|botanical|\bleaves\b|\bleaf\b|\bplants?\b|foliage",
        _leaf_shadows,
    ),
    (r"backlit|back[ -]?light\w*|rim[ -]?light\w*|(?:light|lit) from behind", _sets(backlight=1.0)),
    (
        r"\bneon\b|cyberpunk|nightclub|synthwave",
        _sets(
            glow=(255, 40, 160),
            second_glow=(30, 170, 255),
            wall=(46, 38, 64),
            surface="acrylic",
            vignette=0.5,
            backlight=0.7,
        ),
    ),
    (
        r"(?:from|on|at) the (?:upper |top |far )?left|from left|left[- ](?:side )?light|"
        r"light(?:ing)? (?:to the )?left",
        lambda scene, clause: _to_side(scene, clause, -0.75),
    ),
    (
        r"(?:from|on|at) the (?:upper |top |far )?right|from right|right[- ](?:side )?light|"
        r"light(?:ing)? (?:to the )?right",
        lambda scene, clause: _to_side(scene, clause, 0.75),
    ),
    (r"from above|overhead light\w*|top[ -]?light\w*", _sets(light_from=0.08)),
    (r"\bsofter\b|more diffused?", _adds("light_hardness", -0.3)),
    (r"\bharder\b|\bharsher\b|\bcrisper\b", _adds("light_hardness", 0.3)),
    (r"\bsoft(?:ly)?\b(?! blue| pink| green| grey)|diffused?|gentle light|softbox", _sets(light_hardness=0.08)),
    (r"\bhard\b|\bharsh\b|\bcrisp\b|direct flash|strong light|spot ?light\w*", _sets(light_hardness=0.85)),
    # tone
    (
        r"\b(?:moody|dramatic|low[ -]key|noir|mysterious|night\w*)\b",
        _sets(backdrop_stops=-1.5, contrast=0.12, vignette=0.65, light_hardness=0.55),
    ),
    (r"\bairy\b|high[ -]key|\bfresh\b", _sets(exposure_stops=0.12, backdrop_stops=0.35, vignette=0.12, shadow=0.75)),
    (r"\bdarker\b|\bdarken\w*|\bdimmer\b|less bright|not so bright|too bright", _brightness(-0.95)),
    (r"\b(?:brighter|brighten\w*|lighter|lighten\w*)\b|less dark|not so dark|too dark", _brightness(0.8)),
    (r"\bdark\b(?= (?:background|backdrop|wall|scene|setting|mood|tones?|surface|table))", _sets(backdrop_stops=-1.3)),
    (
        r"\bbright\b(?= (?:background|backdrop|wall|scene|setting|mood|tones?|light\w*|surface|table))",
        _sets(backdrop_stops=0.4),
    ),
    (r"\bwarmer\b|less cold|less cool", _adds("warmth", 0.55)),
    (r"\b(?:cooler|colder)\b|less warm", _adds("warmth", -0.55)),
    (r"\bwarm(?:th|ly)?\b(?! (?:beige|grey|gray|white|brown))", _sets(warmth=0.4)),
    (r"\bcool\b|\bcold\b|\bicy\b|\bfrosty\b", _sets(warmth=-0.5)),
    (r"(?:more|higher|add|stronger|increase\w*) contrast|\bpunchier\b|\bcontrasty\b", _adds("contrast", 0.22)),
    (r"(?:less|lower|reduce\w*) contrast|\bflatter\b|\bmatte\b", _adds("contrast", -0.2)),
    (r"monochrome|gr[ae]yscale", _monochrome),
    (
        r"more (?:colou?rful|saturat\w*|vibrant|vivid|colou?r)|\bvibrant\b|\bvivid\b(?! \w+ background)",
        _multiplies("saturation", 1.25),
    ),
    (
        r"less (?:colou?rful|saturat\w*|vibrant|vivid|colou?r)|desaturat\w*|\bmuted\b(?! \w+ (?:wall|background))",
        _multiplies("saturation", 0.72),
    ),
    # place
    (
        r"zoom(?:ed)? out|(?:further|farther)(?: away| back)?|pull(?:ed)? back|\bwider\b|\bsmaller\b|"
        r"more (?:negative |empty )?space|shrink",
        _multiplies("zoom", 0.82),
    ),
    (
        r"zoom(?:ed)?(?: in)?\b|\bcloser\b|close[ -]?up|tighter|\bbigger\b|\blarger\b|enlarge|fill the frame",
        _multiplies("zoom", 1.2),
    ),
    (
        r"\b(?:move|shift|place|put|position\w*|slide|nudge|more)\b.*\bleft\b|"
        r"\bleft of (?:the )?(?:centre|center)",
        _adds("shift_x", -0.1),
    ),
    (
        r"\b(?:move|shift|place|put|position\w*|slide|nudge|more)\b.*\bright\b|"
        r"\bright of (?:the )?(?:centre|center)",
        _adds("shift_x", 0.1),
    ),
    (r"\b(?:move|shift|place|put|raise|nudge)\b.*\b(?:up|higher)\b|\braise\b", _adds("shift_y", -0.06)),
    (r"\b(?:move|shift|place|put|lower|nudge)\b.*\b(?:down|lower)\b", _adds("shift_y", 0.06)),
    (r"\bcent(?:er|re)d?\b", _sets(shift_x=0.0)),
    (
        r"blur\w*|out of focus|bokeh|shallow depth[ -]of[ -]field|shallow focus",
        _amounts("backdrop_blur", some=1.2, more=1.6),
    ),
    # surfaces
    (r"\bmarble\b|\bcarrara\b", _surface("marble")),
    (r"\bwood(?:en)?\b|\boak\b|\bwalnut\b|\btimber\b|\bplanks?\b", _surface("wood")),
    (r"\blinen\b|\bfabric\b|\bcloth\b|\bcotton\b|\btextile\b|\bsilk\b|\bvelvet\b", _surface("linen")),
    (r"\bstone\b|\bgranite\b|\btravertine\b|\brocks?\b", _surface("stone")),
    (
        r"\bslate\b(?= (?:surface|table|slab|tile))",
        lambda scene, clause: replace(scene, surface="stone", ground=NAMED["slate"]),
    ),
    (r"\bconcrete\b|\bcement\b|\bplaster\b|\bindustrial\b|\bloft\b", _surface("concrete")),
    (r"\bterrazzo\b", _surface("terrazzo")),
    (r"\b(?:on|white|fine|desert|beach) sand\b|\bbeach\b|\bdesert\b|\bdunes?\b|\bsandy\b", _surface("sand")),
    (r"\bwater\b|\bsea\b|\bocean\b|\bwet\b|\bpool\b|\bripples?\b", _surface("water")),
    (r"\bacrylic\b|\bgloss(?:y)?\b|\bglass\b|\blacquer(?:ed)?\b|\bpolished\b", _surface("acrylic")),
    (r"\bseamless\b|\bsweep\b|\bpaper\b|\bstudio\b|\binfinity\b", _surface("sweep")),
    # set pieces
    (r"\barch(?:es|way|ed)?\b", _stage("arch")),
    (r"\b(?:plinth|podium|pedestal|platform|stage)\b", _stage("plinth")),
    (r"\b(?:circle|disc|disk|halo|full moon)\b", _stage("disc")),
    (
        r"\b(?:another|different|new) (?:version|look|scene|idea|background|arrangement|setting)\b|"
        r"surprise me|try again",
        _different,
    ),
)

# Moods and seasons: in a base text they only fill in what nobody has said.
MOODS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        r"\b(?:luxur\w*|premium|elegan\w*|opulent|sophisticated|exclusive)\b",
        {"wall": (40, 42, 48), "surface": "marble", "ground": (62, 60, 62), "stage": "plinth", "contrast": 0.08},
    ),
    (r"\bminimal\w*|\bsimple\b|\bclean\b|\bplain\b|\buncluttered\b", {"surface": "sweep", "stage": "none"}),
    (r"\b(?:rustic|cosy|cozy|hygge|farmhouse|homely)\b", {"wall": (196, 160, 126), "surface": "wood"}),
    (r"\b(?:autumn\w*|fall colou?rs|harvest)\b", {"wall": NAMED["terracotta"], "surface": "wood"}),
    (
        r"\b(?:wint\w+|snow\w*|nordic|scandinavian)\b",
        {"wall": (206, 218, 228), "surface": "stone", "ground": (226, 230, 234)},
    ),
    (r"\b(?:spring|blossoms?|floral)\b", {"wall": NAMED["blush"], "surface": "linen", "pattern": "leaves"}),
    (
        r"\b(?:summer\w*|holiday|mediterranean)\b",
        {"wall": (240, 206, 150), "surface": "stone", "pattern": "leaves", "ground": (240, 226, 204)},
    ),
    (r"\b(?:christmas|festive|xmas)\b", {"wall": (32, 62, 48), "surface": "wood", "ground": (96, 60, 40)}),
    (
        r"\b(?:zen|japan\w*|spa|calm|serene|tranquil|peaceful)\b",
        {"wall": NAMED["greige"], "surface": "stone", "shadow": 0.9},
    ),
    (r"\b(?:playful|pop|retro|fun|bold)\b", {"wall": NAMED["coral"], "stage": "disc", "surface": "sweep"}),
    (r"\bpastels?\b(?! \w+ (?:wall|background))", {"wall": (232, 214, 226), "surface": "sweep"}),
    (r"\beditorial\b|\bmagazine\b", {"contrast": 0.1, "light_hardness": 0.5}),
)
