"""Identity: access tokens and their faults, the row that each leads to, and that nobody is taken for somebody else."""

import asyncio
import base64
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
from tests.support.sign_in import (
    EC_KEY,
    ISSUER,
    RSA_KEY,
    SECRET,
    SIGNED_BY_SECRET,
    bearer,
    claims,
    public_jwk,
    publishing,
    token,
)

BRIEF = {"inputs": {"brief": "a cup on stone"}, "settings": {"seedream": {"size": "1K"}}}
ADMIN = {"admin_token": "the-operators-token-0123456789abcdef"}


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(worker=False, **SIGNED_BY_SECRET, **ADMIN)


# --- tokens that do not hold ----------------------------------------------------------------------------------------


def segment(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], payload: Any, key: str = SECRET, algorithm: str = "HS256") -> str:
    """A token with a header that no library would write, signed as `algorithm` says."""
    signed = f"{segment({'typ': 'JWT', **header})}.{segment(payload)}"
    signature = jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), key.encode())
    return f"{signed}.{segment(signature)}"


def unsigned(algorithm: str) -> str:
    return f"{segment({'alg': algorithm, 'typ': 'JWT'})}.{segment(claims())}."


def swapped(part: int, value: Any) -> str:
    parts = token().split(".")
    parts[part] = value if isinstance(value, str) else segment(value)
    return ".".join(parts)


def with_own_key(**header: Any) -> str:
    return jwt.encode(claims(), EC_KEY, "ES256", headers=header)


def project_key(role: str) -> str:
    return by_hand(
        {"alg": "HS256"}, {"iss": "supabase", "ref": "project", "role": role, "iat": 1, "exp": 9_999_999_999}
    )


SOON = 3600
FORGED: dict[str, Callable[[], str]] = {
    "unsigned": lambda: unsigned("none"),
    "unsigned, None": lambda: unsigned("None"),
    "unsigned, nOnE": lambda: unsigned("nOnE"),
    "unsigned, without algorithm": lambda: unsigned(""),
    "another secret": lambda: jwt.encode(claims(), SECRET + "!", "HS256"),
    "the empty secret": lambda: by_hand({"alg": "HS256"}, claims(), key=""),
    "HS384": lambda: jwt.encode(claims(), SECRET, "HS384"),
    "HS512": lambda: jwt.encode(claims(), SECRET, "HS512"),
    "HS256 that says HS512": lambda: by_hand({"alg": "HS512"}, claims()),
    "HS512 that says HS256": lambda: by_hand({"alg": "HS256"}, claims(), algorithm="HS512"),
    "an algorithm that does not exist": lambda: by_hand({"alg": "HS1"}, claims()),
    "an algorithm that is a list": lambda: by_hand({"alg": ["HS256"]}, claims()),
    "ES256 with a key of its own": with_own_key,
    "ES256 with the key in its header": lambda: with_own_key(jwk=public_jwk(EC_KEY, "k")),
    "ES256 with the address of its key": lambda: with_own_key(jku="https://attacker.example/jwks.json"),
    "RS256 with a certificate of its own": lambda: jwt.encode(claims(), RSA_KEY, "RS256", headers={"x5c": ["MIIB"]}),
    "expired": lambda: token(exp=int(time.time()) - 60),
    "expired a year ago": lambda: token(exp=int(time.time()) - 31_536_000),
    "expired at minus infinity": lambda: token(exp=-1e308),
    "not valid yet": lambda: token(nbf=int(time.time()) + SOON),
    "issued in the future": lambda: token(iat=int(time.time()) + SOON),
    "no end": lambda: token(exp=None),
    "an end that is a word": lambda: token(exp="tomorrow"),
    "an end that is infinite": lambda: token(exp=float("inf")),
    "an end that is no number": lambda: token(exp=float("nan")),
    "an end that is a list": lambda: token(exp=[9_999_999_999]),
    "another audience": lambda: token(aud="anon"),
    "the audience in other letters": lambda: token(aud="Authenticated"),
    "no audience": lambda: token(aud=None),
    "an empty audience": lambda: token(aud=""),
    "audiences without ours": lambda: token(aud=["service", "anon"]),
    "an audience that is a number": lambda: token(aud=1),
    "another issuer": lambda: token(iss="https://attacker.supabase.co/auth/v1"),
    "no issuer": lambda: token(iss=None),
    "an issuer that is a list": lambda: by_hand({"alg": "HS256"}, claims(iss=[ISSUER])),
    "no user": lambda: token(sub=None),
    "a user that is a number": lambda: by_hand({"alg": "HS256"}, {**claims(), "sub": 42}),
    "a user that is a list": lambda: by_hand({"alg": "HS256"}, {**claims(), "sub": [new_id()]}),
    "a user that is no uuid": lambda: token("pass:user:42"),
    "a user that is SQL": lambda: token("' or 1=1 --"),
    "the project's service key": lambda: project_key("service_role"),
    "a cut signature": lambda: token()[:-2],
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "the signature of another": lambda: swapped(2, token(new_id()).split(".")[2]),
    "another payload": lambda: swapped(1, claims()),
    "another header": lambda: swapped(0, {"alg": "none", "typ": "JWT"}),
    "a payload that is a list": lambda: by_hand({"alg": "HS256"}, [claims()]),
    "a payload that is no JSON": lambda: by_hand({"alg": "HS256"}, b"\xff\xfe"),
    "two parts": lambda: token().rpartition(".")[0],
    "five parts": lambda: token() + ".e30.e30",
    "empty parts": lambda: "..",
    "no base64": lambda: "!!!.???.***",
    "text": lambda: "let me in",
    "a condition that we do not know": lambda: by_hand({"alg": "HS256", "crit": ["exp"]}, claims()),
    "a payload that is somewhere else": lambda: by_hand({"alg": "HS256", "b64": False, "crit": ["b64"]}, claims()),
    "a header without a bottom": lambda: segment(b'{"alg":"HS256","x":' + b"[" * 2500 + b"]" * 2500 + b"}") + ".e30.AA",
    "8 KB of it": lambda: "e30." + "A" * 8000 + ".A",
}


