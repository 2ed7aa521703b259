"""The floor: a logistic regression on which words a text has. A language model must beat it to be worth its cost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.subsampling import subsample
from selfreg_gym.prm.reliability import calibration_table, sigmoid
from selfreg_gym.prm.targets import gather, split_tasks
from selfreg_gym.utils.random_streams import BAG_OF_WORDS_EXAMPLES, stream

__all__ = ["BagOfWords"]

_WORD = re.compile(r"\w+|[^\w\s]")


class BagOfWords:
    """P(success) = sigmoid(w . x + b), where x marks the words and pairs of neighbouring words of a text.

    Args:
        vocabulary: D words or word pairs ("cup on").
        weight: ``(D,)``.
        bias: the intercept.
        held_out: calibration on tasks that were not trained on, if measured.
    """

    def __init__(
        self, vocabulary: Sequence[str], weight: np.ndarray, bias: float, held_out: dict[str, Any] | None = None
    ) -> None:
        self.vocabulary = tuple(vocabulary)
        self.weight = np.asarray(weight, dtype=np.float64)
        self.bias = float(bias)
        self.held_out = held_out
        self._column = {word: i for i, word in enumerate(self.vocabulary)}

    @classmethod
    def fit(
        cls,
        observations: Sequence[str],
        outcome: np.ndarray,
        *,
        weight: np.ndarray | None = None,
        ridge: float = 1.0,
        min_count: int = 5,
        max_words: int = 4000,
    ) -> BagOfWords:
        """Fit by L-BFGS.

        Args:
            observations: N texts. outcome: ``(N,)`` 0 or 1. weight: ``(N,)``, default 1.
            ridge: strength of the L2 penalty, in units of one observation.
            min_count: texts a word must occur in. max_words: the most frequent ones are kept.
        """
        from scipy.optimize import minimize

        if len(observations) == 0 or len(observations) != len(outcome):
            raise InvalidArgumentError(
                f"texts and outcomes must be equally many, received {len(observations)} and {len(outcome)}."
            )
        seen: Counter[str] = Counter()
        for text in observations:
            seen.update(_terms(text))
        frequent = [word for word, count in seen.most_common(max_words) if min_count <= count < len(observations)]
        model = cls(sorted(frequent), np.zeros(len(frequent)), 0.0)
        design = model._design(observations)
        y = np.asarray(outcome, dtype=np.float64)
        w = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)

        def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
            z = design @ beta[:-1] + beta[-1]
            error = w * (sigmoid(z) - y)
            value = np.sum(w * (np.logaddexp(0.0, z) - y * z)) + 0.5 * ridge * np.sum(beta[:-1] ** 2)
            return value, np.concatenate([design.T @ error + ridge * beta[:-1], [error.sum()]])

        found = minimize(loss, np.zeros(len(frequent) + 1), jac=True, method="L-BFGS-B", options={"maxiter": 300})
        return cls(model.vocabulary, found.x[:-1], found.x[-1])

    @classmethod
    def train(
        cls, rollouts: Any, *, targets: str = "nohelp", seed: int = 0, share: float = 0.2, max_states: int | None = 6000
    ) -> BagOfWords:
        """Fit on the moments, weights and split of ``ProcessRewardModel.train``, and judge on the held-out tasks."""
        examples = gather(rollouts, targets=targets)
        aside = split_tasks(examples.task, share=share, seed=seed)
        rows = np.flatnonzero(~aside)
        rng = stream(BAG_OF_WORDS_EXAMPLES, seed)
        chosen, weight = subsample(examples.weight[rows], max_states, rng)
        part = examples.take(rows[chosen], weight=weight)
        model = cls.fit(part.observations, part.outcome, weight=part.weight)
        judged = np.flatnonzero(aside & examples.unhelped)
        if targets == "mixture" or len(judged) == 0:
            judged = np.flatnonzero(aside)
        test = examples.take(judged)
        model.held_out = calibration_table(model.score(test.observations), test.outcome, weight=test.weight)
        return model

    def score(self, observations: Sequence[str]) -> np.ndarray:
        """P(success) of N texts, ``(N,)`` float64."""
        return sigmoid(self._design(observations) @ self.weight + self.bias)

    def calibration(self, rollouts: Any = None, *, targets: str = "nohelp", bins: int = 10) -> dict[str, Any]:
        """As ``ProcessRewardModel.calibration``."""
        if rollouts is None:
            if self.held_out is None:
                raise InvalidArgumentError("nothing was held out: pass rollouts, or (observations, outcomes).")
            return self.held_out
        if isinstance(rollouts, tuple):
            observations, outcome = rollouts
            return calibration_table(self.score(observations), outcome, bins=bins)
        examples = gather(rollouts, targets=targets)
        return calibration_table(self.score(examples.observations), examples.outcome, weight=examples.weight, bins=bins)

    def _design(self, observations: Sequence[str]) -> Any:
        from scipy.sparse import csr_array

        columns: list[int] = []
        ends = [0]
        for text in observations:
            columns += sorted(self._column[term] for term in _terms(text) if term in self._column)
            ends.append(len(columns))
        shape = (len(observations), len(self.vocabulary))
        return csr_array((np.ones(len(columns)), np.asarray(columns, dtype=np.int64), np.asarray(ends)), shape=shape)


def _terms(text: str) -> set[str]:
    found = _WORD.findall(text.lower())
    return {*found, *(f"{a} {b}" for a, b in pairwise(found))}
