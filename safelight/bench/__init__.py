"""Benchmarks: ratios against a floor measured in the same run, because machines are shared and noisy."""

from safelight.bench.doctor import DoctorResult, doctor
from safelight.bench.engine import EngineResult, engine
from safelight.bench.store import StoreResult, store
from safelight.bench.waiting import WaitingResult, waiting

__all__ = [
    "DoctorResult",
    "EngineResult",
    "StoreResult",
    "WaitingResult",
    "doctor",
    "engine",
    "store",
    "waiting",
]
