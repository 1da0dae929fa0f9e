"""The documents name files that are there, by the names they have."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GLOSSARY = DOCS / "glossary.md"
ARCHITECTURE = DOCS / "ARCHITECTURE.md"
ENTRIES = re.findall(r"^\* .*$", GLOSSARY.read_text(), re.M)
GUIDES = [
    GLOSSARY,
    ARCHITECTURE,
    DOCS / "STYLE.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((DOCS / "contract").glob("*.md")),
]
# The nouns that a newcomer looks up first.
NOUNS = {
    "MMA", "MEGA", "pass id", "plane", "generation", "flow", "step", "attempt", "operation", "engine", "adapter", "model", "context",
    "settings version", "registry", "runtime override", "lease", "fence", "snooze", "reaper", "doctor", "asset", "result", "ledger",
    "charge", "refund", "signed URL", "stand-in", "idempotency key", "take-over",
}  # fmt: skip


def links(text: str) -> list[tuple[str, str]]:
    """Label and target of each link to a file of the repository."""
    return re.findall(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)", text)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.split("**")[1])
def test_each_noun_of_the_glossary_links_to_its_module(entry: str):
    targets = [(DOCS / target).resolve() for _, target in links(entry)]
    assert any(
        {ROOT / "safelight", ROOT / "packages"} & set(target.parents) and target.is_file() for target in targets
    ), entry


def test_the_glossary_has_the_nouns_and_each_once_in_order():
    named = [entry.split("**")[1] for entry in ENTRIES]
    assert {name.strip() for entry in named for name in entry.split(",")} >= NOUNS
    assert [name.lower() for name in named] == sorted({name.lower() for name in named}), "in alphabetical order"


@pytest.mark.parametrize("document", GUIDES, ids=lambda path: path.name)
def test_a_file_is_called_what_its_link_says(document: Path):
    for label, target in links(document.read_text()):
        path = (document.parent / target).resolve()
        assert path.exists(), f"{target} is not there"
        if re.fullmatch(r"[\w/.-]+\.(py|sql|md|toml)", label):
            assert path.name == Path(label).name, f"the link to {target} is labelled {label}"


@pytest.mark.parametrize("document", GUIDES, ids=lambda path: path.name)
def test_every_path_that_a_document_names_exists(document: Path):
    """Paths in code marks: from the root of the repository, or from the package, or the name of one file."""
    for path in re.findall(r"`([\w./-]+(?:/|\.(?:py|sql|toml)))`", document.read_text()):
        found = any((base / path).exists() for base in (ROOT, ROOT / "safelight", document.parent))
        assert found or list((ROOT / "safelight").rglob(path)), f"{document.name}: {path} is not there"


def test_the_walk_leads_from_the_request_to_the_picture():
    """The files of the walk, in the order of a generation's life."""
    walk = ARCHITECTURE.read_text().partition("## A newcomer's walk")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d+\. (.*(?:\n +.*)*)", walk, re.M)
    assert len(steps) >= 10
    assert all(links(step) for step in steps)
    assert "/mma/still/create" in ARCHITECTURE.read_text().partition("## A newcomer's walk")[2].partition("\n")[0]
