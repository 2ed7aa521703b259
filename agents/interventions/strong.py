"""Help from a larger tiny Llama that was trained for longer."""

from __future__ import annotations

from pathlib import Path

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.types import Intervention

__all__ = ["Strong"]

_CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoints" / "strong"


class Strong(Intervention):
    """The shipped stronger Llama (``agents/checkpoints/strong``), asked for one action.

    Args:
        temperature: 1 (default) samples; 0 takes its best action, which repeats itself where it is lost.
        name: how it is called in ``info``.
        cost: cost units of one call.
    """

    def __init__(self, *, temperature: float = 1.0, name: str = "strong", cost: float = 1.0) -> None:
        super().__init__(LM(_CHECKPOINT, mode="rank", temperature=temperature), name=name, cost=cost)
