"""The peak memory of a process."""

import re
from pathlib import Path

from safelight.domain.errors.base import SafelightError

PEAK_MEMORY = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_mb(process: int | str) -> float:
    """The most that the process ever had in memory at once; `self` is this one."""
    found = PEAK_MEMORY.search(Path(f"/proc/{process}/status").read_text())
    if found is None:
        raise SafelightError("the memory of a process cannot be read here: this benchmark needs Linux")
    return round(int(found[1]) * 1024 / 1e6, 1)
