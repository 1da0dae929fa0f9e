"""Checks of shared secrets: their minimum strength, and comparison in constant time."""

import hashlib
import hmac

from safelight.domain.errors.base import ConfigError

SECRET_CHARS_MIN = 32
NEW_SECRET = "`openssl rand -hex 32` makes a new one"  # noqa: S105 - a command, no secret


def strong_secret(stated: str, source: str, remedy: str = NEW_SECRET) -> str:
    """The secret without surrounding white space. `source` names the setting or file that it comes from. Raises
    ConfigError if it is empty, short, or holds what a header cannot carry; the message says what to do."""
    secret = stated.strip()
    if len(secret) < SECRET_CHARS_MIN:
        found = f"has {len(secret)} characters" if secret else "is empty"
        raise ConfigError(f"{source} {found}; at least {SECRET_CHARS_MIN} are needed: {remedy}")
    if not all("!" <= char <= "~" for char in secret):
        raise ConfigError(f"{source} may hold only printable ASCII characters without spaces: {remedy}")
    return secret


def same_secret(stated: str | bytes, expected: str | bytes) -> bool:
    """Compare in constant time. False if either is empty."""
    return hmac.compare_digest(_digest(stated), _digest(expected)) and bool(stated) and bool(expected)


def _digest(secret: str | bytes) -> bytes:
    """A digest, so that secrets of any length are compared at equal length."""
    content = secret.encode(errors="surrogatepass") if isinstance(secret, str) else secret
    return hashlib.sha256(content).digest()
