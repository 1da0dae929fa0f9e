"""Faults to plant in the runner, by name. In few worlds they show: those seeds are pinned in
tests/pipelines/engine/test_simulation.py, and found again with `python -m tests.simulation --find NAME`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from safelight.pipelines.engine.operations import OperationRun
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.run_store import RunStore
from safelight.pipelines.failures import fail


@dataclass(frozen=True, slots=True)
class PlantedFault:
    """`sentence` is in what breaks where it shows; `is_parallel` says that it is looked for with steps side by side."""

    sentence: str
    plant: Callable[[], AbstractContextManager[Any]]
    is_parallel: bool = False


class _Never:
    """An attribute that stays False."""

    def __get__(self, *_: Any) -> bool:
        return False

    def __set__(self, *_: Any) -> None: ...


async def _no_last_look(operation: OperationRun) -> None: ...


def _last_look(stand_in: Callable[[OperationRun], Any]) -> AbstractContextManager[Any]:
    return mock.patch.object(OperationRun, "_recheck_abandoned_starts", stand_in)


PLANTED = {
    "believes-too-soon": PlantedFault(
        "2 starts accepted, and the service could be asked",
        lambda: mock.patch.object(RetryPolicy, "arrival_seconds", 0.0),
    ),
    "no-last-look": PlantedFault("nothing says so", lambda: _last_look(_no_last_look), is_parallel=True),
    "answer-not-missed": PlantedFault(
        "the variable map tells other lines than the log",
        lambda: mock.patch.object(RunStore, "_log_unsure", _Never(), create=True),
        is_parallel=True,
    ),
    "refunds-a-result": PlantedFault(
        "error, and its result had been stored",
        lambda: mock.patch("safelight.pipelines.worker.conclude", lambda context, run, cause: fail(run, cause)),
    ),
}
