"""Reads the movement of a film from a motion prompt: base text first, then each revision in order."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from safelight_local.scene.scene import split_prompt

PUSH = 0.16
PUSH_MAX = 0.32
PAN = 0.11
SPEED_RANGE = (0.1, 2.5)
# A loop goes there and comes back in the same time. On this part of the way it is never faster than without the loop:
# its speed is at most `LOOP_REACH * pi`, and that of a movement with soft ends is `1/2 + pi/4` in the middle.
LOOP_REACH = 0.4


@dataclass(frozen=True, slots=True)
class Move:
    """`push`, `pan` and `rise` are parts of the frame at speed 1, `turn` degrees; a negative push is a pull-out."""

    push: float = 0.0
    pan: float = 0.0
    rise: float = 0.0
    turn: float = 0.0
    depth: float = 0.0
    speed: float = 1.0
    loop: bool = False
    linear: bool = False
    light: float = 0.0
    steam: float = 0.0
    melt: float = 0.0
    swell: float = 0.0
    drop: float = 0.0

    @property
    def is_still(self) -> bool:
        return not any((self.push, self.pan, self.rise, self.turn, self.depth, self.melt, self.swell, self.drop))


@dataclass(frozen=True, slots=True)
class Pose:
    """The camera's position at one moment. `zoom` 1 shows the whole picture; x and y are parts of the frame."""

    zoom: float
    x: float
    y: float
    turn: float


def read_move(prompt: str, negative_prompt: str = "") -> Move:
    base, revisions = split_prompt(prompt)
    move = Move()
    for text in (base, *revisions):
        move = _revised(move, text.lower())
    if move.is_still and not _HOLDS.search(prompt.lower()):
        move = replace(move, push=PUSH * 0.75, light=max(move.light, 0.5))
    if "steam" in negative_prompt.lower():
        move = replace(move, steam=0.0)
    if move.is_still:
        move = replace(move, light=max(move.light, 1.0))
    low, high = SPEED_RANGE
    return replace(move, speed=max(low, min(high, move.speed)))


def asks_for_orbit(prompt: str) -> bool:
    """True if the prompt wishes the camera to go round the subject, which one picture can not show."""
    base, revisions = split_prompt(prompt.lower())
    return any(_ORBIT.search(text) for text in (base, *revisions))


def progress(move: Move, t: float) -> float:
    """Return the progress of a movement at time `t`, both from 0 to 1; a loop goes part of the way and comes back."""
    if move.loop:
        return LOOP_REACH * (0.5 - 0.5 * math.cos(2 * math.pi * t))
    if move.linear:
        return t
    # A long even middle with soft ends: half cosine ease, half straight line.
    return 0.5 * t + 0.5 * (0.5 - 0.5 * math.cos(math.pi * t))


def pose(move: Move, t: float) -> Pose:
    s, speed = progress(move, t), move.speed
    push = abs(move.push) * speed
    zoomed = push * (s if move.push >= 0 else 1 - s)
    x, y = move.pan * speed * (s - 0.5), move.rise * speed * (s - 0.5)
    if move.loop:
        swing = speed * LOOP_REACH * 0.5 * math.sin(2 * math.pi * t)
        x, y = move.pan * swing, move.rise * swing
    return Pose(_needed_zoom(move) * math.exp(math.log1p(zoomed)), x, y, move.turn * speed * (s - 0.5))


def widest_zoom(move: Move) -> float:
    return _needed_zoom(move) * (1 + abs(move.push) * move.speed)


def _needed_zoom(move: Move) -> float:
    """So near that no pan and no turn ever shows what is beyond the picture's edge."""
    side = max(abs(move.pan), abs(move.rise)) * move.speed
    corner = abs(math.sin(math.radians(move.turn * move.speed / 2))) * 1.8
    return 1.0 + side * 1.04 + corner + abs(move.depth) * 0.03 * move.speed


# --- words ---------------------------------------------------------------------------------------------------------


