"""The saved state of an unfinished training: one safetensors file, replaced as a whole.

Weights, the optimiser's moments and the best weights so far are tensors; everything else stands in the file's header as
JSON. Nothing is pickled, so a state that somebody else left in the directory can do no harm.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from selfreg_gym.errors import CheckpointError

__all__ = ["Best", "TrainingState"]

_NAME = "training_state.safetensors"


class Best(NamedTuple):
    """The weights with the smallest validation score so far."""

    score: float
    weights: dict[str, torch.Tensor]


class TrainingState:
    """Saves and loads what a training needs to go on as if it had never stopped.

    Args:
        folder: where the state lies; None keeps nothing.
        fingerprint: names the run. A state with another one is refused.
    """

    def __init__(self, folder: str | Path | None, *, fingerprint: str) -> None:
        self.path = None if folder is None else Path(folder) / _NAME
        self.fingerprint = fingerprint

    def save(
        self,
        done: int,
        trainable: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        losses: list[float],
        validation: list[tuple[int, float]],
        best: Best | None,
    ) -> None:
        """Write the state after ``done`` optimiser steps."""
        if self.path is None:
            return
        from safetensors.torch import save_file

        tensors = {f"weights/{name}": p.detach() for name, p in trainable.items()}
        for name, parameter in trainable.items():
            tensors |= {f"optimizer/{key}/{name}": value for key, value in optimizer.state[parameter].items()}
        if best is not None:
            tensors |= {f"best/{name}": value for name, value in best.weights.items()}
        record = {
            "fingerprint": self.fingerprint,
            "done": done,
            "losses": losses,
            "validation": validation,
            "best": None if best is None else best.score,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"state": json.dumps(record)})
        os.replace(temporary, self.path)

    def load(
        self, trainable: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> tuple[int, list[float], list[tuple[int, float]], Best | None]:
        """Put weights and optimiser back and return ``(steps done, losses, validations, best)``; all empty without one.

        Raises:
            CheckpointError: the state cannot be read, or belongs to another run.
        """
        if self.path is None or not self.path.is_file():
            return 0, [], [], None
        try:
            record, tensors = _read(self.path)
            matches = record["fingerprint"] == self.fingerprint
            weights = {name: tensors[f"weights/{name}"] for name in trainable} if matches else {}
        except Exception as error:
            raise CheckpointError(f"the training state {str(self.path)!r} cannot be read: {error}") from error
        if not matches:
            raise CheckpointError(
                f"the training state {str(self.path)!r} belongs to another run (other data, seed or settings): "
                "delete it, or resume with what it was begun with."
            )
        with torch.no_grad():
            for name, parameter in trainable.items():
                parameter.copy_(weights[name])
        for key, value in tensors.items():
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                field, _, name = rest.partition("/")
                own = trainable[name]
                # AdamW counts its steps on the CPU, and keeps its moments beside the weights
                optimizer.state[own][field] = value if value.ndim == 0 else value.to(own.device)
        best = None
        if record["best"] is not None:
            kept = {name: tensors[f"best/{name}"].to(p.device) for name, p in trainable.items()}
            best = Best(float(record["best"]), kept)
        return record["done"], record["losses"], [(int(step), float(v)) for step, v in record["validation"]], best

    def remove(self) -> None:
        """Delete the state: the training has ended."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["state"]), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
