"""``Fitted``: the description of the data that a transition model was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Fitted"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Description of the data that a model was fitted to.

    Attributes:
        counts: ``(A, N)`` visits of each row.
        is_feature: ``(N,)`` bool, whether a node is that of a feature key.
        feature_of_node: ``(N,)`` the node of a state's feature key, -1 where there is none.
        settings: the arguments of the fit and the chosen weights.
        coverage: see :func:`selfreg_gym.transitions.nodes.coverage`.
    """

    counts: np.ndarray
    is_feature: np.ndarray
    feature_of_node: np.ndarray
    settings: dict[str, Any]
    coverage: dict[str, float]
