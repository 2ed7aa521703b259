"""The settings of fitted Q-iteration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from selfreg_gym.utils.arguments import check_count, check_number

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Settings of fitted Q-iteration.

    On household tasks other values of ``trace``, ``members`` and ``epochs`` changed the held-out success by less than
    its error.

    Attributes:
        prices: P, number of prices.
        folds: number of folds; their networks are fitted to the other folds.
        members: networks per fold; see :class:`selfreg_gym.fitted.decisions.Folds`.
        hidden: units of each of the two hidden layers.
        rounds: largest number of rounds; each computes targets and fits to them for ``epochs``.
        patience: rounds without an improvement of the held-out value after which the final rounds begin.
        final_rounds: rounds at the end, each with a learning rate of 0.35 of the previous one.
        epochs: passes over the rows in each round.
        rows: largest number of decisions to which the networks of a fold are fitted in one round. With more decisions,
            each round draws whole episodes at random.
        batch: largest number of rows per step of the optimiser.
        steps: smallest number of steps of the optimiser per round; with few rows, batches are smaller and there are
            more passes.
        learning_rate, weight_decay: of the optimiser, AdamW.
        dropout: of the first hidden layer.
        usage_weight: weight of the squared error of price times usage, relative to the cross-entropy of success.
        trace: lam of the targets, from 0 (bootstrapped) to 1 (Monte-Carlo up to the first action that is not the
            policy's); see :mod:`selfreg_gym.fitted.targets`.
        seed: seed of folds, initial weights and batches.
    """

    prices: int = 16
    folds: int = 5
    members: int = 2
    hidden: int = 128
    rounds: int = 16
    patience: int = 3
    final_rounds: int = 2
    epochs: int = 1
    rows: int = 131_072
    batch: int = 512
    steps: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    dropout: float = 0.1
    usage_weight: float = 2.0
    trace: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        lowest = {"prices": 4, "folds": 2, "final_rounds": 0, "seed": 0}
        counts = "prices folds members hidden rounds patience final_rounds epochs rows batch steps"
        for name in counts.split():
            check_count(name, getattr(self, name), low=lowest.get(name, 1))
        check_count("seed", self.seed, low=0)
        for name, high in (("weight_decay", 1.0), ("dropout", 0.9), ("trace", 1.0)):
            check_number(name, getattr(self, name), high=high)
        for name in ("learning_rate", "usage_weight"):
            check_number(name, getattr(self, name), above=True)

    def fields(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)
