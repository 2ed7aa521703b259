"""The saved state of an unfinished training run: one safetensors file, replaced atomically.

Weights, optimiser moments and the best weights so far are tensors; everything else is JSON in the file's header.
Nothing is pickled, so a state of unknown origin cannot run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from selfreg_gym.errors import CheckpointError
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.json_text import dumps

__all__ = ["Best", "Progress", "TrainingState"]

_NAME = "training_state.safetensors"
_REMEDY = "delete it to restart the training"

Tensors = Mapping[str, torch.Tensor]
"""Tensors (parameters of the model, or their saved values) by name."""


class Best(NamedTuple):
    """The smallest validation score so far, and its weights by name."""

    score: float
    weights: dict[str, torch.Tensor]


class Progress(NamedTuple):
    """The number of optimiser steps done, the loss of each, the validations ``(step, score)``, and the best weights."""

    done: int
    losses: list[float]
    validation: list[tuple[int, float]]
    best: Best | None


class TrainingState:
    """Saves and loads the state from which a training run continues without any difference.

    Args:
        folder: directory of the state; None saves nothing.
        fingerprint: identifies the run; a state with another fingerprint is an error.
    """

    def __init__(self, folder: str | Path | None, *, fingerprint: str) -> None:
        self.path = None if folder is None else Path(folder) / _NAME
        self.fingerprint = fingerprint
        self._title = f"the training state {str(self.path)!r}"

    def save(self, progress: Progress, trainable: Tensors, optimizer: torch.optim.Optimizer) -> None:
        """Save the state of a run."""
        if self.path is None:
            return
        from safetensors.torch import save_file

        tensors = {f"weights/{name}": p.detach() for name, p in trainable.items()}
        for name, parameter in trainable.items():
            tensors |= {f"optimizer/{key}/{name}": value for key, value in optimizer.state[parameter].items()}
        best = progress.best
        if best is not None:
            tensors |= {f"best/{name}": value for name, value in best.weights.items()}
        record = {"fingerprint": self.fingerprint, **progress._asdict(), "best": None if best is None else best.score}
        with atomic_path(self.path) as temporary:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"state": dumps(record)})

    def load(self, trainable: Tensors, optimizer: torch.optim.Optimizer) -> Progress:
        """Restore weights and optimiser, and return the progress, which is empty without a saved state.

        Raises:
            CheckpointError: the state cannot be read, is incomplete, or belongs to another run. The model and the
                optimiser are unchanged.
        """
        if self.path is None or not self.path.is_file():
            return Progress(0, [], [], None)
        from safetensors import safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                record = json.loads(file.metadata()["state"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            matches = record["fingerprint"] == self.fingerprint
        except Exception as error:
            raise CheckpointError(f"{self._title} cannot be read ({error}): {_REMEDY}.") from error
        if not matches:
            raise CheckpointError(
                f"{self._title} belongs to another run (other data, seed or settings): "
                "delete it, or resume with the original data, seed and settings."
            )
        self._check(record, tensors, trainable)
        with torch.no_grad():
            for name, parameter in trainable.items():
                parameter.copy_(tensors[f"weights/{name}"])
        for key, value in tensors.items():
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                field, _, name = rest.partition("/")
                own = trainable[name]
                # AdamW keeps its step count on the CPU and its moments on the device of the weights
                optimizer.state[own][field] = value if value.ndim == 0 else value.to(own.device)
        best = None
        if record["best"] is not None:
            kept = {name: tensors[f"best/{name}"].to(p.device) for name, p in trainable.items()}
            best = Best(float(record["best"]), kept)
        validation = [(int(step), float(score)) for step, score in record["validation"]]
        return Progress(record["done"], record["losses"], validation, best)

    def _check(self, record: Mapping[str, Any], tensors: Tensors, trainable: Tensors) -> None:
        """Raise if a tensor is missing, unknown, not finite or of another shape, or if the record is malformed."""
        try:
            done, losses, validation = record["done"], record["losses"], record["validation"]
            valid = (
                type(done) is int
                and done == len(losses)
                and all(map(is_number, losses))
                and all(type(step) is int and is_number(score) for step, score in validation)
                and (record["best"] is None or is_number(record["best"]))
            )
        except (KeyError, TypeError, ValueError):
            valid = False
        if not valid:
            raise CheckpointError(
                f"{self._title} must hold the steps done and their losses, received a malformed record: {_REMEDY}."
            )
        shapes: dict[str, tuple[int, ...]] = {}
        for name, parameter in trainable.items():
            shape = tuple(parameter.shape)
            shapes |= {f"weights/{name}": shape, f"optimizer/exp_avg/{name}": shape}
            shapes |= {f"optimizer/exp_avg_sq/{name}": shape, f"optimizer/step/{name}": ()}
            if record["best"] is not None:
                shapes[f"best/{name}"] = shape
        faults = [f"{key} is missing" for key in sorted(shapes.keys() - tensors.keys())]
        faults += [f"{key} is unknown" for key in sorted(tensors.keys() - shapes.keys())]
        faults += [
            f"{key} has the shape {tuple(tensors[key].shape)} and must have {shape}"
            for key, shape in sorted(shapes.items())
            if key in tensors and tuple(tensors[key].shape) != shape
        ]
        faults += [f"{key} holds NaN or infinity" for key, value in tensors.items() if not torch.isfinite(value).all()]
        if faults:
            raise CheckpointError(f"{self._title} does not fit the model: {'; '.join(faults[:5])}: {_REMEDY}.")

    def remove(self) -> None:
        """Delete the saved state."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
