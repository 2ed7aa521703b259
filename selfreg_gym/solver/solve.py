"""``solve``: the best policy at one help cost; ``evaluate_policy``: the values of a given one.

With ``value="exact"`` the policy maximises S(s) - r M(s), where

    S(s) = success + sum_s' P(s' | s, pi(s)) S(s'),    M(s) = c[pi(s)] + sum_s' P(s' | s, pi(s)) M(s')

by one backward pass (policy iteration inside cyclic components): the optimum, to rounding (Puterman 1994, ch. 7). With
``value="prm"`` the success of an action is its one-step lookahead at a given p(s), a process reward model's, which is
never backed up; only M is. ``method="paper"`` is the alternation of the paper, see :mod:`selfreg_gym.solver.paper`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver.arguments import check_choice, check_model, checked_number, checked_numbers
from selfreg_gym.solver.engine import Engine
from selfreg_gym.solver.modes import FIXED, FROZEN
from selfreg_gym.solver.solution import Solution, make_solution, priced_cost
from selfreg_gym.transitions import TransitionModel

if TYPE_CHECKING:
    from selfreg_gym.solver.caps import CappedSolution

__all__ = ["evaluate_policy", "solve"]


@overload
def solve(
    model: TransitionModel, *, help_cost: float | Any, value: str = ..., prm: Any = ..., method: str = ...,
    tie: str = ..., discount: float = ..., backend: str = ...,
) -> Solution: ...  # fmt: skip


@overload
def solve(
    model: TransitionModel, *, help_cost: float, hard_cap: int, discount: float = ..., backend: str = ...
) -> CappedSolution: ...


def solve(
    model: TransitionModel,
    *,
    help_cost: float | Any,
    hard_cap: int | None = None,
    value: str = "exact",
    prm: Any = None,
    method: str = "auto",
    tie: str = "low",
    discount: float = 1.0,
    backend: str = "auto",
) -> Solution | CappedSolution:
    """Find the optimal policy for a help cost.

    Args:
        model: the problem.
        help_cost: price r >= 0 of one cost unit, or ``(K,)`` prices, one per intervention.
        hard_cap: largest number of calls per episode (default: none), see :func:`selfreg_gym.solver.caps.solve_caps`.
        value: ``"exact"``, or ``"prm"`` with a fixed p(s).
        prm: ``(n,)`` p(s) in [0, 1] for ``value="prm"``.
        method: ``"auto"`` or ``"paper"``.
        tie: among actions of equal value, the one with ``"low"`` or ``"high"`` usage. (With r = 0, cyclic components
            are always solved with ``"low"``, because ``"high"`` could have infinite usage.)
        discount: per step, in (0, 1].
        backend: ``"auto"``, ``"numba"`` or ``"numpy"``.

    Returns:
        The policy; ``success`` and ``usage`` are its true values on the model, also for ``value="prm"``. With a hard
        cap, the policies of all caps up to it.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument out of range.
        ModelError: the policy has infinite usage (``value="prm"``).
    """
    check_model(model)
    check_choice("value", value, ("exact", "prm"))
    check_choice("method", method, ("auto", "paper"))
    check_choice("tie", tie, ("low", "high"))
    if hard_cap is not None:
        from selfreg_gym.solver.caps import solve_caps

        if value != "exact" or method != "auto" or tie != "low":
            raise InvalidArgumentError("hard_cap needs value='exact', method='auto' and tie='low'.")
        return solve_caps(model, hard_cap=hard_cap, help_cost=help_cost, discount=discount, backend=backend)
    prices = checked_prices(model, help_cost)
    engine = Engine(model, backend=backend, discount=discount)
    frozen = None
    if value == "prm":
        if prm is None:
            raise InvalidArgumentError("value='prm' needs prm=(n,) success probabilities, received none.")
        what = "prm, the success probability of each state,"
        frozen = checked_numbers(what, prm, (model.n,), high=1.0, finite=True)
    if method == "paper":
        from selfreg_gym.solver.paper import solve_paper

        if np.ndim(prices):
            raise InvalidArgumentError("method='paper' takes one help cost, received several: use method='auto'.")
        return solve_paper(engine, help_cost=float(prices), prm=frozen)
    price = 1.0 if np.ndim(prices) else float(prices)
    cost = priced_cost(engine, np.asarray(prices)) if np.ndim(prices) else None
    if frozen is None:
        values, policy = engine.run(price, tie=tie, cost=cost)
        if cost is not None:
            paid = values[:, 1]
            values = engine.run(0.0, mode=FIXED, policy=policy).values
            return make_solution(engine, prices, values, policy, "exact", paid)
        return make_solution(engine, prices, values, policy, "exact")
    _, policy = engine.run(price, tie=tie, cost=cost, mode=FROZEN, success=engine.start_order(frozen))
    values = engine.run(0.0, mode=FIXED, policy=policy).values
    priced = None if cost is None else engine.run(0.0, mode=FIXED, policy=policy, cost=cost).values[:, 1]
    return make_solution(engine, prices, values, policy, "prm", priced)


def evaluate_policy(
    model: TransitionModel, policy: Any, *, help_cost: float = 0.0, discount: float = 1.0, backend: str = "auto"
) -> Solution:
    """Return the values of a given policy.

    Args:
        model: the problem.
        policy: ``(n,)`` actions, each available in its state.
        help_cost: the price in ``value``; success and usage do not depend on it.
        discount, backend: as in :func:`solve`.

    Raises:
        InvalidArgumentError: a wrong shape, or an action that is unknown or not available.
        ModelError: the policy has infinite usage.
    """
    check_model(model)
    given, policy = policy, np.asarray(policy)
    if policy.dtype.kind == "f" and np.isfinite(policy).all() and (policy == np.rint(policy)).all():
        policy = policy.astype(np.int64)
    if policy.dtype.kind not in "iu":
        raise InvalidArgumentError(
            f"a policy must have integers, the action of each state, received {policy.dtype} values such as "
            f"{policy.ravel()[0]!r}."
            if policy.size
            else f"a policy must have one action per state, received {given!r}."
        )
    if policy.shape != (model.n,):
        raise InvalidArgumentError(f"a policy must have one action per state: {(model.n,)}, received {policy.shape}.")
    nodes = np.arange(model.n) % model.nodes
    bad = np.flatnonzero((policy < 0) | (policy >= model.actions))
    if not len(bad):
        bad = np.flatnonzero(~model.available[policy.astype(np.int64), nodes])
    if len(bad):
        raise InvalidArgumentError(
            f"a policy must take available actions of 0..{model.actions - 1}: state {model.describe(int(bad[0]))} has "
            f"action {policy[bad[0]]}."
        )
    engine = Engine(model, backend=backend, discount=discount)
    chosen = engine.start_order(policy.astype(np.int8))
    values = engine.run(0.0, mode=FIXED, policy=chosen).values
    return make_solution(engine, checked_prices(model, help_cost), values, chosen, "evaluation")


def checked_prices(model: TransitionModel, help_cost: Any) -> float | np.ndarray:
    """Return a price as float, or ``(K,)`` prices; both finite and >= 0."""
    if np.ndim(help_cost) == 0:
        return checked_number("help_cost, the price of a cost unit,", help_cost, finite=True)
    return checked_numbers("help_cost, one price per intervention,", help_cost, (model.actions - 1,), finite=True)
