"""The keys of access tokens: published ones, those of the project, and both at once."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from safelight.app import App
from safelight.config import Settings
from safelight.domain.errors.base import ConfigError, InvalidToken
from safelight.domain.errors.retries import AuthUnavailable
from safelight.domain.ids import new_id
from safelight.security.jwt import ASK_SECONDS_MIN, KEYS_SECONDS_MAX, KEYS_STALE_SECONDS_MAX, TokenKeys
from tests.conftest import Backend, StartBackend, running
from tests.support.callers import BRIEF
from tests.support.forged_tokens import (
    by_hand,
    refusals,
    rows,
    segment,
)
from tests.support.sign_in import (
    EC_KEY,
    RSA_KEY,
    SECRET,
    bearer,
    claims,
    public_jwk,
    publishing,
    token,
)

# --- public keys ----------------------------------------------------------------------------------------------------

OTHER_EC_KEY = ec.generate_private_key(ec.SECP256R1())
P384_KEY = ec.generate_private_key(ec.SECP384R1())
SMALL_RSA_KEY = rsa.generate_private_key(65537, 1024)
SYMMETRIC = "a secret that somebody published by mistake"
PUBLISHED = [
    public_jwk(EC_KEY, "ec"),
    public_jwk(RSA_KEY, "rsa", alg="RS256"),
    public_jwk(OTHER_EC_KEY, "for-encryption", use="enc"),
    public_jwk(P384_KEY, "p384"),
    public_jwk(SMALL_RSA_KEY, "small"),
    {"kty": "oct", "kid": "oct", "alg": "HS256", "use": "sig", "k": segment(SYMMETRIC.encode())},
    {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "!", "y": "!"},
    {"kty": "EC", "kid": 7},
    "no object",
]


def encoded(key: Any, kind: Any, format: Any) -> str:
    return str(key.public_key().public_bytes(kind, format).decode("latin-1"))


def signed(key: Any, algorithm: str, **header: Any) -> str:
    return jwt.encode(claims(), key, algorithm, headers=header)


PEM, SPKI = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
FORGED_FOR_KEYS: dict[str, Callable[[], str]] = {
    "HS256 with the public key as its secret": lambda: by_hand(
        {"alg": "HS256", "kid": "ec"}, claims(), encoded(EC_KEY, PEM, SPKI)
    ),
    "HS256 with the public RSA key as its secret": lambda: by_hand(
        {"alg": "HS256", "kid": "rsa"}, claims(), encoded(RSA_KEY, PEM, SPKI)
    ),
    "HS256 with the published key, as JSON": lambda: by_hand(
        {"alg": "HS256", "kid": "ec"}, claims(), json.dumps(PUBLISHED[0])
    ),
    "HS256 with a published secret": lambda: by_hand({"alg": "HS256", "kid": "oct"}, claims(), SYMMETRIC),
    "HS256 with the secret of before": lambda: by_hand({"alg": "HS256", "kid": "ec"}, claims()),
    "HS256 without a key id": token,
    "unsigned": lambda: by_hand({"alg": "none", "kid": "ec"}, claims(), "").rpartition(".")[0] + ".",
    "another key under a known id": lambda: signed(OTHER_EC_KEY, "ES256", kid="ec"),
    "an unknown key id": lambda: signed(EC_KEY, "ES256", kid="unknown"),
    "no key id": lambda: signed(EC_KEY, "ES256"),
    "a key id that is a number": lambda: by_hand({"alg": "ES256", "kid": 7}, claims()),
    "a key id that is a path": lambda: signed(EC_KEY, "ES256", kid="../../dev/null"),
    "the id of a key of another kind": lambda: signed(EC_KEY, "ES256", kid="rsa"),
    "RS256 under the id of another kind": lambda: signed(RSA_KEY, "RS256", kid="ec"),
    "RS512": lambda: signed(RSA_KEY, "RS512", kid="rsa"),
    "PS256": lambda: signed(RSA_KEY, "PS256", kid="rsa"),
    "a key for something else": lambda: signed(OTHER_EC_KEY, "ES256", kid="for-encryption"),
    "another curve": lambda: signed(P384_KEY, "ES384", kid="p384"),
    "a key that is too small": lambda: signed(SMALL_RSA_KEY, "RS256", kid="small"),
    "a broken key": lambda: signed(EC_KEY, "ES256", kid="broken"),
    "its own key in the header": lambda: signed(
        OTHER_EC_KEY, "ES256", kid="ec", jwk=public_jwk(OTHER_EC_KEY, "ec"), jku="https://attacker.example/"
    ),
    "expired": lambda: jwt.encode(claims(exp=int(time.time()) - 60), EC_KEY, "ES256", headers={"kid": "ec"}),
    "an empty signature": lambda: signed(EC_KEY, "ES256", kid="ec").rpartition(".")[0] + ".",
    "a signature of zeros": lambda: signed(EC_KEY, "ES256", kid="ec").rpartition(".")[0] + "." + segment(b"\0" * 64),
}


@pytest.fixture(scope="module")
async def by_keys(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with (
        publishing(*PUBLISHED) as server,
        running(module_dsn, tmp_path_factory.mktemp("home"), worker=False, jwks_url=server.url) as backend,
    ):
        backend.keys = server  # type: ignore[attr-defined]
        yield backend


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("kind", FORGED_FOR_KEYS)
async def test_a_token_that_no_published_key_signed_is_nobody_and_leaves_no_row(by_keys: Backend, kind: str):
    before = rows(by_keys)
    assert await refusals(by_keys, FORGED_FOR_KEYS[kind]()) == {(401, "INVALID_TOKEN")}
    assert rows(by_keys) == before


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(EC_KEY, "ES256", "ec"), (RSA_KEY, "RS256", "rsa")])
async def test_a_published_key_opens(by_keys: Backend, key: Any, algorithm: str, kid: str):
    answer = await by_keys.client.get("/me", headers=bearer(signed(key, algorithm, kid=kid)))
    assert (answer.status_code, answer.json()["passId"][:10]) == (200, "pass:user:")


async def test_a_flood_of_unknown_keys_is_no_flood_of_look_ups(by_keys: Backend):
    flood = (by_keys.client.get("/me", headers=bearer(signed(EC_KEY, "ES256", kid=f"k{n}"))) for n in range(100))
    assert {answer.status_code for answer in await asyncio.gather(*flood)} == {401}
    assert by_keys.keys.asked <= 2  # type: ignore[attr-defined]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_new_key_is_looked_up_once_and_an_old_one_forgotten():
    old, new = signed(EC_KEY, "ES256", kid="old"), signed(OTHER_EC_KEY, "ES256", kid="new")
    clock = Clock()
    async with publishing(public_jwk(EC_KEY, "old")) as server:
        keys = TokenKeys(url=server.url, clock=clock)
        assert (await keys.key_of(old)).algorithm == "ES256"
        server.keys = [public_jwk(OTHER_EC_KEY, "new")]
        with pytest.raises(InvalidToken):
            await keys.key_of(new)  # asked a moment ago
        clock.now += ASK_SECONDS_MIN + 1
        assert await keys.key_of(new)
        with pytest.raises(InvalidToken):
            await keys.key_of(old)
        assert server.asked == 2


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"answer": b"<html>"},
        {"answer": b"[]"},
        {"answer": b'{"keys": 1}'},
        {"answer": b" " * 70_000},
        {"drips": True},
    ],
)
async def test_keys_that_cannot_be_had_hold_for_a_day_and_no_longer(
    trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    known, clock = signed(EC_KEY, "ES256", kid="ec"), Clock()
    async with publishing(public_jwk(EC_KEY, "ec")) as server:
        keys = TokenKeys(url=server.url, clock=clock)
        await keys.key_of(known)
        monkeypatch.setattr("safelight.security.jwks.FETCH_SECONDS", 0.5)
        for name, value in trouble.items():
            setattr(server, name, value)
        clock.now += KEYS_SECONDS_MAX + 1
        assert await keys.key_of(known)
        clock.now += KEYS_STALE_SECONDS_MAX
        with pytest.raises(AuthUnavailable):
            await keys.key_of(known)


async def test_while_no_key_was_ever_had_visitors_go_on_and_users_come_back_later(start: StartBackend):
    async with publishing() as server:
        server.status = 503
        backend = await start(worker=False, jwks_url=server.url)
        headers = bearer(signed(EC_KEY, "ES256", kid="ec"))
        me = await backend.client.get("/me", headers=headers)
        assert (me.status_code, me.json()["user"], me.json()["degraded"]) == (200, None, True)
        synced = await backend.client.post("/auth/shopify-sync", json={}, headers=headers)
        assert synced.json() | {"requestId": ""} == {"ok": True, "loggedIn": False, "degraded": True, "requestId": ""}
        refused = await backend.client.post("/mma/still/create", json=BRIEF, headers=headers)
        assert (refused.status_code, refused.json()["error"]) == (503, "AUTH_UNAVAILABLE")
        assert int(refused.headers["Retry-After"]) > 0
        assert (await backend.client.get("/me")).json()["ok"] is True
        assert server.asked == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "required"},
        {"jwt_secret": "short"},
        {"jwt_secret": "short", "jwks_url": "https://project.supabase.co/jwks.json"},
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(settings: dict[str, Any], tmp_path: Path):
    with pytest.raises(ConfigError, match="SAFELIGHT_"):
        App(Settings(home=tmp_path, **settings))


# --- keys of the project, and both kinds of key at once ---------------------------------------------------------------

ANON_KEY = jwt.encode({"iss": "supabase", "ref": "p", "role": "anon", "iat": 1, "exp": 9_999_999_999}, SECRET, "HS256")
NOBODYS = {
    "the anon key": ANON_KEY,
    "an anon key of a secret that we do not have": jwt.encode({"role": "anon", "iat": 1}, "another" * 9, "HS256"),
    "an expired anon key": jwt.encode({"role": "anon", "exp": 1}, SECRET, "HS256"),
    "a publishable key": "sb_publishable_AbCdEfGhIjKlMnOpQrStUv_12345678",
}


@pytest.mark.parametrize("kind", NOBODYS)
async def test_a_key_that_every_browser_has_is_nobodys_token(by_secret: Backend, kind: str):
    """supabase-js sends it for who is not signed in. It is no guess at the admin token either."""
    headers, before = bearer(NOBODYS[kind]), by_secret.ops_rows()
    me = await by_secret.client.get("/me", headers=headers)
    assert (me.status_code, me.json()["user"]) == (200, None)
    begun = await by_secret.client.post("/sessions/start", json={"passId": "pass:anon:1"}, headers=headers)
    assert (begun.status_code, begun.json()["passId"]) == (200, "pass:anon:1")
    synced = await by_secret.client.post("/auth/shopify-sync", headers=headers)
    assert synced.json()["loggedIn"] is False
    assert by_secret.ops_rows() == before


async def test_a_publishable_key_never_locks_an_address_out(start: StartBackend):
    backend = await start(worker=False, admin_guesses_per_minute=3)
    statuses = [
        (await backend.client.get("/health", headers=bearer(NOBODYS["a publishable key"]))).status_code
        for _ in range(10)
    ]
    assert set(statuses) == {200}


@pytest.mark.parametrize(
    "forged",
    [
        {"role": "anon", "sub": new_id()},
        {"role": "service_role"},
        {"role": "authenticated", "aud": "authenticated"},
    ],
)
async def test_what_only_looks_like_such_a_key_is_refused(by_secret: Backend, forged: dict[str, Any]):
    stated = jwt.encode(forged, "another-secret" * 4, "HS256")
    assert (await by_secret.client.get("/me", headers=bearer(stated))).status_code == 401


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_while_a_project_moves_to_new_keys_tokens_of_both_hold(start: StartBackend):
    async with publishing(*PUBLISHED) as server:
        backend = await start(worker=False, jwks_url=server.url, jwt_secret=SECRET)
        for good in (token(), signed(EC_KEY, "ES256", kid="ec"), signed(RSA_KEY, "RS256", kid="rsa")):
            assert (await backend.client.get("/me", headers=bearer(good))).status_code == 200
        with_id = jwt.encode(claims(), SECRET, "HS256", headers={"kid": "ec"})
        assert (await backend.client.get("/me", headers=bearer(with_id))).status_code == 200
        forged = {
            kind: make
            for kind, make in FORGED_FOR_KEYS.items()
            if kind not in ("HS256 with the secret of before", "HS256 without a key id")
        }
        for kind, make in forged.items():
            answer = await backend.client.get("/me", headers=bearer(make()))
            assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_TOKEN"), kind
        server.status = 500
        assert (await backend.client.get("/me", headers=bearer(token()))).status_code == 200


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: token(exp=int(time.time()) - 3600), "expired"),
        (lambda: token(aud="somebody-else"), "Audience"),
        (lambda: token(iss="https://evil.example"), "issuer"),
        (lambda: jwt.encode(claims(), "another-secret" * 4, "HS256"), "Signature"),
        (lambda: "not.a.token", "header"),
        (lambda: token(sub="", role="service_role"), "service_role"),
        (lambda: token(sub="7"), "user id"),
    ],
)
async def test_each_refusal_of_a_token_is_logged_with_its_reason(
    by_secret: Backend, caplog: pytest.LogCaptureFixture, make: Callable[[], str], reason: str
):
    refused = make()
    with caplog.at_level("WARNING", logger="safelight"):
        answer = await by_secret.client.get("/credits/balance", headers=bearer(refused))
    assert answer.status_code == 401
    [line] = [record.getMessage() for record in caplog.records if "access token was refused" in record.getMessage()]
    assert reason in line
    assert refused not in line


def test_keys_are_not_fetched_over_an_open_line():
    with pytest.raises(ValidationError):
        Settings(jwks_url="http://project.supabase.co/jwks.json")
