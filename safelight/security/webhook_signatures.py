"""Checks of webhooks: their signature, their age, and that they were not received before.

A check raises if one of these fails. Replays are detected only by the process that received the webhook; in another
process a replay costs one status poll at the provider and changes nothing.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from safelight.domain.errors.base import ConfigError, ProviderUnavailable, WebhookRefused, WebhookReplayed
from safelight.domain.shared_secrets import same_secret
from safelight.security.jwks import Clock, JwksCache, JwksUnavailable

WebhookCheck = Callable[[Mapping[str, str], bytes], Awaitable[None]]  # headers and body

AGE_SECONDS_MAX = 300
REMEMBERED_MAX = 10_000
SIGNATURES_MAX = 10
KEYS_SECONDS_MAX = 24 * 3600.0
KEYS_SECONDS_MIN = 60.0  # a flood of false signatures must not become a flood of requests
KEYS_PAUSE_SECONDS = 5.0  # after the keys could not be fetched


async def unsigned(headers: Mapping[str, str], body: bytes) -> None:
    """The check for the simulated provider, which signs nothing. A forged webhook costs one status poll."""


class StandardWebhooks:
    """The Standard Webhooks scheme, with which Replicate signs: HMAC-SHA256 over `id.timestamp.body`."""

    def __init__(self, secret: str, clock: Clock = time.time) -> None:
        try:
            self._key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error as error:
            raise ConfigError("SAFELIGHT_REPLICATE_WEBHOOK_SECRET must be whsec_ and base64") from error
        if not self._key:
            raise ConfigError("SAFELIGHT_REPLICATE_WEBHOOK_SECRET has no key after whsec_")
        self._clock = clock
        self._seen = ReplayGuard(clock)

    async def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raises WebhookRefused, or WebhookReplayed."""
        message_id, timestamp = _header(headers, "webhook-id"), _header(headers, "webhook-timestamp")
        stated = _header(headers, "webhook-signature").split()[:SIGNATURES_MAX]
        check_age(timestamp, self._clock())
        signed = hmac.new(self._key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(signed).decode()}".encode()
        if not any(same_secret(one, expected) for one in stated):
            raise WebhookRefused("The webhook's signature does not fit.")
        self._seen.remember(f"{message_id}.{timestamp}")


class FalSignatures:
    """fal's scheme: Ed25519 over request id, user id, timestamp and the body's SHA-256, a line each; the public keys
    are at `keys_url`, and kept for at most a day."""

    def __init__(self, keys_url: str, clock: Clock = time.time, cache_clock: Clock = time.monotonic) -> None:
        name = "fal's webhook keys"
        self._cache = JwksCache(keys_url, _keys_of, pause_seconds=KEYS_PAUSE_SECONDS, name=name, clock=cache_clock)
        self._clock = clock
        self._seen = ReplayGuard(clock)

    async def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raises WebhookRefused, WebhookReplayed, or ProviderUnavailable if the keys cannot be fetched."""
        request_id, user_id, timestamp, stated = (
            _header(headers, f"x-fal-webhook-{name}") for name in ("request-id", "user-id", "timestamp", "signature")
        )
        check_age(timestamp, self._clock())
        message = "\n".join([request_id, user_id, timestamp, hashlib.sha256(body).hexdigest()]).encode()
        try:
            signature = bytes.fromhex(stated)
        except ValueError as error:
            raise WebhookRefused("The webhook's signature must be hexadecimal.") from error
        if not await self._fits(message, signature):
            raise WebhookRefused("The webhook's signature does not fit.")
        self._seen.remember(f"{request_id}.{timestamp}")

    async def _fits(self, message: bytes, signature: bytes) -> bool:
        """If no known key fits, there may be newer ones."""
        try:
            for seconds_max in (KEYS_SECONDS_MAX, KEYS_SECONDS_MIN):
                if is_signed(message, signature, await self._cache.keys(age_max=seconds_max, stale_max=seconds_max)):
                    return True
        except JwksUnavailable as error:
            raise ProviderUnavailable(str(error)) from error
        return False


class ReplayGuard:
    """Detects replays: remembers recent webhooks, up to REMEMBERED_MAX of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: OrderedDict[str, float] = OrderedDict()

    def remember(self, what: str) -> None:
        """Raises WebhookReplayed if it was remembered within the time that a webhook is valid."""
        now = self._clock()
        while self._times and next(iter(self._times.values())) < now - 2 * AGE_SECONDS_MAX:
            self._times.popitem(last=False)
        if what in self._times:
            raise WebhookReplayed("This webhook was taken before.")
        self._times[what] = now
        if len(self._times) > REMEMBERED_MAX:
            self._times.popitem(last=False)


def is_signed(message: bytes, signature: bytes, keys: Iterable[Ed25519PublicKey]) -> bool:
    """True if one of the keys made the signature."""
    for key in keys:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False


def check_age(timestamp: str, now: float) -> None:
    """Raises WebhookRefused for a time (Unix seconds) that is not within AGE_SECONDS_MAX of now."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise WebhookRefused("The webhook's timestamp must be Unix seconds.")
    if abs(now - int(timestamp)) > AGE_SECONDS_MAX:
        raise WebhookRefused(f"The webhook's timestamp is more than {AGE_SECONDS_MAX} seconds off.")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise WebhookRefused(f"The webhook has no header {name}.")
    return value


def _keys_of(entries: list[dict[str, Any]]) -> list[Ed25519PublicKey]:
    """The keys for Ed25519; those of other kinds are left out."""
    found = []
    for entry in entries:
        with suppress(jwt.PyJWTError):
            key = jwt.PyJWK(entry, "EdDSA").key
            found += [key] if isinstance(key, Ed25519PublicKey) else []
    return found
