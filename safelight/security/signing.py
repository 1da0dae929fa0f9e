"""Keyed hashes and short-lived tokens, made with the deployment's secret: nobody can forge or predict them without
it."""

import hashlib
import hmac
import time
from collections.abc import Callable

HASH_CHARS = 32


class Signer:
    """Derives a key for each purpose from the deployment's secret, so that a signature for one purpose is not valid for
    another.

    `clock` gives seconds since 1970.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def keyed_hash(self, purpose: str, text: str) -> str:
        """128 bits as 32 hexadecimal digits; always the same for the same text."""
        return self._mac(purpose, text)[:HASH_CHARS]

    def token(self, purpose: str, subject: str, *, seconds: int) -> str:
        """A token that is valid for this subject for `seconds`: `<expiry, epoch seconds>.<signature>`."""
        expires = str(int(self._clock()) + seconds)
        return f"{expires}.{self._expiring_mac(purpose, subject, expires)}"

    def holds(self, purpose: str, subject: str, token: str) -> bool:
        """True if the token was made by `token` for this purpose and subject, and has not expired."""
        expires, _, signature = token.partition(".")
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= len(str(2**63))):
            return False
        expected = self._expiring_mac(purpose, subject, expires)
        return hmac.compare_digest(expected.encode(), signature.encode()) and self._clock() <= int(expires)

    def _expiring_mac(self, purpose: str, subject: str, expires: str) -> str:
        return self._mac(purpose, f"{expires}\n{subject}")

    def _mac(self, purpose: str, text: str) -> str:
        key = hmac.new(self._secret, purpose.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
