"""The solver beside others, on one machine in one run: one price, a budget, the whole frontier.

    python benchmarks/solver.py [--sizes 1e3 1e4 1e5 1e6] [--shapes layered cyclic tree] [--seconds 5]

Others: quantecon (backward induction over the layers; value iteration), pymdptoolbox (value iteration), HiGHS (the
occupancy-measure linear program, through SciPy), a plain dict implementation, Storm (stormpy, multi-objective), each
where it is installed and up to a size that it can do in about ``--seconds``. Figures are the best of several runs;
ratios are "how many times ours". The read floor is the time to read the arrays of the transitions once, doing nothing
else; memory counts the arrays that the solver holds beside the model's own.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from scipy import sparse

from selfreg_gym.solver import solve_budget, solve_frontier
from selfreg_gym.solver.engine import Engine, prepare
from selfreg_gym.transitions import TransitionModel

LAYERS = 50
PRICE = 0.05


def layered(n: int, rng: np.random.Generator) -> TransitionModel:
    """``LAYERS`` layers, 3 to 5 successors in the next one."""
    width = n // LAYERS
    states = np.arange(width * LAYERS)
    return _model(
        rng, states // width, lambda t, size: (t // width + 1) * width + rng.integers(width, size=size), width
    )


def tree(n: int, rng: np.random.Generator) -> TransitionModel:
    """A tree of histories: every state has one parent and up to two children per action."""
    depth = int(np.log(n) / np.log(4))
    n = (4 ** (depth + 1) - 1) // 3
    inner = (4**depth - 1) // 3
    P, success = [], np.zeros((2, n))
    for a in range(2):
        tails = np.repeat(np.arange(inner), 2)
        heads = 4 * tails + 1 + 2 * a + np.tile([0, 1], inner)
        data = np.repeat(rng.random(inner), 2)
        data[1::2] = 1 - data[1::2]
        P.append(sparse.csr_array((0.98 * data, (tails, heads)), shape=(n, n)))
        success[a, inner:] = rng.random(n - inner) * (0.5 + 0.5 * a)
    return TransitionModel(P, success, np.r_[1.0, np.zeros(n - 1)])


def cyclic(n: int, rng: np.random.Generator) -> TransitionModel:
    """Layers of rings of ten states: within a ring one may go round, between rings only on."""
    width = n // LAYERS

    def heads(tails: np.ndarray, size: int) -> np.ndarray:
        ring = tails - tails % 10 + (tails + 1) % 10
        onward = (tails // width + 1) * width + rng.integers(width, size=size)
        return np.where(rng.random(size) < 0.3, ring, onward)

    return _model(rng, np.arange(width * LAYERS) // width, heads, width)


def _model(rng: np.random.Generator, layer: np.ndarray, heads_of: Callable[..., np.ndarray], width: int) -> Any:
    n = len(layer)
    P, success = [], np.zeros((2, n))
    for a in range(2):
        degree = np.where(layer == LAYERS - 1, 0, rng.integers(3, 6, size=n))
        tails = np.repeat(np.arange(n), degree)
        heads = heads_of(tails, len(tails))
        data = rng.random(len(tails))
        leave = np.where(degree > 0, 0.02 * rng.random(n), 1.0)
        data *= ((1 - leave) / np.maximum(np.bincount(tails, data, minlength=n), 1e-9))[tails]
        P.append(sparse.csr_array((data, (tails, heads)), shape=(n, n)))
        success[a] = leave * np.where(degree > 0, 0.3 + 0.4 * a, rng.random(n) * (0.5 + 0.5 * a))
    return TransitionModel(P, success, np.r_[np.full(width, 1 / width), np.zeros(n - width)])


SHAPES = {"layered": layered, "cyclic": cyclic, "tree": tree}


def best(function: Callable[[], Any], seconds: float) -> tuple[float, Any]:
    """Return the shortest time of a call, and what it returned; at least one call, the first not counted if short."""
    begin = time.perf_counter()
    result = function()
    shortest = first = time.perf_counter() - begin
    if first < seconds / 3:
        shortest = np.inf
        while time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            result = function()
            shortest = min(shortest, time.perf_counter() - start)
    return shortest, result


@numba.njit
def _read(data: np.ndarray, indices: np.ndarray) -> float:
    a = b = c = d = 0.0
    seen = np.uint32(0)
    for k in range(0, len(data) - 3, 4):
        a += data[k]
        b += data[k + 1]
        c += data[k + 2]
        d += data[k + 3]
        seen ^= indices[k] ^ indices[k + 1] ^ indices[k + 2] ^ indices[k + 3]
    return a + b + c + d + seen


def as_quantecon(model: TransitionModel) -> Any:
    """Return the problem with state-action pairs and an absorbing end, as quantecon takes it."""
    from quantecon.markov import DiscreteDP

    n = model.n
    matrices = [sparse.vstack([matrix, sparse.csr_array((1, n))]) for matrix in model.P]
    rest = [1 - np.asarray(matrix.sum(axis=1)).ravel() for matrix in matrices]
    whole = [sparse.hstack([m, sparse.csr_array(r[:, None])]) for m, r in zip(matrices, rest, strict=True)]
    reward = np.c_[model.success - PRICE * model.cost, np.zeros(2)]
    states = np.tile(np.arange(n + 1), 2)
    return DiscreteDP(reward.ravel(), sparse.csr_matrix(sparse.vstack(whole)), 1.0, states, np.repeat([0, 1], n + 1))


def by_quantecon(model: TransitionModel, depth: int) -> dict[str, Callable[[], float]]:
    """Backward induction over as many steps as there are layers, and value iteration at discount 0.9999999."""
    import warnings

    from quantecon.markov import backward_induction

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = as_quantecon(model)
    start = np.r_[model.start, 0.0]

    def induction() -> float:
        return float(start @ backward_induction(problem, depth)[0][0])

    def iteration() -> float:
        problem.beta = 1 - 1e-7
        return float(start @ problem.solve(method="value_iteration", epsilon=1e-3, max_iter=20 * depth).v)

    return {"quantecon backward induction": induction, "quantecon value iteration": iteration}


def by_dict(model: TransitionModel) -> Callable[[], float]:
    """Value iteration's backward order in plain Python over dicts, for models without cycles."""
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
    """The linear program of occupancy measures with a budget."""
    from scipy.optimize import linprog

    flow = sparse.hstack([sparse.eye_array(model.n) - matrix.T for matrix in model.P])

    def run() -> float:
        limits = {"A_ub": model.cost.reshape(1, -1), "b_ub": [budget]}
        return -linprog(-model.success.ravel(), A_eq=flow, b_eq=model.start, method="highs", **limits).fun

    return run