def _revised(move: Move, text: str) -> Move:
    for clause in re.split(r"[.,;!?\n]|\band\b|\bwhile\b|\bthen\b|\bbut\b", text):
        if re.search(r"\binstead\b(?! of)", clause):
            move = _halted(move)
        negated = re.search(r"\b(?:no|not|without|never|stop|remove|don't|avoid|less)\b", clause) is not None
        for pattern, change in _WORDS:
            if pattern.search(clause):
                move = _without(move, pattern.pattern) if negated and pattern not in _UNDENIABLE else change(move)
    return move


def _without(move: Move, pattern: str) -> Move:
    """The negated form takes away just what the word would have brought."""
    brought = dict(_WORDS_BY_TEXT)[pattern](Move())
    plain = Move()
    taken = {
        name: getattr(plain, name)
        for name in Move.__dataclass_fields__
        if getattr(brought, name) != getattr(plain, name)
    }
    return replace(move, **taken)


def _halted(move: Move) -> Move:
    return replace(move, push=0.0, pan=0.0, rise=0.0, turn=0.0, depth=0.0)


def _held(move: Move) -> Move:
    return replace(_halted(move), light=max(move.light, 1.0))


def _nearer(move: Move) -> Move:
    return replace(move, push=min(PUSH_MAX, move.push * 1.5) if move.push > 0 else PUSH)


def _slower(move: Move) -> Move:
    return replace(move, speed=move.speed * 0.6)


def _reversed(move: Move) -> Move:
    return replace(move, push=-move.push, pan=-move.pan, rise=-move.rise, turn=-move.turn, depth=-move.depth)


_HOLDS = re.compile(
    r"fix_camera|\b(?:fixed|static|locked|tripod|motionless|steady) ?(?:off )?(?:camera|shot|frame)?\b"
    r"|(?:camera|frame)\b[^.,;]*\b(?:still|fixed|static|not move|locked|steady|does not|stays)"
    r"|(?:no|stop|without)(?: the| any)? camera(?: movement| motion| move)?|stop the camera"
)

_AROUND = r"around the (?:product|cup|bottle|subject)"
_ORBIT = re.compile(
    rf"(?<!\bno )(?<!without )(?:\borbit\w*|\barcs?\b|circl(?:e|es|ing) around|\b360\b|\bcamera\b[^.,;]*\b{_AROUND})"
)

