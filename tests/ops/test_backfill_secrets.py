"""Secrets planted in the rows of an older backend: the backfill leaves them there, and parity holds all the same."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from safelight.ops.backfill import SOURCES
from tests.ops.test_backfill import FEW, Json, Move, old_tables
from tests.security.test_planted_secrets import all_tables, found_in
from tests.support.secret_samples import Garden

OWN = "a key of ours that looks like nothing"
PLANTED_MIN = 500
ROWS_PLANTED_MAX = 10
PLAIN = ("mg_record_type", "mg_status", "mg_mma_status", "status")  # what these hold is never free text


@dataclass
class OldHouse:
    """Old tables with secrets in up to ten rows of each: in every text and in every JSON value that is no key."""

    move: Move
    garden: Garden = field(default_factory=Garden)
    planted_rows: dict[str, int] = field(default_factory=dict)

    def plant(self) -> None:
        for source in SOURCES:
            columns = self.move.sql(
                "select column_name as name, data_type as type from information_schema.columns"
                f" where table_schema = 'legacy' and table_name = '{source.table}' and is_generated = 'NEVER'"
            )
            keys = self.move.sql(
                f"select {source.key}::text as key from legacy.{source.table} order by 1 limit {ROWS_PLANTED_MAX}"
            )
            for row in keys:
                self._plant_in(source.table, source.key, row["key"], columns)
            self.planted_rows[source.table] = len(keys)

    def _plant_in(self, table: str, key: str, value: str, columns: list[Json]) -> None:
        planted = [assignment for column in columns if (assignment := self._assignment(column))]
        self.move.sql(
            sql.SQL("update {} set {} where {}::text = {}")
            .format(sql.Identifier("legacy", table), sql.SQL(", ").join(planted), sql.Identifier(key), value)
            .as_string()
        )

    def _assignment(self, column: Json) -> sql.Composed | None:
        """The value that is there, with secrets beside it."""
        name, kind = column["name"], column["type"]
        if name == "id" or name.endswith("_id") or name in PLAIN:
            return None
        if kind == "text":
            added = sql.SQL("concat({}, {})").format(sql.Identifier(name), f" {self.garden.sentence()}")
        elif kind in ("json", "jsonb"):
            added = sql.SQL("(coalesce({}::jsonb, '{{}}') || {}::jsonb)").format(sql.Identifier(name), self._object())
        else:
            return None
        return sql.SQL("{} = {}").format(sql.Identifier(name), added)

    def _object(self) -> str:
        headers = [["Authorization", self.garden.around("bearer")], [self.garden.text(), [self.garden.sentence()]]]
        stated = {"name": "api_key", "value": self.garden.form()}
        return json.dumps({"headers": headers, "stated": [stated], "ours": OWN, **self.garden.keyed()})

    def secrets_in(self, *, old: bool) -> Any:
        """The places in which they are found: in the old tables, or in any other."""
        everything = all_tables(self.move)
        places = {place: text for place, text in everything.items() if place.startswith("legacy.") == old}
        return found_in(self.garden, places)


@pytest.fixture
def house(empty_dsn: str, tmp_path: Path) -> OldHouse:
    old_tables(empty_dsn, FEW)
    old = OldHouse(Move(empty_dsn, tmp_path, {"OPENAI_API_KEY": OWN}))
    old.garden.planted.append(OWN)
    return old


def taken(move: Move, what: str) -> dict[str, int]:
    return {one["table"]: one[what] for one in json.loads(move.backfill("--json"))["tables"]}


def test_secrets_of_old_rows_stay_where_they_are_and_nothing_else_is_lost(house: OldHouse):
    house.plant()
    assert len(house.garden.planted) > PLANTED_MIN
    assert taken(house.move, "redacted") == house.planted_rows
    assert house.secrets_in(old=False) == {}
    assert house.secrets_in(old=True).keys() == {f"legacy.{table}" for table in house.planted_rows}
    report = house.move.check()
    assert report["differences"] == []
    assert report["balances"]["legacy"] == report["balances"]["safelight"] > 0
    for source in SOURCES:
        assert keys_of(kept_rows(house.move, source.table)) == keys_of(old_rows(house.move, source.table))


def test_a_second_run_over_rows_with_secrets_writes_nothing(house: OldHouse):
    house.plant()
    assert all(taken(house.move, "written").values())
    first = house.move.tables()
    again = json.loads(house.move.backfill("--json", "--batch", "7"))["tables"]
    assert not any(one["written"] for one in again)
    assert {one["table"]: one["redacted"] for one in again} == house.planted_rows
    assert house.move.tables() == first


def test_what_is_no_secret_is_kept_as_it_was(house: OldHouse):
    move = house.move
    payload = {
        "usage": {"max_tokens": 77, "token_count": 5},
        "error": "refused: Bearer 7c1d5e9fa0b24c",
        "nothing": None,
    }
    move.sql("update legacy.mega_generations set mg_prompt = 'a vase, Bearer 7c1d5e9fa0b24c', mg_input_tokens = 1234,"
             f" mg_payload = '{json.dumps(payload)}' where mg_id = 'gen_3'")  # fmt: skip
    old = next(row for row in old_rows(move, "mega_generations") if row["mg_id"] == "gen_3")
    assert taken(move, "redacted")["mega_generations"] == 1
    [made] = move.sql("select * from mega_generations where mg_id = 'generation:gen_3'")
    cleaned = payload | {"error": "refused: Bearer [redacted: bearer token]"}
    assert made["mg_prompt"] == "a vase, Bearer [redacted: bearer token]"
    assert made["mg_input_tokens"] == 1234
    assert made["mg_payload"]["usage"] == payload["usage"]
    assert made["mg_payload"]["legacy"]["mega_generations"] == old | {
        "mg_prompt": made["mg_prompt"],
        "mg_payload": cleaned,
    }
    hashed = "select md5(to_jsonb(old)::text) from legacy.mega_generations old where mg_id = 'gen_3'"
    assert made["mg_payload"]["legacy_hash"] == {"mega_generations": move.value(hashed)}


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [("mega_generations", "mg_error", "gen_7"), ("mega_customers", "mg_topup_source", "pass_7"), ("mega_admin", "mg_ip", "login")],
)  # fmt: skip
def test_a_secret_that_is_changed_or_taken_out_over_there_is_noticed(
    house: OldHouse, table: str, column: str, key: str
):
    move, name = house.move, next(source.key for source in SOURCES if source.table == table)

    def say(text: str) -> None:
        move.sql(f"update legacy.{table} set {column} = '{text}' where {name} = '{key}'")

    say("the token=7c1d5e9fa0b24c was refused")
    assert taken(move, "redacted")[table] == 1
    say("the token=0d2e6f8ab1c35d was refused")  # without its secret it is the same as before
    assert move.check(status=1)["differences"] == [table]
    assert {table: rows for table, rows in taken(move, "written").items() if rows} == {table: 1}
    assert move.check()["ok"]
    say("it was refused")
    assert taken(move, "redacted")[table] == 0
    assert move.check()["ok"]
    assert old_rows(move, table) == kept_rows(move, table)
    assert "legacy_hash" not in str(move.sql("select mg_payload from mega_generations union all select mg_payload from"
                                             " mega_admin union all select mg_meta from mega_customers"))  # fmt: skip


def test_a_key_that_looks_like_a_secret_stays_and_loses_no_row(house: OldHouse):
    """One that was broken off there begins with that batch again."""
    move = house.move
    move.sql("update legacy.mega_generations set mg_id = 'AKIAABCDEFGHIJKLMNOP' where mg_id = 'gen_3'")
    move.sql("alter table legacy.mega_generations alter mg_latency_ms type text")
    move.sql("update legacy.mega_generations set mg_latency_ms = 'fast' where mg_id = 'credit_transaction:1'")
    assert "a row between" in move.backfill("--batch", "1", status=1)
    move.sql("update legacy.mega_generations set mg_latency_ms = null")
    move.backfill()
    assert move.check()["ok"]
    assert move.value("select count(*) from mega_generations where mg_id = 'generation:AKIAABCDEFGHIJKLMNOP'") == 1


def old_rows(move: Move, table: str) -> list[Json]:
    return sorted((row["old"] for row in move.sql(f"select to_jsonb(old) as old from legacy.{table} old")), key=str)


def kept_rows(move: Move, table: str) -> list[Json]:
    kept = move.sql(
        f"select mg_payload #> '{{legacy,{table}}}' as old from mega_generations"
        f" union all select mg_payload #> '{{legacy,{table}}}' from mega_admin"
        f" union all select mg_meta #> '{{legacy,{table}}}' from mega_customers"
    )
    return sorted((row["old"] for row in kept if row["old"]), key=str)


def keys_of(rows: list[Json]) -> list[str]:
    return sorted(str({name: row[name] for name in row if name == "id" or name.endswith("_id")}) for row in rows)
