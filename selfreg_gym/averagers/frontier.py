"""``solve_averagers``: values of deep averagers at a grid of prices, also for decisions that are not stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.averagers.held_out import held_out_estimates
from selfreg_gym.averagers.model import AveragerModel
from selfreg_gym.averagers.projection import Projection
from selfreg_gym.averagers.representation import Representation
from selfreg_gym.averagers.search import DecisionIndex, Kernel, Neighbours
from selfreg_gym.averagers.values import ValueTables, action_values, chosen_prices
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted.estimates import Estimates
from selfreg_gym.fitted.priced import PricedFrontier
from selfreg_gym.solver import solve_frontier
from selfreg_gym.utils.arguments import check_count, check_number, check_numbers
from selfreg_gym.utils.progress import progress_bar

__all__ = ["AveragerFrontier", "solve_averagers"]

SUPPORT = 0.99
"""A decision is supported if its neighbours are nearer than those of this share of the stored decisions."""


@dataclass(frozen=True, eq=False)
class AveragerFrontier(PricedFrontier):
    """Success and usage of each action at P prices, averaged over stored decisions.

    Attributes:
        prices: ``(P,)`` rising, success per cost unit.
        estimates: held-out usage and success of the policies.
        planned: ``(2, P)`` success and usage of the policies in the model that chose them, which are optimistic.
        index, tables: the stored decisions and their values.
        projection, kernel, neighbours: as in :class:`selfreg_gym.averagers.AveragerModel`.
        limit: mean distance of the neighbours above which a decision is not supported by the data.
        representation: the map from inputs to representations; None: the inputs are the representations.
        encoder: the encoder of the inputs, or None.
    """

    prices: NDArray[np.float64]
    estimates: Estimates
    planned: NDArray[np.float64]
    index: DecisionIndex
    tables: ValueTables
    projection: Projection
    kernel: Kernel
    neighbours: int
    limit: float
    representation: Representation | None = None
    encoder: Any = None

    @property
    def actions(self) -> int:
        """A = 1 + K, the number of actions."""
        return len(self.index.rows)

    @property
    def tried(self) -> NDArray[np.bool_]:
        """``(K,)`` bool, the interventions that occur in the stored decisions."""
        return np.array([len(rows) > 0 for rows in self.index.rows[1:]], bool)

    @property
    def inputs(self) -> int:
        """D, the number of inputs."""
        return len(self.projection.mean) if self.representation is None else self.representation.inputs

    def locate(self, x: Any) -> Neighbours:
        """Find the neighbours of n decisions with inputs ``x`` (n, D).

        Raises:
            InvalidArgumentError: ``x`` has another shape, or numbers that are not finite.
        """
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise InvalidArgumentError(f"x must have shape (n, {self.inputs}), received {x.shape}.")
        if not np.isfinite(x).all():
            raise InvalidArgumentError("x must have finite numbers, received NaN or infinity.")
        if self.representation is not None:
            x = self.representation(x)
        return self.kernel.weigh(self.index.query(self.projection(x), self.neighbours))

    def values(self, x: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """S and M of each action at inputs ``(n, D)``: ``(n, P, K + 1)`` float32 each; usage in cost units."""
        return action_values(self.locate(x), self.tables)

    def supported(self, x: Any) -> NDArray[np.bool_]:
        """``(n,)`` bool, whether all actions have neighbours at a mean distance of at most :attr:`limit`.

        Args:
            x: ``(n, D)`` inputs.
        """
        return np.asarray((self.locate(x).distance <= self.limit).all(axis=1))

    def with_inputs(self, representation: Representation | None = None, encoder: Any = None) -> AveragerFrontier:
        """The same frontier for other inputs.

        Args:
            representation: maps the inputs to the representation of the stored decisions; None: they are equal.
            encoder: the encoder of the inputs, or None.
        """
        return replace(self, representation=representation, encoder=encoder)

    def save(self, folder: str | Path) -> None:
        """Write the stored decisions, their values, the estimates and the encoder (safetensors and JSON)."""
        from selfreg_gym.averagers.files import save_frontier

        save_frontier(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> AveragerFrontier:
        """Read a folder of ``save``.

        Raises:
            CheckpointError: a file is missing, damaged or of another format.
        """
        from selfreg_gym.averagers.files import load_frontier

        return load_frontier(folder)

    def __repr__(self) -> str:
        e = self.estimates
        return (
            f"AveragerFrontier({len(self.prices)} prices 0..{self.prices[-1]:.3g}, {self.tables.success.shape[1]} "
            f"decisions, {self.neighbours} neighbours, held-out usage 0..{e.usage[0]:.3g}, success "
            f"{e.success[e.never]:.3f}..{e.success[0]:.3f})"
        )


def solve_averagers(
    model: AveragerModel,
    *,
    prices: int | Sequence[float] = 16,
    neighbours: Sequence[int] | None = None,
    gap: float = 1e-3,
    progress: bool = False,
) -> AveragerFrontier:
    """Solve the model at a grid of prices, and evaluate the policies on held-out folds.

    Args:
        model: made by :func:`selfreg_gym.averagers.fit_averagers` with at least two folds.
        prices: the prices (success per cost unit), or the number of prices to choose from the model's frontier.
        neighbours: numbers of neighbours to choose from, by the mean of the held-out S - r M over the prices r; None:
            that of the model.
        gap: largest error of that frontier in success, see :func:`selfreg_gym.solve_frontier`.
        progress: show a progress bar.

    Raises:
        InvalidArgumentError: an argument out of range, or a model without folds.
    """
    check_number("gap, the certified distance in success,", gap)
    if model.folds < 2:
        raise InvalidArgumentError("held-out values need at least two folds: fit_averagers(..., folds=4).")
    choices = [model if count == model.neighbours else model.with_neighbours(count) for count in neighbours or ()]
    choices = choices or [model]
    if isinstance(prices, int):
        check_count("prices", prices, low=2)
        grid = chosen_prices(solve_frontier(choices[-1].transitions(), gap=gap), prices)
    else:
        grid = np.sort(check_numbers("prices (success per cost unit)", prices, high=float("inf")))
    policies = model.folds * (len(grid) + model.decisions.actions)
    found: list[tuple[float, AveragerModel, Estimates]] = []
    with progress_bar("held-out values", policies * len(choices), shown=progress) as update:
        for choice in choices:
            e = held_out_estimates(choice, grid, progress=partial(_advance, update, policies * len(found)))
            score = np.mean(e.success[: len(grid)] - grid * e.usage[: len(grid)])
            found.append((float(score), choice, e))
    _, model, estimates = max(found, key=lambda one: one[0])
    tables = ValueTables.solve(model, grid)
    S, M = action_values(model.neighbours_of(model.decisions.first), tables)
    best = (S - grid[:, None].astype(np.float32) * M).argmax(axis=2)[..., None]
    planned = np.stack([np.take_along_axis(one, best, 2).mean(axis=(0, 2)) for one in (S, M)])
    distance = model.neighbours_of(np.arange(len(model.decisions))).distance
    finite = distance[np.isfinite(distance)]
    return AveragerFrontier(
        grid, estimates, planned.astype(np.float64), model.index(), tables, model.projection, model.kernel,
        model.neighbours, float(np.quantile(finite, SUPPORT)) if len(finite) else 0.0,
    )  # fmt: skip


def _advance(update: Callable[[int], None], before: int, done: int) -> None:
    """Update the progress bar with the policies done, those of earlier numbers of neighbours included."""
    update(before + done)
