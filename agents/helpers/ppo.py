"""PPO on features: the on-policy baseline of deep reinforcement learning."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from selfreg_gym.agents.helpers._sb3 import SB3Helper

__all__ = ["PPO"]


class PPO(SB3Helper):
    """Proximal policy optimisation (Schulman et al. 2017) of Stable-Baselines3; the knob shifts the logit of help."""

    label, marker, colour = "PPO on features", "<", "olive"
    algorithm = "PPO"
    defaults: ClassVar[dict[str, Any]] = {"n_steps": 128, "batch_size": 256, "gamma": 1.0, "learning_rate": 1e-3}

    def _values(self, observation: Any, state: Any, start: np.ndarray) -> tuple[Any, Any]:
        return self.policy.get_distribution(observation).distribution.logits, state
