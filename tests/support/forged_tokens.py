"""Access tokens that do not hold, and how each kind of route refuses them."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt

from safelight.domain.ids import new_id
from tests.conftest import Backend
from tests.support.callers import BRIEF
from tests.support.sign_in import (
    EC_KEY,
    ISSUER,
    RSA_KEY,
    SECRET,
    bearer,
    claims,
    public_jwk,
    token,
)


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
