"""Keeps what a row must not show in clear: sealed with a key that is not in the database.

Redaction is for records. Where it changes a part of one that the pipeline reads back, the record holds that part a
second time, sealed, and says so; whoever goes on takes the sealed one, so that a model is sent every text as it was
written.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from safelight.domain.errors.base import ConfigError
from safelight.redaction import DEFAULT_REDACTOR

Json = dict[str, Any]

PURPOSE = b"safelight: URLs of input pictures"
SEALED, NOTE = "sealed", "redacted"
SAID = "Shown here without what looks like a secret. The model is sent the text as it was written."


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


def sealed_parts(sealer: Sealer | None, record: Mapping[str, Any], names: Collection[str]) -> Json:
    """The additions to the record: its parts that redaction changes, sealed. Empty if it changes none."""
    changed = [name for name in names if name in record and DEFAULT_REDACTOR.changes(record[name])]
    if sealer is None or not changed:
        return {}
    return {SEALED: {name: sealer.seal(json.dumps(record[name])) for name in changed}, NOTE: SAID}


def restored(sealer: Sealer | None, record: Json, sealed: Mapping[str, str]) -> Json:
    """The record with its sealed parts as they were. Raises ConfigError where another secret has sealed them."""
    if sealer is None:
        return record
    return record | {name: json.loads(sealer.unseal(token)) for name, token in sealed.items() if name in record}
