"""Preferences of a customer, likes and hard blocks: the snapshot in `mg_mma_preferences` (docs/contract/mma.md)."""

from collections.abc import Mapping
from typing import Any

Preferences = dict[str, Any]

HARD_BLOCK_WEIGHT = -999
HARD_BLOCKS_MAX = 50
TAGS_MAX = 500
TAG_CHARS_MAX = 80


def hard_blocks(preferences: Mapping[str, Any]) -> list[str]:
    blocks = preferences.get("hard_blocks")
    return [block for block in blocks if isinstance(block, str)] if isinstance(blocks, list) else []


def engine_settings(preferences: Mapping[str, Any], engine_id: str) -> Mapping[str, Any]:
    """The settings that a customer prefers for an engine."""
    settings = preferences.get("settings")
    found = settings.get(engine_id) if isinstance(settings, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def after_event(preferences: Preferences, event_type: str, payload: Mapping[str, Any], *, now: str) -> Preferences:
    """The snapshot after an event; the same object if the event changes nothing. Unknown keys are kept."""
    blocks = list(hard_blocks(preferences))
    weights = dict(preferences.get("tag_weights") or {})
    if event_type in ("preference_set", "dislike"):
        for block in _words(payload, "hard_block", "hard_blocks"):
            if block not in blocks:
                blocks.append(block)
            weights[block] = HARD_BLOCK_WEIGHT
    if event_type == "preference_set":
        weights |= _numbers(payload.get("tag_weights"))
    step = {"like": 1, "download": 1, "dislike": -1}.get(event_type, 0)
    if step:
        for tag in _words(payload, "tag", "tags"):
            weights[tag] = weights.get(tag, 0) + step
    changed = {"hard_blocks": blocks[:HARD_BLOCKS_MAX], "tag_weights": dict(list(weights.items())[:TAGS_MAX])}
    before = {"hard_blocks": hard_blocks(preferences), "tag_weights": preferences.get("tag_weights") or {}}
    return preferences if changed == before else preferences | changed | {"updated_at": now, "source": "mma"}


def _words(payload: Mapping[str, Any], one: str, many: str) -> list[str]:
    stated = payload.get(many)
    values = [payload.get(one), *(stated if isinstance(stated, list) else [])]
    words = [value.strip()[:TAG_CHARS_MAX] for value in values if isinstance(value, str) and value.strip()]
    return list(dict.fromkeys(words))


def _numbers(stated: Any) -> dict[str, float]:
    if not isinstance(stated, dict):
        return {}
    return {
        str(tag)[:TAG_CHARS_MAX]: weight
        for tag, weight in stated.items()
        if isinstance(weight, int | float) and not isinstance(weight, bool)
    }
