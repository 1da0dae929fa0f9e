"""Says which fields of a body nobody reads, and which one may have been meant: a misspelt field is ignored, and its
order is charged all the same."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any

from safelight.api.schemas.aliases import AliasedModel, spellings
from safelight.redaction import DEFAULT_REDACTOR, excerpt

NAMED_MAX = 20
COUNTED_MAX = 1000
NAME_CHARS_MAX = 100
LIKENESS_MIN = 0.7
# Fields that existing clients send and no pipeline uses (docs/contract/mma.md).
PASSED_OVER = frozenset(
    {
        "audio", "email", "generate_audio", "generateAudio", "intent", "lane", "resolution", "sound", "still_lane",
        "still_resolution", "stillLane", "style_preset_key", "style_preset_keys", "stylePresetKey", "stylePresetKeys",
        "tone", "tweak_text", "user_id", "user_tweak", "userId", "video_lane", "videoLane", "with_audio", "withAudio",
    }
)  # fmt: skip

Names = Mapping[str, str]  # each spelling, as `_plain` writes it, with the path of its field


def warnings_of(model: type[AliasedModel], body: Any, reported: Collection[str] = ()) -> list[str]:
    """Return a sentence for each field of the body that the model does not know, NAMED_MAX of them at most. Fields that
    a sentence of `reported` begins with are left out."""
    found = islice(_unknown(model, body, ""), COUNTED_MAX) if isinstance(body, Mapping) else ()
    unknown = [
        (place, name)
        for place, name in found
        if not any(text.startswith((f"{place}{name}:", f"{place}{name}.")) for text in reported)
    ]
    lines = [_sentence(model, place, name) for place, name in unknown[:NAMED_MAX]]
    if more := len(unknown) - len(lines):
        lines.append(f"{more}{'' if len(unknown) < COUNTED_MAX else ' or more'} other fields are not known either.")
    return lines


def _unknown(model: type[AliasedModel], given: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """The place, which ends with a full stop, and the name of each."""
    known = {name.partition(".")[0] for field, info in model.model_fields.items() for name in spellings(field, info)}
    for name, value in given.items():
        inner = _inner(model, name)
        if inner is not None and isinstance(value, Mapping):
            yield from _unknown(inner, value, f"{place}{name}.")
        elif name not in known and name not in PASSED_OVER:
            yield place, name


def _inner(model: type[AliasedModel], name: str) -> type[AliasedModel] | None:
    found = model.model_fields[name].annotation if name in model.model_fields else None
    return found if isinstance(found, type) and issubclass(found, AliasedModel) else None


def _sentence(model: type[AliasedModel], place: str, name: str) -> str:
    shown = DEFAULT_REDACTOR.text(f"{place}{excerpt(name, NAME_CHARS_MAX)}")
    nearest = _nearest(model, place, _plain(name[:NAME_CHARS_MAX]))
    return f"{shown} is not known and was not used." + (f" Did you mean {nearest}?" if nearest else "")


def _nearest(model: type[AliasedModel], place: str, plain: str) -> str | None:
    """A field of the same object, else of any other."""
    for among in (_names(model).get(place, {}), _all(model)):
        if found := get_close_matches(plain, among, n=1, cutoff=LIKENESS_MIN):
            return among[found[0]]
    return None


@cache
def _names(model: type[AliasedModel], place: str = "") -> Mapping[str, Names]:
    """The names of every object, by its place."""
    found: dict[str, Names] = {place: {}}
    here: dict[str, str] = {}
    for field, info in model.model_fields.items():
        inner = _inner(model, field)
        if inner is not None:
            found |= _names(inner, f"{place}{field}.")
        here |= {_plain(name): f"{place}{field}" for name in spellings(field, info) if "." not in name}
    return found | {place: here}


@cache
def _all(model: type[AliasedModel]) -> Names:
    """The outermost object's names go first."""
    found: dict[str, str] = {}
    for names in _names(model).values():
        found = dict(names) | found
    return found


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
