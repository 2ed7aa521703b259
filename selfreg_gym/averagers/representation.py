"""Representations of decisions that fitted values have learned.

Two decisions are similar if the networks compute similar numbers for them: the units of the last hidden layer of every
network, or the values of all actions at all prices. In distances of inputs, in contrast, every input has the same
weight, whether or not it affects the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from selfreg_gym.fitted.frontier import FittedFrontier

__all__ = ["HiddenLayers", "LearnedValues", "Representation"]


class Representation(Protocol):
    """A map from inputs ``(n, D)`` to representations ``(n, d)``, row by row."""

    @property
    def inputs(self) -> int:
        """D, the number of inputs."""

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the representations."""


@dataclass(frozen=True, eq=False)
class HiddenLayers:
    """The units of the last hidden layer of all networks of a fitted frontier."""

    frontier: FittedFrontier

    @property
    def inputs(self) -> int:
        """D, the number of inputs of the networks."""
        return self.frontier.inputs

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, N * H)`` units, for N networks with H units each."""
        import torch

        from selfreg_gym.fitted.threads import one_thread

        rows = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        with one_thread():
            layers = [nets.hidden(rows, i).numpy() for nets in self.frontier.networks for i in range(nets.count)]
        return np.concatenate(layers, axis=1)


@dataclass(frozen=True, eq=False)
class LearnedValues:
    """The values ``S_a - r M_a`` of all actions at all prices of a fitted frontier, and ``S_a``; all in success."""

    frontier: FittedFrontier

    @property
    def inputs(self) -> int:
        """D, the number of inputs of the networks."""
        return self.frontier.inputs

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, 2 P (K + 1))`` values."""
        success, usage = self.frontier.values(x)
        value = success - self.frontier.prices[:, None].astype(np.float32) * usage
        return np.concatenate([success.reshape(len(x), -1), value.reshape(len(x), -1)], axis=1)
