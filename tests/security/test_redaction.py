"""The redactor hides secrets, and leaves the rest alone."""

import json
import random
import string
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safelight.redaction import DEFAULT_REDACTOR, Redactor, excerpt
from tests.support.secret_samples import AROUND, FORMS, KEYS, _pem, opaque, secret

OWN = "correct-horse-battery-staple"
NUMBERS = st.integers(0, 10_000)
WORDS = st.text(string.ascii_letters + " .,!?äß漢🎬\n", max_size=40)
PLANTED = st.one_of(
    st.tuples(st.sampled_from(sorted(FORMS)), NUMBERS).map(lambda one: (secret(*one), secret(*one))),
    st.tuples(st.sampled_from(sorted(set(AROUND) - {"basic"})), NUMBERS).map(
        lambda one: (AROUND[one[0]](opaque(one[1])), opaque(one[1]))
    ),
    NUMBERS.map(lambda number: (_pem(random.Random(number)), _pem(random.Random(number)).splitlines()[2])),
    st.just((f"Basic {'dXNlcjpodW50ZXIy'}", "dXNlcjpodW50ZXIy")),
    st.just((OWN, OWN)),
)
IN_TEXT = st.tuples(WORDS, PLANTED, WORDS).map(lambda one: (f"{one[0]} {one[1][0]} {one[2]}", one[1][1]))
PLAIN_WORDS = st.text("quvwxyz .,!?äß漢🎬\n", max_size=40)  # nobody guesses a secret's name from these
HARMLESS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | PLAIN_WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN_WORDS, inner, max_size=3),
    max_leaves=8,
)
redactor = Redactor([OWN])


@st.composite
def planted_json(draw: Any) -> tuple[Any, list[str]]:
    """JSON of any depth with secrets as values, as keys, under keys, and the secrets."""
    secrets: list[str] = []
    value: Any = draw(HARMLESS)
    for _ in range(draw(st.integers(1, 5))):
        text, hidden = draw(IN_TEXT)
        key, under = draw(st.sampled_from(KEYS)), opaque(draw(NUMBERS))
        secrets += [hidden, under]
        value = draw(
            st.sampled_from(
                [
                    {"a": value, key: under, "text": text},
                    [value, {"headers": [[f"x-{key}", under]]}, text],
                    [text, {key: under}],
                    {"name": key, "value": {"in": [under]}, "more": [value], text: 1},
                    {"as_text": json.dumps({key: under, "b": text}), "rest": value},
                ]
            )
        )
    return value, secrets


@settings(max_examples=400)
@given(planted_json())
@example(({"to-ken": "abcdefgh", "pass_word": 12345678}, []))
@example(({"x": [["Set-Cookie", "a=bcdefghi"]], "userSIG": "abcdefgh", "design": 1}, []))
@example(({"apı-key": 1, "text": "apı-key=abcdefghij apİ_key=abcdefghij toKen=abcdefghij"}, []))
@example(({"pass\u00e9word": "abcdefgh", "a\tb": f"\u2026{OWN}"}, []))
@example(([f'{OWN}"', 'say "token": "abcdefghijkl"'], []))
def test_json_is_written_as_it_is_only_when_redaction_would_change_nothing(planted: tuple[Any, list[str]]) -> None:
    value, _ = planted
    assert redactor.dumps(value) == json.dumps(redactor.value(value))
    assert redactor.changes(value) == (redactor.value(value) != value)


@given(HARMLESS)
def test_harmless_json_is_written_as_it_is(value: Any) -> None:
    assert redactor.dumps(value) == json.dumps(value)


IN_A_NAME = "whsec_IrF918VNUsydvuW52Anqf4cKK4UIJwo7"  # what is shown for it must not make the name a secret's


@given(IN_TEXT)
@settings(max_examples=400, deadline=None)
def test_a_secret_in_a_text_is_not_shown_and_the_rest_stays(planted: tuple[str, str]):
    text, hidden = planted
    shown = redactor.text(text)
    assert hidden not in shown
    assert "[redacted: " in shown
    assert redactor.text(shown) == shown


@given(planted_json())
@example(({f" {IN_A_NAME} ": 1}, [IN_A_NAME]))
@example(({json.dumps({"client_secret": IN_A_NAME}): 1}, [IN_A_NAME]))
@example(({json.dumps({"jwt": IN_A_NAME}): 1}, [IN_A_NAME]))
@settings(max_examples=300, deadline=None)
def test_secrets_at_any_depth_of_json_are_not_shown(planted: tuple[Any, list[str]]):
    value, secrets = planted
    written = redactor.dumps(value)
    assert not [one for one in secrets if one in written or json.dumps(one)[1:-1] in written]
    again = json.loads(written)
    assert redactor.value(again) == again


@given(HARMLESS)
@settings(max_examples=300, deadline=None)
def test_what_holds_no_secret_stays_as_it_is(value: Any):
    assert json.loads(redactor.dumps(value)) == json.loads(json.dumps(value))


