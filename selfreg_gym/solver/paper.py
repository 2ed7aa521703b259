"""The published method: alternate usage steps and policy steps, and bisect on r.

From M = 0 alternate

    policy step:  help in s  iff  r < dp / dM,     dp, dM: differences of help and nohelp in p and M, one step ahead
    usage step:   M := the expected usage of the current policy

until the policy stays the same, and find the r of a budget by bisection. Only a summary of the paper was available, so
the one-step lookahead and the treatment of cycles between policies are our interpretation. The method is implemented
for comparison. Its ratio is invalid where dM <= 0 (asking now saves later calls): there it never asks.
"""

from __future__ import annotations

import numpy as np

from selfreg_gym.solver.engine import Engine
from selfreg_gym.solver.modes import FIXED
from selfreg_gym.solver.solution import Solution, make_solution

__all__ = ["solve_paper"]

MAX_ROUNDS = 200


def solve_paper(engine: Engine, *, help_cost: float, prm: np.ndarray | None = None) -> Solution:
    """Alternate policy and usage steps at one price.

    Args:
        engine: the passes over the model.
        help_cost: r.
        prm: ``(n,)`` fixed p(s); None: the success of the current policy, updated in each usage step.

    Returns:
        The last policy with its values on the model; ``message`` reports an alternation that did not converge.
    """
    model = engine.model
    n = model.n
    policy = np.zeros(n, np.int8)
    values = engine.run(0.0, mode=FIXED, policy=engine.start_order(policy)).values.copy()
    success = engine.start_order(prm) if prm is not None else values[:, 0]
    values[:, 0], values[:, 1] = success, 0.0
    seen: set[bytes] = set()
    converged = False
    for _ in range(MAX_ROUNDS):
        improved = _policy_step(*engine.backup(values), help_cost)
        converged = np.array_equal(improved, policy) and bool(seen)
        policy = improved
        if converged or policy.tobytes() in seen:
            break
        seen.add(policy.tobytes())
        values = engine.run(0.0, mode=FIXED, policy=engine.start_order(policy)).values.copy()
        if prm is not None:
            values[:, 0] = success
    final = engine.run(0.0, mode=FIXED, policy=engine.start_order(policy)).values
    solution = make_solution(engine, help_cost, final, engine.start_order(policy), "paper")
    if not converged:
        object.__setattr__(solution, "message", "the alternation cycles between policies, of which this is one.")
    return solution


def _policy_step(success: np.ndarray, usage: np.ndarray, help_cost: float) -> np.ndarray:
    """Return ``(n,)`` actions: the help of largest gain among those with r < dp / dM, else nohelp."""
    dp, dm = success - success[0], usage - usage[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where((dp / dm > help_cost) & (dm > 0), dp - help_cost * dm, -np.inf)
    return gain.argmax(axis=0).astype(np.int8)
