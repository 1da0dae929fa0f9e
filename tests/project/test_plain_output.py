"""Text of customers and providers reaches terminals and log lines as text: it styles nothing, moves no cursor, and
begins no line of its own."""

import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from safelight import telemetry
from safelight.cli import output
from safelight.domain.untrusted.text import json_text, printable, storable
from tests.conftest import Backend, running
from tests.pipelines.engine.test_failed_generations import safelight

MARKUP = [
    "[/x]",
    "[bold]loud[/bold]",
    "[link=https://evil.example]here[/link]",
    "[/]",
    "[",
    "a\\[/x]",
    ":fire:",
    "[red",
    "\\",
]
ACTING = {
    "clear screen": "\x1b[2J\x1b[H", "colour": "\x1b[31mred", "title": "\x1b]0;title\x07", "link": "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07", "C1": "\x9b2J", "C1 string": "\x90q\x9c", "bell": "\x07", "backspace": "abc\x08\x08\x08xyz", "return": "paid\rfree",
    "newline": "one\n10:00:00 | INFO    | safelight | 💳 [CREDIT] granted", "next line": "a\x85b", "separators": "a\u2028b\u2029c", "vertical": "a\x0bb\x0cc",
    "file separators": "a\x1cb\x1db\x1e", "delete": "a\x7fb", "bidi": "\u202egnp.exe", "isolates": "a\u2066b\u2069", "no width": "pa\u200bss\ufeff\u2060", "tags": "a\U000e0041",
}  # fmt: skip
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")
HOSTILE = "".join(MARKUP[:4]) + "".join(text.replace("\0", "") for text in ACTING.values())


def is_one_line(text: str) -> bool:
    return len(text.splitlines()) == 1 and not UNSAFE.search(text)


@pytest.mark.parametrize("text", [*ACTING.values(), *MARKUP])
def test_text_is_printed_as_one_line_of_text(text: str, capsys: pytest.CaptureFixture[str]):
    output.console.print(f"<{text}>", soft_wrap=True)
    output.console.print(output.line(("<", "dim"), text, (">", "bold")), soft_wrap=True)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"<{printable(text)}>"] * 2
    assert all(is_one_line(line) for line in printed)


@pytest.mark.parametrize("text", [*ACTING.values(), *MARKUP, "\0", "\ud800"])
def test_json_stays_json_and_holds_no_raw_control_character(text: str, capsys: pytest.CaptureFixture[str]):
    output.print_json({"text": text, text: [text], "plain": "grün 日本 💳"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"text": text, text: [text], "plain": "grün 日本 💳"}
    assert not UNSAFE.search(printed)
    assert "grün 日本 💳" in printed


@pytest.mark.parametrize("text", ACTING.values())
def test_the_last_line_of_a_failed_command_is_one(text: str):
    with pytest.raises(SystemExit) as ended:
        output.end_with(f"there is no generation {text}")
    assert is_one_line(str(ended.value))


def test_only_one_module_prints():
    """Only `cli.output` prints; the other modules call it."""
    sources = Path(output.__file__).parents[1].rglob("*.py")
    makers = [
        path.name for path in sources if re.search(r"\bConsole\(|\bText[.(]|from_markup|rich\.print", path.read_text())
    ]
    assert sorted(set(makers)) == ["output.py"]


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def hostile(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Backend, str]]:
    """A failed generation of whose texts each is hostile."""
    async with running(module_dsn, tmp_path_factory.mktemp("home"), local_fault="gpt_reader:rejected") as backend:
        pass_id = "pass:[/x][link=https://evil.example]"
        await backend.grant(1, pass_id)
        accepted = await backend.create(passId=pass_id, inputs={"brief": "a cup [/nope] \x1b[2J"}, title="[/t]")
        made = await backend.finished(accepted)
        assert made["status"] == "error"
        id = made["generation_id"]
        backend.sql("alter table mega_generations disable trigger user")
        backend.sql("alter table image_generation_logs disable trigger user")
        backend.sql(
            "update mega_generations set mg_error = %s, mg_prompt = %s, mg_model = %s, mg_provider = %s"
            " where mg_generation_id = %s",
            *[HOSTILE] * 4, id,
        )  # fmt: skip
        backend.sql("update image_generation_logs set message = %s", HOSTILE)
        backend.sql(
            "update mega_generations set mg_meta = mg_meta || %s where mg_id = %s",
            Jsonb({"error": {"message": HOSTILE}}),
            f"generation:{id}",
        )
        backend.sql(
            "insert into safelight.provider_state (adapter, failures, last_failure) values (%s, 3, %s)",
            HOSTILE[:90],
            HOSTILE,
        )
        yield backend, id


