"""MaskablePPO on features: PPO under a hard budget, with the calls that are no longer affordable masked out."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from selfreg_gym.agents.helpers._sb3 import SB3Helper

__all__ = ["MaskablePPO"]


class MaskablePPO(SB3Helper):
    """PPO with invalid-action masks (Huang and Ontanon 2022) of sb3-contrib, under a hard budget per episode.

    The features say what is left of the budget. A mean usage below the cap is met by the knob, as everywhere.
    """

    needs_cap = True
    label, marker, colour = "maskable PPO", "p", "sea"
    algorithm = "MaskablePPO"
    module = "sb3_contrib"
    defaults: ClassVar[dict[str, Any]] = {"n_steps": 128, "batch_size": 256, "gamma": 1.0, "learning_rate": 1e-3}

    def _values(self, observation: Any, state: Any, start: np.ndarray) -> tuple[Any, Any]:
        return self.policy.get_distribution(observation).distribution.logits, state