@given(st.text(max_size=300))
@settings(max_examples=500, deadline=None)
def test_twice_is_once(text: str):
    assert redactor.text(redactor.text(text)) == redactor.text(text)


@given(st.text("eyJ.-_:=@/sk tokenbearer?&\"'\\[]redact password", max_size=120))
@settings(max_examples=1000, deadline=None)
def test_twice_is_once_where_it_is_tempting(text: str):
    assert redactor.text(redactor.text(text)) == redactor.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11",
        "generation:0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11",
        "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11:5:1",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "http://127.0.0.1:8787/assets/product/pass_user_42/1766131200000-0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11-cup.jpg",
        "https://cdn.example.com/a.jpg?v=1700000000&width=800",
        "https://example.com/thumbnails?key=product/cup.jpg",
        "postgresql://user@host/db",
        "pass:user:42, someone@example.com",
        "2026-11-21T13:45:49.123+00:00",
        "A signature scent: oud, and the secret of a calm morning. Basic lighting, basic composition.",
        "Secret: the light comes from the left. Signature: hand-written in gold. Token: a small brass coin.",
        "The bearer carries a lantern; a cookie: crumbly, with sea salt. Password: the word for open sesame.",
        "max_tokens=420, input_tokens: 1200, 3 tokens",
        "task-force-of-the-darkroom, risk-free-and-easy-going, desk-lamps-of-the-fifties",
        "data:image/png;base64,iVBORw0KGgo=",
    ],
)
def test_what_only_looks_a_little_like_a_secret_is_left_alone(text: str):
    assert redactor.text(text) == text


@pytest.mark.parametrize(
    "value",
    [
        {"max_tokens": 420, "input_tokens": 12, "output_tokens": None, "token_count": 3},
        {"tags": ["token", "secret"], "has_password": False, "token": None, "password": ""},
        {"settings_key": "mma.provider.seedream.defaults", "attempt_key": "a:1:1", "public_key": "ssh-ed25519"},
        {"name": "cup", "value": "blue"},
        {"key": "product/a.jpg", "value": 3},
    ],
)
def test_objects_without_secrets_are_left_alone(value: Any):
    assert redactor.value(value) == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdef123456 ok", "Authorization: Bearer [redacted: bearer token] ok"),
        ("postgresql://u:p:w@h:5432/d, then", "postgresql://u:[redacted: password]@h:5432/d, then"),
        ("https://a.example/b?x=1&sig=abc&y=2", "https://a.example/b?x=1&sig=[redacted: signature]&y=2"),
        ('{"password": "a\\"b", "b": 2}', '{"password": "[redacted: password]", "b": 2}'),
        ("login(password='hunter2', name='x')", "login(password='[redacted: password]', name='x')"),
        ("cookie: a=b; c=d\nhost: x", "cookie: [redacted: cookie]\nhost: x"),
        (f"it said {OWN}!", "it said [redacted: secret of ours]!"),
    ],
)
def test_what_is_shown_names_what_was_there(text: str, shown: str):
    assert redactor.text(text) == shown


def test_a_long_data_url_is_shown_by_its_hash_and_length():
    shown = redactor.text("<img src='data:image/png;base64," + "QUJD" * 200 + "'>")
    assert shown == (
        "<img src='data:image/png;base64,[shortened: sha256"
        " a283eb3821b0d2cedac9796b367e42c16a52ebb395d0df482ca5a005ca51979d, 800 characters]'>"
    )


def test_numbers_under_the_name_of_a_password_are_hidden_and_others_are_not():
    given = {"password": 12345678, "tokens": 12, "token": True}
    assert redactor.value(given) == {"password": "[redacted: password]", "tokens": 12, "token": True}


def test_two_ids_with_secrets_in_them_stay_two():
    one, two = (DEFAULT_REDACTOR.safe_id(secret("jwt", number)) for number in (1, 2))
    assert one != two
    assert DEFAULT_REDACTOR.safe_id(one) == one
    assert DEFAULT_REDACTOR.safe_id("order-42") == "order-42"


def test_a_secret_at_the_edge_of_an_excerpt_is_seen_before_it_is_cut():
    planted = secret("openai", 1)
    assert planted[:10] not in excerpt("x" * 190 + " " + planted, 200)


HOSTILE = [
    "a", "eyJ", "eyJaaaaaa.", "sk-", "bearer ", "basic ", "://", "://a:", "data:", "data:a;b=c", "AKIA", "ghp_", "SG.",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "token=", "token='", 'token="', "token=\\", 'token=\\"', "token    ",
    "cookie: a", "cookie:", "?key=", "=", "[redacted: ", "[redacted: token]", "0", "api_", "password: ", "token=key ",
    "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11:", "(", ")", "token=)", "\\", "data:image/png;base64,", "xoxa-", "%3D",
]  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_megabyte_is_read_in_one_go(part: str):
    """A pattern that backtracks would take hours for it."""
    shown = redactor.text(part * (1_000_000 // len(part)))
    assert redactor.text(shown) == shown
