"""Removes secrets from text and JSON before they are written: rows, files, log lines, streams.

A placeholder names the kind of secret: `[redacted: bearer token]`. Redaction is idempotent, and its time is linear in
the length of the text, whatever the text is. A secret is recognised by the name it stands under, by its own form, as
the signature of a URL, or as one of our own secrets.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import re2

SECRET_CHARS_MIN = 8  # shorter ones would match inside of words
DATA_URL_CHARS_MAX = 512
BASIC_CHARS_MAX = 4096
WORD_CHARS_MAX = 16
KEY_CHARS_READ = 100
EXCERPT_READ_TIMES = 4
KEYS_REMEMBERED = 4096
TEXTS_REMEMBERED = 4096  # the same values are written repeatedly while a generation runs
REMEMBERED_CHARS_MAX = 2048

# Endings of the names of secrets, in lower case without separators, and the kinds shown in their place.
_ENDINGS = {
    "authorization": "authorization",
    "cookie": "cookie",
    "apikey": "api key",
    "password": "password",
    "passwd": "password",
    "passphrase": "password",
    "passcode": "password",
    "privatekey": "private key",
    "accesskey": "access key",
    "accesskeyid": "access key",
    "secretkey": "secret",
    "signingkey": "secret",
    "encryptionkey": "secret",
    "secret": "secret",
    "servicerole": "service role key",
    "servicerolekey": "service role key",
    "signature": "signature",
    "hmacsha256": "signature",
    "credential": "credentials",
    "token": "token",
}
_LAST_WORDS = {"pwd": "password", "dsn": "dsn", "jwt": "token", "sig": "signature", "hmac": "signature"}
_NUMBERS_TOO = {"password", "secret"}
_NO_VALUES = {"", "none", "null", "true", "false", "undefined", "***", "**********", "[secure]"}
_HEADERS = {"authorization", "proxy-authorization", "cookie", "set-cookie"}

_FORMS = {
    "aws": "aws key",
    "basic": "basic credentials",
    "bearer": "bearer token",
    "fal": "fal key",
    "github": "github token",
    "google": "google api key",
    "jwt": "jwt",
    "pem": "private key",
    "replicate": "replicate token",
    "sk": "api key",
    "url": "password",
    "vendor": "token",
    "webhook": "webhook secret",
}
_OUR_OWN = "secret of ours"
_LABELS = sorted({*_ENDINGS.values(), *_LAST_WORDS.values(), *_FORMS.values(), _OUR_OWN})
_MARKED = re.compile(rf"\[redacted: (?:{'|'.join(_LABELS)})\]")
_MARK = _MARKED.pattern.replace(" ", r"\ ")  # for use in a verbose expression

# The expressions below do not backtrack, and patterns that may begin anywhere in a long word read it once: linear time.
_FORM = re.compile(
    r"""
      data:[\w/+.-]{0,100}+(?:;[\w-]{1,40}+=[\w-]{0,40}+){0,4}+;base64,(?P<data>[A-Za-z0-9+/_=%-]{DATA_URL_CHARS,}+)
    | (?P<pem>
        -----BEGIN\ (?:(?!PRIVATE)[A-Z0-9]{1,20}+\ ){0,4}+PRIVATE\ KEY(?:\ BLOCK)?-----
        (?:[\w+/=\s:,.()\\]|-(?!----))*+ (?:-----END[A-Z0-9 ]{0,50}+-----)?
      )
    | (?<=://)[^\s/@:"'<>]*+:(?!MARK@)(?P<url>[^\s/@"'<>]++)(?=@)
    | (?<![A-Za-z0-9]) (?:
        (?P<jwt>eyJ[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+){0,3}+)
      | (?P<sk>[sr]k[-_][\w-]{16,}+)
      | (?P<replicate>r8_[A-Za-z0-9]{16,}+)
      | (?P<webhook>whsec_[A-Za-z0-9+/=_-]{8,}+)
      | (?P<aws>A(?:KIA|SIA|ROA|IDA)[A-Z0-9]{16,}+)
      | (?P<github>(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{16,}+)
      | (?P<google>AIza[\w-]{30,}+)
      | (?P<vendor>(?:glpat-|xox[a-z]-|hf_|npm_|shp(?:at|ss|ca|pa)_|sbp_|sb_secret_|SG\.|ya29\.)[\w.-]{16,}+)
      | (?P<fal>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}:[0-9a-fA-F]{32,}+)
      | (?i:bearer)(?:\s|%20|\+){1,8}+(?P<bearer>[A-Za-z0-9._~+/=-]{8,}+)
      | (?i:basic)(?:\s|%20|\+){1,8}+(?P<basic>[A-Za-z0-9+/=_-]{8,}+)
      )
    """.replace("MARK", _MARK).replace("DATA_URL_CHARS", str(DATA_URL_CHARS_MAX)),
    re.VERBOSE,
)
_SCHEMES = "bearer|basic|digest|key|token|negotiate|apikey|aws4-hmac-sha256"
_SCHEME = re.compile(f"(?:{_SCHEMES}) ", re.IGNORECASE)
_NAMED = re.compile(
    r"""
    (?:set-)?cookie:[ \t]{0,8}+(?=[^\s=;]{1,64}+=)(?P<jar>[^\r\n"']++)
    | (?P<name>
          (?:api|private|access|secret|signing|encryption)[-_ ]?key(?:[-_]?id)? | service[-_ ]?role(?:[-_ ]?key)?
        | authorization | cookie | passw(?:or)?d | passphrase | passcode | secret | signature | hmac[-_]?sha256
        | credential | token | (?<![a-z])(?:pwd|dsn|jwt|sig|hmac)
      )
      (?P<plural>s?) (?P<sep>\\{0,8}["']?\]?\s{0,4}(?:=>|[=:]|%3[dD])\s{0,4})
      (?!["'\\]{0,9}(?:(?:SCHEMES)\ {1,4})?MARK)
      (?:
          b?(?P<quote>\\{0,8}["'])(?P<quoted>(?:(?!(?P=quote))(?:\\.|[^\\\n]))*+)
        | (?P<plain>(?:(?:SCHEMES)\ {1,4}+)?+[^\s&"'<>]++)
      )
    | (?<=[?&])key=(?!MARK)(?P<key>[^\s&"'<>/]++)(?!/)
    """.replace("MARK", _MARK).replace("SCHEMES", _SCHEMES),
    re.VERBOSE | re.IGNORECASE,
)
_CLOSING = ")]},;.\\"  # characters that may follow a value in a sentence or around it

# A text without any of these has no secret. RE2 searches for all of them in one pass.
_FORM_SIGNS = r"""
      eyJ | [sr]k[-_] | r8_ | whsec_ | A(?:KIA|SIA|ROA|IDA) | gh[pousr]_ | github_pat_ | AIza | glpat- | xox | hf_
    | npm_ | shp | sbp_ | sb_secret_ | SG\. | ya29\. | -----BEGIN | base64, | :[0-9a-fA-F]{32} | ://[^\s/@]*@
"""
_NAME_SIGNS = r"""
      token | secret | passw | passp | passc | api | private | access | signing | encrypt | key= | signature
    | sig(?:[=:"'\\]|%3) | authorization | cookie | credential | service | jwt | dsn | pwd | hmac | bearer | basic
"""
_BESIDE_A_NAME = re.compile(r"[=:%+\s]")
# In JSON, keys are names too. They are compared without their punctuation and without letters beyond ASCII, of which
# some are taken for i, s and k where case is ignored.
_IGNORED = r"(?:[^a-z0-9]|\\u[0-9a-f]{4})*"
_KEY_SIGNS = " | ".join(
    _IGNORED.join(sign) for sign in _ENDINGS if not any(other in sign for other in _ENDINGS if other != sign)
)
_FOLDED = r"\\u(?:0130|0131|017f|212a)"


def _signs(pattern: str) -> Any:
    return re2.compile(re.sub(r"\s+", "", pattern))


_SIGN_OF_FORM, _SIGN_OF_NAME = _signs(_FORM_SIGNS), _signs(f"(?i){_NAME_SIGNS}")
_SIGN_IN_JSON = _signs(f"{_FORM_SIGNS} | (?i: {_NAME_SIGNS} | {_KEY_SIGNS} | sig[^a-z] | {_FOLDED})")


class Redactor:
    """Knows the forms of secrets, and our own secrets literally."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._own: tuple[str, ...] = ()
        self._own_in_json: tuple[str, ...] = ()
        self._remembered = lru_cache(TEXTS_REMEMBERED)(self._cleaned)
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Redact this text from now on, wherever it stands."""
        if len(secret) >= SECRET_CHARS_MIN:
            self._own = tuple(sorted({*self._own, secret}, key=len, reverse=True))
            self._own_in_json = tuple(json.dumps(one)[1:-1] for one in self._own)
            self._remembered.cache_clear()

    def text(self, text: str) -> str:
        """The text without its secrets; the same object if it has none."""
        if len(text) < SECRET_CHARS_MIN:
            return text
        return self._remembered(text) if len(text) <= REMEMBERED_CHARS_MAX else self._cleaned(text)

    def _cleaned(self, text: str) -> str:
        for secret in self._own:
            if secret in text:
                text = text.replace(secret, placeholder(_OUR_OWN))
        return _NAMED.sub(_without_named, _FORM.sub(_without_form, text)) if _may_have_secret(text) else text

    def value(self, value: Any) -> Any:
        """JSON of any depth without its secrets. Values of other types stay as they are."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, int | float):
            return value
        if isinstance(value, list | tuple):
            return self._list(value)
        return self._object(value) if isinstance(value, Mapping) else value

    def dumps(self, value: Any, dumps: Callable[[Any], str] = json.dumps) -> str:
        """The value as JSON without its secrets. Most values have none; only a value that may have one is walked
        through."""
        text = dumps(value)
        return dumps(self.value(value)) if self._json_may_have_secret(text) else text

    def changes(self, value: Any) -> bool:
        """True if the value, which is JSON, has secrets."""
        return self._json_may_have_secret(json.dumps(value)) and self.value(value) != value

    def has_secret(self, text: str) -> bool:
        return self.text(text) != text

    def safe_id(self, text: str) -> str:
        """An id that a client chose. If it holds a secret, a hash replaces it, so that different ids stay different."""
        if not self.has_secret(text):
            return text
        return f"redacted-{hashlib.sha256(text.encode()).hexdigest()[:40]}"

    def _json_may_have_secret(self, text: str) -> bool:
        """False only if `value` would change nothing. `text` is JSON in ASCII."""
        for secret in self._own_in_json:
            if secret in text:
                return True
        return _SIGN_IN_JSON.search(text.encode()) is not None

    def _object(self, given: Mapping[Any, Any]) -> dict[Any, Any]:
        cleaned = {}
        for name, item in given.items():
            label = secret_kind(name) if isinstance(name, str) else None
            cleaned[self.value(name)] = self._hidden(item, label) if label else self.value(item)
        return self._stated_apart(cleaned) if "value" in cleaned else cleaned

    def _stated_apart(self, cleaned: dict[Any, Any]) -> dict[Any, Any]:
        """`{"name": "Authorization", "value": …}` is treated as `{"Authorization": …}`."""
        name = cleaned.get("name", cleaned.get("key"))
        label = secret_kind(name) if isinstance(name, str) else None
        return cleaned | {"value": self._hidden(cleaned["value"], label)} if label else cleaned

    def _list(self, given: list[Any] | tuple[Any, ...]) -> list[Any]:
        """A list of two texts may be a header: its name and its value."""
        if len(given) == 2 and isinstance(given[0], str) and _is_header(given[0]):
            label = secret_kind(given[0])
            return [self.text(given[0]), self._hidden(given[1], label) if label else self.value(given[1])]
        return [self.value(item) for item in given]

    def _hidden(self, value: Any, label: str) -> Any:
        """The value under a secret's name, with every text in it hidden; flags and most numbers stay."""
        if isinstance(value, str):
            return value if value.lower() in _NO_VALUES or _MARKED.fullmatch(value) else placeholder(label)
        if isinstance(value, Mapping):
            return {self.value(name): self._hidden(item, label) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._hidden(item, label) for item in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return placeholder(label) if is_number and label in _NUMBERS_TOO else value


DEFAULT_REDACTOR = Redactor()  # for callers that do not know our own secrets


def excerpt(text: str, chars: int) -> str:
    """The beginning of a text. Secrets are removed first: a truncated secret would not be recognised."""
    return DEFAULT_REDACTOR.text(text[: EXCERPT_READ_TIMES * chars])[:chars]


def placeholder(label: str) -> str:
    return f"[redacted: {label}]"


@lru_cache(KEYS_REMEMBERED)
def secret_kind(name: str) -> str | None:
    """The kind of secret that stands under this name, in any spelling; None if it is no secret. A placeholder inside
    the name does not count as part of it."""
    name = _MARKED.sub("hidden", name[-KEY_CHARS_READ:])
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    ending = next((ending for ending in _ENDINGS if plain.removesuffix("s").endswith(ending)), None)
    return _LAST_WORDS.get(_last_word(name)) if ending is None else _ENDINGS[ending]


def _last_word(name: str) -> str:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return words[-1].lower() if words else ""


def _is_header(name: str) -> bool:
    """True if the two texts are a header and its value; `["token", "secret"]` are tags."""
    return name.lower() in _HEADERS or "-" in name or "_" in name


def _may_have_secret(text: str) -> bool:
    encoded = text.encode("utf-8", "replace")  # lone surrogates have no encoding
    if _SIGN_OF_FORM.search(encoded):
        return True
    return bool(_BESIDE_A_NAME.search(text) and _SIGN_OF_NAME.search(encoded))


# --- what is found by its form ---------------------------------------------------------------------------------------


def _without_form(found: re.Match[str]) -> str:
    kind = next(name for name, secret in found.groupdict().items() if secret is not None)
    if kind == "data":
        return _with(found, kind, _shortened(found[kind]))
    is_one = _DOUBTS.get(kind)
    return found[0] if is_one and not is_one(found[kind]) else _with(found, kind, placeholder(_FORMS[kind]))


def _with(found: re.Match[str], group: str, shown: str) -> str:
    start, end = found.start(group) - found.start(), found.end(group) - found.start()
    return found[0][:start] + shown + found[0][end:]


def _shortened(encoded: str) -> str:
    """A data URL is no secret, but too long for a row: it is replaced by its hash and length."""
    content = _from_base64(encoded)
    digest = hashlib.sha256(encoded.encode() if content is None else content).hexdigest()
    return f"[shortened: sha256 {digest}, {len(encoded)} characters]"


def _is_random(text: str) -> bool:
    """True if the text looks random. Words do not: `bearer carrying`, `sk-everyone-may-read`."""
    return any(char.isdigit() for char in text) or max(map(len, re.split(r"[-_.]", text))) >= WORD_CHARS_MAX


def _is_basic(text: str) -> bool:
    """True for base64 of `name:password`; `Basic lighting` is not."""
    plain = _from_base64(text) if len(text) <= BASIC_CHARS_MAX else b":"
    return plain is not None and b":" in plain and plain.decode("utf-8", "replace").isprintable()


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


_DOUBTS: dict[str, Callable[[str], bool]] = {
    "sk": _is_random,
    "vendor": _is_random,
    "bearer": _is_random,
    "basic": _is_basic,
}


# --- what is found by its name ---------------------------------------------------------------------------------------


def _without_named(found: re.Match[str]) -> str:
    if found["jar"]:
        return found[0] if _MARKED.fullmatch(found["jar"]) else _with(found, "jar", placeholder("cookie"))
    if found["key"]:
        return found[0] if "%2f" in found["key"].lower() else _with(found, "key", _shown(found["key"], "api key"))
    label = secret_kind(found["name"]) or "secret"
    if found["plain"]:
        return _with(found, "plain", _shown(found["plain"], label)) if _is_value(found, label) else found[0]
    return found[0] if found["quoted"].lower() in _NO_VALUES else _with(found, "quoted", placeholder(label))


def _shown(text: str, label: str) -> str:
    return placeholder(label) + text[len(text.rstrip(_CLOSING)) :]


def _is_value(found: re.Match[str], label: str) -> bool:
    """True if the text after the name is its value; False if a sentence goes on: `Secret: the light`."""
    value = found["plain"].rstrip(_CLOSING)
    if value.lower() in _NO_VALUES or (found["plural"] and value.isdigit()):
        return False
    if found["sep"].strip() != ":" or _SCHEME.match(value):
        return True
    return len(value) >= (6 if label == "password" else 12) and any(char.isdigit() for char in value)
