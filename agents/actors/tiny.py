"""The default actor: a Llama of 1 MB, trained on expert episodes and included in the package."""

from __future__ import annotations

from pathlib import Path

from selfreg_gym.agents.actors.lm import LM

__all__ = ["Tiny"]

_CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoints" / "tiny"


class Tiny(LM):
    """The shipped tiny Llama (``agents/checkpoints/tiny``), trained by ``examples/train_actor.py``.

    ``training.json`` beside its weights records the split, the seed and the number of training steps, which determines
    the actor's success rate.

    Args:
        mode: "rank" or "generate" (then about half of the answers can be invalid).
        temperature: 1 samples from the model's distribution, 0 takes the most likely action.
    """

    default_backbone = True

    def __init__(self, mode: str = "rank", temperature: float = 1.0) -> None:
        super().__init__(_CHECKPOINT, mode=mode, temperature=temperature)
