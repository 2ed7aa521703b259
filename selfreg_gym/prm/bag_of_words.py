"""Baseline of the process reward model: logistic regression on a bag of words and word pairs (scikit-learn).

A language model is worth its cost only if its AUC on held-out tasks is above this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.subsampling import subsample
from selfreg_gym.prm.held_out import held_out_rows, measure
from selfreg_gym.prm.reliability import CalibrationTable, calibration_table, sigmoid
from selfreg_gym.prm.targets import gather, split_tasks
from selfreg_gym.utils.random_streams import BAG_OF_WORDS_EXAMPLES, stream

__all__ = ["BagOfWords"]


class BagOfWords:
    """P(success) = sigmoid(w . x + b), where x (binary) marks the words and pairs of adjacent words in a text.

    Args:
        vocabulary: D words or word pairs ("cup on").
        weight: w, ``(D,)``.
        bias: b.
        held_out: calibration table on held-out tasks, if measured.
    """

    def __init__(
        self, vocabulary: Sequence[str], weight: np.ndarray, bias: float, held_out: CalibrationTable | None = None
    ) -> None:
        self.vocabulary = tuple(map(str, vocabulary))
        self.weight = np.asarray(weight, dtype=np.float64)
        self.bias = float(bias)
        self.held_out = held_out

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
        """Minimise the weighted logistic loss + ridge / 2 * |w|^2, to convergence.

        Without a usable word, or with a single outcome, every text gets the (weighted) success rate.

        Args:
            observations: N texts.
            outcome: ``(N,)`` 0 or 1.
            weight: ``(N,)``, default 1.
            ridge: strength of the L2 penalty, in units of one example.
            min_count: smallest number of texts in which a word occurs. Words of all texts are left out too.
            max_words: number of words kept, the most frequent ones.

        Raises:
            InvalidArgumentError: no texts, or another number of outcomes.
        """
        from sklearn.linear_model import LogisticRegression

        if len(observations) == 0 or len(observations) != len(outcome):
            raise InvalidArgumentError(
                f"texts and outcomes must be equally many, received {len(observations)} and {len(outcome)}."
            )
        rate = float(np.average(outcome, weights=weight))
        usable = np.zeros(0, dtype=np.int64)
        if 0.0 < rate < 1.0 and any(text.strip() for text in observations):
            vectorizer = _vectorizer()
            design = vectorizer.fit_transform(observations).tocsc()
            count = np.asarray(design.sum(axis=0)).ravel()
            frequent = np.argsort(-count, kind="stable")[:max_words]
            usable = np.sort(frequent[(count[frequent] >= min_count) & (count[frequent] < len(observations))])
        if len(usable) == 0:
            rate = min(max(rate, 1e-9), 1 - 1e-9)
            return cls((), np.zeros(0), np.log(rate / (1 - rate)))
        regression = LogisticRegression(C=1 / ridge, solver="newton-cholesky", tol=1e-8)
        regression.fit(design[:, usable].tocsr(), outcome, sample_weight=weight)
        return cls(vectorizer.get_feature_names_out()[usable], regression.coef_[0], regression.intercept_[0])

    @classmethod
    def train(
        cls, rollouts: Any, *, targets: str = "nohelp", seed: int = 0, share: float = 0.2, max_states: int | None = 6000
    ) -> BagOfWords:
        """Fit to the examples, weights and split of ``ProcessRewardModel.train``; evaluate on the held-out tasks."""
        examples = gather(rollouts, targets=targets)
        held_out = split_tasks(examples.task, share=share, seed=seed)
        inside = np.flatnonzero(~held_out)
        chosen, weight = subsample(examples.weight[inside], max_states, stream(BAG_OF_WORDS_EXAMPLES, seed))
        part = examples.take(inside[chosen], weight=weight)
        model = cls.fit(part.observations, part.outcome, weight=part.weight)
        test = examples.take(held_out_rows(examples, held_out, targets=targets))
        model.held_out = calibration_table(model.score(test.observations), test.outcome, weight=test.weight)
        return model

    def score(self, observations: Sequence[str]) -> np.ndarray:
        """P(success) of N texts, ``(N,)`` float64."""
        if not self.vocabulary:
            return sigmoid(np.full(len(observations), self.bias))
        return sigmoid(_vectorizer(self.vocabulary).transform(observations) @ self.weight + self.bias)

    def calibration(self, rollouts: Any = None, *, targets: str = "nohelp", bins: int = 10) -> CalibrationTable:
        """As ``ProcessRewardModel.calibration``."""
        if rollouts is None:
            if self.held_out is None:
                raise InvalidArgumentError("nothing was held out: pass rollouts, or (observations, outcomes).")
            return self.held_out
        return measure(self.score, rollouts, targets=targets, bins=bins)


def _vectorizer(vocabulary: Sequence[str] | None = None) -> Any:
    """Texts to binary features: lower-case words, punctuation marks, and pairs of adjacent ones."""
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", vocabulary=vocabulary)
