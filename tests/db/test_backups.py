"""`safelight db dump` and `restore`: by the embedded server's own tools, on PostgreSQL 15 too."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.db.schema import backups
from safelight.db.schema.backups import ToolFailed, Tools
from safelight.domain.errors.base import InvalidInput
from tests.conftest import blank_database, running
from tests.db.test_database_urls import safelight


async def test_a_database_comes_back_whole(blank: str, request: pytest.FixtureRequest, tmp_path: Path):
    await App(Settings(database_url=blank)).migrate()
    async with running(blank, tmp_path / "home") as backend:
        await backend.grant(2)
        await backend.finished(await backend.create())
        steps = backend.value("select count(*) from mega_generations where mg_record_type = 'mma_step'")
    done = safelight(tmp_path / "home", "db", "dump", str(tmp_path / "x.dump"), SAFELIGHT_DATABASE_URL=blank)
    assert (done.returncode, done.stderr) == (0, "")
    assert "that come with safelight" in done.stdout
    assert stat.S_IMODE((tmp_path / "x.dump").stat().st_mode) == 0o600
    same_server = SimpleNamespace(param=request.node.callspec.params["blank"], getfixturevalue=request.getfixturevalue)
    with blank_database(same_server) as other:
        done = safelight(tmp_path / "other", "db", "restore", str(tmp_path / "x.dump"), SAFELIGHT_DATABASE_URL=other)
        assert (done.returncode, done.stderr) == (0, "")
        assert await App(Settings(database_url=other)).migrate() == []
        async with running(other, tmp_path / "home") as restored:
            assert restored.value("select count(*) from mega_generations where mg_record_type = 'mma_step'") == steps
            assert safelight(tmp_path / "home", "doctor", SAFELIGHT_DATABASE_URL=other).returncode == 0
            restored.pass_id = backend.pass_id
            assert (await restored.finished(await restored.create()))["status"] == "done"


@pytest.mark.parametrize("content", [b"", b"a text", b"PK\x03\x04", b"-- PostgreSQL database dump\n"])
def test_what_is_no_dump_is_refused(empty_dsn: str, tmp_path: Path, content: bytes):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InvalidInput, match="is no dump"):
        backups.restore(empty_dsn, tmp_path / "x", backups.tools_for(18))


def test_a_cut_dump_restores_nothing(dsn: str, empty_dsn: str, tmp_path: Path):
    tools, file = backups.tools_for(18), tmp_path / "x.dump"
    backups.dump(dsn, file, tools)
    os.truncate(file, file.stat().st_size * 3 // 4)
    with pytest.raises(ToolFailed):
        backups.restore(empty_dsn, file, tools)
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("select count(*) from pg_class where relname like 'mega%'").fetchone() == (0,)


def test_nothing_is_written_over(dsn: str, tmp_path: Path):
    tools, file = backups.tools_for(18), tmp_path / "x.dump"
    backups.dump(dsn, file, tools)
    with pytest.raises(InvalidInput, match="is there already"):
        backups.dump(dsn, file, tools)
    with pytest.raises(InvalidInput, match="has data already"):
        backups.restore(dsn, file, tools)
    with pytest.raises(InvalidInput, match="cannot be written"):
        backups.dump(dsn, tmp_path / "no" / "x.dump", tools)


def test_a_server_that_is_newer_than_all_tools_is_a_clear_line():
    with pytest.raises(ToolFailed, match="install postgresql-client-99"):
        backups.tools_for(99)


def test_the_password_is_no_argument_of_the_tool():
    arguments, environment = backups._command(["pg_dump"], "postgresql://u:S3cretPw99@h/x")
    assert "S3cretPw99" not in " ".join(map(str, arguments))
    assert environment == {"PGPASSWORD": "S3cretPw99"}


def test_tools_say_where_they_are_from(tmp_path: Path):
    assert str(Tools(tmp_path, 18, is_bundled=True)) == "the tools of PostgreSQL 18 that come with safelight"
