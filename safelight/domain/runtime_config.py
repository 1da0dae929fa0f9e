"""Runtime overrides by operators: a tree of values over the defaults (docs/contract/legacy.md).

An override holds some of the leaves; a number outside the range of its leaf counts as the nearest end of the range.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from safelight.domain.errors.base import InvalidInput

Tree = dict[str, Any]
LeafType = Literal["string", "boolean", "integer", "number"]

TEXT_CHARS_MAX = 8000


@dataclass(frozen=True, slots=True)
class OverrideLeaf:
    type: type
    description: str
    range: tuple[float, float] | None = None

    @property
    def type_name(self) -> LeafType:
        names: dict[type, LeafType] = {str: "string", bool: "boolean", int: "integer"}
        return names.get(self.type, "number")

    def accepts(self, value: Any) -> bool:
        if self.type is str:
            return isinstance(value, str) and len(value) <= TEXT_CHARS_MAX
        if self.type is bool or isinstance(value, bool):
            return self.type is bool and isinstance(value, bool)
        return isinstance(value, int | float) and (self.type is float or value == int(value))

    def clamped(self, value: Any) -> Any:
        if self.range is None:
            return value
        low, high = self.range
        return self.type(min(max(value, low), high))


_KEPT = "Kept for older consoles and not acted on: prompts are versioned rows (app_config mma.ctx.*)."
_SEEDREAM = "A setting of the engine seedream, over its versioned defaults."
_KLING = "A setting of the engine kling, over its versioned defaults."
_GPT = {
    "temperature": OverrideLeaf(float, _KEPT, (0, 2)),
    "max_tokens": OverrideLeaf(int, _KEPT, (50, 2000)),
    "system_text": OverrideLeaf(str, _KEPT),
    "user_extra": OverrideLeaf(str, _KEPT),
}

LEAVES: dict[str, OverrideLeaf] = {
    "models.seedream": OverrideLeaf(str, "The model of the engine seedream, over the registry's."),
    "models.kling": OverrideLeaf(str, "The model of the engine kling, over the registry's."),
    "models.gpt": OverrideLeaf(str, "The model of the engine gpt, over the registry's."),
    "credits.imageCost": OverrideLeaf(int, "Credits charged for a still or a tweak of it.", (0, 100)),
    "credits.motionCost": OverrideLeaf(int, "Credits charged for a video or a tweak of it.", (0, 100)),
    "replicate.seedream.size": OverrideLeaf(str, _SEEDREAM),
    "replicate.seedream.enhance_prompt": OverrideLeaf(bool, _SEEDREAM),
    "replicate.seedream.sequential_image_generation": OverrideLeaf(str, _SEEDREAM),
    "replicate.kling.mode": OverrideLeaf(str, _KLING),
    "replicate.kling.negative_prompt": OverrideLeaf(str, _KLING),
    **{
        f"gpt.{task}.{name}": leaf
        for task in ("editorial", "motion_prompt", "motion_suggest")
        for name, leaf in _GPT.items()
    },
}


def checked(override: Tree) -> Tree:
    """The override as it is stored. Raises InvalidInput (INVALID_OVERRIDE), which names the invalid path."""
    for path, value in _leaves(override):
        if path not in LEAVES:
            raise _invalid(f"override.{path}: there is no such setting")
        if not LEAVES[path].accepts(value):
            raise _invalid(f"override.{path}: it must be a {LEAVES[path].type_name}")
    return known(override)


def known(override: Tree) -> Tree:
    """The valid part of a stored override, which anybody may have written."""
    valid = ((path, value) for path, value in _leaves(override) if path in LEAVES and LEAVES[path].accepts(value))
    return _tree((path, LEAVES[path].clamped(value)) for path, value in valid)


def effective(defaults: Tree, override: Tree) -> Tree:
    """The defaults, with the valid part of the override over them."""
    return _tree([*_leaves(defaults), *_leaves(known(override))])


def without(override: Tree, path: str) -> Tree:
    """The override without a leaf or branch; unchanged if it has no such one."""
    return _tree(leaf for leaf in _leaves(override) if leaf[0] != path and not leaf[0].startswith(f"{path}."))


def at(tree: Mapping[str, Any], path: str) -> Any:
    """The leaf or branch at a dotted path; None if there is none."""
    found: Any = tree
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def put(tree: Tree, path: str, value: Any) -> None:
    *branches, last = path.split(".")
    for branch in branches:
        tree = tree.setdefault(branch, {})
    tree[last] = value


def _tree(leaves: Iterable[tuple[str, Any]]) -> Tree:
    tree: Tree = {}
    for path, value in leaves:
        put(tree, path, value)
    return tree


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and f"{prefix}{name}" not in LEAVES:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _invalid(reason: str) -> InvalidInput:
    return InvalidInput(f"{reason}.", code="INVALID_OVERRIDE")
