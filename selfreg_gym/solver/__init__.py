"""Exact solvers: at a help cost (``solve``), for a budget (``solve_budget``), for all budgets (``solve_frontier``).

All of them solve a :class:`selfreg_gym.transitions.TransitionModel`. The head of each module gives its mathematics:
``engine`` (one backward pass), ``solve`` (a help cost), ``budget`` (a budget), ``frontier`` (all budgets, with a
certified gap), ``many_budgets`` (a budget per intervention), ``caps`` (a hard cap per episode), ``paper`` (the
published method), ``crossfit`` (values on held-out episodes).
"""

from __future__ import annotations

from selfreg_gym.solver.budget import solve_budget
from selfreg_gym.solver.caps import CappedSolution, solve_caps
from selfreg_gym.solver.crossfit import CrossFitted, cross_fitted_value
from selfreg_gym.solver.frontier import Frontier, solve_frontier
from selfreg_gym.solver.solution import MixedPolicy, Solution
from selfreg_gym.solver.solve import evaluate_policy, solve

__all__ = [
    "CappedSolution",
    "CrossFitted",
    "Frontier",
    "MixedPolicy",
    "Solution",
    "cross_fitted_value",
    "evaluate_policy",
    "solve",
    "solve_budget",
    "solve_caps",
    "solve_frontier",
]
