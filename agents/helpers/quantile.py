"""Ask in the share of moments with the lowest p(s), the share set from stored scores and never from fresh rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.agents.helpers import _rows
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helpers import batch_size
from selfreg_gym.types import HelperPolicy

__all__ = ["Quantile"]

MOST_SCORES = 2000
"""Stored moments that are scored for the quantile: its standard error is then at most a point."""


class Quantile(HelperPolicy):
    """Help where p(s) is below the ``rate``-quantile of p over moments of unhelped episodes.

    What practitioners do first: "help in the worst tenth of moments". It has no knob on purpose. Help changes which
    states are visited, so its usage misses the target, and by how much is what this baseline shows.

    Args:
        prm: anything with ``score(observations) -> (N,)``.
        scores: p(s) of stored moments, at least one.
        rate: share of moments to help in, in [0, 1].
    """

    takes_budget = True

    def __init__(self, prm: Any, scores: Sequence[float] | np.ndarray, *, rate: float = 0.1) -> None:
        if len(scores) == 0 or not 0.0 <= rate <= 1.0:
            raise InvalidArgumentError(
                f"a quantile needs scores and a rate in [0, 1], received {len(scores)} scores and rate={rate!r}."
            )
        self.prm, self.rate = prm, float(rate)
        self.threshold = float(np.quantile(np.asarray(scores, dtype=np.float64), rate))

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> Quantile:
        """Score stored moments of unhelped episodes; the rate is the budget over the mean length of an episode."""
        from selfreg_gym.dataset import Rollouts
        from selfreg_gym.prm import ProcessRewardModel

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
        return cls(prm, prm.score(texts), rate=0.1 if budget is None else min(1.0, budget / length))

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Compare each p(s) with the quantile."""
        n = batch_size(observation, episode_start)
        texts = [observation] if n is None else list(observation)
        return _rows.answer(np.asarray(self.prm.score(texts)) < self.threshold, n), None

    def __repr__(self) -> str:
        return f"Quantile({self.prm!r}, rate={self.rate:g})"
