"""A larger Llama for the task at hand, trained for longer than the actor ``tiny``, as an intervention."""

from __future__ import annotations

from pathlib import Path

from selfreg_gym.agents.actors._shipped import ShippedLM
from selfreg_gym.types import Intervention

__all__ = ["Strong"]


class Strong(Intervention):
    """Help from the shipped stronger Llama of the task's family (``agents/checkpoints/FAMILY/strong``).

    One call returns one action. An env gives it the checkpoint of its task; a task without one is an error.

    Args:
        temperature: 1 samples from the model's distribution; 0 takes the most likely action, which can repeat forever.
        name: its name in ``info``.
        cost: cost units of one call.
        family: a family for all tasks; None: that of the task, and without a task ``sif``.

    Raises:
        CheckpointError: ``family`` has no such checkpoint.
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        name: str = "strong",
        cost: float = 1.0,
        family: str | Path | None = None,
    ) -> None:
        super().__init__(ShippedLM("strong", family=family, temperature=temperature), name=name, cost=cost)
