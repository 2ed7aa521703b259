"""Deep averagers: a finite model over the collected decisions, without state keys, solved for all budgets.

:func:`fit_averagers` finds the stored decisions that are most similar to each decision, in any numeric representation
of the states. They give a :class:`selfreg_gym.TransitionModel` over the decisions. :func:`solve_averagers` solves it at
a grid of prices, evaluates the policies on held-out tasks, and gives the values of decisions that are not stored.
"""

from __future__ import annotations

from selfreg_gym.averagers.frontier import AveragerFrontier, solve_averagers
from selfreg_gym.averagers.model import AveragerModel, fit_averagers
from selfreg_gym.averagers.representation import HiddenLayers, LearnedValues

__all__ = [
    "AveragerFrontier",
    "AveragerModel",
    "HiddenLayers",
    "LearnedValues",
    "fit_averagers",
    "solve_averagers",
]
