"""A larger Llama that was trained for longer, as an intervention."""

from __future__ import annotations

from pathlib import Path

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.types import Intervention

__all__ = ["Strong"]

_CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoints" / "strong"


class Strong(Intervention):
    """Help from the shipped stronger Llama (``agents/checkpoints/strong``): one call returns one action.

    Args:
        temperature: 1 samples from the model's distribution; 0 takes the most likely action, which can repeat forever.
        name: its name in ``info``.
        cost: cost units of one call.
    """

    def __init__(self, *, temperature: float = 1.0, name: str = "strong", cost: float = 1.0) -> None:
        super().__init__(LM(_CHECKPOINT, mode="rank", temperature=temperature), name=name, cost=cost)
