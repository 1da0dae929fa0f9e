"""All nodes of a deployment sign with one secret, wherever their homes are."""

import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.domain.errors.base import ConfigError
from safelight.security.signing import Signer


def test_nodes_with_homes_of_their_own_share_the_first_one_s_secret(dsn, tmp_path):
    first, second = (App(Settings(home=tmp_path / name, database_url=dsn)) for name in ("a", "b"))
    token = first.resources.signer.token("stream", "g1", seconds=60)
    assert second.resources.signer.holds("stream", "g1", token)
    assert second.secret() != (tmp_path / "b" / "secret").read_text().strip()


def test_a_stated_secret_goes_before_the_one_in_the_database(dsn, tmp_path):
    stated = App(Settings(home=tmp_path, database_url=dsn, secret="s" * 40))
    assert stated.secret() == "s" * 40


def test_a_database_without_tables_says_what_to_run(empty_dsn, tmp_path):
    with pytest.raises(ConfigError, match="safelight migrate"):
        App(Settings(home=tmp_path, database_url=empty_dsn)).secret()


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_customers_do_not_read_the_secret(backend, role):
    backend.app.secret()
    assert backend.value(f"select has_table_privilege('{role}', 'safelight.deployment_secret', 'select')") is False


@pytest.mark.parametrize(
    ("purpose", "subject", "change"),
    [("stream", "g2", ""), ("other", "g1", ""), ("stream", "g1", "0"), ("stream", "g1", "."), ("stream", "g1", "é")],
)
def test_a_token_holds_for_its_purpose_and_subject_alone(purpose, subject, change):
    signer = Signer(b"x" * 32)
    token = signer.token("stream", "g1", seconds=60)
    assert signer.holds("stream", "g1", token)
    assert not signer.holds(purpose, subject, change + token)


def test_a_token_ends_with_its_time():
    now = [1000.0]
    signer = Signer(b"x" * 32, clock=lambda: now[0])
    token = signer.token("stream", "g1", seconds=60)
    now[0] = 1060.0
    assert signer.holds("stream", "g1", token)
    now[0] = 1061.0
    assert not signer.holds("stream", "g1", token)
