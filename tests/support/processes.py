"""Processes of tests: stopped as if they hung."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def stop(pid: int) -> None:
    """Stop a process, and return when all of its threads have stopped.

    ``SIGSTOP`` reaches a process with several threads a moment after ``os.kill`` has returned.
    """
    os.kill(pid, signal.SIGSTOP)
    while any(
        path.read_text().rpartition(")")[2].split()[0] != "T" for path in Path(f"/proc/{pid}/task").glob("*/stat")
    ):
        time.sleep(0.01)
