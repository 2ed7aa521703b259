"""Other packages that solve the same problems, for ``benchmarks/solver.py``."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from scipy import sparse

from selfreg_gym.transitions import TransitionModel

__all__ = ["PRICE", "Rival", "missing", "rivals"]

PRICE = 0.05
"""The help cost r of the problem "price"."""

PACKAGES = {"quantecon": "quantecon", "mdptoolbox": "pymdptoolbox", "stormpy": "stormpy"}
"""Module names and their distributions."""


class Rival(NamedTuple):
    """Another package's solution of one problem.

    Attributes:
        name: package and method.
        task: ``"price"``: V at the start for r = ``PRICE``; or ``"budget"``: S at the start within a budget.
        tolerance: largest difference from our value that counts as agreement.
        prepare: builds the package's form of the problem (not timed) and returns the function that is timed.
    """

    name: str
    task: str
    tolerance: float
    prepare: Callable[[], Callable[[], float]]


def missing() -> list[str]:
    """Return the names of the distributions that are not installed."""
    return [package for module, package in PACKAGES.items() if not _installed(module)]


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def rivals(model: TransitionModel, *, budget: float, depth: int) -> Iterator[Rival]:
    """Yield the installed solvers that can solve a model of this size.

    Args:
        model: the problem.
        budget: C, for solvers that take one.
        depth: length of the longest path; for a model with cycles, the largest number of value iterations.
    """
    n, acyclic = model.n, model.condensation.is_acyclic
    if _installed("quantecon"):
        if acyclic:
            yield Rival("quantecon backward induction", "price", 1e-9, lambda: backward_induction(model, depth))
        yield Rival("quantecon value iteration", "price", 1e-3, lambda: value_iteration(model, depth))
    if _installed("mdptoolbox") and acyclic and n <= 1e5:
        yield Rival("pymdptoolbox finite horizon", "price", 1e-9, lambda: by_mdptoolbox(model, depth))
    if acyclic and n <= 1e5:
        yield Rival("plain dicts", "price", 1e-9, lambda: by_dict(model))
    if _installed("stormpy") and n <= 1e5:
        yield Rival("Storm multi, a budget", "budget", 1e-4, lambda: by_storm(model, budget))
    if n <= 1e4:
        yield Rival("HiGHS occupancy LP, a budget", "budget", 1e-6, lambda: by_highs(model, budget))


def _with_terminal_state(model: TransitionModel) -> tuple[list[Any], np.ndarray]:
    """Return stochastic matrices (n + 1, n + 1) with a terminal state, and the rewards (A, n + 1)."""
    corner = sparse.csr_array(([1.0], ([0], [0])), shape=(1, 1))
    rest = [sparse.csr_array((1 - matrix.sum(axis=1))[:, None]) for matrix in model.P]
    whole = [sparse.block_array([[m, r], [None, corner]], format="csr") for m, r in zip(model.P, rest, strict=True)]
    return whole, np.c_[model.success - PRICE * model.cost, np.zeros(model.actions)]


def as_quantecon(model: TransitionModel) -> Any:
    """Return the problem as state-action pairs, the form of quantecon."""
    from quantecon.markov import DiscreteDP

    whole, reward = _with_terminal_state(model)
    n = model.n + 1
    pairs = np.tile(np.arange(n), model.actions), np.repeat(np.arange(model.actions), n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # backward induction needs no discounting
        return DiscreteDP(reward.ravel(), sparse.csr_matrix(sparse.vstack(whole)), 1.0, *pairs)


def backward_induction(model: TransitionModel, depth: int) -> Callable[[], float]:
    """Prepare quantecon's backward induction over ``depth`` steps."""
    from quantecon.markov import backward_induction as induction

    problem, start = as_quantecon(model), np.r_[model.start, 0.0]
    return lambda: float(start @ induction(problem, depth)[0][0])


def value_iteration(model: TransitionModel, depth: int) -> Callable[[], float]:
    """Prepare quantecon's value iteration, which needs a discount below 1."""
    problem, start = as_quantecon(model), np.r_[model.start, 0.0]
    problem.beta = 1 - 1e-7
    return lambda: float(start @ problem.solve(method="value_iteration", epsilon=1e-3, max_iter=20 * depth).v)


