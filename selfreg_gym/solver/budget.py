"""``solve_budget``: the best use of a budget, met exactly.

The best success at an expected usage of at most C is the concave hull of the deterministic policies' points (M, S), so
the optimum is a coin between two neighbouring hull points, tossed **once per episode**. The neighbours are found by the
slope of the chord between a point left and a point right of C: solving at that price finds a point above the chord or
proves that there is none. It ends after 10 to 22 solves, with no tolerance on the price. A bisection on r (the
paper's) misses budgets, because the usage jumps at prices where policies tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver.solution import MixedPolicy, Solution
from selfreg_gym.solver.solve import solve
from selfreg_gym.transitions import TransitionModel

__all__ = ["highest_price", "solve_budget"]

GAIN = 1e-13
"""A point that is above the chord by less is on it, to rounding."""


def solve_budget(
    model: TransitionModel,
    *,
    budget: float | Sequence[float],
    value: str = "exact",
    prm: Any = None,
    method: str = "auto",
    discount: float = 1.0,
    backend: str = "auto",
) -> MixedPolicy:
    """Find the policy of largest success whose expected usage is at most ``budget``.

    Args:
        model: the problem.
        budget: C >= 0 in cost units over all interventions, or ``(K,)`` budgets, one per intervention.
        value, prm, method, discount, backend: as in :func:`selfreg_gym.solver.solve`. With ``method="paper"`` the
            result is the one deterministic policy that bisection finds, which usually stays below the budget; with
            ``value="prm"`` a coin between the policies on either side of the budget.

    Returns:
        The mixture. Its ``message`` says so where the budget is more than any policy can use well.

    Raises:
        InvalidArgumentError: a negative budget, or one of the wrong shape.
    """
    if np.ndim(budget):
        from selfreg_gym.solver.many_budgets import solve_budgets

        if value != "exact" or method != "auto":
            raise InvalidArgumentError("several budgets are solved with value='exact' and method='auto' only.")
        return solve_budgets(model, budget=budget, discount=discount, backend=backend)
    limit = float(np.asarray(budget))
    if not limit >= 0:
        raise InvalidArgumentError(f"a budget is a number of cost units >= 0, received {budget!r}.")

    def at(price: float) -> Solution:
        return solve(
            model, help_cost=price, value=value, prm=prm, method=method, discount=discount, backend=backend
        )  # fmt: skip

    high = at(0.0)
    if limit >= high.expected_usage - 1e-12:
        message = (
            f"more budget cannot help: the best policy uses {high.expected_usage:.6g} cost units of {limit:g}."
            if limit > high.expected_usage + 1e-9
            else ""
        )
        return MixedPolicy((high,), np.ones(1), 0.0, limit, message, 1)
    low = at(highest_price(model))
    if low.expected_usage > limit:
        raise InvalidArgumentError(
            f"no policy stays within the budget {limit:g}: even at price {low.help_cost:g} usage is "
            f"{low.expected_usage:g}."
        )
    if value == "prm" or method == "paper":
        return _bisect(at, low, high, limit, mix=method != "paper")
    price, solves = 0.0, 2
    while solves < 200:
        solves += 1
        price = (high.expected_success - low.expected_success) / (high.expected_usage - low.expected_usage)
        point = at(max(price, 0.0))
        gain = point.expected_success - low.expected_success - price * (point.expected_usage - low.expected_usage)
        usage = point.expected_usage
        if gain <= GAIN or not low.expected_usage < usage < high.expected_usage:
            break
        if usage <= limit:
            low = point
        else:
            high = point
    return _mixture(low, high, limit, price, solves)


def highest_price(model: TransitionModel) -> float:
    """Return a price at which nobody asks who has to pay: one unit of help gains at most 1 of success."""
    costs = model.cost[1:][model.available[1:] & (model.cost[1:] > 0)]
    return 1.001 / float(costs.min()) if len(costs) else 1.0


def _mixture(low: Solution, high: Solution, limit: float, price: float, solves: int) -> MixedPolicy:
    """Return the coin whose usage is ``limit``."""
    if low.expected_usage >= limit - 1e-12:
        return MixedPolicy((low,), np.ones(1), price, limit, "", solves)
    weight = (limit - low.expected_usage) / (high.expected_usage - low.expected_usage)
    return MixedPolicy((low, high), np.array([1 - weight, weight]), price, limit, "", solves)


def _bisect(at: Any, low: Solution, high: Solution, limit: float, *, mix: bool) -> MixedPolicy:
    """Bisect on r between a policy within the budget and one beyond it."""
    solves = 2
    cheap, dear = 0.0, float(np.asarray(low.help_cost))
    for _ in range(60):
        price = (cheap + dear) / 2
        if dear - cheap <= 1e-12 * dear:
            break
        point = at(price)
        solves += 1
        if point.expected_usage <= limit:
            dear, low = price, point
        else:
            cheap, high = price, point
    if mix and high.expected_usage > low.expected_usage:
        return _mixture(low, high, limit, dear, solves)
    return MixedPolicy((low,), np.ones(1), dear, limit, "", solves)
