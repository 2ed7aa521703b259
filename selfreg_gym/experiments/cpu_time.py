"""CPU time of this process and its ended children, and a record of CPU times in a folder."""

from __future__ import annotations

import time
from pathlib import Path

from selfreg_gym.errors import CheckpointError
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps, read_object

__all__ = ["add_cpu_seconds", "cpu_seconds", "recorded_cpu_seconds"]

FILE = "cpu_seconds.json"


def cpu_seconds() -> float:
    """CPU seconds (user and system) of this process and of its ended child processes."""
    try:
        import resource
    except ImportError:  # Windows has no times of children
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def recorded_cpu_seconds(folder: Path) -> dict[str, float]:
    """CPU seconds by name, as recorded by :func:`add_cpu_seconds`; empty if nothing is recorded."""
    if not (folder / FILE).exists():
        return {}
    found = read_object(folder / FILE, what="CPU seconds by name", remedy="delete it", error=CheckpointError)
    return {str(name): float(seconds) for name, seconds in found.items()}


def add_cpu_seconds(folder: Path, name: str, seconds: float) -> None:
    """Add CPU seconds to the record of a stage or a cell; less than 0.05 s, the time of a check, is not recorded."""
    if seconds >= 0.05:
        known = recorded_cpu_seconds(folder)
        write_text(folder / FILE, dumps({**known, name: round(known.get(name, 0.0) + seconds, 2)}, indent=1) + "\n")
