"""DQN on features: the off-policy baseline of deep reinforcement learning."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from selfreg_gym.agents.helpers._sb3 import SB3Helper

__all__ = ["DQN"]


class DQN(SB3Helper):
    """Deep Q-learning (Mnih et al. 2015) of Stable-Baselines3; the knob is added to the Q value of help."""

    label, marker, colour = "DQN on features", ">", "rust"
    algorithm = "DQN"
    knob_bounds = (-4.0, 4.0)  # returns lie between -r * length and 1
    knob_step = 0.05
    defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-4,
        "gamma": 1.0,
        "learning_starts": 2_000,
        "train_freq": 4,
        "gradient_steps": 4,
        "batch_size": 128,
        "target_update_interval": 2_000,
        "exploration_fraction": 0.4,
        "exploration_final_eps": 0.05,
        "buffer_size": 100_000,
    }

    def _values(self, observation: Any, state: Any, start: np.ndarray) -> tuple[Any, Any]:
        return self.policy.q_net(observation), state
