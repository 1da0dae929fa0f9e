"""Versioned configuration: contexts, provider defaults and the registry, one immutable row a version."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import row_as

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    id: str
    key: str
    value: Row
    content_hash: str


async def active(conn: Connection, key: str) -> ConfigVersion | None:
    return row_as(ConfigVersion, await _queries.active(conn, key=key))


async def set_rules(conn: Connection, placeholders: Mapping[str, Collection[str]], settings: Collection[Row]) -> None:
    """Have the database hold new versions to what this program knows: the placeholders of each context, and the
    settings of each engine (`engine`, `name`, `type`, `least`, `most`, `words`, `pattern`, `single_output`)."""
    contexts = [{"key": key, "names": sorted(names)} for key, names in placeholders.items()]
    await _queries.set_context_placeholders(conn, contexts=Jsonb(contexts))
    await _queries.set_setting_rules(conn, rules=Jsonb(list(settings)))


async def insert_version(conn: Connection, key: str, version: int, value: Row) -> bool:
    """Add a version of a key. False: this version exists already and stays as it is."""
    inserted = await _queries.insert_version(
        conn,
        id=f"app_config:{key}.v{version}",
        key=key,
        value=Jsonb({"version": version, "enabled": True} | value),
    )
    return bool(inserted)


async def store_setting(conn: Connection, name: str, value: bool) -> None:
    """Keep a setting in the database, for its own functions and policies to read."""
    await _queries.store_setting(conn, name=name, value=Jsonb(value))
