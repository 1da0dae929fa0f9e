"""Writes the table of docs/licences.md from the metadata of what is installed.

python -m tests.support.licences
"""

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

FILE = Path(__file__).parents[2] / "docs" / "licences.md"
HEAD = "| package | licence |\n|---|---|\n"
OWN = {"safelight", "safelight-local"}
FULL_NAMES = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License": "ISC",
}


def run_time_packages() -> set[str]:
    """The distributions of an installation of safelight with all extras, on this machine."""
    found = {("safelight", "all")}
    waiting = list(found)
    while waiting:
        package, extra = waiting.pop()
        for requirement in map(Requirement, metadata.requires(package) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                name = re.sub(r"[-_.]+", "-", requirement.name).lower()
                new = {(name, wanted) for wanted in ("", *requirement.extras)} - found
                found |= new
                waiting += new
    return {package for package, _ in found} - OWN


def licence_of(package: str) -> str:
    """The expression, else the short text, else the classifiers."""
    stated = metadata.metadata(package)
    text = stated.get("License-Expression") or stated.get("License") or ""
    if not text or len(text) > 60:
        classified = stated.get_all("Classifier") or ()
        text = " OR ".join(line.rpartition(" :: ")[2] for line in classified if line.startswith("License ::"))
    return FULL_NAMES.get(text, text)


def table() -> str:
    return HEAD + "".join(f"| {name} | {licence_of(name)} |\n" for name in sorted(run_time_packages()))


if __name__ == "__main__":
    before, _, _ = FILE.read_text().partition(HEAD)
    FILE.write_text(before + table())
