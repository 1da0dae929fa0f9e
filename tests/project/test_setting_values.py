"""Settings: a wrong one ends a command at once, with one line that names it and exit code 2; an unknown one is warned of."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from safelight import cli
from safelight.config import Settings, deprecated_settings, unknown_settings
from safelight.settings.values import nearest
from tests.db.test_database_urls import safelight


@pytest.fixture(autouse=True)
def process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command sets up the log and the hook for crashes of its process, which here is that of all tests."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LOG_LEVEL", "loud", "DEBUG, INFO"),
        ("LOG_LEVEL", "", "DEBUG, INFO"),
        ("STORAGE_URL", "", "is empty"),
        ("STORAGE_URL", "ftp://files", "file:///PATH"),
        ("STORAGE_URL", "s3://key:secret@bucket", "file:///PATH"),
        ("STORAGE_URL", "s3://bucket", "S3_ACCESS_KEY_ID"),
        ("PRIVATE_STORAGE_URL", "file:///proc/none", "cannot be kept"),
        ("PUBLIC_URL", "example.com", "must begin with http"),
        ("PUBLIC_URL", "https://example.com/?a=1", "query"),
        ("WEBHOOK_URL", "https://user:pw@example.com", "no password"),
        ("HOME", "", "is empty"),
        ("HOME", "/dev/null/home", "cannot be used"),
        ("HOME", "~nobody-here/home", "leads nowhere"),
        ("LOG_FILE", "/", "is a folder"),
        ("LOG_FILE", "/proc/none/log", "cannot be written"),
        ("LOCAL_FAULT", "no_step:timeout", "is no step"),
        ("LOCAL_FAULT", "gpt_reader:odd", "is no fault"),
        ("LOCAL_FAULT", "gpt_reader", "is no fault"),
        ("PORT", "http", "integer"),
        ("PORT", '"8787"', "quotation marks"),
        ("HOST", "host.invalid", "no address of this machine"),
        ("HOST", "203.0.113.7", "no address of this machine"),
        ("HOST", "http://0.0.0.0", "an IP address"),
        ("AUTH", "yes", "'optional' or 'required'"),
        ("STAND_IN", "maybe", "'allow' or 'refuse'"),
        ("OPENAI_API_KEY", "'sk-quoted-secret'", "quotation marks"),
        ("CORS_ORIGINS", "https://app.example.com/", "without a path"),
        ("FETCH_ALLOW_HOSTS", "localhost", "a host and port"),
        ("ADMIN_EMAILS", "ada", "an e-mail address"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy", "neither an address"),
        ("CREDIT_PRODUCTS", "{odd", "not JSON"),
        ("WORKER_CONCURRENCY", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    value: str,
    said: str,
):
    monkeypatch.setenv("SAFELIGHT_HOME", str(tmp_path))
    monkeypatch.setenv(f"SAFELIGHT_{name}", value)
    monkeypatch.setattr(sys, "argv", ["safelight", "api", "--port", "0"] if name != "PORT" else ["safelight", "api"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert (ended.value.code, told.count("\n")) == (2, 1), told
    assert told.startswith(f"safelight: SAFELIGHT_{name}")
    assert said in told
    assert "sk-quoted-secret" not in told


@pytest.mark.parametrize(
    ("stated", "known"),
    [
        ("SAFELIGHT_DATABSE_URL", "SAFELIGHT_DATABASE_URL"),
        ("SAFELIGHT_WORKERS_CONCURRENCY", "SAFELIGHT_WORKER_CONCURRENCY"),
        ("SAFELIGHT_LOGLEVEL", "SAFELIGHT_LOG_LEVEL"),
        ("SAFELIGHT_ZZZ", ""),
    ],
)
def test_the_nearest_known_name_is_found(stated: str, known: str):
    names = [f"SAFELIGHT_{name}".upper() for name in Settings.model_fields]
    assert nearest(stated, names, "SAFELIGHT_") == known


def test_an_unknown_setting_is_warned_of_with_the_nearest_known_one(tmp_path: Path):
    done = safelight(tmp_path, "db", "status", SAFELIGHT_LOGLEVEL="DEBUG", SAFELIGHT_ZZZ="1")
    assert "SAFELIGHT_LOGLEVEL is unknown and has no effect; did you mean SAFELIGHT_LOG_LEVEL?" in done.stderr
    assert "SAFELIGHT_ZZZ is unknown and has no effect; docs/settings.md" in done.stderr


RENAMED = {
    "FREE_CREDITS": ("SIGNUP_CREDITS", 7),
    "START_WITHIN_SECONDS": ("QUEUE_TIMEOUT_SECONDS", 60.0),
    "LEGACY_WAIT_SECONDS": ("SYNC_RESULT_TIMEOUT_SECONDS", 2.5),
    "PROVIDER_START_SECONDS": ("PROVIDER_START_TIMEOUT_SECONDS", 9.0),
    "PROVIDER_CHECK_SECONDS": ("PROVIDER_POLL_INTERVAL_SECONDS", 1.0),
    "RESULT_URL_SECONDS": ("PROVIDER_RESULT_TTL_SECONDS", 30.0),
    "LOCAL_WAIT_SECONDS": ("LOCAL_LATENCY_SECONDS", 4.0),
    "ORDERS_PER_MINUTE": ("RATE_LIMIT_WRITES_PER_MINUTE", 0),
    "VISITS_PER_MINUTE": ("RATE_LIMIT_PUBLIC_PER_MINUTE", 1),
    "REPORTS_PER_MINUTE": ("RATE_LIMIT_ERROR_REPORTS_PER_MINUTE", 2),
}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_of_a_setting_is_accepted_and_reported(monkeypatch: pytest.MonkeyPatch, old: str):
    new, value = RENAMED[old]
    monkeypatch.setenv(f"SAFELIGHT_{old}", str(value))
    assert getattr(Settings(), new.lower()) == value
    assert deprecated_settings() == [
        f"The setting SAFELIGHT_{old} is deprecated and is now called SAFELIGHT_{new}: rename it; the old name still"
        " works"
    ]
    assert unknown_settings() == {}


@pytest.mark.parametrize("old", RENAMED)
def test_of_an_old_and_a_new_name_the_new_one_wins_and_the_line_says_so(monkeypatch: pytest.MonkeyPatch, old: str):
    new, value = RENAMED[old]
    monkeypatch.setenv(f"SAFELIGHT_{old}", "not read")
    monkeypatch.setenv(f"safelight_{new.lower()}", str(value))
    assert getattr(Settings(), new.lower()) == value
    assert f"both are set, and SAFELIGHT_{new} is used" in deprecated_settings()[0]


def test_a_wrong_value_under_an_old_name_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SAFELIGHT_FREE_CREDITS", "many")
    with pytest.raises(ValidationError, match="SAFELIGHT_SIGNUP_CREDITS"):
        Settings()


def test_a_process_of_our_own_is_started_with_the_new_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SAFELIGHT_FREE_CREDITS", "7")
    environment = Settings().as_environment()
    assert environment["SAFELIGHT_SIGNUP_CREDITS"] == "7"
    assert "SAFELIGHT_FREE_CREDITS" not in environment


def test_an_old_name_is_logged_at_the_start(tmp_path: Path):
    done = safelight(tmp_path, "db", "status", SAFELIGHT_FREE_CREDITS="1", SAFELIGHT_SIGNUP_CREDITS="2")
    assert done.stderr.count("SAFELIGHT_FREE_CREDITS is deprecated and is now called SAFELIGHT_SIGNUP_CREDITS") == 1
    assert "is unknown" not in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["generations", "list", "-h"]])
def test_version_and_help_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
):
    monkeypatch.setattr(sys, "argv", ["safelight", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert ("safelight " in capsys.readouterr().out) or arguments != ["--version"]
