"""``FittedFrontier``: fitted success and usage at all prices, its policies and their held-out values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted.estimates import Estimates
from selfreg_gym.fitted.priced import PricedFrontier

if TYPE_CHECKING:
    from selfreg_gym.fitted.networks import Networks

__all__ = ["FittedFrontier"]


@dataclass(frozen=True, eq=False)
class FittedFrontier(PricedFrontier):
    """Success and usage of the best policy at each of P prices, as functions of the inputs.

    Attributes:
        networks: the networks of each fold; the values are the mean over all of them.
        prices: ``(P,)`` rising, per cost unit.
        estimates: held-out usage and success of the policies; under the largest cap, if there are hard caps.
        encoder: the encoder of the inputs, with ``encode`` and ``save``; None if it was fitted to arrays.
        settings: the settings of the fit.
        history: one record per round.
        episodes, decisions: size of the data.
        warnings: about actions that never occur in the data.
        caps: the estimates under a hard cap of 1, 2, ... calls per episode; empty without a cap.
    """

    networks: Sequence[Networks]
    prices: np.ndarray
    estimates: Estimates
    encoder: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    episodes: int = 0
    decisions: int = 0
    warnings: tuple[str, ...] = ()
    caps: tuple[Estimates, ...] = ()

    @property
    def actions(self) -> int:
        """A = 1 + K, the number of actions."""
        return self.networks[0].actions

    @property
    def tried(self) -> np.ndarray:
        """``(K,)`` bool, the interventions that occur in the rollouts.

        Frontiers that were saved by versions which did not exclude actions without data report all of them.
        """
        return np.asarray(np.any([networks.tried() for networks in self.networks], axis=0)[1:])

    @property
    def inputs(self) -> int:
        """D, the number of inputs."""
        return int(self.networks[0].w1.shape[1])

    def values(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Success and usage of each action, followed by the best policy at each price.

        Args:
            x: ``(n, D)`` inputs.

        Returns:
            ``(n, P, K + 1)`` float32 each; usage in cost units. Neither rises with the price.

        Raises:
            InvalidArgumentError: ``x`` has another shape, or numbers that are not finite.
        """
        from selfreg_gym.fitted.networks import mean_values
        from selfreg_gym.fitted.packed import PackedInputs
        from selfreg_gym.fitted.threads import one_thread

        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise InvalidArgumentError(f"x must have shape (n, {self.inputs}), received {x.shape}.")
        if not np.isfinite(x).all():
            raise InvalidArgumentError("x must have finite numbers, received NaN or infinity.")
        with one_thread():
            success, usage = mean_values(self.networks, PackedInputs(x))
        return success.transpose(0, 2, 1), usage.transpose(0, 2, 1)

    def save(self, folder: str | Path) -> None:
        """Write the networks, the estimates and the encoder to a folder (safetensors and JSON)."""
        from selfreg_gym.fitted.files import save_frontier

        save_frontier(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> FittedFrontier:
        """Read a folder of ``save``.

        Raises:
            CheckpointError: a file is missing, damaged or of another format.
        """
        from selfreg_gym.fitted.files import load_frontier

        return load_frontier(folder)

    def __repr__(self) -> str:
        e, count = self.estimates, sum(networks.count for networks in self.networks)
        return (
            f"FittedFrontier({len(self.prices)} prices 0..{self.prices[-1]:.3g}, {count} networks of {self.inputs} "
            f"inputs, {self.decisions} decisions of {self.episodes} episodes, held-out usage 0..{e.usage[0]:.3g}, "
            f"success {e.success[e.never]:.3f}..{e.success[0]:.3f})"
        )