def by_dict(model: TransitionModel) -> Callable[[], float]:
    """Prepare backward induction in plain Python over dicts, for models without cycles."""
    rows = [
        {
            s: [(int(j), float(p)) for j, p in zip(m.indices[b:e], m.data[b:e], strict=True)]
            for s, (b, e) in enumerate(zip(m.indptr[:-1], m.indptr[1:], strict=True))
        }
        for m in model.P
    ]
    order = model.condensation.order.tolist()

    def run() -> float:
        value: dict[int, float] = {}
        for s in order:
            value[s] = max(
                model.success[a, s] - PRICE * model.cost[a, s] + sum(p * value[j] for j, p in rows[a][s])
                for a in range(2)
            )
        return sum(model.start[s] * value[s] for s in order)

    return run


def by_highs(model: TransitionModel, budget: float) -> Callable[[], float]:
    """Prepare the linear program of occupancy measures with a budget."""
    from scipy.optimize import linprog

    flow = sparse.hstack([sparse.eye_array(model.n) - matrix.T for matrix in model.P])

    def run() -> float:
        limits = {"A_ub": model.cost.reshape(1, -1), "b_ub": [budget]}
        return -linprog(-model.success.ravel(), A_eq=flow, b_eq=model.start, method="highs", **limits).fun

    return run


def by_mdptoolbox(model: TransitionModel, depth: int) -> Callable[[], float]:
    """Prepare pymdptoolbox's finite-horizon solver."""
    from mdptoolbox import mdp, util

    whole, reward = _with_terminal_state(model)
    # Its check compares all n * n entries with 0, and it prints a warning about a discount of 1.
    with mock.patch.object(util, "check"), contextlib.redirect_stdout(None):
        problem = mdp.FiniteHorizon([sparse.csr_matrix(matrix) for matrix in whole], reward.T, 1.0, depth)
    start = np.r_[model.start, 0.0]

    def run() -> float:
        problem.run()
        return float(start @ problem.V[:, 0])

    return run


def by_storm(model: TransitionModel, budget: float) -> Callable[[], float]:
    """Prepare Storm's multi-objective model checking: maximal success probability with bounded expected usage."""
    import stormpy

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.drn"
        with path.open("w") as file:
            file.writelines(_drn(model))
        problem = stormpy.build_model_from_drn(str(path))
    formula = stormpy.parse_properties(f'multi(Pmax=? [F "success"], R{{"usage"}}<={budget!r} [C])')[0]
    start = problem.initial_states[0]
    return lambda: float(stormpy.model_checking(problem, formula).get_value(start))


def _drn(model: TransitionModel) -> Iterator[str]:
    """Yield the model in Storm's text format, with states for success, failure and the initial distribution."""
    n = model.n
    success, failure, begin = n, n + 1, n + 2
    yield "@type: MDP\n@parameters\n\n@reward_models\nusage\n"
    yield f"@nr_states\n{n + 3}\n@nr_choices\n{model.actions * n + 3}\n@model\n"
    for state in range(n):
        yield f"state {state} [0]\n"
        for a, row in enumerate(model.rows):
            entries = slice(row.indptr[state], row.indptr[state + 1])
            leads = dict(zip(row.indices[entries].tolist(), row.data[entries].tolist(), strict=True))
            leads[success] = float(model.success[a, state])
            leads[failure] = 1 - sum(leads.values())
            yield f"\taction {a} [{float(model.cost[a, state])!r}]\n"
            yield from (f"\t\t{to} : {p!r}\n" for to, p in sorted(leads.items()) if p > 1e-15)
    for state, label in ((success, "success"), (failure, "failure")):
        yield f"state {state} [0] {label}\n\taction 0 [0]\n\t\t{state} : 1\n"
    yield f"state {begin} [0] init\n\taction 0 [0]\n"
    yield from (f"\t\t{to} : {float(model.start[to])!r}\n" for to in np.flatnonzero(model.start))
