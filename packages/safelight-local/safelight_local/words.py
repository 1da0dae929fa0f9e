"""Answers the questions a vision-language model is asked, by the context's key and the labelled lines of the prompt."""

import re
import zlib
from collections import Counter
from collections.abc import Callable

from safelight.domain.errors.base import ConfigError
from safelight.media import decode
from safelight.providers.base import Json
from safelight_local.colours import COLOUR_PATTERN, name_of, palette
from safelight_local.picture import Picture
from safelight_local.scene.clauses import LIGHT_WORDS, SURFACE_WORDS
from safelight_local.scene.scene import KEPT_AS_IT_IS, REVISION, TAKEN_AFTER, split_prompt
from safelight_local.sight import caption, look, spoken

MESSAGE_CHARS_MAX = 140
LOOKING_EDGE_MAX = 1024
STILL_PROMPT_CHARS_MAX = 4000
STILL_PROMPT_WORDS_MAX = 120
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
        words = [word.strip(" .") for word in re.split(r"[,;\n]", self.one("AVOID"))]
        plain = [re.sub(r"^(?:no|any|without)\s+", "", word, flags=re.IGNORECASE) for word in words]
        return list(dict.fromkeys(word for word in plain if word))


def answer(context_key: str, user: str, pictures: tuple[Picture, ...]) -> Json:
    respond = _ANSWERS.get(context_key)
    if respond is None:
        raise ConfigError(f"local: no answer is known for the context {context_key!r}")
    return respond(Sections(user), pictures)


# --- pictures ------------------------------------------------------------------------------------------------------


