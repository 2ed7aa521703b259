"""RecurrentPPO on features: PPO with an LSTM, which remembers earlier observations."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._sb3 import SB3Helper

__all__ = ["RecurrentPPO"]


class RecurrentPPO(SB3Helper):
    """PPO with an LSTM of sb3-contrib. Its memory is the ``state``, reset where an episode begins."""

    label, marker, colour = "recurrent PPO", "*", "plum"
    algorithm = "RecurrentPPO"
    module = "sb3_contrib"
    policy_name = "MultiInputLstmPolicy"
    encoded_policy_name = "MlpLstmPolicy"
    defaults: ClassVar[dict[str, Any]] = {"n_steps": 64, "batch_size": 256, "gamma": 1.0, "learning_rate": 1e-3}
    network: ClassVar[dict[str, Any]] = {"net_arch": [64], "lstm_hidden_size": 64}

    def _values(self, observation: Any, state: Any, start: NDArray[np.bool_]) -> tuple[Any, Any]:
        import torch

        if state is None:
            shape = (self.policy.lstm_actor.num_layers, len(start), self.policy.lstm_actor.hidden_size)
            state = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
        memory = tuple(torch.as_tensor(part) for part in state)
        starts = torch.as_tensor(start, dtype=torch.float32)
        distribution, memory = self.policy.get_distribution(observation, memory, starts)
        return distribution.distribution.logits, tuple(part.numpy() for part in memory)
