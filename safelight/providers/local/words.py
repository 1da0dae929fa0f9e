"""Answers the questions a vision-language model is asked, by the context's key and the labelled lines of the prompt."""

import re
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from safelight import media
from safelight.providers.local.clauses import LIGHT_WORDS, SURFACE_WORDS
from safelight.providers.local.colours import COLOUR_PATTERN, name_of, palette
from safelight.providers.local.picture import Picture
from safelight.providers.local.scene import KEPT_AS_IT_IS, REVISION, TAKEN_AFTER, split_prompt
from safelight.providers.local.sight import caption, look, spoken

Json = dict[str, Any]

MESSAGE_CHARS_MAX = 140
STILL_PROMPT_CHARS_MAX = 4000
MOTION_PROMPT_CHARS_MAX = 2000
TAGS_MAX = 8
LIKED_PICTURES_MAX = 6
NONE_SAID = ("", "(none)", "none", "-")
_LABELS = (
    "PRODUCT", "LOGO", "INSPIRATION", "STYLE", "BRIEF", "LIKED STYLE", "AVOID", "PLATFORM", "ASPECT RATIO", "ROLE",
    "LIKED PROMPTS", "PREVIOUS PROMPT", "CURRENT PICTURE", "FEEDBACK", "STILL", "MOTION BRIEF", "MOVEMENT STYLE",
)  # fmt: skip
_LABEL = re.compile(rf"^({'|'.join(sorted(_LABELS, key=len, reverse=True))}):[ \t]*", re.MULTILINE)


class Sections:
    """The labelled parts of a prompt; a label may come more than once."""

    def __init__(self, user: str) -> None:
        parts = _LABEL.split(user)
        self._pairs = [(label, text.strip()) for label, text in zip(parts[1::2], parts[2::2], strict=True)]

    def one(self, label: str) -> str:
        return next(iter(self.all(label)), "")

    def all(self, label: str) -> list[str]:
        return [text for name, text in self._pairs if name == label and text.lower() not in NONE_SAID]

    def avoided(self) -> list[str]:
        return [word.strip().strip(".") for word in re.split(r"[,;\n]", self.one("AVOID")) if word.strip(" .")]


def answer(context_key: str, user: str, pictures: tuple[Picture, ...]) -> Json:
    """An unknown context gets an empty answer, which its schema refuses by name."""
    respond = _ANSWERS.get(context_key)
    return respond(Sections(user), pictures) if respond else {}


# --- pictures ------------------------------------------------------------------------------------------------------


