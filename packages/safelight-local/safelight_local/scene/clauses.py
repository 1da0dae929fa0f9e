"""The English of wishes: a text taken apart into single demands, and the nouns they are about."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

CLAUSES_MAX = 200

BACKDROP = r"background|backdrop|backgrounds|wall|walls|behind|surroundings|environment|setting|scenery"
SURFACE = r"surface|table|tabletop|floor|ground|counter|countertop|desk"
LIGHT = r"light|lights|lighting|lit|glow|glowing|neon|lamp"
LIGHT_WORDS = (
    r"\b(?:(?:soft|hard|warm|cool|natural|window|morning|evening|golden|diffused?|dramatic|side|back) ?"
    r"(?:light\w*|hour)?"
    r"(?=[ ,.;]|$)|sunlit|sunny|sunset|backlit|golden hour|low[- ]key|high[- ]key|neon|daylight|\w*light(?:ing)?)\b"
)
SURFACE_WORDS = (
    r"\b(?:(?:\w+ )?(?:marble|oak|wood(?:en)?|walnut|linen|stone|slate|granite|concrete|"
    r"terrazzo|sand|water|acrylic|glass)"
    r"(?: (?:table|surface|floor|top|plinth))?|surface|table|floor|counter|desk)\b"
)
THINGS = r"cup|mug|bottle|product|jar|box|can|shoe|sneaker|bag|label|logo|packaging|object|saucer|lid|cap|text"


@dataclass(frozen=True, slots=True)
class Clause:
    """One demand. `amount` is how much of it, `negated` says it is not wanted."""

    text: str
    negated: bool
    amount: float

    def says(self, pattern: str) -> bool:
        return re.search(rf"\b(?:{pattern})\b", self.text) is not None


def clauses(text: str) -> Iterator[Clause]:
    """Negation reaches to the next comma or `but`: `without steam or shadows`."""
    plain = re.sub(r"black[ -](?:and|&)[ -]white|\bb&w\b", "monochrome", text.lower().replace("’", "'"))
    for sentence in re.split(r"[.;!?\n]+", plain)[:CLAUSES_MAX]:
        negated_before = False
        for part in re.split(r",| but |\band\b|\bwith\b(?!out)|\binstead of\b(?=.)", sentence)[:CLAUSES_MAX]:
            words = part.strip()
            if not words:
                continue
            starts_negation = re.search(_NEGATION, words) is not None
            continues = negated_before and re.match(r"^(?:or\b|any\b|\w+$)", words) is not None
            negated_before = starts_negation or continues
            yield Clause(words, negated_before, _amount(words))


_NEGATION = (
    r"\b(?:no|not|without|never|avoid|remove|removing|delete|drop|lose|hide|skip|don't|doesn't|get rid of|free of|"
    r"zero)\b"
)


def _amount(text: str) -> float:
    if re.search(r"\b(?:slightly|a bit|bit|little|touch|tad|subtly|somewhat|gently)\b", text):
        return 0.5
    if re.search(r"\b(?:much|far|way|a lot|very|really|significantly|strongly|extremely|lots)\b", text):
        return 1.9
    return 1.0