@pytest.fixture(scope="module")
async def by_secret(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False, **SIGNED_BY_SECRET) as backend:
        yield backend


def rows(backend: Backend) -> int:
    return int(
        backend.value("select (select count(*) from mega_customers) + (select count(*) from mega_generations) as n")
    )


async def refusals(backend: Backend, forged: str) -> set[tuple[int, str]]:
    """The answer of each kind of route to it, with a pass id stated besides."""
    headers = bearer(forged) | {"X-Mina-Pass-Id": "pass:user:victim"}
    body = {"passId": "pass:user:victim", **BRIEF}
    answers = [
        await backend.client.get("/me", headers=headers),
        await backend.client.get("/credits/balance?passId=pass:user:victim", headers=headers),
        await backend.client.get("/history/pass/pass:user:victim", headers=headers),
        await backend.client.post("/mma/still/create", json=body, headers=headers),
        await backend.client.post("/sessions/start", json=body, headers=headers),
        await backend.client.post("/billing/settings", json=body | {"enabled": True}, headers=headers),
        await backend.client.get("/api/admin/providers", headers=headers),
    ]
    assert forged not in "".join(answer.text for answer in answers)
    return {(answer.status_code, answer.json()["error"]) for answer in answers if "billing" not in str(answer.url)}


@pytest.mark.parametrize("kind", FORGED)
async def test_a_token_that_does_not_hold_is_nobody_and_leaves_no_row(by_secret: Backend, kind: str):
    before = rows(by_secret)
    code = "MISSING_USER_ID" if kind == "no user" else "INVALID_TOKEN"
    assert await refusals(by_secret, FORGED[kind]()) == {(401, code)}
    assert rows(by_secret) == before


async def test_nobody_is_logged_in_by_a_token_that_does_not_hold(by_secret: Backend):
    answer = await by_secret.client.post("/auth/shopify-sync", json={}, headers=bearer(FORGED["expired"]()))
    assert (answer.status_code, answer.json()["loggedIn"]) == (200, False)


async def test_a_clock_that_is_a_little_off_does_no_harm(by_secret: Backend):
    for off in ({"exp": int(time.time()) - 20}, {"nbf": int(time.time()) + 20}, {"iat": int(time.time()) + 20}):
        assert (await by_secret.client.get("/me", headers=bearer(token(**off)))).status_code == 200


async def test_an_audience_may_be_one_of_several(by_secret: Backend):
    assert (await by_secret.client.get("/me", headers=bearer(token(aud=["x", "authenticated"])))).status_code == 200


