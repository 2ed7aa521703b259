"""``solve_budget``: the largest success at an expected usage of at most C.

The attainable points (M, S) form a convex set whose upper boundary is the concave hull of the deterministic policies
(Altman 1999, ch. 3). So the optimum for a budget is a mixture of two neighbouring corners, drawn **once per episode**:

    w = (C - M_1) / (M_2 - M_1)     probability of the second corner

Starting from a corner on each side of C, a solve at the slope of the chord

    r = (S_2 - S_1) / (M_2 - M_1)

finds a corner above the chord, which replaces the one on its side, or proves that there is none. The search ends after
10 to 22 solves with the exact optimum. Where one pass takes eight prices, seven more prices around the likely one make
it about eight passes. Bisection on r (the published method) misses budgets, because usage jumps at prices where
policies tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver.arguments import check_choice, check_costs, check_model, checked_number
from selfreg_gym.solver.engine import Engine
from selfreg_gym.solver.modes import WIDTH
from selfreg_gym.solver.prepared import cost_unit
from selfreg_gym.solver.solution import MixedPolicy, Solution, make_solution
from selfreg_gym.solver.solve import solve
from selfreg_gym.transitions import TransitionModel

if TYPE_CHECKING:
    from selfreg_gym.solver.caps import CappedSolution

__all__ = ["Point", "apart", "distinct", "first_prices", "highest_price", "solve_budget", "solve_points"]

GAIN = 1e-13
"""A point that is above the chord by less is on it, to rounding."""

ENOUGH = 1e-12
"""A budget this close to a policy's usage is met by it alone; in :func:`~selfreg_gym.solver.prepared.cost_unit`."""

SAME = 1e-12
"""Points whose usage (relative to the largest) and success differ by at most this are one point, to rounding."""

CLEAR = 1e-9
"""A difference in success above rounding: a call may be so cheap that usage hardly differs."""


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
    """Find the policy of largest success under a budget: on the expected usage, or on the calls of every episode.

    Args:
        model: the problem.
        budget: C >= 0 in cost units over all interventions, or ``(K,)`` budgets, one per intervention.
        hard_cap: c >= 0 calls in any one episode, instead of a budget; see :func:`selfreg_gym.solver.caps.solve_caps`.
        value, prm, method, discount, backend: as in :func:`selfreg_gym.solver.solve`. With ``method="paper"`` the
            result is the one deterministic policy that bisection finds, which usually stays below the budget; with
            ``value="prm"`` a coin between the policies on either side of the budget.
        progress: called with (passes over the model, how far the two sides of the answer are apart: in usage, with K
            budgets in success) as it goes on.

    Returns:
        The mixture. Its ``message`` says so where the budget is more than any policy can use well. For a hard cap the
        policies of every cap up to it.

    Raises:
        InvalidArgumentError: a negative budget, or one of the wrong shape; both or neither of budget and cap.
        ModelError: a budget, and costs that differ by a factor of more than 1e15.
    """
    check_model(model)
    check_choice("value", value, ("exact", "prm"))
    check_choice("method", method, ("auto", "paper"))
    if (budget is None) == (hard_cap is None):
        raise InvalidArgumentError(
            "give budget=C (expected usage) or hard_cap=c (calls in any one episode), one of the two: received "
            f"budget={budget!r}, hard_cap={hard_cap!r}."
        )
    if hard_cap is not None:
        from selfreg_gym.solver.caps import solve_caps

        _only_exact("a hard cap is", value, method)
        return solve_caps(model, hard_cap=hard_cap, discount=discount, backend=backend)
    assert budget is not None
    check_costs(model)
    if np.ndim(budget):
        from selfreg_gym.solver.many_budgets import solve_budgets

        _only_exact("several budgets are", value, method)
        return solve_budgets(model, budget=budget, discount=discount, backend=backend, progress=progress)
    limit = checked_number("a budget, in cost units per episode,", budget)

    if value == "prm" or method == "paper":

        def at(price: float) -> Solution:
            return solve(
                model, help_cost=price, value=value, prm=prm, method=method, discount=discount, backend=backend
            )  # fmt: skip

        high = at(0.0)
        if limit >= high.expected_usage - ENOUGH * cost_unit(model):
            return _all_of_it(high, limit, high.expected_usage)
        return _bisect(at, at(highest_price(model)), high, limit, mix=method != "paper")

    engine = Engine(model, backend=backend, discount=discount)

    def solution(of: Point) -> Solution:
        return make_solution(engine, of.price, *engine.run(of.price), "exact")

    top, enough = highest_price(model), ENOUGH * cost_unit(model)
    found = solve_points(engine, [0.0, top, *first_prices(top)] if engine.batches else [0.0, top])
    right = found[0]
    if limit >= right.usage - enough:
        return _all_of_it(solution(right), limit, right.usage)
    left, right = _nearest(found, limit)
    price = right.price
    for _ in range(200):
        if right.usage - left.usage <= enough:
            break
        price = max((right.success - left.success) / (right.usage - left.usage), 0.0)
        found = solve_points(engine, [price, *_around(left, right, limit, price)] if engine.batches else [price])
        middle = found[0]
        gain = middle.success - left.success - price * (middle.usage - left.usage)
        if gain <= GAIN or not left.usage < middle.usage < right.usage:
            break
        left, right = _nearest([left, *found, right], limit)
        if progress is not None:
            progress(engine.passes, right.usage - left.usage)
    return _mixture(solution(left), solution(right), limit, price, engine.passes)


