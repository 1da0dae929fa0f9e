"""Errors of libraries as errors of ours, which `main` prints on one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from pydantic import ValidationError

from safelight.config import Settings
from safelight.domain.errors.base import ConfigError, SafelightError
from safelight.settings.fields import PREFIX


class DatabaseFailed(SafelightError):
    """The database cannot be reached, or broke off."""

    code = "DATABASE_FAILED"


@contextmanager
def translated() -> Iterator[None]:
    """Raises DatabaseFailed for errors of the connection, and ConfigError for settings that are not valid."""
    try:
        yield
    except psycopg.OperationalError as error:
        database = f"{PREFIX}DATABASE_URL" if Settings().database_url else "the embedded database"
        raise DatabaseFailed(f"{database}: {error}") from error
    except ValidationError as error:
        problems = [_problem(one["loc"], one["msg"]) for one in error.errors()]
        raise ConfigError("; ".join(problems)) from error


def _problem(path: tuple[int | str, ...], message: str) -> str:
    name = "_".join(map(str, path)).upper()
    setting = name if name not in map(str.upper, Settings.model_fields) else f"{PREFIX}{name}"
    return f"{setting}: {message.removeprefix('Value error, ')}"