COMMANDS = [
    "generations list", "generations show ID", "generations logs ID", "failures --hours 24", "stuck", "providers", "doctor",
    "assets verify", "generations cancel ID", "credits grant pass:[/x] 1", "credits ledger pass:[/x]", "status",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_prints_hostile_texts_as_text(hostile: tuple[Backend, str], command: str):
    backend, id = hostile
    done = safelight(backend, *[id if word == "ID" else word for word in command.split()])
    assert "Traceback" not in done.stderr
    assert not UNSAFE.search(done.stdout.replace("\t", " ") + done.stderr), command  # a pipe gets tab-separated values
    assert not re.search(r"(?m)^10:00:00 \| INFO", done.stdout + done.stderr)
    if "ID" in command and "cancel" not in command:
        assert r"\x1b[2J" in done.stdout
    if command == "generations list":
        assert "[/x]" in done.stdout.replace("\n", "")


@pytest.mark.parametrize("command", ["generations list", "generations show ID", "failures --hours 24", "providers"])
async def test_json_of_a_command_can_be_read(hostile: tuple[Backend, str], command: str):
    backend, id = hostile
    done = safelight(backend, *[id if word == "ID" else word for word in command.split()], "--json")
    assert done.returncode == 0
    assert not UNSAFE.search(done.stdout)
    assert json.loads(done.stdout)


# --- log lines -------------------------------------------------------------------------------------------------------


@contextmanager
def logged_to(file: Path) -> Iterator[None]:
    """Lines go to the file, and to what is standard error now."""
    telemetry.configure("INFO", file)
    try:
        yield
    finally:
        telemetry.configure("INFO", None, console=False)


@pytest.mark.parametrize("name", ["safelight", "uvicorn.error", "procrastinate.worker", "psycopg.pool", "asyncio"])
@pytest.mark.parametrize("text", ACTING.values())
def test_a_record_is_one_line_whoever_writes_it(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with logged_to(tmp_path / "log"):
        logging.getLogger(name).warning("the provider says %s", text, extra={"fields": {"said": text}})
    [line], console = (tmp_path / "log").read_text().splitlines(), capsys.readouterr().err
    assert json.loads(line)["message"] == f"the provider says {text}"
    assert is_one_line(line)
    assert is_one_line(console.removesuffix("\n"))
    assert console.endswith(f"| the provider says {printable(text)}\n")


def test_a_traceback_forges_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError as error:
        with logged_to(tmp_path / "log"):
            telemetry.error("🔥", telemetry.Tag.API, f"failed: {error}", error)
    first, *others = capsys.readouterr().err.splitlines()
    assert "failed: " in first
    assert others
    assert all(line.startswith(telemetry.TRACE_INDENT) for line in others)
    assert not any(UNSAFE.search(line) for line in [first, *others])
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_crash_is_printed_without_control_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from safelight.app import App  # noqa: PLC0415
    from safelight.config import Settings  # noqa: PLC0415
    from safelight.crashes import report_crashes  # noqa: PLC0415

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("safelight.crashes._write_crash", lambda *_: None)
    report_crashes(App(Settings(home=tmp_path, database_url="postgresql:///nowhere")))
    sys.excepthook(ValueError, ValueError("\x1b[2J"), None)
    assert capsys.readouterr().err == "ValueError: \\x1b[2J\n"


# --- rows ------------------------------------------------------------------------------------------------------------


async def test_what_no_database_can_hold_is_replaced_on_its_way_to_any_column(hostile: tuple[Backend, str]):
    backend, _ = hostile
    value: dict[str, Any] = {"a\0": ["b\0", {"c": "\ud800d"}], "n": 1}
    async with backend.app.database() as db, db.connection() as conn:
        row = await (await conn.execute("select %s::text as text, %s as json", ["x\0y\udfff", Jsonb(value)])).fetchone()
    assert row == {"text": "x�y�", "json": storable(value)}
    with pytest.raises(psycopg.DataError), psycopg.connect(backend.dsn) as plain:
        plain.execute("select %s::text", ["x\0y"])


def test_json_text_is_json_of_any_value():
    for value in ({"a": [1, None, True, 1.5]}, [], "x", 1):
        assert json.loads(json_text(value, indent=2)) == value
