"""Code and documents use the field's standard terms (docs/glossary.md), and modules stand in small rooms."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "safelight").rglob("*.py"), *ROOT.glob("packages/*/safelight_*/**/*.py")])
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *ROOT.glob("packages/*/tests/**/*.py")])
MODULES_IN_A_FOLDER_MAX = 15
# Each was replaced by a standard term, and does not come back as the name of anything.
RETIRED = set(
    re.findall(
        r"\w+",
        """
    Manners may_be Folded Spelt OrderDesk Asked NameRequests introduced asking_operator Rates VISITS
    Studio STORIES stories Attempts _look_back _disown _hand_back _call_off _stop_if_asked _admission
    Gate watch_look _NOT_WELL GoOnLater WorkingHours UNTOUCHED is_late FORGET_WORKER_SECONDS OwnCopies Wanted _last_look
    has_passes follow_for_ever catch_up_for_ever TROUBLE Announcer announcer take_back adopt
    never_started Patience newborn_seconds shut_until is_shut weak_spots gather_credits examine Mended Findings
    ComeBackLater SignInUnavailable StillMaking EndedWithoutResult EndedByInput NeverStarted LookUpUnsupported
    normal_form may_be_claimed Said Fitted Stopping _unclear Seen Announcement Pace Dice rough calm
    spoils_answer _Darkroom _develop KNOWN_FORMS label_of blows _strike_worker error_of FailedOfAll FailedOfOne
    _put_right must_not_be_nobody stated_pass_id named_pass_id _somebody must_own is_away _matters rooms
    """,
    )
)
ON_THE_WIRE = {"shut_until"}  # fields of the API, of SQL and of settings do not change their names
RIDDLES = re.compile(r"(?:What|Where|How|Who|Whom|Whose|Whether|Why|When|Which)\b")


def names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                yield name
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name


def test_no_identifier_is_a_retired_word() -> None:
    for path in SOURCES:
        found = set(names(ast.parse(path.read_text()))) & (RETIRED - ON_THE_WIRE)
        assert not found, f"{path}: use the standard terms of docs/glossary.md instead of {sorted(found)}"


def documented(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def test_docstrings_name_their_subject_first() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in (*SOURCES, *TESTS)
        for line, text in documented(path)
        if RIDDLES.match(text)
    ]
    assert not found, "begin with the subject or the verb:\n" + "\n".join(found)


def test_a_class_name_stands_for_one_class() -> None:
    found = Counter(
        node.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in found.items() if times > 1] == []


def test_a_folder_holds_few_modules() -> None:
    found = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert {str(folder): count for folder, count in found.items() if count > MODULES_IN_A_FOLDER_MAX} == {}
