"""The best use of help: at a price (``solve``), for a budget (``solve_budget``), for all (``solve_frontier``).

Give it a :class:`selfreg_gym.transitions.TransitionModel`. The mathematics is in the modules: ``engine`` (one pass),
``solve`` (a price), ``budget`` (a budget), ``frontier`` (every budget, certified), ``many_budgets`` (one per
intervention), ``caps`` (a hard limit per episode), ``paper`` (the method as published), ``crossfit`` (values on
episodes that did not choose the policy).
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
