"""``FinetuningSettings``: the arguments that the trainings of all language models have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FinetuningSettings"]


@dataclass(frozen=True, kw_only=True)
class FinetuningSettings:
    """How a language model is trained, whatever it learns.

    The ``train`` methods of the models list these arguments with their defaults, which differ between models.

    Attributes:
        backbone: ``"auto"``, a directory with a checkpoint, or the id of an actor that has one.
        actor: for ``"auto"``, the checkpoint of the actor, or None.
        seed: seed of the division by task, of the sample, of new weights and of the order of training.
        epochs: passes over the sample.
        lora: rank of adapters; True: a default rank; False, 0 or None: train all weights.
        lr: peak learning rate; None: a default that depends on which weights are trained.
        batch_size: examples per forward pass.
        accumulate: forward passes per optimiser step.
        share: share of the tasks that are held out.
        patience: validations in a row without improvement after which training stops; None: train to the end.
        dtype, device: those of the model, in training and later use.
        resume: directory for the state of an unfinished training, or None.
        progress: show a progress bar.
    """

    backbone: str | Path
    actor: str | Path | None
    seed: int
    epochs: float
    lora: int | bool | None
    lr: float | None
    batch_size: int
    accumulate: int
    share: float
    patience: int | None
    dtype: str
    device: str
    resume: str | Path | None
    progress: bool
