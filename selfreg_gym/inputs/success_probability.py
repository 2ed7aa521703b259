"""The input ``prm``: the probability of success p(s) of a process reward model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.inputs.blocks import Scale
from selfreg_gym.inputs.table import DecisionTable
from selfreg_gym.store.columns import Coded

__all__ = ["SuccessProbability"]


class SuccessProbability:
    """``prm``: p(s) of a process reward model, and its standardised logit.

    Args:
        prm: an object with ``score(observations) -> (N,)``.
        scale: the standardisation of the logit.
    """

    name: ClassVar[str] = "prm"
    width = 2

    def __init__(self, prm: Any, scale: Scale) -> None:
        self.prm, self._scale = prm, scale

    @classmethod
    def fit(cls, table: DecisionTable, prm: Any) -> SuccessProbability:
        """Find the scale of the logit from the texts of the table.

        Args:
            table: the decisions.
            prm: a process reward model, or its folder.

        Raises:
            InvalidArgumentError: ``prm`` has no ``score``.
        """
        if isinstance(prm, str | Path):
            prm = _load_prm(prm)
        if not callable(getattr(prm, "score", None)):
            raise InvalidArgumentError(
                "the input 'prm' needs a process reward model with score(observations), or its folder, received "
                f"prm={shown(prm)}."
            )
        p = _scores(prm, table.observation)[table.observation.codes]
        return cls(prm, Scale.of(_logit(p)[:, None]))

    def encode(self, table: DecisionTable) -> np.ndarray:
        """p(s), and its standardised logit."""
        p = _scores(self.prm, table.observation)
        both = np.concatenate([p[:, None].astype(np.float32), self._scale(_logit(p)[:, None])], axis=1)
        return both[table.observation.codes]

    def record(self) -> dict[str, Any]:
        """There are none; the model is saved by :meth:`save_model`."""
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        """The scale."""
        return self._scale.arrays()

    def save_model(self, folder: Path) -> None:
        """Save the model into the folder ``prm``.

        Raises:
            InvalidArgumentError: it has no ``save_pretrained``.
        """
        if not callable(getattr(self.prm, "save_pretrained", None)):
            raise InvalidArgumentError(
                "inputs with 'prm' are saved with the process reward model, which needs save_pretrained(folder): "
                f"{type(self.prm).__name__} has none."
            )
        self.prm.save_pretrained(folder / "prm")

    @classmethod
    def restored(cls, folder: Path, arrays: Mapping[str, np.ndarray]) -> SuccessProbability:
        """The block saved in ``folder``."""
        return cls(_load_prm(folder / "prm"), Scale.restored(arrays))


def _load_prm(folder: str | Path) -> Any:
    from selfreg_gym.prm import ProcessRewardModel

    return ProcessRewardModel.from_pretrained(folder)


def _scores(prm: Any, column: Coded) -> np.ndarray:
    """p(s) of each distinct text, float64; zero for unused texts."""
    used = np.unique(column.codes)
    found = np.zeros(len(column.values))
    if len(used):
        found[used] = prm.score([column.values[code] for code in used.tolist()])
    return found


def _logit(p: np.ndarray) -> np.ndarray:
    """The logit of probabilities, which are clipped to [1e-4, 1 - 1e-4]."""
    inside = np.clip(p, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))
