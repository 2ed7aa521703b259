"""Drawing one of several answers by their scores, with one random number; needs no torch."""

from __future__ import annotations

import numpy as np

__all__ = ["sample_index", "softmax"]


def softmax(scores: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Probabilities ``(n,)`` from scores; temperature 0 puts all on the first of the largest."""
    if temperature == 0:
        out = np.zeros(len(scores))
        out[int(np.argmax(scores))] = 1.0
        return out
    weights = np.exp((scores - scores.max()) / temperature)
    return weights / weights.sum()


def sample_index(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """Draw an index by the inverse cumulative distribution, with exactly one uniform number from ``rng``."""
    cumulative = np.cumsum(probabilities)
    return min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")), len(cumulative) - 1)
