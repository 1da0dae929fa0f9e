"""Keeps what a row must not show in clear: sealed with a key that is not in the database."""

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken

from safelight.domain.errors.base import ConfigError

PURPOSE = b"safelight: URLs of input pictures"


class Sealer:
    """`secret` is the one that also signs our URLs: every node of an installation has the same."""

    def __init__(self, secret: bytes) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(hmac.digest(secret, PURPOSE, hashlib.sha256)))

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """Raises ConfigError where another secret has sealed it."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            told = "sealed with another secret: give every node the same SAFELIGHT_SECRET"
            raise ConfigError(told) from error
