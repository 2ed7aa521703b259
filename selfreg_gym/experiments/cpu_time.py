"""CPU time of this process and its ended children, and the record of the CPU time of a run's stages."""

from __future__ import annotations

import time
from pathlib import Path

from selfreg_gym.errors import CheckpointError
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps, read_object

__all__ = ["add_cpu_seconds", "cpu_seconds", "stage_cpu_seconds"]

FILE = "cpu_seconds.json"


def cpu_seconds() -> float:
    """CPU seconds (user and system) of this process and of its ended child processes."""
    try:
        import resource
    except ImportError:  # Windows has no times of children
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def stage_cpu_seconds(run: Path) -> dict[str, float]:
    """CPU seconds by stage of a run, as recorded by :func:`add_cpu_seconds`; empty if nothing is recorded."""
    if not (run / FILE).exists():
        return {}
    found = read_object(run / FILE, what="CPU seconds by stage", remedy="delete it", error=CheckpointError)
    return {str(stage): float(seconds) for stage, seconds in found.items()}


def add_cpu_seconds(run: Path, stage: str, seconds: float) -> None:
    """Add CPU seconds to the record of a stage; less than 0.05 (the stage was up to date) is not recorded."""
    if seconds >= 0.05:
        known = stage_cpu_seconds(run)
        write_text(run / FILE, dumps({**known, stage: round(known.get(stage, 0.0) + seconds, 2)}, indent=1) + "\n")
