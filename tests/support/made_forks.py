"""Forks with given outcomes."""

from __future__ import annotations

import numpy as np

from selfreg_gym.forks import Forks, ForkState


def made_forks(success: np.ndarray, cost: np.ndarray | None = None, tasks: int = 4) -> Forks:
    """Forks with these outcomes ``(S, 2, R)``."""
    states = [
        ForkState(i % tasks, 7 + i, i % 3, f"task-{i % tasks}", "pnp", f"text {i}", f"key {i}", None, 5 - i % 3)
        for i in range(len(success))
    ]
    empty = np.zeros(success.shape, int)
    return Forks(
        states=states, first_actions=((0,), (1,)), interventions=("expert",), then="nohelp", reseeded=True,
        success=success, cost=np.zeros(success.shape) if cost is None else cost, calls=empty[..., None],
        steps=empty + 3, first_steps=empty + 1, invalid_at=empty - 1, failed=np.zeros(success.shape, bool), seed=2,
    )  # fmt: skip