def by_mdptoolbox(model: TransitionModel, depth: int) -> Callable[[], float]:
    """pymdptoolbox's finite-horizon solver."""
    import mdptoolbox

    P = [sparse.csr_matrix(matrix) for matrix in model.P]
    reward = (model.success - PRICE * model.cost).T

    def run() -> float:
        problem = mdptoolbox.mdp.FiniteHorizon(P, reward, 1.0, depth, skip_check=True)
        problem.run()
        return float(model.start @ problem.V[:, 0])

    return run


def measure(shape: str, n: int, seconds: float) -> None:
    """Print one block of the table."""
    model = SHAPES[shape](n, np.random.default_rng(0))
    construct, _ = best(lambda: TransitionModel(model.P, model.success, model.start), seconds / 4)
    begin = time.perf_counter()
    prepared = prepare(model)
    preparation = time.perf_counter() - begin
    engine = Engine(model)
    begin = time.perf_counter()
    engine.run(PRICE)
    first = time.perf_counter() - begin
    one, outcome = best(lambda: engine.run(PRICE), seconds / 2)
    _read(prepared.data, prepared.indices)
    floor, _ = best(lambda: _read(prepared.data, prepared.indices), seconds / 4)
    value = float(engine.start_order(model.start) @ (outcome.values[:, 0] - PRICE * outcome.values[:, 1]))
    free = solve_budget(model, budget=np.inf).expected_usage
    budget, mixture = best(lambda: solve_budget(model, budget=0.3 * free), seconds / 2)
    frontier, curve = best(lambda: solve_frontier(model), seconds / 2)
    csr = sum(row.data.nbytes + row.indices.nbytes + row.indptr.nbytes for row in model.rows)
    own = [prepared.indptr, prepared.indices, prepared.data, prepared.success, prepared.cost, *outcome]
    held = sum(array.nbytes for array in own)
    print(f"\n{shape}, n = {model.n:,}, {sum(len(row.data) for row in model.rows):,} transitions")
    print(f"  construct and check {construct:8.4f} s    prepare {preparation:8.4f} s    first solve {first:8.4f} s")
    print(f"  one price     {1e3 * one:10.2f} ms   {one / floor:6.1f} x the read floor ({1e3 * floor:.2f} ms)")
    print(f"  a budget      {1e3 * budget:10.2f} ms   exact, {mixture.iterations} passes")
    found = f"{len(curve.usage)} points, gap {curve.gap:.1e}, {curve.passes} passes"
    print(f"  frontier 1e-3 {1e3 * frontier:10.2f} ms   {found}")
    eight = 16 * 8 * model.n / csr if curve.passes < len(curve.usage) else 0.0
    print(
        f"  memory beside the model's CSR arrays: {held / csr:.2f} times those for a price, {eight:.2f} for a frontier"
    )
    depth = len(model.condensation.layer_start) if model.condensation.is_acyclic else 40 * LAYERS
    rivals: list[tuple[str, Callable[[], Callable[[], float]], float, float, float]] = []
    if model.n <= 1e6:
        for name in ("quantecon backward induction", "quantecon value iteration"):
            if name.endswith("induction") and not model.condensation.is_acyclic:
                continue
            rivals.append((name, lambda name=name: by_quantecon(model, depth)[name], one, value, 1e-3))
    if model.condensation.is_acyclic and model.n <= 1e5:
        rivals.append(("plain dict", lambda: by_dict(model), one, value, 1e-9))
    if importlib.util.find_spec("mdptoolbox") and model.condensation.is_acyclic and model.n <= 1e5:
        rivals.append(("pymdptoolbox finite horizon", lambda: by_mdptoolbox(model, depth), one, value, 1e-9))
    if model.n <= 1e4:
        name = "HiGHS occupancy LP, a budget"
        rivals.append((name, lambda: by_highs(model, 0.3 * free), budget, mixture.expected_success, 1e-6))
    for name, make, ours, expected, tolerance in rivals:
        elapsed, theirs = best(make(), seconds)
        agrees = "agrees" if abs(theirs - expected) < tolerance else f"DIFFERS by {theirs - expected:.1e}"
        print(f"  {name:30s} {1e3 * elapsed:10.2f} ms   {elapsed / ours:8.1f} times ours   {agrees}")
        if name == "quantecon backward induction":
            print(f"  {'':30s} the frontier is {frontier / elapsed:.2f} of one such solve")


def main() -> None:
    """Measure, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", nargs="+", type=float, default=[1e3, 1e4, 1e5, 1e6])
    arguments.add_argument("--shapes", nargs="+", choices=sorted(SHAPES), default=["layered", "cyclic", "tree"])
    arguments.add_argument("--seconds", type=float, default=3.0, help="about how long each figure may take")
    options = arguments.parse_args()
    for package in ("quantecon", "mdptoolbox", "stormpy"):
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: left out.")
    for shape in options.shapes:
        for size in options.sizes:
            measure(shape, int(size), options.seconds)


if __name__ == "__main__":
    main()
