"""Benchmarks: ratios to a baseline measured in the same run, because machines are shared and noisy."""

from safelight.bench.parallel import ParallelResult, parallel
from safelight.testing.bench.doctor import DoctorResult, doctor
from safelight.testing.bench.engine import EngineResult, engine
from safelight.testing.bench.store import StoreResult, store
from safelight.testing.bench.waiting import WaitingResult, waiting

__all__ = [
    "DoctorResult",
    "EngineResult",
    "ParallelResult",
    "StoreResult",
    "WaitingResult",
    "doctor",
    "engine",
    "parallel",
    "store",
    "waiting",
]