def _scan(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    role = sections.one("ROLE") or (pictures[0].role if pictures else "product")
    if not pictures:
        return {"crt": "No picture was given.", "userMessage": "There was no picture to look at."}
    sight = look(decode.decode_image(pictures[0].content, LOOKING_EDGE_MAX))
    return {"crt": caption(sight, role), "userMessage": _line(spoken(sight, role))}


def _like_history(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    counts: Counter[str] = Counter()
    for prompt in sections.one("LIKED PROMPTS").lower().splitlines():
        counts.update(set(_tags(_said_of_scene(prompt))))
    for picture in pictures[:LIKED_PICTURES_MAX]:
        swatches = palette(decode.decode_image(picture.content, LOOKING_EDGE_MAX))[:2]
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
    taken_after = _taken_after([_without(text, avoided) for text in sections.all("INSPIRATION")])
    taste = _taste(_without(sections.one("LIKED STYLE"), avoided), said)
    left_open = _left_open(said, avoided)
    sentences = [
        _opening(product, style, sections.one("PLATFORM")),
        f"{KEPT_AS_IT_IS} {_one_sentence(product)}" if product else "",
        taken_after,
        taste,
        brief,
        *left_open,
        "The logo appears once, small and discreet" if sections.one("LOGO") else "",
        ", ".join(f"without {word}" for word in avoided),
    ]
    prompt = _joined(_shortened(sentences, [*reversed(left_open), taste, taken_after]))
    return {"clean_prompt": _cut(prompt, STILL_PROMPT_CHARS_MAX), "userMessage": _line(_promise(brief, style))}


def _shortened(sentences: list[str], dispensable: list[str]) -> list[str]:
    """Without as many dispensable sentences as it takes; what the person said is never one of them."""
    kept = list(sentences)
    for text in dispensable:
        if len(" ".join(kept).split()) <= STILL_PROMPT_WORDS_MAX:
            break
        kept.remove(text)
    return kept


def _opening(product: str, style: str, platform: str) -> str:
    what = "An advertising photograph of the product" if product else "An advertising still life"
    look_of = f" in the style of {style}" if style else ""
    return f"{what}{look_of}{f', made for {platform}' if platform else ''}"


def _taken_after(captions: list[str]) -> str:
    return f"{TAKEN_AFTER} {' / '.join(_one_sentence(text) for text in captions)}" if captions else ""


def _taste(liked: str, said: str) -> str:
    """Return a sentence about earlier favourites, without the kinds of detail that the brief already states."""
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
    wish = _small_start(brief or style).rstrip(".")
    return f"Setting the scene: {wish}." if wish else "Setting a quiet scene for your product."


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
    "A slow slide past the product with a touch of parallax, the highlights glide over its edges",
)
_STYLES: tuple[tuple[str, str], ...] = (
    (
        r"fix|static|still|locked|tripod",
        "The camera stays fixed; soft light sweeps slowly across the scene and the highlights shimmer",
    ),
    (r"satisf", "A satisfying, seamless loop: the camera glides softly in and back again while the light drifts"),
    (r"loop", "A seamless loop: the camera glides softly in and back again while the light drifts"),
    (r"slow[_ -]?mo", "In slow motion the camera pushes in, smooth and even"),
    (r"\bpan|slide", "The camera pans slowly from left to right"),
    (r"push|zoom[_ ]?in|dolly[_ ]?in", "The camera pushes in slowly towards the product"),
    (r"pull|zoom[_ ]?out|dolly[_ ]?out|reveal", "The camera pulls out slowly and reveals the scene"),
    (r"orbit|parallax|360", "The camera slides slowly past the product, with parallax"),
    (r"melt", "The surface seems to melt and flow softly downwards"),
    (r"drop|fall|bounce", "The product drops softly into place and comes to rest"),
    (r"expand|grow|pulse", "The product expands slowly towards the camera"),
    (r"dynamic|energetic|fast", "A dynamic push-in with a quick, smooth start"),
)
_STYLE_KEYS = ("melt", "drop", "expand", "satisfying", "slow_motion", "fix_camera", "loop")
_SUITING: tuple[tuple[str, str], ...] = (
    ("seen from above", "A slow slide past the product with a touch of parallax, the highlights glide over its edges"),
    ("tall, slender", "The camera tilts up slowly along the product while soft light moves across it"),
    ("filling much of the frame", "The camera slowly pulls back and gives the product room, the light stays calm"),
    ("small in the frame", "The camera pushes in slowly towards the product while soft light moves across it"),
)


def _suggest_motion(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    avoided = sections.avoided()
    idea = _styled(_style(sections, avoided)) or _without(_suiting(_seen_in(sections, pictures)), avoided)
    brief = _without(sections.one("MOTION BRIEF"), avoided)
    prompt = _joined([brief, idea, _nothing_else(avoided)])
    return {
        "sugg_prompt": _cut(prompt, MOTION_PROMPT_CHARS_MAX),
        "userMessage": _line(f"How about this: {_small_start(idea or brief or 'a calm, quiet shot').rstrip('.')}."),
    }


def _seen_in(sections: Sections, pictures: tuple[Picture, ...]) -> str:
    told = sections.one("STILL")
    return (
        told
        if told or not pictures
        else caption(look(decode.decode_image(pictures[0].content, LOOKING_EDGE_MAX)), "still")
    )


def _suiting(seen: str) -> str:
    """A movement that suits the picture; any of the ideas, but always the same one, where nothing speaks for one."""
    suits = next((idea for words, idea in _SUITING if words in seen), "")
    return suits or _IDEAS[zlib.crc32(seen.encode()) % len(_IDEAS)]


def _read_motion(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    avoided = sections.avoided()
    brief, styled = _without(sections.one("MOTION BRIEF"), avoided), _styled(_style(sections, avoided))
    wish = brief or styled or _without(_IDEAS[0], avoided) or "The camera stays fixed"
    prompt = _joined([styled if brief else "", wish, _nothing_else(avoided)])
    return {
        "motion_prompt": _cut(prompt, MOTION_PROMPT_CHARS_MAX),
        "userMessage": _line(f"On it: {_small_start(wish).rstrip('.')}."),
    }


def _revise_motion(sections: Sections, pictures: tuple[Picture, ...]) -> Json:
    feedback = _feedback(sections)
    prompt = _with_revision(sections.one("PREVIOUS PROMPT") or _sentence(_IDEAS[0]), feedback, MOTION_PROMPT_CHARS_MAX)
    return {"motion_prompt": prompt, "userMessage": _line(f"Changing the movement: {feedback}.")}


def _style(sections: Sections, avoided: list[str]) -> str:
    return _without(sections.one("MOVEMENT STYLE"), avoided).rstrip(" .")


def _styled(style: str) -> str:
    """Words of one's own come back as they were said, before what they are taken to mean."""
    idea = next((idea for pattern, idea in _STYLES if style and re.search(pattern, style.lower())), "")
    if not style or style in _STYLE_KEYS:
        return idea
    said = style.replace("_", " ")
    if not idea:
        return f"The movement is {_small_start(said)}"
    return idea if said.lower() in idea.lower() else f"{said}: {_small_start(idea)}"


def _nothing_else(avoided: list[str]) -> str:
    nothing_new = "The product keeps its shape and nothing new appears"
    return f"{nothing_new}, {', '.join(f'without {word}' for word in avoided)}" if avoided else nothing_new


# --- sentences -----------------------------------------------------------------------------------------------------


def _feedback(sections: Sections) -> str:
    avoided, said = sections.avoided(), sections.one("FEEDBACK").replace(REVISION, "").strip(" .")
    wanted = _small_start(_without(said, avoided).strip(" ."))
    if wanted:
        return wanted
    return ", ".join(f"without {word}" for word in avoided) if said and avoided else "a little better"


def _with_revision(previous: str, feedback: str, chars_max: int) -> str:
    """The base stays whole. Where room is short the oldest revisions become one, which then loses its oldest wishes."""
    base, revisions = split_prompt(previous)
    newest = _revision(_cut(feedback, chars_max // 4))
    room = chars_max - len(newest) - 1
    while revisions and len(_revised(base, revisions)) > room:
        if len(revisions) > 1:
            revisions[:2] = [f"{revisions[0].rstrip(' .')}; {revisions[1]}"]
        else:
            _, _, later = revisions[0].partition("; ")
            revisions = [later] if later else []
    return f"{_cut(_revised(base, revisions), room)} {newest}".strip()


def _revised(base: str, revisions: list[str]) -> str:
    return " ".join([base, *(_revision(text) for text in revisions)])


def _revision(text: str) -> str:
    return f"{REVISION} {text.rstrip(' .')}."


def _without(text: str, avoided: list[str]) -> str:
    """`text` less what it says of things to be avoided, so that what is left can still be read."""
    if not avoided:
        return text
    unwanted = re.compile("|".join(rf"\b{re.escape(_singular(word))}(?:e?s)?\b" for word in avoided), re.IGNORECASE)
    kept: list[str] = []
    for clause in re.split(r"(?<=[,.;!?])\s+", text):
        wanted = _less(clause, unwanted) if unwanted.search(clause) else clause
        if wanted:
            kept.append(wanted)
        elif kept and clause[-1] in ".!?":
            kept[-1] = kept[-1].rstrip(",; ") + "."
    return re.sub(r"\.+", ".", " ".join(kept)).strip(" ,;")


def _less(clause: str, unwanted: re.Pattern[str]) -> str:
    """The clause phrase by phrase; one that is only about the unwanted, or already denies it, goes altogether."""
    kept: list[str] = []
    denied = False
    for phrase in _PHRASE_BEGINS.split(clause.rstrip(",.;!?")):
        left = unwanted.sub(" ", phrase)
        if left == phrase:
            kept.append(re.sub(r"^(?:or|and)\b", "no", phrase) if denied else phrase)
        elif not _DENIES.match(phrase) and set(re.findall(r"[a-z]+", left.lower())) - _SMALL_WORDS:
            kept.append(left)
        denied = left != phrase and bool(_DENIES.match(phrase))
    words = " ".join(kept).split()
    while words and words[-1].lower() in _SMALL_WORDS:
        words.pop()
    while words and words[0].lower() in ("and", "or", "but", "with"):
        words.pop(0)
    return " ".join(words) + clause[len(clause.rstrip(",.;!?")) :] if words else ""


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


_PHRASE_BEGINS = re.compile(
    r"\s+(?=(?:and|or|but|with|without|no|beside|behind|near|under|among|plus)\b)", re.IGNORECASE
)
_DENIES = re.compile(r"^(?:and |or |but )?(?:no|not|without|never|avoid|remove|less|fewer|don't)\b", re.IGNORECASE)
_SMALL_WORDS = set(
    re.findall(
        r"\w+",
        "a an the and or but with without no not in on at of by to from for near under behind beside among plus some "
        "any more many lots few add put place show include remove",
    )
)


def _said_of_scene(prompt: str) -> str:
    return re.sub(rf"(?:{re.escape(KEPT_AS_IT_IS)}|{re.escape(TAKEN_AFTER)})[^.]*\.", "", prompt, flags=re.IGNORECASE)


def _one_sentence(text: str) -> str:
    return re.sub(r"\.\s+", "; ", text.strip()).rstrip(".")


def _joined(sentences: list[str]) -> str:
    return " ".join(_sentence(text) for text in sentences if text)


def _sentence(text: str) -> str:
    trimmed = text.strip()
    return f"{trimmed[:1].upper()}{trimmed[1:]}{'' if trimmed[-1:] in '.!?' else '.'}"


def _small_start(text: str) -> str:
    return text[:1].lower() + text[1:]


def _line(text: str) -> str:
    """At most one short line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= MESSAGE_CHARS_MAX else f"{_cut(flat, MESSAGE_CHARS_MAX - 1)}…"


def _cut(text: str, chars_max: int) -> str:
    """Ends at a word."""
    if len(text) <= chars_max:
        return text
    return text[: chars_max + 1].rsplit(" ", 1)[0][:chars_max].rstrip(" ,.;")


_ANSWERS: dict[str, Callable[[Sections, tuple[Picture, ...]], Json]] = {
    "mma.ctx.gpt_scanner": _scan,
    "mma.ctx.like_history": _like_history,
    "mma.ctx.gpt_reader": _read_brief,
    "mma.ctx.gpt_feedback_still": _revise_still,
    "mma.ctx.motion_suggestion": _suggest_motion,
    "mma.ctx.gpt_reader_motion": _read_motion,
    "mma.ctx.gpt_feedback_motion": _revise_motion,
}
