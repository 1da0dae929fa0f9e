"""Reads a scene out of a prompt."""

import re
from dataclasses import replace
from typing import Any

from safelight_local.colours import COLOUR_PATTERN, Rgb, colour_of
from safelight_local.scene.clauses import BACKDROP, LIGHT, SURFACE, SURFACE_WORDS, THINGS, Clause, clauses
from safelight_local.scene.rules import AMOUNT_RULES, MOODS, RULES
from safelight_local.scene.scene import Scene, split_prompt, spoken_of_scene

COLOURS_MAX = 4
_AMOUNT_WORDS = re.compile(
    r"\b(?:more|less|fewer|stronger|weaker|darker|lighter|deeper|softer|harder|bigger|larger|smaller|longer|bolder)\b"
)


def read_scene(prompt: str) -> Scene:
    """Return the scene of a prompt: demands outrank moods in the base text; in a revision a mood is a demand, too."""
    base, revisions = split_prompt(prompt)
    demands = list(clauses(spoken_of_scene(base)))
    scene = Scene()
    for clause in demands:
        scene = _applied(scene, clause)
    scene = _filled(scene, demands)
    for revision in revisions:
        for clause in clauses(revision):
            scene = _applied(_in_mood(scene, clause), clause)
    return scene.bounded()


def _applied(scene: Scene, clause: Clause) -> Scene:
    """Each rule takes what it has understood out of the clause, so that `golden hour` is no gold wall."""
    left = clause.text
    for pattern, change in AMOUNT_RULES:
        if found := re.search(pattern, left):
            scene = change(scene, clause)
            left = _AMOUNT_WORDS.sub(" ", _cut_out(left, found, ""))
    for pattern, change in RULES:
        if found := re.search(pattern, left):
            scene = change(scene, clause)
            left = _cut_out(left, found, "surface" if re.search(SURFACE_WORDS, found.group(0)) else "")
    return _coloured(scene, clause, left)


def _cut_out(text: str, found: re.Match[str], instead: str) -> str:
    return f"{text[: found.start()]} {instead} {text[found.end() :]}"


def _filled(scene: Scene, demands: list[Clause]) -> Scene:
    untouched = Scene()
    for clause in demands:
        for fields in _moods(clause):
            still_open = {key: value for key, value in fields.items() if getattr(scene, key) == getattr(untouched, key)}
            scene = replace(scene, **still_open)
    return scene


def _in_mood(scene: Scene, clause: Clause) -> Scene:
    for fields in _moods(clause):
        scene = replace(scene, **fields)
    return scene


def _moods(clause: Clause) -> list[dict[str, Any]]:
    if clause.negated:
        return []
    return [fields for pattern, fields in MOODS if re.search(pattern, clause.text)]


# --- colours -------------------------------------------------------------------------------------------------------


def _coloured(scene: Scene, clause: Clause, left: str) -> Scene:
    if clause.negated:
        return scene
    for match in list(re.finditer(COLOUR_PATTERN, left))[:COLOURS_MAX]:
        scene = _with_colour(scene, colour_of(match), left[match.end() :], left[: match.start()])
    return scene


def _with_colour(scene: Scene, rgb: Rgb, after: str, before: str) -> Scene:
    """Apply a colour to the next noun after it, else to the last one before it."""
    nouns = {"wall": BACKDROP, "ground": SURFACE, "glow": LIGHT, "": THINGS}
    places = [(found.start(), name) for name, nouns_of in nouns.items() if (found := _first(nouns_of, after))]
    if not places:
        places = [(-found.start(), name) for name, nouns_of in nouns.items() if (found := _first(nouns_of, before))]
    name = min(places)[1] if places else ("wall" if scene.wall is None else "")
    changes: dict[str, Any] = {name: rgb} if name else {}
    return replace(scene, **changes)


def _first(pattern: str, text: str) -> re.Match[str] | None:
    return re.search(rf"\b(?:{pattern})\b", text)
