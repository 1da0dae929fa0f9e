"""An installation of the wheel of safelight alone, as in production: no renderer, no embedded server, no openai.

`python -m tests.support.installation` measures it: its size on disk, and the CPU time of two commands.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safelight.db import embedded

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "packages" / "safelight-local"
UV = Path(sys.executable).parent / "uv"
INSTALLED_BYTES_MAX = 320_000_000
ROUNDS = 5
# Commands, and the CPU seconds that each should need at most.
MEASURED = {("--help",): 0.4, ("generations", "list"): 0.8}


def wheel_of(project: Path, folder: Path) -> Path:
    subprocess.run([UV, "build", "-q", "--wheel", "--out-dir", folder, project], check=True, timeout=120)
    [wheel] = folder.glob(f"{project.name.replace('-', '_')}-*.whl" if project != ROOT else "safelight-*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Into a new virtual environment, with the locked versions of what it needs. Returns the environment."""
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, folder], check=True, timeout=60)
    command = [UV, "pip", "install", "-q", "--python", folder, "--constraint", ROOT / "requirements.lock", wheel]
    subprocess.run(command, check=True, timeout=300)
    return folder


def installed_bytes(environment: Path) -> int:
    """Of all files, without the bytecode that Python writes beside them when they are first imported."""
    files = (file for file in environment.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc")


def environment_of(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a command with these settings and no others."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(home), "SAFELIGHT_HOME": str(home)} | settings


def cpu_seconds(command: list[str], environment: Mapping[str, str]) -> float:
    """User and system time of one call."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path) -> None:
    installed = install(wheel_of(ROOT, folder), folder / "environment")
    print(f"installed: {installed_bytes(installed) / 1e6:.1f} MB (at most {INSTALLED_BYTES_MAX / 1e6:.0f})")
    settings = environment_of(folder, SAFELIGHT_DATABASE_URL=embedded.start(folder / "home"))
    for arguments, seconds_max in MEASURED.items():
        command = [str(installed / "bin" / "safelight"), *arguments]
        cpu_seconds(command, settings)  # the first call writes bytecode, and migrates the database
        fastest = min(cpu_seconds(command, settings) for _ in range(ROUNDS))
        print(f"safelight {' '.join(arguments)}: {fastest:.2f} s CPU, best of {ROUNDS} (at most {seconds_max})")
    embedded.stop(folder / "home")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sl") as temporary:
        measure(Path(temporary))
