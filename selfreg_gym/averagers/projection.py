"""Projection of a representation on its principal components, so that distances are cheap to compute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Projection"]


@dataclass(frozen=True, eq=False)
class Projection:
    """A shift, and a projection on the leading principal components if there are too many dimensions.

    Attributes:
        mean: ``(d,)`` float32, subtracted first.
        components: ``(d, r)`` float32 with orthonormal columns, or None: no rotation, r = d.
        explained: share of the variance that the r dimensions keep.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32] | None
    explained: float = 1.0

    @classmethod
    def fit(cls, x: NDArray[np.float32], dimensions: int) -> Projection:
        """Keep at most ``dimensions`` principal components of ``x`` (n, d); with d <= ``dimensions``, x as it is."""
        mean = x.mean(axis=0, dtype=np.float64)
        if x.shape[1] <= dimensions:
            return cls(mean.astype(np.float32), None)
        covariance = np.zeros((x.shape[1], x.shape[1]))
        for first in range(0, len(x), 8192):
            block = x[first : first + 8192] - mean
            covariance += block.T @ block
        variance, vectors = np.linalg.eigh(covariance)
        kept = vectors[:, ::-1][:, :dimensions]
        total = float(variance.sum())
        explained = float(variance[::-1][:dimensions].sum()) / total if total > 0 else 1.0
        return cls(mean.astype(np.float32), np.ascontiguousarray(kept, np.float32), explained)

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the ``(n, r)`` projection; each row of it is bitwise independent of the other rows."""
        shifted = np.asarray(x, np.float32) - self.mean
        if self.components is None:
            return shifted
        # A BLAS product rounds differently for different numbers of rows.
        return np.einsum("nd,dr->nr", shifted, self.components, optimize=False)
