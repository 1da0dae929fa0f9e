"""Tokens as Supabase issues them, and a tiny server that publishes the keys they are signed with."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from safelight import serve
from safelight.domain.ids import new_id

SECRET = "the secret of a project, long enough for HS256 and for its longer relatives"
ISSUER = "https://project.supabase.co/auth/v1"
SIGNED_BY_SECRET = {"jwt_secret": SECRET, "jwt_issuer": ISSUER}


def claims(user_id: str | None = None, email: str | None = None, **more: Any) -> dict[str, Any]:
    """The claims of an access token of Supabase; a claim that is None is left out."""
    now = int(time.time())
    stated = {
        "iss": ISSUER,
        "sub": user_id or new_id(),
        "aud": "authenticated",
        "exp": now + 3600,
        "iat": now,
        "role": "authenticated",
        "email": email or "",
        "is_anonymous": False,
        **more,
    }
    return {name: value for name, value in stated.items() if value is not None}


def token(user_id: str | None = None, email: str | None = None, **more: Any) -> str:
    return jwt.encode(claims(user_id, email, **more), SECRET, "HS256")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def public_jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm: Any = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **more}


@dataclass
class KeysServer:
    """`answer` may be any bytes; one that `drips` never ends; `asked` counts."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    answer: bytes | None = None
    status: int = 200
    drips: bool = False
    asked: int = 0
    url: str = ""

    async def give(self, request: Request) -> Response:
        self.asked += 1
        if self.drips:
            return StreamingResponse(drops())
        return Response(self.answer or json.dumps({"keys": self.keys}), self.status)


async def drops() -> AsyncIterator[bytes]:
    for _ in range(1000):
        yield b" "
        await asyncio.sleep(0.01)


@asynccontextmanager
async def publishing(*keys: dict[str, Any]) -> AsyncIterator[KeysServer]:
    server, listening = KeysServer(list(keys)), serve.listen("127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.getsockname()[1]}/jwks.json"
    async with serve.answering(Starlette(routes=[Route("/jwks.json", server.give)]), listening):
        yield server