def _scan(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    role = sections.one("ROLE") or (pictures[0].role if pictures else "product")
    if not pictures:
        return {"crt": "No picture was given.", "userMessage": "There was no picture to look at."}
    sight = look(media.decode_image(pictures[0].content))
    return {"crt": caption(sight, role), "userMessage": _line(spoken(sight, role))}


def _like_history(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    counts: Counter[str] = Counter()
    for prompt in sections.one("LIKED PROMPTS").lower().splitlines():
        counts.update(set(_tags(_said_of_scene(prompt))))
    for picture in pictures[:LIKED_PICTURES_MAX]:
        swatches = palette(media.decode_image(picture.content))[:2]
        counts.update({f"{name_of(swatch.rgb)} tones" for swatch in swatches})
    ranked = sorted(counts, key=lambda tag: (-counts[tag], tag))
    return {"style_history_csv": ", ".join(ranked[:TAGS_MAX])}


def _tags(text: str) -> list[str]:
    wanted = re.sub(r"\b(?:without|no|not)\b[^.,;]*", "", text)
    found = re.findall(rf"({LIGHT_WORDS}|{SURFACE_WORDS}|{_MOOD_WORDS}|{_ANY_COLOUR})", wanted)
    tags = [re.sub(r"^(?:an?|the|on|in|of|with) ", "", groups[0].strip()) for groups in found]
    return [tag for tag in tags if tag not in _TOO_PLAIN]


_TOO_PLAIN = ("light", "lighting", "surface", "table", "floor", "counter", "desk")
_ANY_COLOUR = re.sub(r"\?P<\w+>", "", COLOUR_PATTERN)
_MOOD_WORDS = (
    r"\b(?:moody|dramatic|airy|calm|minimal|luxury|elegant|cozy|cosy|rustic|editorial|playful|pastel|serene|fresh|"
    r"tropical|festive|nordic|vintage|bold|close-up|seamless|arch|plinth)\b"
)


# --- stills --------------------------------------------------------------------------------------------------------


def _read_brief(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    avoided = sections.avoided()
    brief, style = (_without(sections.one(label), avoided) for label in ("BRIEF", "STYLE"))
    product = _without(sections.one("PRODUCT"), avoided)
    said = f"{brief} {style}".lower()
    sentences = [
        _opening(product, style, sections.one("PLATFORM")),
        f"{KEPT_AS_IT_IS} {_one_sentence(product)}" if product else "",
        _taken_after([_without(text, avoided) for text in sections.all("INSPIRATION")]),
        _taste(_without(sections.one("LIKED STYLE"), avoided), said),
        brief,
        *_left_open(said, avoided),
        "The logo appears once, small and discreet" if sections.one("LOGO") else "",
        ", ".join(f"without {word}" for word in avoided),
    ]
    prompt = " ".join(_sentence(text) for text in sentences if text)
    return {"clean_prompt": prompt[:STILL_PROMPT_CHARS_MAX], "userMessage": _line(_promise(brief, style))}


def _opening(product: str, style: str, platform: str) -> str:
    what = "An advertising photograph of the product" if product else "An advertising still life"
    look_of = f" in the style of {style}" if style else ""
    return f"{what}{look_of}{f', made for {platform}' if platform else ''}"


def _taken_after(captions: list[str]) -> str:
    return f"{TAKEN_AFTER} {' / '.join(_one_sentence(text) for text in captions)}" if captions else ""


def _taste(liked: str, said: str) -> str:
    """What was liked before, where the brief does not say it already."""
    tags = [tag.strip() for tag in liked.split(",") if tag.strip()]
    kinds = (LIGHT_WORDS, SURFACE_WORDS, COLOUR_PATTERN)
    free = [tag for tag in tags if not any(re.search(kind, tag) and re.search(kind, said) for kind in kinds)]
    return f"In the taste of earlier favourites: {', '.join(free)}" if free else ""


def _left_open(said: str, avoided: list[str]) -> list[str]:
    """Sentences for what neither the brief nor the style decides."""
    side = ("left", "right")[zlib.crc32(said.encode()) % 2]
    choices = [
        (r"\b(?:background|backdrop|wall)\b", "The background is quiet and suits the colours of the product"),
        (SURFACE_WORDS, "The product stands firmly, with a natural contact shadow"),
        (LIGHT_WORDS, f"Soft light comes from the {side}"),
        (
            r"\b(?:close|camera|macro|wide|distance|zoom)",
            "The camera is at a natural distance, the product clearly the hero",
        ),
    ]
    return [_without(text, avoided) for pattern, text in choices if not re.search(pattern, said)]


def _promise(brief: str, style: str) -> str:
    wish = brief or style
    return (
        f"Setting the scene: {wish[0].lower()}{wish[1:].rstrip('.')}."
        if wish
        else "Setting a quiet scene for your product."
    )


def _revise_still(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    feedback = _feedback(sections)
    prompt = _with_revision(
        sections.one("PREVIOUS PROMPT") or "An advertising photograph.", feedback, STILL_PROMPT_CHARS_MAX
    )
    return {"clean_prompt": prompt, "userMessage": _line(f"Got it: {feedback}.")}


# --- motion --------------------------------------------------------------------------------------------------------

_IDEAS = (
    "The camera pushes in slowly towards the product while soft light moves across the surface",
    "The camera glides gently from left to right with a touch of parallax, the product stays in the centre",
    "The camera slowly pulls back and gives the product room, the light stays calm",
    "A slow orbit around the product, the highlights glide over its edges",
)
_STYLES: tuple[tuple[str, str], ...] = (
    (
        r"fix|static|still|locked|tripod",
        "The camera stays fixed; soft light sweeps slowly across the scene and the highlights shimmer",
    ),
    (r"loop|satisf", "A seamless loop: the camera glides softly in and back again while the light drifts"),
    (r"slow", "In slow motion the camera pushes in, smooth and even"),
    (r"\bpan|slide", "The camera pans slowly from left to right"),
    (r"push|zoom[_ ]?in|dolly", "The camera pushes in slowly towards the product"),
    (r"pull|zoom[_ ]?out|reveal", "The camera pulls out slowly and reveals the scene"),
    (r"orbit|parallax|360", "The camera makes a slow orbit around the product"),
    (r"melt", "The surface seems to melt and flow softly downwards"),
    (r"drop|fall|bounce", "The product drops softly into place and comes to rest"),
    (r"expand|grow|pulse", "The product expands slowly towards the camera"),
    (r"dynamic|energetic|fast", "A dynamic push-in with a quick, smooth start"),
)


def _suggest_motion(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    avoided, style = sections.avoided(), sections.one("MOVEMENT STYLE")
    idea = _styled(style) or _IDEAS[zlib.crc32(sections.one("STILL").encode()) % len(_IDEAS)]
    brief = _without(sections.one("MOTION BRIEF"), avoided)
    prompt = " ".join(_sentence(text) for text in (brief, _without(idea, avoided), _nothing_else(avoided)) if text)
    return {
        "sugg_prompt": prompt[:MOTION_PROMPT_CHARS_MAX],
        "userMessage": _line(f"How about this: {_small_start(idea)}."),
    }


def _read_motion(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    avoided, style = sections.avoided(), sections.one("MOVEMENT STYLE")
    brief = _without(sections.one("MOTION BRIEF"), avoided)
    styled = _styled(style) or (f"The movement is {style.replace('_', ' ')}" if style else "")
    wish = brief or styled or _IDEAS[0]
    parts = [styled if brief else "", wish, _nothing_else(avoided)]
    prompt = " ".join(_sentence(text) for text in parts if text)
    return {
        "motion_prompt": prompt[:MOTION_PROMPT_CHARS_MAX],
        "userMessage": _line(f"On it: {_small_start(wish).rstrip('.')}."),
    }


def _revise_motion(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    feedback = _feedback(sections)
    prompt = _with_revision(sections.one("PREVIOUS PROMPT") or _sentence(_IDEAS[0]), feedback, MOTION_PROMPT_CHARS_MAX)
    return {"motion_prompt": prompt, "userMessage": _line(f"Changing the movement: {feedback}.")}


def _styled(style: str) -> str:
    return next((idea for pattern, idea in _STYLES if style and re.search(pattern, style.lower())), "")


def _nothing_else(avoided: list[str]) -> str:
    nothing_new = "The product keeps its shape and nothing new appears"
    return f"{nothing_new}, {', '.join(f'without {word}' for word in avoided)}" if avoided else nothing_new


# --- sentences -----------------------------------------------------------------------------------------------------


def _feedback(sections: Sections) -> str:
    text = _without(sections.one("FEEDBACK").replace(REVISION, ""), sections.avoided())
    return _small_start(text.strip(" .")) or "a little better"


def _with_revision(previous: str, feedback: str, chars_max: int) -> str:
    """The oldest revisions go first where there is no room for all."""
    base, revisions = split_prompt(previous)
    said = [*revisions, f"{feedback[: chars_max // 4]}."]
    room = chars_max // 2
    while len(said) > 1 and sum(len(text) + len(REVISION) + 2 for text in said) > room:
        said.pop(0)
    return " ".join([base[: chars_max - room - 2], *(f"{REVISION} {text}" for text in said)])


def _without(text: str, avoided: list[str]) -> str:
    """`text` with no clause that wants what must be avoided."""
    if not avoided or not text:
        return text
    unwanted = re.compile("|".join(rf"\b{re.escape(word.rstrip('s'))}(?:e?s)?\b" for word in avoided), re.IGNORECASE)
    if not unwanted.search(text):
        return text
    clauses = re.split(r"(?<=[,.;])\s+", text)
    kept = [clause if not unwanted.search(clause) else unwanted.sub("", clause) for clause in clauses]
    return re.sub(r"\s+([,.;])", r"\1", re.sub(r"\s{2,}", " ", " ".join(kept))).strip(" ,;")


def _said_of_scene(prompt: str) -> str:
    return re.sub(rf"(?:{re.escape(KEPT_AS_IT_IS)}|{re.escape(TAKEN_AFTER)})[^.]*\.", "", prompt, flags=re.IGNORECASE)


def _one_sentence(text: str) -> str:
    return re.sub(r"\.\s+", "; ", text.strip()).rstrip(".")


def _sentence(text: str) -> str:
    trimmed = text.strip()
    return f"{trimmed[:1].upper()}{trimmed[1:]}{'' if trimmed[-1:] in '.!?' else '.'}"


def _small_start(text: str) -> str:
    return text[:1].lower() + text[1:]


def _line(text: str) -> str:
    """At most one short line, cut at a word."""
    if len(text) <= MESSAGE_CHARS_MAX:
        return text
    return f"{text[: MESSAGE_CHARS_MAX - 1].rsplit(' ', 1)[0].rstrip(' ,.;')}…"


_ANSWERS: dict[str, Callable[[Sections, tuple[Picture, ...]], Json]] = {
    "mma.ctx.gpt_scanner": _scan,
    "mma.ctx.like_history": _like_history,
    "mma.ctx.gpt_reader": _read_brief,
    "mma.ctx.gpt_feedback_still": _revise_still,
    "mma.ctx.motion_suggestion": _suggest_motion,
    "mma.ctx.gpt_reader_motion": _read_motion,
    "mma.ctx.gpt_feedback_motion": _revise_motion,
}
