"""The invariants, and every problem that breaks one, as `problems.toml` states them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

INVARIANTS: dict[int, str] = {int(number): rule for number, rule in _TABLE["invariants"].items()}

# Always present, null if unknown (docs/contract/errors.md).
OPS_FIELDS = (
    "request_id", "pass_id", "route", "http_status", "error_code", "message", "generation_id", "step_type", "provider",
    "model", "emoji", "level", "category", "http", "provider_http_status", "ctx", "settings", "retry", "stack",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """One way to break an invariant; `description` says what is wrong with one row."""

    name: str
    invariant: int
    description: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A problem and the number of rows that have it; `ids` are the first of them."""

    problem: Problem
    count: int
    ids: tuple[str, ...]


PROBLEMS = {name: Problem(name, **row) for name, row in _TABLE["problems"].items()}
