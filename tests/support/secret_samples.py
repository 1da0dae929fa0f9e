"""Secrets of every kind for tests to plant: each is made from its number, so no two are the same, and none is real."""

import base64
import hashlib
import json
import random
from collections.abc import Callable

Make = Callable[[random.Random], str]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
HEX = "0123456789abcdef"


def _word(rng: random.Random, chars: int, alphabet: str = LETTERS) -> str:
    return "".join(rng.choice(alphabet) for _ in range(chars - 1)) + "7"


def _uuid(rng: random.Random) -> str:
    return "-".join(_word(rng, chars, HEX) for chars in (8, 4, 4, 4, 12))


def _base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _jwt(rng: random.Random) -> str:
    claims = json.dumps({"sub": _word(rng, 12), "role": "service_role"})
    return f"{_base64(json.dumps({'alg': 'HS256', 'typ': 'JWT'}))}.{_base64(claims)}.{_word(rng, 43)}"


def _pem(rng: random.Random) -> str:
    lines = "\n".join(_word(rng, 64) for _ in range(3))
    return f"-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----"


# Secrets that are known by their form: (what is planted, what of it must never be seen).
FORMS: dict[str, Make] = {
    "jwt": _jwt,
    "openai": lambda rng: f"sk-proj-{_word(rng, 40)}",
    "stripe": lambda rng: f"sk_live_{_word(rng, 24)}",
    "replicate": lambda rng: f"r8_{_word(rng, 37)}",
    "fal": lambda rng: f"{_uuid(rng)}:{_word(rng, 32, HEX)}",
    "webhook": lambda rng: f"whsec_{_word(rng, 32)}",
    "aws": lambda rng: f"AKIA{_word(rng, 16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}",
    "github": lambda rng: f"ghp_{_word(rng, 36)}",
    "google": lambda rng: f"AIza{_word(rng, 35)}",
    "shopify": lambda rng: f"shpat_{_word(rng, 32, HEX)}",
}
# Secrets that are known by what is around them: (text with the secret in it, the secret).
AROUND: dict[str, Callable[[str], str]] = {
    "bearer": lambda secret: f"Bearer {secret}",
    "basic": lambda secret: "Basic " + base64.b64encode(f"user:{secret}".encode()).decode(),
    "dsn": lambda secret: f"postgresql://someone:{secret}@db.example.com:5432/postgres",
    "proxy": lambda secret: f"http://someone:{secret}@proxy.example.com:8080",
    "aws_url": lambda secret: f"https://b.s3.example.com/a.png?X-Amz-Expires=60&X-Amz-Signature={secret}&x-id=Get",
    "aws_session": lambda secret: f"https://b.s3.example.com/a.png?X-Amz-Security-Token={secret}",
    "azure_url": lambda secret: f"https://b.blob.example.com/a.png?sv=2024-11-04&se=2030&sig={secret}",
    "our_url": lambda secret: f"http://127.0.0.1:8787/private-assets/p/a.png?expires=9999999999&signature={secret}",
    "supabase_url": lambda secret: f"https://x.example.com/storage/v1/object/sign/a.png?token={secret}",
    "json": lambda secret: json.dumps({"note": "x", "client_secret": secret}),
    "nested_json": lambda secret: json.dumps({"body": json.dumps({"password": secret})}),
    "repr": lambda secret: repr({"api_key": secret, "other": 1}),
    "env": lambda secret: f"SUPABASE_SERVICE_ROLE_KEY={secret}",
    "cookie": lambda secret: f"Cookie: theme=dark; session={secret}",
    "key_param": lambda secret: f"https://api.example.com/v1?alt=json&key={secret}",
}
KEYS = (
    "authorization", "Authorization", "cookie", "Set-Cookie", "api_key", "apiKey", "apikey", "x-api-key", "X-Api-Key",
    "token", "accessToken", "access_token", "refresh-token", "idToken", "secret", "clientSecret", "client_secret",
    "password", "passwd", "db_password", "signature", "privateKey", "private_key", "service_role",
    "SUPABASE_SERVICE_ROLE_KEY", "dsn", "REPLICATE_API_TOKEN", "x-admin-secret", "AWS_SECRET_ACCESS_KEY", "credentials",
)  # fmt: skip


def secret(kind: str, number: int) -> str:
    return FORMS[kind](random.Random(f"{kind}:{number}"))


def opaque(number: int) -> str:
    """A secret without a form of its own."""
    return "Zq" + hashlib.sha256(f"opaque:{number}".encode()).hexdigest()[:22] + "xK7"


class Garden:
    """Plants a fresh secret at each call, and remembers what must not be found anywhere."""

    def __init__(self) -> None:
        self.planted: list[str] = []

    def text(self) -> str:
        """A secret alone or in its usual surroundings: each kind in turn."""
        number = len(self.planted)
        kinds = [*FORMS, *AROUND]
        kind = kinds[number % len(kinds)]
        return self._form(kind, number) if kind in FORMS else self.around(kind)

    def sentence(self) -> str:
        return f"On pale stone, {self.text()} in soft light"

    def form(self, *, longest: int = 10_000) -> str:
        """A secret with a form of its own, so that it may stand anywhere."""
        number = len(self.planted)
        short = [kind for kind in FORMS if len(secret(kind, number)) <= longest]
        return self._form(short[number % len(short)], number)

    def around(self, kind: str) -> str:
        planted = opaque(len(self.planted))
        self.planted.append(planted)
        text = AROUND[kind](planted)
        if kind == "basic":
            self.planted[-1] = text.removeprefix("Basic ")
        return text

    def keyed(self) -> dict[str, object]:
        """An object whose keys alone say that there is a secret."""
        found: dict[str, object] = {}
        for key in KEYS:
            self.planted.append(opaque(len(self.planted)))
            found[key] = self.planted[-1]
        return {"deep": [{"er": found}]}

    def _form(self, kind: str, number: int) -> str:
        self.planted.append(secret(kind, number))
        return self.planted[-1]