_Change = Callable[[Move], Move]
_WORDS_BY_TEXT: tuple[tuple[str, _Change], ...] = (
    (
        r"push(?:es|ing)?[ -]?(?:in|closer|toward\w*)|dolly(?:[ -]?in)?(?! out)|zoom(?:s|ing)?[ -]?in|"
        r"move(?:s)? closer|glides? (?:in|closer|toward\w*)|camera_push",
        lambda move: replace(move, push=PUSH),
    ),
    (
        r"pull(?:s|ing)?[ -]?(?:out|back|away)|dolly[ -]?out|zoom(?:s|ing)?[ -]?out|reveals?\b",
        lambda move: replace(move, push=-PUSH),
    ),
    (
        r"\b(?:pan|pans|panning|slide|slides|sliding|drift|drifts|truck|move|moves|"
        r"moving)\b[^.,;]*\bleft\b(?! to right)|right[ -]to[ -]left",
        lambda move: replace(move, pan=-PAN),
    ),
    (
        r"\b(?:pan|pans|panning|slide|slides|sliding|drift|drifts|truck|move|moves|"
        r"moving)\b[^.,;]*\bright\b(?! to left)|left[ -]to[ -]right",
        lambda move: replace(move, pan=PAN),
    ),
    (
        r"\b(?:pan|pans|panning|slides?|sliding)\b(?![^.,;]*\b(?:left|right|up|down)\b)",
        lambda move: replace(move, pan=move.pan or PAN),
    ),
    (
        r"\b(?:tilt|tilts|tilting|crane|pan|pans|camera)\b[^.,;]*\b(?:up\w*|rises?)\b",
        lambda move: replace(move, rise=-PAN),
    ),
    (r"\b(?:tilt|tilts|tilting|crane|lowers?|pan|pans)\b[^.,;]*\bdown\w*\b", lambda move: replace(move, rise=PAN)),
    (r"\btilt(?:s|ing)?\b(?![^.,;]*\b(?:up|down)\w*\b)", lambda move: replace(move, rise=-PAN)),
    (
        r"(?:\bcamera\b[^.,;]*|^\W*(?:(?:slow|slowly|gentle|gently|soft|softly) )*)\bdrift\w*"
        r"(?![^.,;]*\b(?:left|right)\b)",
        lambda move: replace(move, pan=move.pan or PAN * 0.5, rise=move.rise or PAN * 0.15),
    ),
    (r"^\W*(?:(?:a|bit|little|much|even|still|come|go|get) )*closer\b", _nearer),
    (
        rf"{_ORBIT.pattern}|{_AROUND}|parallax",
        lambda move: replace(move, depth=1.0, pan=move.pan or PAN * 0.3),
    ),
    (r"\brotat\w*|\bspin\w*|\bturn(?:s|ing)? (?:round|slowly)", lambda move: replace(move, turn=5.0)),
    (r"\bloop\w*|\bseamless\w*|\bendless\w*|\bsatisfying\b", lambda move: replace(move, loop=True)),
    (r"\bsteam\w*|\bvapou?r\b|\bsmoke\b|\bmist\b", lambda move: replace(move, steam=1.0)),
    (
        r"\blights?\b[^.,;]*\b(?:sweep\w*|mov\w+|drift\w*|glid\w+|chang\w+|shift\w*|wander\w*|pass\w*|"
        r"travel\w*)|shimmer\w*|glint\w*|sparkl\w*|highlights?|gleam\w*|sun(?:light|rays|beams?)",
        lambda move: replace(move, light=1.0),
    ),
    (r"\bmelt\w*|\bdissolv\w*|\bliquid\b|\bflow\w*|\bwav(?:y|es|ing)\b", lambda move: replace(move, melt=1.0)),
    (r"\bexpand\w*|\bgrow\w*|\bbreath\w*|\bpuls\w*|\bswell\w*|\bpop\b", lambda move: replace(move, swell=0.09)),
    (r"\bdrop(?:s|ping)?\b|\bfall(?:s|ing)?\b|\bland(?:s|ing)?\b|\bbounc\w*", lambda move: replace(move, drop=1.0)),
    (r"\bcinematic\b|\bfloat\w*|\bhover\w*", lambda move: replace(move, depth=max(move.depth, 0.7))),
    (_HOLDS.pattern, _held),
    (
        r"\bslow[ _-]?mo(?:tion)?\b|\bslower\b|\bcalmer\b|\bgentler\b|more slowly|\bslow\b[^.,;]*\bdown\b|"
        r"(?:too|not so|not as|less) (?:fast|quick|hectic)|less (?:speed|motion|movement)|"
        r"half (?:the |its |as )?(?:speed|fast)|"
        r"(?:reduce\w*|lower\w*|decrease\w*|drop) (?:the |its )?speed",
        _slower,
    ),
    (
        r"(?<!too )\bslow(?:ly)?\b|\bgently?\b|\bsubtl[ey]\b|\bcalm\b",
        lambda move: replace(move, speed=move.speed * 0.85),
    ),
    (
        r"\bfaster\b|\bquicker\b|more (?:dynamic|movement|motion|energy)|too slow|\bstronger\b",
        lambda move: replace(move, speed=move.speed * 1.6),
    ),
    (
        r"(?<!too )(?<!so )(?<!as )(?<!less )\bfast\b|\bquick(?:ly)?\b|\bdynamic\b|\benergetic\b|\bdramatic\b",
        lambda move: replace(move, speed=move.speed * 1.3),
    ),
    (r"\breverse\w*|other (?:direction|way)|opposite direction|\bbackwards?\b", _reversed),
    (r"\bconstant speed\b|\blinear\b|\beven(?:ly)?\b", lambda move: replace(move, linear=True)),
)
_WORDS = tuple((re.compile(text), change) for text, change in _WORDS_BY_TEXT)
# `no camera movement` already is its own negation, and so are `not so fast` and words for direction.
_UNDENIABLE = {pattern for pattern, change in _WORDS if change in (_held, _reversed, _slower)}
