"""The default actor: a one-megabyte Llama, trained on expert episodes and shipped with the package."""

from __future__ import annotations

from pathlib import Path

from selfreg_gym.agents.actors.lm import LM

__all__ = ["Tiny"]

_CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoints" / "tiny"


class Tiny(LM):
    """The shipped tiny Llama (``agents/checkpoints/tiny``; ``examples/train_actor.py`` makes it).

    ``training.json`` beside its weights says on what split, with which seed and for how many steps it was trained;
    the length of its training alone sets its level.

    Args:
        mode: "rank" the admissible actions, or "generate" freely (then about half of its answers can be invalid).
        temperature: 1 samples, 0 takes the best.
    """

    def __init__(self, mode: str = "rank", temperature: float = 1.0) -> None:
        super().__init__(_CHECKPOINT, mode=mode, temperature=temperature)
