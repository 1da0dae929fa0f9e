"""Access tokens of Supabase: who signed in (docs/contract/identity.md).

Each key is good for one algorithm. What a token says of its own algorithm, keys or their address is never followed; of
its header `kid` is read, and `alg` where both kinds of key are set, to choose among the keys that we have.
"""

import time
from dataclasses import dataclass
from typing import Any

import jwt
from jwt import PyJWK

from safelight.domain.errors.base import ConfigError, InvalidToken, MissingUserId
from safelight.domain.errors.retries import AuthUnavailable
from safelight.domain.ids import is_uuid
from safelight.redaction import excerpt
from safelight.security.jwks import Clock, JwksCache, JwksUnavailable

SECRET_BYTES_MIN = 32  # what HS256 needs
EMAIL_CHARS_MAX = 320
KEYS_SECONDS_MAX = 600.0  # a key that its owner takes back is believed for so long
KEYS_STALE_SECONDS_MAX = 24 * 3600.0  # and for so long where the address of the keys does not answer
ASK_SECONDS_MIN = 30.0  # a flood of unknown key ids must not become a flood of look-ups
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
PUBLISHABLE = "sb_publishable_"
ANON = "anon"
REASON_CHARS_MAX = 200
KEY_ID_CHARS_SHOWN = 60
HS256 = "HS256"
ALGORITHMS = {"EC": "ES256", "RSA": "RS256"}  # by the kind of a public key


@dataclass(frozen=True, slots=True)
class TokenUser:
    """`email` is in lower case, and there only where it counts as verified (see `_email`)."""

    id: str
    email: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the one algorithm it is good for."""

    key: Any
    algorithm: str


class TokenKeys:
    """The keys of tokens: the project's secret (HS256), the keys that are published at `url` (a JWKS; ES256 and RS256),
    or both, while a project moves from one to the other."""

    def __init__(self, secret: str = "", url: str | None = None, clock: Clock = time.monotonic) -> None:
        if secret and len(secret.encode()) < SECRET_BYTES_MIN:
            raise ConfigError(f"SAFELIGHT_JWT_SECRET must have at least {SECRET_BYTES_MIN} bytes")
        self._secret = Key(secret, HS256) if secret else None
        self._url = url
        self._cache = JwksCache(
            url or "", _keys_of, pause_seconds=ASK_SECONDS_MIN, name="The keys of tokens", clock=clock
        )

    async def key_of(self, token: str) -> Key:
        """A key that is not known may be a new one: the keys are fetched again. Raises InvalidToken, or
        AuthUnavailable."""
        if self._secret and (not self._url or _header(token).get("alg") == HS256):
            return self._secret
        key_id = _key_id(token)
        for age_max in (KEYS_SECONDS_MAX, 0.0):
            if found := (await self._known(age_max)).get(key_id):
                return found
        raise _refusal(f"no key of the JWKS has the id {excerpt(key_id, KEY_ID_CHARS_SHOWN)!r}")

    async def _known(self, age_max: float) -> dict[str, Key]:
        try:
            return await self._cache.keys(age_max=age_max, stale_max=KEYS_STALE_SECONDS_MAX)
        except JwksUnavailable as error:
            raise AuthUnavailable(f"{error}.", retry_after_seconds=ASK_SECONDS_MIN) from error


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """Checks a token: it must be signed by `keys`, for `audience`, by `issuer` where one is set, and for now."""

    keys: TokenKeys
    audience: str
    issuer: str | None
    leeway_seconds: float

    async def user_of(self, token: str) -> TokenUser:
        """Raises InvalidToken, or AuthUnavailable."""
        key = await self.keys.key_of(token)
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.leeway_seconds,
                options={"require": ["exp", "aud"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise _refusal(str(error), "The token has expired; sign in again.") from error
        except jwt.PyJWTError as error:
            raise _refusal(str(error)) from error
        return _user(claims)


def names_nobody(token: str) -> bool:
    """Return true for the project's publishable key, and for its older form, the anon key: supabase-js sends it for who
    is not signed in. Nothing of it is believed; it counts as no token does."""
    if token.startswith(PUBLISHABLE):
        return True
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return False
    return claims.get("role") == ANON and not claims.get("sub")


def _refusal(reason: str, message: str = "The token does not hold.") -> InvalidToken:
    return InvalidToken(message, details={"reason": excerpt(reason, REASON_CHARS_MAX)})


def _user(claims: dict[str, Any]) -> TokenUser:
    user_id = claims.get("sub")
    if not user_id:
        raise MissingUserId("The token names no user.", details={"reason": f"it has the role {claims.get('role')!r}"})
    if not isinstance(user_id, str) or not is_uuid(user_id):
        raise _refusal("its subject is no user id")
    return TokenUser(user_id.lower(), _email(claims))


def _email(claims: dict[str, Any]) -> str | None:
    """The e-mail that rows are linked and gathered by. Supabase gives sessions to confirmed addresses alone, and not
    every version says so in the token; so one that says nothing is believed, and one that says anything but yes, at any
    of the places where it may be said, is not. A user may write their own `user_metadata`: a yes there outweighs no
    other no. Anonymous users have no e-mail."""
    stated = claims.get("email")
    places = (claims, claims.get("app_metadata"), claims.get("user_metadata"))
    verified = [place["email_verified"] for place in places if isinstance(place, dict) and "email_verified" in place]
    if not isinstance(stated, str) or any(one is not True for one in verified) or _is_anonymous(claims):
        return None
    email = stated.strip().lower()
    return email if "@" in email and len(email) <= EMAIL_CHARS_MAX and email.isprintable() else None


def _is_anonymous(claims: dict[str, Any]) -> bool:
    app_metadata = claims.get("app_metadata")
    provider = app_metadata.get("provider") if isinstance(app_metadata, dict) else None
    return claims.get("is_anonymous") not in (None, False) or provider == "anonymous"


def _header(token: str) -> dict[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise _refusal(str(error)) from error


def _key_id(token: str) -> str:
    key_id = _header(token).get("kid")
    if not isinstance(key_id, str):
        raise _refusal("its header names no key (kid)")
    return key_id


def _keys_of(entries: list[dict[str, Any]]) -> dict[str, Key]:
    stated = [one for one in entries if isinstance(one.get("kid"), str)]
    return {one["kid"]: key for one in stated if (key := _public_key(one))}


def _public_key(stated: dict[str, Any]) -> Key | None:
    """None for a secret, a key that is not for signatures, an algorithm that is not ours, or an RSA key of odd size."""
    algorithm = ALGORITHMS.get(str(stated.get("kty")))
    if algorithm is None or stated.get("alg", algorithm) != algorithm or stated.get("use", "sig") != "sig":
        return None
    if algorithm == "ES256" and stated.get("crv") != "P-256":
        return None
    try:
        key = PyJWK(stated, algorithm).key
    except jwt.PyJWTError:
        return None
    if algorithm == "RS256" and not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        return None
    return Key(key, algorithm) if hasattr(key, "verify") else None  # a private key has no business there
