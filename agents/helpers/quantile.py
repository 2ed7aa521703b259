"""Ask in a given share of the decisions, those with the lowest p(s); the threshold is a quantile of stored scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._choice import AsksOne
from selfreg_gym.errors import InvalidArgumentError

__all__ = ["Quantile"]

MOST_SCORES = 2000
"""Stored observations that are scored for the quantile: its standard error is then at most 0.011."""


class Quantile(AsksOne):
    """Help where p(s) is below the ``rate``-quantile of p over the observations of unhelped episodes.

    A common heuristic: "help in the worst tenth of decisions". It has no knob on purpose: help changes which states are
    visited, so its usage misses the target, and this baseline measures by how much.

    Args:
        prm: anything with ``score(observations) -> (N,)``.
        scores: p(s) of stored observations, at least one.
        rate: share of decisions to help in, in [0, 1].
        intervention: which one is asked: a number from 1, or its name.

    Raises:
        InvalidArgumentError: no scores, or an argument out of range.
    """

    role, minor, label, marker, colour = "baseline", True, "PRM quantile", "^", "brown"
    takes_budget = True

    def __init__(
        self, prm: Any, scores: Sequence[float] | np.ndarray, *, rate: float = 0.1, intervention: int | str = 1
    ) -> None:
        super().__init__(intervention)
        if len(scores) == 0 or not 0.0 <= rate <= 1.0:
            raise InvalidArgumentError(
                f"a quantile needs scores and a rate in [0, 1], received {len(scores)} scores and rate={rate!r}."
            )
        self.prm, self.rate = prm, float(rate)
        self.threshold = float(np.quantile(np.asarray(scores, dtype=np.float64), rate))

    @classmethod
    def from_run(
        cls, run: Path, *, budget: float | None = None, seed: int = 0, intervention: int | str = 1
    ) -> Quantile:
        """Score stored observations of unhelped episodes.

        The rate is the budget (cost units) over the cost of a call and the mean length of an episode, at most 1.

        Raises:
            InvalidArgumentError: no episode without help was collected.
        """
        from selfreg_gym.prm import ProcessRewardModel
        from selfreg_gym.store.rollouts import Rollouts

        run = Path(run)
        prm = ProcessRewardModel.from_pretrained(run / "prm")
        rollouts = Rollouts.open(run / "rollouts.sqlite")
        alone = [episode for episode in rollouts.episodes() if episode.help_probability == 0.0]
        if not alone:
            raise InvalidArgumentError("quantile needs episodes without help (help probability 0): there are none.")
        texts = [step.observation for episode in alone for step in episode.steps]
        if len(texts) > MOST_SCORES:
            chosen = np.random.default_rng(seed).choice(len(texts), MOST_SCORES, replace=False)
            texts = [texts[i] for i in chosen]
        length = float(np.mean([len(episode) for episode in alone]))
        rate = 0.1 if budget is None else min(1.0, budget / (length * _mean_cost(rollouts, intervention)))
        return cls(prm, prm.score(texts), rate=rate, intervention=intervention)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Compare each p(s) with the quantile."""
        return self.ask_where(np.asarray(self.prm.score(observations)) < self.threshold), None

    def __repr__(self) -> str:
        return f"Quantile({self.prm!r}, rate={self.rate:g}, intervention={self.intervention!r})"


def _mean_cost(rollouts: Any, intervention: int | str) -> float:
    """Mean cost units of a stored call of the intervention; 1 where none was stored."""
    names = list(rollouts.spec.get("env", {}).get("interventions", ()))
    action = names.index(intervention) + 1 if intervention in names else intervention
    columns = rollouts.columns("action", "cost", decisions=True)
    costs = columns["cost"][columns["action"] == action]
    return float(np.mean(costs)) if len(costs) and np.mean(costs) > 0 else 1.0
