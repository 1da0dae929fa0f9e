"""Benchmarks: ratios to a baseline measured in the same run, because machines are shared and noisy."""

from safelight.testing.bench.doctor import doctor
from safelight.testing.bench.engine import engine
from safelight.testing.bench.fairness import fairness
from safelight.testing.bench.parallel import parallel
from safelight.testing.bench.store import store
from safelight.testing.bench.waiting import waiting

__all__ = ["doctor", "engine", "fairness", "parallel", "store", "waiting"]
