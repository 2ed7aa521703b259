"""MaskablePPO on features: PPO under a hard cap that masks the calls it does not cover."""

from __future__ import annotations

from typing import Any, ClassVar

from selfreg_gym.agents.helpers._sb3 import SB3Helper

__all__ = ["MaskablePPO"]


class MaskablePPO(SB3Helper):
    """PPO with invalid-action masks (Huang and Ontanon 2022) of sb3-contrib, under a hard cap per episode.

    One feature is the rest of the budget. The knob meets a mean usage below the cap, as for every helper.
    """

    needs_cap = True
    label, marker, colour = "maskable PPO", "p", "sea"
    algorithm = "MaskablePPO"
    module = "sb3_contrib"
    defaults: ClassVar[dict[str, Any]] = {"n_steps": 128, "batch_size": 256, "gamma": 1.0, "learning_rate": 1e-3}