def _only_exact(what: str, value: str, method: str) -> None:
    if value != "exact" or method != "auto":
        raise InvalidArgumentError(
            f"{what} solved with value='exact' and method='auto' only, received {value!r} and {method!r}."
        )


class Point(NamedTuple):
    """A corner of the curve of success against usage: S and M over the start, and a price at which it is optimal."""

    price: float
    success: float
    usage: float


def solve_points(engine: Engine, prices: Sequence[float]) -> list[Point]:
    """Solve at up to ``WIDTH`` prices, tie low."""
    found = engine.run_many(np.asarray(prices, np.float64)).tolist()
    return [Point(price, *pair) for price, pair in zip(map(float, prices), found, strict=True)]


def first_prices(top: float) -> list[float]:
    """Return prices below the highest, each half of the one before, to fill a pass that has the two ends."""
    return [top / 2**k for k in range(1, WIDTH - 1)]


def _nearest(points: Sequence[Point], limit: float) -> tuple[Point, Point]:
    """Return the points with most usage within the limit and least beyond it."""
    within = [p for p in points if p.usage <= limit] or [min(points, key=lambda p: p.usage)]
    return max(within, key=lambda p: p.usage), min((p for p in points if p.usage > limit), key=lambda p: p.usage)


def _around(left: Point, right: Point, limit: float, slope: float) -> list[float]:
    """Return prices around the one where usage probably crosses the limit, to fill a pass that has the chord's slope.

    Usage falls in many small steps as the price rises, so it is taken for a smooth curve; any other guess would cost
    passes, never exactness.
    """
    share = (limit - left.usage) / (right.usage - left.usage)
    guess = left.price + share * (right.price - left.price)
    width = left.price - right.price
    prices = guess + width * np.array([0.0, -1 / 256, 1 / 256, -1 / 32, 1 / 32, -1 / 4, 1 / 4])
    return np.clip(prices, right.price, left.price).tolist()


def _all_of_it(best: Solution, limit: float, usage: float) -> MixedPolicy:
    """Return the best policy, for a budget above its usage."""
    message = ""
    if limit > usage + 1e-9 * cost_unit(best.model):
        message = f"more budget cannot help: the best policy uses {usage:.6g} cost units of {limit:g}."
    return MixedPolicy((best,), np.ones(1), 0.0, limit, message, 1)


def highest_price(model: TransitionModel) -> float:
    """Return a price at which only free help is used: one call gains at most 1 of success."""
    costs = model.cost[1:][model.available[1:] & (model.cost[1:] > 0)]
    return 1.001 / float(costs.min()) if len(costs) else 1.0


def distinct(points: Sequence[Point]) -> list[Point]:
    """Return the points in the order of usage, those that are equal to rounding as one.

    Of equal ones the first in ``points`` is kept. Points of more usage and no more success than another are left out:
    only rounding makes them.
    """
    largest = max(point.usage for point in points)
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.usage, -p.success)):
        if kept and not apart(kept[-1], point, SAME * largest):
            if point.success > kept[-1].success + SAME:
                kept[-1] = point
        elif not kept or point.success > kept[-1].success:
            kept.append(point)
    return kept


def apart(left: Point, right: Point, width: float) -> bool:
    """Whether ``right`` lies to the right of ``left``: by more than ``width``, or less if its success is clearly more.

    Costs in one model may differ by many orders of magnitude. The usage of cheap calls is then within rounding of none,
    and what they add in success is not.
    """
    run = right.usage - left.usage
    return run > width or (run > 0 and right.success > left.success + CLEAR)


def _mixture(low: Solution, high: Solution, limit: float, price: float, solves: int) -> MixedPolicy:
    """Return the mixture whose usage is ``limit``."""
    run = high.expected_usage - low.expected_usage
    if low.expected_usage >= limit - ENOUGH * cost_unit(low.model) or run <= 0:
        return MixedPolicy((low,), np.ones(1), price, limit, "", solves)
    weight = min((limit - low.expected_usage) / run, 1.0)
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
