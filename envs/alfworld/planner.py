"""A time limit for a planner that may not end: the planner runs in a forked copy of this process."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import warnings
from collections.abc import Callable

from selfreg_gym.errors import TaskContractError

__all__ = ["plan_within"]


def plan_within(seconds: float, plan: Callable[[], list[str]]) -> list[str]:
    """Return ``plan()``, computed in a child process that is killed after ``seconds``.

    The planner is compiled code, so it cannot be stopped in a thread. The child process has a copy of its state, so the
    state in this process does not change.

    Raises:
        TaskContractError: it took longer, failed, or found no plan.
    """
    receive, send = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the child runs the planner only
        child = os.fork()
    if child == 0:
        try:
            os.close(receive)
            answer = json.dumps(plan()).encode()
            while answer:
                answer = answer[os.write(send, answer) :]
        finally:
            os._exit(0)
    os.close(send)
    received, end, late = b"", time.monotonic() + seconds, False
    try:
        while True:
            ready, _, _ = select.select([receive], [], [], max(0.0, end - time.monotonic()))
            late = not ready
            part = b"" if late else os.read(receive, 65_536)
            if not part:
                break
            received += part
    finally:
        os.close(receive)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if late:
        raise TaskContractError(
            f"ALFWorld's planner must find a plan within {seconds:g} s and did not: raise planner_seconds, or leave "
            "this game out."
        )
    found = json.loads(received) if received else []
    if not found:
        raise TaskContractError("ALFWorld's planner found no plan from this state: no action of the expert is known.")
    return found
