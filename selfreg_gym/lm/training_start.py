"""``TrainingStart``: a model at the beginning of a training, with its adapters, and the record of the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from selfreg_gym.lm.backbone import AUTO, backbone_path, opened_backbone
from selfreg_gym.lm.finetuning_settings import FinetuningSettings
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
        settings: of the training.
        model: the model; with adapters after :meth:`adapt`.
        tokenizer: its tokenizer.
        origin: the record of the backbone.
        built: whether the backbone was built from the texts, with random weights.
        rank: of the LoRA adapters, 0 without.
    """

    settings: FinetuningSettings
    model: Any
    tokenizer: Any
    origin: dict[str, Any]
    built: bool
    rank: int = 0

    @classmethod
    def open(
        cls,
        settings: FinetuningSettings,
        load: Callable[[Path], Any],
        texts: Sequence[str],
        *,
        prompts: Sequence[str] = (),
        actor: str | Path | None = None,
        task: str | None = None,
    ) -> Self:
        """Load the model of a backbone that can read the texts.

        Args:
            settings: of the training.
            load: loads the model from a checkpoint directory.
            texts, prompts, task: see :func:`selfreg_gym.lm.backbone.opened_backbone`.
            actor: the checkpoint of the actor, if the settings do not name it.
        """
        actor = actor if settings.actor is None else settings.actor
        with opened_backbone(
            settings.backbone, texts, prompts=prompts, actor=actor, task=task, seed=settings.seed
        ) as found:
            return cls(settings, load(found.path), load_tokenizer(found.path), found.record(), found.built)

    def adapt(self, *, task: str) -> None:
        """Add LoRA adapters, except to a built backbone: its weights are random, so all of them are trained.

        Args:
            task: PEFT's task type (:func:`selfreg_gym.lm.training.add_lora`).
        """
        lora = self.settings.lora
        self.rank = 0 if self.built else _RANK if lora is True else int(lora or 0)
        if self.rank:
            self.model = add_lora(self.model, task=task, rank=self.rank, seed=self.settings.seed)

    def loop(self, examples: int, *, adapters: float, weights: float) -> dict[str, Any]:
        """The arguments of :func:`selfreg_gym.lm.training.finetune` that follow from the settings.

        A built backbone is trained for a least number of steps, and has a learning rate of its own.

        Args:
            examples: number of examples.
            adapters: the default learning rate of LoRA adapters.
            weights: the default learning rate of all weights of a checkpoint.
        """
        given = self.settings
        size: dict[str, Any] = {"epochs": given.epochs, "batch_size": given.batch_size, "accumulate": given.accumulate}
        return {
            **size,
            "steps": steps_from_scratch(examples, **size) if self.built else None,
            "lr": given.lr or (LEARNING_RATE if self.built else adapters if self.rank else weights),
            "seed": given.seed,
            "patience": given.patience,
            "resume": given.resume,
            "progress": given.progress,
        }

    def merged(self, model: Any = None) -> Any:
        """The trained model without adapters, in eval mode; ``model`` if training has replaced the model."""
        model = self.model if model is None else model
        return (merge_lora(model) if self.rank else model).eval()

    def record(self, log: TrainingLog, model: Any) -> dict[str, Any]:
        """The entries of a training record that all trainings have, as plain values.

        Args:
            log: of the training.
            model: the merged model.
        """
        found = {
            **self.origin,
            "seed": self.settings.seed,
            "epochs": self.settings.epochs,
            "lora": self.rank,
            "steps": log.steps,
            "loss": [round(value, 4) for value in log.loss],
            "seconds": round(log.seconds, 1),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(self.settings.device),
        }
        if self.settings.patience is not None and log.validation:
            found["early_stopping"] = early_stopping(log, patience=self.settings.patience)
        return found
