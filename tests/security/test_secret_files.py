"""A secret that could be guessed, or is none, stops the start with one line; those in files are whole and private."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.domain.errors.base import ConfigError
from safelight.domain.shared_secrets import SECRET_CHARS_MIN, same_secret
from tests.support.commands import run_safelight

FILES = ["admin-token", "secret"]
NO_SECRETS = {
    "empty": b"",
    "white space": b" \n\t \n",
    "one letter": b"a",
    "one too short": b"a" * (SECRET_CHARS_MIN - 1) + b"\n",
    "padded": b" " * 60 + b"abc" + b" " * 60,
    "words": b"a secret of several words that is long",
    "two lines": b"a" * 32 + b"\n" + b"b" * 32,
    "not text": b"\xff" * 64,
    "NUL": b"\0" * 64,
    "endless": b"a" * 5000,
}


def app(home: Path, **settings: Any) -> App:
    return App(Settings(home=home, database_url="postgresql:///nowhere", **settings))


def problem(home: Path, **settings: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        app(home, **settings).check_secrets()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", NO_SECRETS.values(), ids=NO_SECRETS)
def test_a_file_that_holds_no_secret_stops_the_start_and_is_named(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    (tmp_path / name).chmod(0o600)
    said = problem(tmp_path)
    assert said.startswith(str(tmp_path / name))
    assert f"delete {tmp_path / name} and start again to have a new one made" in said
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_not_read(tmp_path: Path, name: str):
    path = tmp_path / name
    path.mkdir()
    assert f"{path} is no regular file" in problem(tmp_path)
    path.rmdir()
    os.mkfifo(path)
    assert f"{path} is no regular file" in problem(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    assert f"{path} cannot be used: No such file" in problem(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert f"{path} is no regular file" in problem(tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o602])
def test_what_others_could_read_is_the_owners_alone_from_now_on(tmp_path: Path, name: str, mode: int):
    (tmp_path / name).write_text("ab" * 32 + "\n")
    (tmp_path / name).chmod(mode)
    app(tmp_path).check_secrets()
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", FILES)
def test_a_mode_that_cannot_be_put_right_stops_the_start(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / name).write_text("ab" * 32)
    (tmp_path / name).chmod(0o644)
    monkeypatch.setattr(os, "fchmod", refuse)
    assert f"`chmod 600 {tmp_path / name}`" in problem(tmp_path)


@pytest.mark.parametrize("around", ["", "\n", "\r\n", "  \n"])
def test_white_space_around_a_secret_is_no_part_of_it(tmp_path: Path, around: str):
    (tmp_path / "admin-token").write_text(f"{'ab' * 32}{around}")
    (tmp_path / "secret").write_text(f"{'cd' * 32}{around}")
    started = app(tmp_path)
    started.check_secrets()
    assert started.admin_token() == "ab" * 32
    assert app(tmp_path, admin_token=f"{'ef' * 32}{around}").admin_token() == "ef" * 32


def test_a_secret_is_made_once_private_and_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    home = tmp_path / "home"
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(app(home).admin_token())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1
    assert [path.name for path in home.iterdir()] == ["admin-token"]
    assert (home / "admin-token").stat().st_mode & 0o777 == 0o600
    assert str(home) in synced
    assert any(".admin-token." in path for path in synced)


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_secret_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    assert "No space left on device" in problem(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stated", ["a", "a" * 31, "   ", "\n", "a token of many words, long enough", "ä" * 40])
def test_a_setting_that_is_no_secret_stops_every_command(tmp_path: Path, stated: str):
    with pytest.raises(ConfigError, match=r"^SAFELIGHT_ADMIN_TOKEN ") as raised:
        app(tmp_path, admin_token=stated)
    assert len(stated.strip()) < 3 or stated.strip() not in str(raised.value)


@pytest.mark.parametrize("name", ["shopify_webhook_secret", "jwt_secret", "replicate_webhook_secret", "fal_key"])
def test_no_setting_of_a_secret_is_white_space(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match=f"^SAFELIGHT_{name.upper()} "):
        app(tmp_path, **{name: " \n"})


@pytest.mark.parametrize(
    ("command", "files", "settings"),
    [
        ("up", {"admin-token": ""}, {}),
        ("up", {}, {"SAFELIGHT_ADMIN_TOKEN": "a"}),
        ("api", {"secret": "short"}, {}),
        ("worker", {"admin-token": "\n"}, {}),
        ("worker", {"secret": "z" * 31}, {}),
        ("api", {"secret": ""}, {}),
        ("doctor", {}, {"SAFELIGHT_ADMIN_TOKEN": " "}),
    ],
)
def test_a_command_ends_with_one_line(tmp_path: Path, command: str, files: dict[str, str], settings: dict[str, str]):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    environment = {**os.environ, "SAFELIGHT_HOME": str(tmp_path), "SAFELIGHT_PORT": "0", **settings}
    done = run_safelight(command, environment=environment)
    [line] = done.stderr.splitlines()
    assert line.startswith(
        f"safelight: {tmp_path / next(iter(files))} " if files else "safelight: SAFELIGHT_ADMIN_TOKEN "
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("stated", "expected", "same"),
    [("", "", False), ("", "x", False), ("x", "", False), (b"", b"", False), ("x", "x", True), ("\ud800", "x", False)],
)
def test_nothing_is_the_same_as_an_empty_secret(stated: str, expected: str, same: bool):
    assert same_secret(stated, expected) is same
