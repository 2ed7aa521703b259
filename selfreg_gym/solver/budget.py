"""``solve_budget``: the largest success at an expected usage of at most C.

The attainable points (M, S) form a convex set whose upper boundary is the concave hull of the deterministic policies
(Altman 1999, ch. 3). So the optimum for a budget is a mixture of two neighbouring corners, drawn **once per episode**:

    w = (C - M_1) / (M_2 - M_1)     probability of the second corner

Starting from a corner on each side of C, a solve at the slope of the chord

    r = (S_2 - S_1) / (M_2 - M_1)

finds a corner above the chord, which replaces the one on its side, or proves that there is none. The search ends after
10 to 22 solves with the exact optimum, or after about eight passes at eight prices each. Bisection on r (the published
method) does not meet most budgets, because usage jumps at prices where policies tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver.arguments import check_choice, check_costs, check_model, checked_number, positive_costs
from selfreg_gym.solver.engine import Engine
from selfreg_gym.solver.modes import WIDTH
from selfreg_gym.solver.prepared import cost_unit
from selfreg_gym.solver.solution import MixedPolicy, Solution, make_solution
from selfreg_gym.solver.solve import solve
from selfreg_gym.transitions import TransitionModel

if TYPE_CHECKING:
    from selfreg_gym.solver.caps import CappedSolution

__all__ = [
    "Point",
    "distinct",
    "first_prices",
    "highest_price",
    "is_right_of",
    "slack_policy",
    "solve_budget",
    "solve_points",
]

CHORD_TOLERANCE = 1e-13
"""A point that is above the chord by at most this is on it, to rounding."""

BUDGET_TOLERANCE = 1e-12
"""A policy meets a budget alone if its usage differs by at most this, in units of :func:`cost_unit`."""

POINT_TOLERANCE = 1e-12
"""Points are equal, to rounding, if usage (relative to the largest) and success differ by at most this."""

SUCCESS_TOLERANCE = 1e-9
"""Points are different if success differs by more, however small the difference in usage (very cheap calls)."""


@overload
def solve_budget(
    model: TransitionModel, *, budget: float | Sequence[float], value: str = ..., prm: Any = ..., method: str = ...,
    discount: float = ..., backend: str = ..., progress: Callable[[int, float], None] | None = ...,
) -> MixedPolicy: ...  # fmt: skip


@overload
def solve_budget(
    model: TransitionModel, *, hard_cap: int, discount: float = ..., backend: str = ...
) -> CappedSolution: ...


def solve_budget(
    model: TransitionModel,
    *,
    budget: float | Sequence[float] | None = None,
    hard_cap: int | None = None,
    value: str = "exact",
    prm: Any = None,
    method: str = "auto",
    discount: float = 1.0,
    backend: str = "auto",
    progress: Callable[[int, float], None] | None = None,
) -> MixedPolicy | CappedSolution:
    """Find the policy of largest success under a budget on the expected usage, or a cap on the calls of each episode.

    Args:
        model: the problem.
        budget: C >= 0 in cost units over all interventions, or ``(K,)`` budgets, one per intervention.
        hard_cap: c >= 0 calls in any one episode, instead of a budget; see :func:`selfreg_gym.solver.caps.solve_caps`.
        value, prm, method, discount, backend: as in :func:`selfreg_gym.solver.solve`. ``method="paper"`` returns the
            deterministic policy found by bisection, with a usage that is in general below the budget; ``value="prm"``
            a mixture of the two policies next to the budget.
        progress: called after each step with the number of passes and the remaining interval (in usage; with K budgets,
            the bound on the missing success).

    Returns:
        The mixture. Its ``message`` reports a budget above the usage of the best policy. For a hard cap, the policies
        of all caps up to it.

    Raises:
        InvalidArgumentError: a negative budget, or one of the wrong shape; both or neither of budget and cap.
        ModelError: with a budget, costs that differ by a factor of more than 1e15.
    """
    check_model(model)
    check_choice("value", value, ("exact", "prm"))
    check_choice("method", method, ("auto", "paper"))
    if (budget is None) == (hard_cap is None):
        raise InvalidArgumentError(
            "give budget=C (expected usage) or hard_cap=c (calls in each episode), exactly one of the two: received "
            f"budget={budget!r}, hard_cap={hard_cap!r}."
        )
    if hard_cap is not None:
        from selfreg_gym.solver.caps import solve_caps

        _only_exact("hard_cap needs", value, method)
        return solve_caps(model, hard_cap=hard_cap, discount=discount, backend=backend)
    assert budget is not None
    check_costs(model)
    if np.ndim(budget):
        from selfreg_gym.solver.many_budgets import solve_budgets

        _only_exact("several budgets need", value, method)
        return solve_budgets(model, budget=budget, discount=discount, backend=backend, progress=progress)
    limit = checked_number("a budget, in cost units per episode,", budget)

    if value == "prm" or method == "paper":

        def at(r: float) -> Solution:
            return solve(model, help_cost=r, value=value, prm=prm, method=method, discount=discount, backend=backend)

        high = at(0.0)
        if limit >= high.expected_usage - BUDGET_TOLERANCE * cost_unit(model):
            return slack_policy(high, limit, high.expected_usage)
        return _bisect(at, at(highest_price(model)), high, limit, mix=method != "paper")

    engine = Engine(model, backend=backend, discount=discount)

    def solution(point: Point) -> Solution:
        return make_solution(engine, point.price, *engine.run(point.price), "exact")

    top, tolerance = highest_price(model), BUDGET_TOLERANCE * cost_unit(model)
    found = solve_points(engine, [0.0, top, *first_prices(top)] if engine.batches else [0.0, top])
    right = found[0]
    if limit >= right.usage - tolerance:
        return slack_policy(solution(right), limit, right.usage)
    left, right = _neighbours(found, limit)
    price = right.price
    for _ in range(200):
        if right.usage - left.usage <= tolerance:
            break
        price = max((right.success - left.success) / (right.usage - left.usage), 0.0)
        found = solve_points(engine, [price, *_prices_around(left, right, limit)] if engine.batches else [price])
        middle = found[0]
        gain = middle.success - left.success - price * (middle.usage - left.usage)
        if gain <= CHORD_TOLERANCE or not left.usage < middle.usage < right.usage:
            break
        left, right = _neighbours([left, *found, right], limit)
        if progress is not None:
            progress(engine.passes, right.usage - left.usage)
    return _mixture(solution(left), solution(right), limit, price, engine.passes)


def _only_exact(what: str, value: str, method: str) -> None:
    if value != "exact" or method != "auto":
        raise InvalidArgumentError(f"{what} value='exact' and method='auto', received {value!r} and {method!r}.")


class Point(NamedTuple):
    """A corner of the curve of success against usage: S and M over the start, and a price at which it is optimal."""

    price: float
    success: float
    usage: float


def solve_points(engine: Engine, prices: Sequence[float]) -> list[Point]:
    """Solve at up to ``WIDTH`` prices; ties go to the smaller usage."""
    found = engine.run_many(np.asarray(prices, np.float64)).tolist()
    return [Point(price, *pair) for price, pair in zip(map(float, prices), found, strict=True)]


def first_prices(top: float) -> list[float]:
    """Return ``WIDTH - 2`` prices below the highest, each half of the one before."""
    return [top / 2**k for k in range(1, WIDTH - 1)]


def _neighbours(points: Sequence[Point], limit: float) -> tuple[Point, Point]:
    """Return the point of largest usage up to the limit, and the point of smallest usage above it."""
    within = [p for p in points if p.usage <= limit] or [min(points, key=lambda p: p.usage)]
    return max(within, key=lambda p: p.usage), min((p for p in points if p.usage > limit), key=lambda p: p.usage)


def _prices_around(left: Point, right: Point, limit: float) -> list[float]:
    """Return seven prices around the one at which usage, interpolated linearly, equals the limit."""
    share = (limit - left.usage) / (right.usage - left.usage)
    guess = left.price + share * (right.price - left.price)
    width = left.price - right.price
    prices = guess + width * np.array([0.0, -1 / 256, 1 / 256, -1 / 32, 1 / 32, -1 / 4, 1 / 4])
    return np.clip(prices, right.price, left.price).tolist()


def slack_policy(best: Solution, limit: float, usage: float, price: float = 0.0) -> MixedPolicy:
    """Return the best policy, for a budget that is at least its usage."""
    message = ""
    if limit > usage + 1e-9 * cost_unit(best.model):
        message = f"more budget cannot help: the best policy uses {usage:.6g} of {limit:g} cost units."
    return MixedPolicy((best,), np.ones(1), price, limit, message, 1)


def highest_price(model: TransitionModel) -> float:
    """Return a price at which only free help is used: a call increases success by at most 1."""
    costs = positive_costs(model)
    return 1.001 / float(costs.min()) if len(costs) else 1.0


def distinct(points: Sequence[Point]) -> list[Point]:
    """Return the points in the order of usage, without points that are equal to rounding.

    Of equal points the first in ``points`` is kept. Points that are dominated by another (an effect of rounding) are
    left out.
    """
    largest = max(point.usage for point in points)
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.usage, -p.success)):
        if kept and not is_right_of(kept[-1], point, POINT_TOLERANCE * largest):
            if point.success > kept[-1].success + POINT_TOLERANCE:
                kept[-1] = point
        elif not kept or point.success > kept[-1].success:
            kept.append(point)
    return kept


def is_right_of(left: Point, right: Point, width: float) -> bool:
    """Whether ``right`` has a larger usage than ``left``, by more than ``width`` unless its success is clearly larger.

    Costs of one model may differ by many orders of magnitude. The usage of cheap calls is then close to rounding, but
    their effect on success is not.
    """
    run = right.usage - left.usage
    return run > width or (run > 0 and right.success > left.success + SUCCESS_TOLERANCE)


def _mixture(low: Solution, high: Solution, limit: float, price: float, solves: int) -> MixedPolicy:
    """Return the mixture with a usage of ``limit``."""
    run = high.expected_usage - low.expected_usage
    if low.expected_usage >= limit - BUDGET_TOLERANCE * cost_unit(low.model) or run <= 0:
        return MixedPolicy((low,), np.ones(1), price, limit, "", solves)
    weight = min((limit - low.expected_usage) / run, 1.0)
    return MixedPolicy((low, high), np.array([1 - weight, weight]), price, limit, "", solves)


def _bisect(at: Any, low: Solution, high: Solution, limit: float, *, mix: bool) -> MixedPolicy:
    """Bisect on r between a policy within the budget and one above it."""
    solves = 2
    low_price, high_price = 0.0, float(np.asarray(low.help_cost))
    for _ in range(60):
        price = (low_price + high_price) / 2
        if high_price - low_price <= 1e-12 * high_price:
            break
        point = at(price)
        solves += 1
        if point.expected_usage <= limit:
            high_price, low = price, point
        else:
            low_price, high = price, point
    if mix and high.expected_usage > low.expected_usage:
        return _mixture(low, high, limit, high_price, solves)
    return MixedPolicy((low,), np.ones(1), high_price, limit, "", solves)
