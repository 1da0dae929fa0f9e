"""Tells the story of one seed, or looks for seeds that break something, by themselves or with a planted fault."""

import argparse
import sys
import time
from collections.abc import Iterable

from tests.simulation.planted import PLANTED
from tests.simulation.scenario import in_simulation, simulate
from tests.simulation.seam import simulated


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell this one")
    parser.add_argument("--cancel-at", type=int, help="and cancel at this statement of a worker")
    parser.add_argument("--parallel", action="store_true", help="with eight steps side by side")
    parser.add_argument("--first", type=int, default=0, help="look from this one on")
    parser.add_argument("--count", type=int, default=1000, help="at so many")
    parser.add_argument("--find", choices=PLANTED, help="print those in which this fault of the runner shows")
    asked = parser.parse_args()
    if asked.find:
        sys.exit(find(asked.find, range(asked.first, asked.first + asked.count)))
    if asked.seed is not None:
        sys.exit(tell(asked.seed, asked.cancel_at, is_parallel=asked.parallel))
    sys.exit(look(asked.first, asked.count, is_parallel=asked.parallel))


def tell(seed: int, cancel_at: int | None, *, is_parallel: bool) -> int:
    told = simulate(seed, cancel_at_statement=cancel_at, is_parallel=is_parallel)
    print(*told.trace, sep="\n")  # noqa: T201
    print(f"seed {seed}: {told.status} after {told.seconds:.1f} s; {told.broken or 'everything holds'}")  # noqa: T201
    return bool(told.broken)


def find(name: str, seeds: Iterable[int]) -> int:
    """Print the seeds that break as the planted fault makes them, and only with it."""
    planted = PLANTED[name]

    def is_broken(seed: int) -> bool:
        told = in_simulation(seed, is_parallel=planted.is_parallel)
        return any(planted.sentence in one for one in told.broken)

    with simulated():
        for seed in seeds:
            with planted.plant():
                shows = is_broken(seed)
            if shows and not is_broken(seed):
                print(seed, flush=True)  # noqa: T201
    return 0


def look(first: int, count: int, *, is_parallel: bool) -> int:
    began, broken = time.monotonic(), 0
    with simulated():
        for seed in range(first, first + count):
            told = in_simulation(seed, is_parallel=is_parallel)
            if told.broken:
                broken += 1
                print(f"seed {seed}: {told.status}; {told.broken}")  # noqa: T201
    print(f"{count} seeds in {time.monotonic() - began:.1f} s, {broken} broke something")  # noqa: T201
    return bool(broken)


main()
