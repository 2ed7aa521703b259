"""Sampling of an answer by its score. This module does not import torch."""

from __future__ import annotations

import numpy as np

__all__ = ["sample_index", "softmax"]


def softmax(scores: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Return probabilities ``(n,)``; temperature 0 gives probability 1 to the first of the largest scores."""
    if temperature == 0:
        return (np.arange(len(scores)) == np.argmax(scores)).astype(np.float64)
    weights = np.exp((scores - scores.max()) / temperature)
    return weights / weights.sum()


def sample_index(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    """Sample an index by inverting the cumulative distribution, with exactly one uniform number from ``rng``."""
    cumulative = np.cumsum(probabilities)
    return min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")), len(cumulative) - 1)
