"""The scope of a run: `make test` takes each kind of fault, `make test-long` takes every combination and
many repetitions. docs/testing.md lists what is where."""

import os
from enum import StrEnum
from pathlib import Path

import pytest


class Scope(StrEnum):
    """The value of TEST_SCOPE. `ci` is the part of the long run that CI has time for: every variant once."""

    USUAL = "usual"
    CI = "ci"
    ALL = "all"


SCOPE = Scope(os.environ.get("TEST_SCOPE", Scope.USUAL))
LONG = pytest.mark.long
# The files that take longest, the longest first: begun at the end, they would keep one processor busy and the others
# waiting. A name that fits no file is an error of tests/project/test_tidy.py.
SLOWEST = (
    "test_several_machines", "test_demo", "test_every_route", "test_database_outage", "test_resume", "test_embedded",
    "test_provider_faults", "test_memory", "test_connection_limits", "test_embedded_files", "test_own_copy", "test_chaos", "test_schema",
    "test_wrong_clocks", "test_killed_anywhere", "test_generated_clients", "test_local_studio", "test_simulation",
    "test_readme", "test_limits", "test_planted_secrets", "test_ledger_model", "test_cut_commits", "test_backfill",
    "test_doctor", "test_delivered_results", "test_local_motion", "test_failures", "test_credits_routes", "test_create",
)  # fmt: skip


def amount(*, usual: int, all: int) -> int:
    """A number of cases or repetitions. The tests that use it are marked `scaled`."""
    return all if SCOPE is Scope.ALL else usual


def takes(item: pytest.Item) -> bool:
    """True if the run takes the test: the usual one takes all that is not marked `long`; the long ones take what is
    marked `long`, and that of `all` what is marked `scaled` too."""
    is_long = item.get_closest_marker("long") is not None
    if SCOPE is Scope.USUAL:
        return not is_long
    return is_long or (SCOPE is Scope.ALL and item.get_closest_marker("scaled") is not None)


def rank(item: pytest.Item) -> int:
    """The place of the test's file among those that begin first."""
    name = Path(item.path).stem
    return SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)
