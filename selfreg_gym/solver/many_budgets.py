"""``solve_budgets``: a budget for each intervention.

Maximise S over mixtures of policies subject to M_k <= C_k for every k. A small linear program (the master) mixes the
policies found so far; its duals are a price for each intervention, and solving at those prices either finds a policy
that improves the mixture or proves how close it is (Dantzig and Wolfe 1960). The duals oscillate at first, so each
solve uses a mean of the prices of the best bound and the new duals (Wentges 1997).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.solver.arguments import check_costs, check_model, checked_numbers
from selfreg_gym.solver.engine import Engine
from selfreg_gym.solver.modes import FIXED
from selfreg_gym.solver.solution import MixedPolicy, make_solution, priced_cost
from selfreg_gym.transitions import TransitionModel

__all__ = ["solve_budgets"]

SMOOTH = 0.7
"""Weight of the best bound's prices in the next prices."""

CLOSED = 1e-9
"""The mixture is optimal if the bound on its distance to the optimum is at most this."""

MAX_SOLVES = 400


class _Column(NamedTuple):
    """A policy: success and ``(K,)`` usage over the start, the ``(K,)`` prices of its solve, and its actions.

    Usage and prices are in the master's unit of each intervention.
    """

    success: float
    usage: np.ndarray
    prices: np.ndarray
    policy: np.ndarray


def solve_budgets(
    model: TransitionModel,
    *,
    budget: Any,
    discount: float = 1.0,
    backend: str = "auto",
    progress: Callable[[int, float], None] | None = None,
) -> MixedPolicy:
    """Find the mixture of largest success with at most ``budget[k - 1]`` cost units of intervention k.

    Args:
        model: the problem, with K interventions.
        budget: ``(K,)``, each >= 0; infinite for no limit.
        discount, backend: as in :func:`selfreg_gym.solver.solve`.
        progress: called after each solve with the number of passes and the bound on the missing success.

    Returns:
        At most K + 1 policies; ``help_cost`` has the K prices. ``message`` reports a bound that was not closed.

    Raises:
        InvalidArgumentError: another number of budgets than K, or a negative one.
    """
    check_model(model)
    check_costs(model)
    count = model.actions - 1
    limits = checked_numbers("budget, the cost units per intervention,", budget, (count,), finite=False)
    engine = Engine(model, backend=backend, discount=discount)
    ceiling = _ceiling(model)
    unit = 2.0 ** np.rint(-np.log2(ceiling))  # of the master: about the least cost of each intervention
    ceiling, limits = ceiling * unit, limits / unit
    columns = [_column(engine, np.zeros(count), unit), _column(engine, ceiling, unit)]
    best_bound, best_prices = np.inf, ceiling
    weights, prices, value = _master(columns, limits)
    message = ""
    while len(columns) < MAX_SOLVES:
        trial = SMOOTH * best_prices + (1 - SMOOTH) * prices if np.isfinite(best_bound) else prices
        for candidate in (trial, prices):  # the master's own, if the smoothed ones find no new policy
            column = _column(engine, candidate, unit)
            paid = np.where(candidate > 0, candidate * np.where(candidate > 0, limits, 0.0), 0.0)
            bound = column.success - candidate @ column.usage + paid.sum()
            if bound < best_bound:
                best_bound, best_prices = bound, candidate
            offset = value - prices @ np.where(prices > 0, limits, 0.0)
            gain = column.success - prices @ column.usage - offset
            improves = gain > CLOSED and not _known(column, columns)
            if improves:
                break
        if best_bound - value <= CLOSED or not improves:
            break
        columns.append(column)
        weights, prices, value = _master(columns, limits)
        if progress is not None:
            progress(engine.passes, max(best_bound - value, 0.0))
    else:
        message = f"stopped after {MAX_SOLVES} solves, at most {best_bound - value:.2g} of success below the optimum."
    used = np.flatnonzero(weights > 1e-12)
    binds = prices.any()
    prices = prices / unit
    policies = []
    for i in used:
        column = columns[i]
        values = engine.run(0.0, mode=FIXED, policy=column.policy).values
        priced = engine.run(0.0, mode=FIXED, policy=column.policy, cost=priced_cost(engine, prices)).values[:, 1]
        policies.append(make_solution(engine, prices, values, column.policy, "exact", priced))
    if not message and (limits > _usage(columns, weights) + 1e-6).all() and not binds:
        message = "more budget cannot help: the best policy is within all budgets."
    return MixedPolicy(
        tuple(policies), weights[used] / weights[used].sum(), prices, limits * unit, message, engine.passes
    )


def _ceiling(model: TransitionModel) -> np.ndarray:
    """Return ``(K,)`` prices at which only free help is used: a call increases success by at most 1."""
    least = np.where(model.available[1:] & (model.cost[1:] > 0), model.cost[1:], np.inf).min(axis=1)
    return np.where(np.isfinite(least), 1.001 / least, 1.0)


def _column(engine: Engine, prices: np.ndarray, unit: np.ndarray) -> _Column:
    """Solve at one price per intervention."""
    policy = engine.run(1.0, cost=priced_cost(engine, prices / unit)).policy
    prepared = engine.prepared
    usage, success = np.zeros(len(prices)), 0.0
    for k in range(1, prepared.actions):
        own = np.where((prepared.charged == k) | np.isinf(prepared.cost), prepared.cost, 0.0)
        success, usage[k - 1] = engine.over_start(engine.run(0.0, mode=FIXED, cost=own, policy=policy).values)
    usage *= prepared.unit / unit
    return _Column(float(success), usage, prices, policy)


def _known(column: _Column, columns: list[_Column]) -> bool:
    """Whether the master has a policy with these values; its duals are then exact to rounding."""
    return any(
        abs(column.success - other.success) < 1e-11 and np.abs(column.usage - other.usage).max() < 1e-9
        for other in columns
    )


def _usage(columns: list[_Column], weights: np.ndarray) -> np.ndarray:
    return np.array([column.usage for column in columns]).T @ weights


def _master(columns: list[_Column], limits: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the best weights of the columns, the prices (duals) of the limits, and the value."""
    from scipy.optimize import linprog

    success = np.array([column.success for column in columns])
    usage = np.array([column.usage for column in columns]).T
    binding = np.isfinite(limits)
    arguments: dict[str, Any] = {"A_eq": np.ones((1, len(columns))), "b_eq": [1.0], "bounds": (0, None)}
    if binding.any():
        arguments |= {"A_ub": usage[binding], "b_ub": limits[binding]}
    result = linprog(-success, method="highs", **arguments)
    prices = np.zeros(len(limits))
    if binding.any():
        prices[binding] = np.maximum(-result.ineqlin.marginals, 0.0)
    return np.maximum(result.x, 0.0), prices, -float(result.fun)
