"""Our own code, broken by hand in many ways that lose, block, double or hide a generation: each must fail a test.

python -m tests.mutations             tries every one of list.toml
python -m tests.mutations --only 7    one of them
python -m tests.mutations --every 12  a twelfth of them
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("list.toml")


@dataclass(frozen=True, slots=True)
class Mutation:
    """`title` says what is wrong then; `test` is the fastest test that ought to notice."""

    title: str
    file: str
    text: str
    replacement: str
    test: str

    def applied_to(self, source: str) -> str:
        """Raises ValueError: the text is not there exactly once."""
        count = source.count(self.text)
        if count != 1:
            raise ValueError(f"{self.file} has the text {count} times, not once: {self.text!r}")
        return source.replace(self.text, self.replacement)


def listed() -> list[Mutation]:
    return [Mutation(**one) for one in tomllib.loads(LIST.read_text())["mutation"]]
