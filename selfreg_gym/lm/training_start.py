"""``TrainingStart``: a model at the beginning of a training, with its adapters, and the record of the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from selfreg_gym.lm.backbone import AUTO, backbone_path, opened_backbone
from selfreg_gym.lm.loading import load_tokenizer
from selfreg_gym.lm.small_llama import LEARNING_RATE, steps_from_scratch
from selfreg_gym.lm.training import TrainingLog, add_lora, early_stopping, merge_lora

__all__ = ["TrainingStart", "check_backbone"]

_RANK = 8


def check_backbone(backbone: str | Path, *, task: str | None = None) -> None:
    """Check that a named backbone exists, before data are read; ``"auto"`` is chosen later.

    Raises:
        UnknownNameError, InvalidArgumentError, CheckpointError: as :func:`selfreg_gym.lm.backbone.backbone_path`.
    """
    if str(backbone) != AUTO:
        backbone_path(backbone, task=task)


@dataclass
class TrainingStart:
    """The model of a backbone before its training.

    Attributes:
        model: the model; with adapters after :meth:`adapt`.
        tokenizer: its tokenizer.
        origin: the record of the backbone.
        built: whether the backbone was built from the texts, with random weights.
        rank: of the LoRA adapters, 0 without.
    """

    model: Any
    tokenizer: Any
    origin: dict[str, Any]
    built: bool
    rank: int = 0

    @classmethod
    def open(cls, load: Callable[[Path], Any], backbone: str | Path, texts: Sequence[str], **options: Any) -> Self:
        """Load the model of a backbone that can read the texts.

        Args:
            load: loads the model from a checkpoint directory.
            backbone, texts, **options: see :func:`selfreg_gym.lm.backbone.opened_backbone`.
        """
        with opened_backbone(backbone, texts, **options) as found:
            return cls(load(found.path), load_tokenizer(found.path), found.record(), found.built)

    def adapt(self, lora: int | bool | None, *, task: str, seed: int) -> None:
        """Add LoRA adapters, except to a built backbone: its weights are random, so all of them are trained.

        Args:
            lora: rank of the adapters; True: 8; False, 0 or None: train all weights.
            task: PEFT's task type (:func:`selfreg_gym.lm.training.add_lora`).
            seed: seed of their initial weights.
        """
        self.rank = 0 if self.built else _RANK if lora is True else int(lora or 0)
        if self.rank:
            self.model = add_lora(self.model, task=task, rank=self.rank, seed=seed)

    def rate(self, given: float | None, *, adapters: float, weights: float) -> float:
        """The learning rate: the given one, else by what is trained: a built backbone, adapters or all weights."""
        return given or (LEARNING_RATE if self.built else adapters if self.rank else weights)

    def least_steps(self, examples: int, *, epochs: float, batch_size: int, accumulate: int) -> int | None:
        """The number of optimiser steps for a built backbone; None for others, which train for ``epochs``."""
        if not self.built:
            return None
        return steps_from_scratch(examples, epochs=epochs, batch_size=batch_size, accumulate=accumulate)

    def merged(self, model: Any = None) -> Any:
        """The trained model without adapters, in eval mode; ``model`` if training has replaced the model."""
        model = self.model if model is None else model
        return (merge_lora(model) if self.rank else model).eval()

    def record(
        self, log: TrainingLog, model: Any, *, seed: int, epochs: float, device: str, patience: int | None
    ) -> dict[str, Any]:
        """The entries of a training record that all trainings have, as plain values.

        Args:
            log: of the training.
            model: the merged model.
            seed, epochs, device, patience: arguments of the training.
        """
        found = {
            **self.origin,
            "seed": seed,
            "epochs": epochs,
            "lora": self.rank,
            "steps": log.steps,
            "loss": [round(value, 4) for value in log.loss],
            "seconds": round(log.seconds, 1),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(device),
        }
        if patience is not None and log.validation:
            found["early_stopping"] = early_stopping(log, patience=patience)
        return found