@pytest.mark.parametrize("stated", ["null", "undefined", "[object Object]", "NULL"])
async def test_what_clients_send_for_no_token_is_none(by_secret: Backend, stated: str):
    answer = await by_secret.client.get("/me", headers={"Authorization": f"Bearer {stated}"})
    assert (answer.status_code, answer.json()["user"]) == (200, None)


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


# --- whose row it is ------------------------------------------------------------------------------------------------


async def me(backend: Backend, user_id: str, email: str | None = None, **headers: str) -> dict[str, Any]:
    answer = await backend.client.get("/me", headers=bearer(token(user_id, email)) | headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Mina-Pass-Id"] == answer.json()["passId"]
    return dict(answer.json())


def customer(backend: Backend, pass_id: str, **columns: Any) -> None:
    names = ["mg_pass_id", *columns]
    places = ", ".join(["%s"] * len(names))
    backend.sql(f"insert into mega_customers ({', '.join(names)}) values ({places})", pass_id, *columns.values())


async def test_a_visitor_keeps_their_id_and_leaves_no_row(idle: Backend):
    answer = await idle.client.get("/me", headers={"X-Mina-Pass-Id": "pass:anon:0d0f5a3e"})
    body = answer.json()
    assert body.pop("requestId").startswith("me_")
    assert body == {"ok": True, "user": None, "isAdmin": False, "passId": "pass:anon:0d0f5a3e"}
    assert answer.headers["X-Mina-Pass-Id"] == "pass:anon:0d0f5a3e"
    fresh = (await idle.client.get("/me")).json()["passId"]
    assert fresh.startswith("pass:anon:")
    assert (await idle.client.get("/me", headers={"X-Mina-Pass-Id": "x" * 300})).status_code == 200
    assert idle.value("select count(*) from mega_customers") == 0


async def test_a_first_visit_makes_the_users_row_once_with_their_welcome(start: StartBackend):
    backend = await start(worker=False, signup_credits=3, **SIGNED_BY_SECRET)
    user_id = new_id()
    seen = await asyncio.gather(*(me(backend, user_id, "Ann@Example.com") for _ in range(10)))
    assert {one["passId"] for one in seen} == {f"pass:user:{user_id}"}
    assert seen[0]["user"] == {"id": user_id, "email": "ann@example.com"}
    [row] = backend.sql("select * from mega_customers")
    assert (str(row["mg_user_id"]), row["mg_email"], row["mg_verified_any"]) == (user_id, "ann@example.com", True)
    assert row["mg_credits"] == backend.ledger_sum(row["mg_pass_id"]) == 3


async def test_the_row_of_the_user_goes_before_all_others(idle: Backend):
    user_id = new_id()
    customer(idle, "pass:shopify:1", mg_email="ann@example.com")
    customer(idle, "pass_legacy", mg_user_id=user_id)
    customer(idle, "pass:anon:mine")
    assert (await me(idle, user_id, "ann@example.com", **{"X-Mina-Pass-Id": "pass:anon:mine"}))[
        "passId"
    ] == "pass_legacy"


async def test_the_oldest_row_of_the_email_becomes_the_users(idle: Backend):
    user_id = new_id()
    customer(idle, "pass:shopify:2", mg_email="ANN@example.com", mg_created_at="2025-02-01")
    customer(idle, "pass:shopify:1", mg_email="ann@example.com", mg_created_at="2025-01-01")
    customer(idle, "pass:shopify:0", mg_email="ann@example.com", mg_created_at="2024-01-01", mg_deleted_at="2025-01-01")
    assert (await me(idle, user_id, "ann@example.com"))["passId"] == "pass:shopify:1"
    assert (await me(idle, user_id))["passId"] == "pass:shopify:1"


async def test_an_email_that_is_anothers_or_unconfirmed_leads_to_a_new_row(idle: Backend):
    customer(idle, "pass:user:first", mg_email="ann@example.com", mg_user_id=new_id())
    second, third = new_id(), new_id()
    assert (await me(idle, second, "ann@example.com"))["passId"] == f"pass:user:{second}"
    customer(idle, "pass:shopify:9", mg_email="bob@example.com")
    unconfirmed = bearer(token(third, "bob@example.com", email_verified=False))
    answer = (await idle.client.get("/me", headers=unconfirmed)).json()
    assert (answer["passId"], answer["user"]["email"]) == (f"pass:user:{third}", None)


async def test_a_stated_visitor_becomes_the_user_with_all_that_is_theirs(idle: Backend):
    await idle.grant(4, "pass:anon:visitor")
    user_id = new_id()
    headers = bearer(token(user_id, "ann@example.com"))
    stated = {"passId": "pass:anon:visitor"}
    before = (await idle.client.get("/credits/balance", params=stated, headers=headers)).json()
    assert (before["passId"], before["balance"]) == (f"pass:user:{user_id}", 0)
    started = (await idle.client.post("/sessions/start", json=stated, headers=headers)).json()
    assert started["passId"] == "pass:anon:visitor"
    after = (await idle.client.get("/credits/balance", params=stated, headers=headers)).json()
    assert (after["passId"], after["balance"]) == ("pass:anon:visitor", 4)
    assert (await me(idle, user_id))["passId"] == "pass:anon:visitor"


@pytest.mark.parametrize(
    ("pass_id", "columns"),
    [
        ("pass:anon:taken", {"mg_user_id": new_id()}),
        ("pass:anon:mailed", {"mg_email": "bob@example.com"}),
        ("pass:anon:deleted", {"mg_deleted_at": "2025-01-01"}),
        ("pass:shopify:8812345", {}),
        ("pass:user:01a1fede-58ba-7384-8f8a-8ece3089eeb5", {}),
        ("pass:email:bob@example.com", {}),
    ],
)
async def test_what_is_anothers_is_not_had_by_stating_it(idle: Backend, pass_id: str, columns: dict[str, Any]):
    customer(idle, pass_id, **columns)
    await idle.grant(9, pass_id)
    user_id = new_id()
    answer = await idle.client.get(f"/credits/balance?passId={pass_id}", headers=bearer(token(user_id, "ann@x.org")))
    assert (answer.json()["passId"], answer.json()["balance"]) == (f"pass:user:{user_id}", 0)
    assert idle.balance(pass_id) == 9


async def test_two_users_who_state_the_same_visitor_are_two(idle: Backend):
    customer(idle, "pass:anon:visitor")
    users = [new_id() for _ in range(6)]
    seen = await asyncio.gather(*(me(idle, user, **{"X-Mina-Pass-Id": "pass:anon:visitor"}) for user in users))
    ids = [one["passId"] for one in seen]
    assert len(set(ids)) == 6
    assert ids.count("pass:anon:visitor") == 1


async def test_a_name_that_another_user_has_is_refused(idle: Backend):
    user_id = new_id()
    customer(idle, f"pass:user:{user_id}", mg_user_id=new_id())
    for path in ("/me", "/credits/balance", "/history", f"/history/pass/pass:user:{user_id}"):
        answer = await idle.client.get(path, headers=bearer(token(user_id)))
        assert (answer.status_code, answer.json()["error"]) == (403, "FORBIDDEN"), path


async def test_signing_in_gathers_the_credits_of_the_email_once(idle: Backend):
    user_id = new_id()
    await me(idle, user_id, "ann@example.com")
    for pass_id, credits, columns in [
        ("pass:shopify:1", 50, {"mg_email": "Ann@example.com"}),
        ("pass:shopify:2", 7, {"mg_email": "ann@example.com"}),
        ("pass:shopify:3", 9, {"mg_email": "bob@example.com"}),
        ("pass:user:other", 11, {"mg_email": "ann@example.com", "mg_user_id": new_id()}),
    ]:
        customer(idle, pass_id, **columns)
        await idle.grant(credits, pass_id)
    headers = bearer(token(user_id, "ann@example.com"))
    answers = await asyncio.gather(
        *(idle.client.post("/auth/shopify-sync", json={"email": "bob@example.com"}, headers=headers) for _ in range(8))
    )
    pass_id = f"pass:user:{user_id}"
    for answer in answers:
        assert answer.headers["X-Mina-Pass-Id"] == pass_id
        assert answer.json() | {"requestId": ""} == {
            "ok": True,
            "loggedIn": True,
            "passId": pass_id,
            "email": "ann@example.com",
            "isNewUser": False,
            "requestId": "",
        }
    assert idle.balance(pass_id) == idle.ledger_sum(pass_id) == 57
    for other, left in [("pass:shopify:1", 0), ("pass:shopify:2", 0), ("pass:shopify:3", 9), ("pass:user:other", 11)]:
        assert idle.balance(other) == idle.ledger_sum(other) == left


async def test_syncing_tolerates_the_older_body_and_any_other(idle: Backend):
    for content in (b'{"email": "a@b.c", "userId": "u", "passId": "p"}', b"", b"{{{"):
        answer = await idle.client.post("/auth/shopify-sync", content=content)
        assert (answer.status_code, answer.json()["ok"], answer.json()["loggedIn"]) == (200, True, False)
    new = await idle.client.post("/auth/shopify-sync", json={}, headers=bearer(token(email="new@example.com")))
    assert new.json()["isNewUser"] is True


# --- a token goes before what is stated -----------------------------------------------------------------------------


async def test_with_a_token_nobody_spends_reads_or_changes_what_is_anothers(start: StartBackend):
    backend = await start(worker=False, **SIGNED_BY_SECRET)
    victim, attacker = new_id(), new_id()
    theirs = (await me(backend, victim))["passId"]
    await backend.grant(5, theirs)
    mine = bearer(token(victim))
    made = (await backend.client.post("/mma/still/create", json=BRIEF, headers=mine)).json()
    generation_id = made["generation_id"]
    headers = bearer(token(attacker)) | {"X-Mina-Pass-Id": theirs}
    stated = {"passId": theirs, "customerId": theirs}

    async def status(method: str, path: str, body: dict[str, Any] | None = None) -> int:
        more = {} if method == "GET" else {"json": stated | (body or {})}
        return (await backend.client.request(method, path, headers=headers, **more)).status_code

    assert await status("POST", "/mma/still/create", BRIEF) == 402
    assert await status("GET", f"/mma/generations/{generation_id}") == 404
    assert await status("GET", f"/mma/stream/{generation_id}") == 404
    assert await status("POST", f"/mma/generations/{generation_id}/cancel") == 404
    assert await status("POST", f"/mma/still/{generation_id}/tweak", {"feedback": {"text": "darker"}}) == 404
    assert await status("POST", "/mma/video/animate", {"parent_generation_id": generation_id}) == 404
    assert await status("POST", "/mma/events", {"event_type": "like", "generation_id": generation_id}) == 404
    assert await status("GET", f"/history/pass/{theirs}") == 404
    assert await status("POST", "/credits/add", {"amount": 5}) == 403
    assert await status("POST", "/billing/settings", {"enabled": True}) == 200
    assert backend.value("select mg_meta->'autoTopup' from mega_customers where mg_pass_id = %s", theirs) is None
    balance = (await backend.client.get(f"/credits/balance?passId={theirs}", headers=headers)).json()
    assert (balance["passId"], balance["balance"]) == (f"pass:user:{attacker}", 0)
    failed = (await backend.client.get(f"/api/generations/failed?passId={theirs}&hoursAgo=24", headers=headers)).json()
    assert failed["total"] == 0
    assert backend.balance(theirs) == backend.ledger_sum(theirs) == 4
    own = await backend.client.get(f"/mma/generations/{generation_id}", headers=mine)
    assert (own.status_code, own.headers["X-Mina-Pass-Id"]) == (200, theirs)


async def test_who_says_who_they_are_sees_only_their_own(idle: Backend):
    await idle.grant(1)
    made = await idle.post("/mma/still/create", BRIEF)
    path = f"/mma/generations/{made['generation_id']}"
    assert (await idle.client.get(path, headers={"X-Mina-Pass-Id": "pass:user:other"})).status_code == 404
    assert (await idle.client.get(path, headers={"X-Mina-Pass-Id": idle.pass_id})).status_code == 200
    assert (await idle.client.get(path)).status_code == 200
    stream = made["sse_url"]
    assert (await idle.client.get(stream, headers={"X-Mina-Pass-Id": "pass:user:other"})).status_code == 404


async def test_an_event_of_nobody_changes_nobodys_taste(idle: Backend):
    await idle.grant(1)
    made = await idle.post("/mma/still/create", BRIEF)
    event = {"event_type": "dislike", "generation_id": made["generation_id"], "payload": {"hard_block": "hands"}}
    for body in (event, event | {"passId": "pass:user:other"}):
        assert (await idle.client.post("/mma/events", json=body)).status_code == 404
    assert idle.value("select mg_mma_preferences from mega_customers where mg_pass_id = %s", idle.pass_id) == {}


async def test_the_session_of_another_is_not_joined(idle: Backend):
    await idle.grant(2)
    theirs = (await idle.post("/sessions/start", {"title": "Secret plans"}))["sessionId"]
    stranger = "pass:user:other"
    await idle.grant(1, stranger)
    started = await idle.post("/sessions/start", {"passId": stranger, "sessionId": theirs})
    made = await idle.post("/mma/still/create", {**BRIEF, "passId": stranger, "sessionId": theirs})
    own = await idle.post("/mma/still/create", {**BRIEF, "sessionId": theirs})
    found = "select mg_session_id from mega_generations where mg_id = %s"
    assert started["sessionId"] != theirs
    assert idle.value(found, f"generation:{made['generation_id']}") != theirs
    assert idle.value(found, f"generation:{own['generation_id']}") == theirs


async def test_a_private_file_is_its_owners(idle: Backend):
    owner, other = new_id(), new_id()
    picture = "data:image/png;base64," + base64.b64encode(_png()).decode()
    body = {"dataUrl": picture, "private": True}
    stored = (await idle.client.post("/api/r2/upload-signed", json=body, headers=bearer(token(owner)))).json()
    stated = {"key": stored["key"], "passId": f"pass:user:{owner}"}
    for user, status in ((owner, 200), (other, 404)):
        answer = await idle.client.post("/api/assets/signed-url", json=stated, headers=bearer(token(user)))
        assert answer.status_code == status


def _png() -> bytes:
    from io import BytesIO  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415

    content = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(content, "PNG")
    return content.getvalue()


# --- where only a token counts --------------------------------------------------------------------------------------


async def test_where_a_token_is_required_a_stated_id_is_nobody(start: StartBackend):
    backend = await start(worker=False, auth="required", **SIGNED_BY_SECRET, **ADMIN)
    user_id = new_id()
    pass_id = (await me(backend, user_id))["passId"]
    await backend.grant(3, pass_id)
    mine = bearer(token(user_id))
    made = (await backend.client.post("/mma/still/create", json=BRIEF, headers=mine)).json()["generation_id"]
    stated = {"passId": pass_id}
    for method, path, body in [
        ("POST", "/mma/still/create", BRIEF),
        ("POST", f"/mma/still/{made}/tweak", {"feedback": {"text": "darker"}}),
        ("POST", f"/mma/generations/{made}/cancel", {}),
        ("GET", f"/mma/generations/{made}", None),
        ("POST", "/mma/events", {"event_type": "like"}),
        ("POST", "/sessions/start", {}),
        ("GET", f"/credits/balance?passId={pass_id}", None),
        ("GET", f"/history/pass/{pass_id}", None),
        ("GET", f"/api/generations/failed?passId={pass_id}", None),
        ("GET", f"/billing/settings?customerId={pass_id}", None),
        ("POST", "/billing/settings", {"enabled": True}),
        ("POST", "/api/r2/upload-signed", {"contentType": "image/png"}),
        ("POST", "/api/r2/store-remote-signed", {"url": "https://example.com/a.png"}),
        ("POST", "/api/assets/signed-url", {"key": "a/b/c.png"}),
    ]:
        for ids in ({}, stated):
            more = {} if body is None else {"json": ids | body}
            headers = {"X-Mina-Pass-Id": pass_id} if ids else {}
            answer = await backend.client.request(method, path, headers=headers, **more)
            allowed_to_nobody = not ids and path == "/sessions/start"
            no_id_named = not ids and (method, path) == ("POST", "/billing/settings")
            expected = (
                200 if allowed_to_nobody else 400 if no_id_named else 404 if not ids and "cancel" in path else 401
            )
            assert answer.status_code == expected, (method, path, ids, answer.text)
    assert backend.balance(pass_id) == 2
    assert (await backend.client.get(f"/mma/generations/{made}", headers=mine)).status_code == 200
    assert (await backend.client.get("/me", headers={"X-Mina-Pass-Id": pass_id})).json()["user"] is None


async def test_a_server_of_ours_speaks_for_whom_it_states(start: StartBackend):
    backend = await start(worker=False, auth="required", **SIGNED_BY_SECRET, **ADMIN)
    await backend.grant(1)
    headers = bearer(ADMIN["admin_token"])
    made = await backend.post("/mma/still/create", BRIEF, headers=headers)
    assert made["passId"] == backend.pass_id
    await backend.grant(0, "pass:user:other")
    path = f"/mma/generations/{made['generation_id']}/cancel"
    assert (await backend.client.post(path, json={"passId": "pass:user:other"}, headers=headers)).status_code == 404


async def test_without_a_key_set_tokens_say_nothing(start: StartBackend):
    backend = await start(worker=False)
    answer = await backend.client.get("/me", headers=bearer(token()))
    assert (answer.status_code, answer.json()["user"]) == (200, None)
    balance = await backend.get("/credits/balance", params={"passId": backend.pass_id}, headers=bearer("whatever"))
    assert balance["passId"] == backend.pass_id


# --- operators ------------------------------------------------------------------------------------------------------


def audit(backend: Backend) -> list[dict[str, Any]]:
    return backend.sql("select * from mega_admin where mg_record_type = 'admin_audit' order by mg_created_at")


async def test_operators_are_known_by_their_token_their_email_or_their_row(start: StartBackend):
    backend = await start(worker=False, admin_emails="Op@Example.com, two@example.com", **SIGNED_BY_SECRET, **ADMIN)
    by_row = new_id()
    customer(backend, "pass:user:row", mg_user_id=by_row, mg_admin_allowlist=True)
    for headers, status in [
        (bearer(ADMIN["admin_token"]), 200),
        ({"x-admin-secret": ADMIN["admin_token"]}, 200),
        (bearer(token(email="op@example.com")), 200),
        (bearer(token(by_row)), 200),
        (bearer(token(email="ann@example.com")), 403),
        (bearer(token(email="op@example.com", email_verified=False)), 403),
        (bearer(token(email="op@example.com", exp=1)), 401),
        (bearer("the operators' toke"), 401),
        ({"x-admin-secret": "no"}, 401),
        ({}, 401),
    ]:
        assert (await backend.client.get("/api/admin/providers", headers=headers)).status_code == status, headers
    assert (await me(backend, new_id(), "op@example.com"))["isAdmin"] is True
    assert (await me(backend, by_row))["isAdmin"] is True
    assert (await me(backend, new_id(), "ann@example.com"))["isAdmin"] is False


async def test_what_an_operator_does_is_one_row_each(start: StartBackend):
    backend = await start(worker=False, admin_emails="op@example.com", **SIGNED_BY_SECRET, **ADMIN)
    await backend.grant(2)
    made = await backend.post("/mma/still/create", BRIEF)
    operator_id = new_id()
    own = (await me(backend, operator_id, "op@example.com"))["passId"]
    headers = bearer(token(operator_id, "op@example.com"))
    cancel = f"/mma/generations/{made['generation_id']}/cancel"
    assert (await backend.client.post(cancel, json={}, headers=headers)).status_code == 200
    assert (await backend.client.post("/api/admin/cleanup-stuck-generations", headers=headers)).status_code == 200
    body = {"customerId": backend.pass_id, "amount": 5}
    assert (
        await backend.client.post("/credits/add", json=body, headers=bearer(ADMIN["admin_token"]))
    ).status_code == 200
    cancelled, cleaned, added = audit(backend)
    assert [row["mg_action"] for row in (cancelled, cleaned, added)] == [
        "generations.cancel",
        "generations.cleanup",
        "credits.add",
    ]
    assert (cancelled["mg_actor_pass_id"], cancelled["mg_email"]) == (own, "op@example.com")
    assert (cancelled["mg_detail"]["actor"], cancelled["mg_detail"]["target"]) == (
        "op@example.com",
        made["generation_id"],
    )
    assert cancelled["mg_detail"]["before"] == {"status": "queued"}
    assert added["mg_detail"]["actor"] == "admin token"
    assert (added["mg_detail"]["before"], added["mg_detail"]["after"]["credits"]) == ({"credits": 2}, 7)
    assert (added["mg_route"], added["mg_method"]) == ("/credits/add", "POST")
    assert added["mg_detail"]["request_id"].startswith("credits_")


async def test_what_a_customer_does_is_no_operators_action(idle: Backend):
    await idle.grant(1)
    made = await idle.post("/mma/still/create", BRIEF)
    await idle.post(f"/mma/generations/{made['generation_id']}/cancel", {})
    assert audit(idle) == []
