"""The error of an embedded server that does not run."""

from safelight.domain.errors.base import SafelightError


class DatabaseDown(SafelightError):
    """The embedded server does not run, and should. The message says what to do about it."""

    code = "DATABASE_DOWN"
