"""The default actor: a Llama of 1 MB for the task at hand, trained on expert episodes and included in the package."""

from __future__ import annotations

from pathlib import Path

from selfreg_gym.agents.actors._shipped import ShippedLM

__all__ = ["Tiny"]


class Tiny(ShippedLM):
    """The shipped tiny Llama of the task's family (``agents/checkpoints/FAMILY/tiny``).

    ``training.json`` beside its weights records how it was trained: the split, the seed and the number of training
    steps, which determines the actor's success rate (``examples/train_actor.py``). An env gives it the checkpoint of
    its task; a task without one is an error.

    Args:
        mode: "rank" or "generate" (then about half of the answers can be invalid).
        temperature: 1 samples from the model's distribution, 0 takes the most likely action.
        family: a family for all tasks; None: that of the task, and without a task ``sif``.

    Raises:
        CheckpointError: ``family`` has no such checkpoint.
    """

    default_backbone = True

    def __init__(self, mode: str = "rank", temperature: float = 1.0, *, family: str | Path | None = None) -> None:
        super().__init__("tiny", family=family, mode=mode, temperature=temperature)
