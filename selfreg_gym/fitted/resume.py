"""The saved state of an unfinished iteration: one safetensors file, replaced atomically after each round."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from selfreg_gym.errors import CheckpointError
from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.json_text import dumps

if TYPE_CHECKING:
    from selfreg_gym.fitted.ensemble import Ensemble

__all__ = ["IterationState"]

NAME = "iteration_state.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_REMEDY = "delete it to restart the fit"


class IterationState:
    """Saves and loads the state from which an iteration continues without any difference.

    Args:
        folder: directory of the state; None saves nothing.
        decisions, settings: what the state belongs to.
    """

    def __init__(self, folder: str | Path | None, decisions: LoggedDecisions, settings: Settings) -> None:
        self.path = None if folder is None else Path(folder) / NAME
        self.fingerprint = ""
        if self.path is not None:
            identity = f"{decisions.fingerprint} {json.dumps(settings.fields(), sort_keys=True)}"
            self.fingerprint = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()

    def save(self, ensembles: Sequence[Ensemble], history: list[dict[str, Any]]) -> None:
        """Save the state after a round."""
        if self.path is None:
            return
        from safetensors.torch import save_file

        tensors = {"prices": torch.from_numpy(np.asarray(ensembles[0].prices, np.float64).copy())}
        for ensemble in ensembles:
            for name, parameter in ensemble.networks.trainable().items():
                tensors[f"{ensemble.fold}/weights/{name}"] = parameter.detach().clone()
                for moment in MOMENTS:
                    tensors[f"{ensemble.fold}/{moment}/{name}"] = ensemble.optimizer.state[parameter][moment].clone()
        record = {"fingerprint": self.fingerprint, "history": history}
        with atomic_path(self.path) as temporary:
            save_file(tensors, temporary, metadata={"state": dumps(record)})

    def load(self, ensembles: Sequence[Ensemble]) -> list[dict[str, Any]]:
        """Restore the ensembles, and return the records of the rounds done; none without a saved state.

        Raises:
            CheckpointError: the state cannot be read, is incomplete, or belongs to other data or settings.
        """
        if self.path is None or not self.path.is_file():
            return []
        from safetensors import safe_open

        title = f"the state of a fit, {str(self.path)!r},"
        try:
            with safe_open(self.path, framework="pt") as file:
                record = json.loads(file.metadata()["state"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            history, matches = list(record["history"]), record["fingerprint"] == self.fingerprint
        except Exception as error:
            raise CheckpointError(f"{title} cannot be read ({error}): {_REMEDY}.") from error
        if not matches:
            raise CheckpointError(f"{title} belongs to other rollouts or settings: {_REMEDY}, or use those.")
        for ensemble in ensembles:
            ensemble.prices = tensors["prices"].numpy()
            for name, parameter in ensemble.networks.trainable().items():
                keys = [f"{ensemble.fold}/{kind}/{name}" for kind in ("weights", *MOMENTS)]
                for key in keys:
                    shape = () if "/step/" in key else tuple(parameter.shape)
                    if key not in tensors or tuple(tensors[key].shape) != shape:
                        raise CheckpointError(f"{title} lacks {key} of shape {shape}: {_REMEDY}.")
                with torch.no_grad():
                    parameter.copy_(tensors[keys[0]])
                moments = zip(MOMENTS, keys[1:], strict=True)
                ensemble.optimizer.state[parameter] = {moment: tensors[key] for moment, key in moments}
        return history

    def remove(self) -> None:
        """Delete the saved state."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
