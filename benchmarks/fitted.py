"""Regret of fitted values and of the counted table against the number of episodes, on a problem that is known exactly.

    python benchmarks/fitted.py [--episodes 500 2000 8000 20000] [--out docs/images/fitted_regret.png]

The task is FrozenLake's 4x4 map. Both methods see the same episodes with random help, the cell and the moves left. The
regret of a policy is the optimal success at its true usage minus its true success, mean over the budgets 0.5, 1 and 2.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from selfreg_gym import FittedFrontier, TransitionModel, registry, solve_fitted, solve_frontier
from selfreg_gym.inputs import DecisionTable
from selfreg_gym.solver import evaluate_policy

STEPS = 30
BUDGETS = (0.5, 1.0, 2.0)


def all_inputs(fitted: FittedFrontier, exact: TransitionModel) -> np.ndarray:
    """Return ``(n, D)`` inputs of every state (cell, moves left)."""
    assert exact.keys is not None
    infos = [
        {"state_key": exact.keys[i % exact.nodes], "steps_left": i // exact.nodes + 1, "calls": [0]}
        for i in range(exact.n)
    ]
    return fitted.encoder.encode(DecisionTable.from_infos([""] * exact.n, infos))


def fitted_actions(fitted: FittedFrontier, exact: TransitionModel, budget: float) -> list[tuple[float, np.ndarray]]:
    """Return weights and ``(n,)`` actions of the policy for a budget."""
    policy, x = fitted.policy(budget), all_inputs(fitted, exact)
    return [(float(weight), policy.action(x, i)) for i, weight in enumerate(policy.weights)]


def table_actions(model: TransitionModel, exact: TransitionModel, budget: float) -> list[tuple[float, np.ndarray]]:
    """Return the same for the table."""
    assert exact.keys is not None
    policy = solve_frontier(model).policy(budget)
    states = [model.locate(exact.keys[i % exact.nodes], None, i // exact.nodes + 1) for i in range(exact.n)]
    return [
        (float(weight), np.array([part.action(state) for state in states]))
        for weight, part in zip(policy.weights, policy.policies, strict=True)
    ]


def measure(count: int, repeat: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean regrets, and the CPU seconds, of the table and of fitted values for ``count`` episodes."""
    exact = registry.load("envs", "selfreg/FrozenLake-v0")(max_steps=STEPS, clock=False).intervention_model(
        [0], noise=0.5
    )
    curve = solve_frontier(exact, gap=1e-4)
    episodes = exact.sample(count, seed=repeat)
    start = time.process_time()
    model = TransitionModel.fit(episodes)
    middle = time.process_time()
    fitted = solve_fitted(episodes, inputs=("state", "steps_left"), folds=3, hidden=64, seed=repeat, progress=False)
    seconds = np.array([middle - start, time.process_time() - middle])
    regret = np.zeros(2)
    for budget in BUDGETS:
        mixtures = table_actions(model, exact, budget), fitted_actions(fitted, exact, budget)
        for method, mixture in enumerate(mixtures):
            values = [(weight, evaluate_policy(exact, actions)) for weight, actions in mixture]
            success = sum(weight * value.expected_success for weight, value in values)
            usage = sum(weight * value.expected_usage for weight, value in values)
            regret[method] += (float(curve.success_at(usage)) - success) / len(BUDGETS)
    return regret, seconds


def main() -> None:
    """Measure, print the table and draw the figure."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("docs/images/fitted_regret.png"))
    arguments.add_argument("--episodes", type=int, nargs="+", default=[500, 2000, 8000, 20000])
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=1, help="number of processes; it does not change regrets")
    options = arguments.parse_args()
    jobs = [(count, repeat) for count in sorted(options.episodes, reverse=True) for repeat in range(options.repeats)]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        found = dict(zip(jobs, pool.map(measure, *zip(*jobs, strict=True)), strict=True))
    regret = np.array([[found[count, repeat][0] for repeat in range(options.repeats)] for count in options.episodes])
    seconds = np.array([[found[count, repeat][1] for repeat in range(options.repeats)] for count in options.episodes])
    print("episodes  regret of the table  regret of fitted values  CPU seconds of both")
    for i, count in enumerate(options.episodes):
        means, times = regret[i].mean(axis=0), seconds[i].mean(axis=0)
        print(f"{count:8d}  {means[0]:19.4f}  {means[1]:23.4f}  {times[0]:8.1f} {times[1]:10.1f}", flush=True)

    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for method, name in enumerate(("counted table", "fitted values")):
        axes.plot(options.episodes, regret[:, :, method].mean(axis=1), marker="o", markersize=4, label=name)
    axes.set(xscale="log", yscale="log", xlabel="episodes", ylabel="mean regret in success")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(options.out, dpi=120)
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    main()
