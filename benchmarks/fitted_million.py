"""Fitted values of a million decisions: CPU time, peak memory, and the effect of drawing episodes for each round.

    python benchmarks/fitted_million.py runs/demo/rollouts.sqlite [--decisions 1000000] [--compare 131072 16384]

The million decisions are those of a store, repeated as further tasks, with noise of 1 % in inputs that are not 0 or 1.
They show time and memory only. With ``--compare``, the store's own decisions are also fitted with another limit of
decisions per round, and the held-out success of both fits is printed.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from selfreg_gym import FittedFrontier, Rollouts
from selfreg_gym.fitted import fit_decisions
from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.solve import logged_decisions
from selfreg_gym.inputs import fit_inputs

INPUTS = ("features", "steps_left", "actor")
BUDGETS = (1.0, 2.0, 3.0)


def read(path: str) -> LoggedDecisions:
    """Return the decisions of a store with their inputs."""
    with Rollouts.open(path) as rollouts:
        encoder, table = fit_inputs(rollouts, INPUTS, progress=False)
        return logged_decisions(rollouts, encoder.encode(table, progress=False))


def repeated(d: LoggedDecisions, count: int) -> LoggedDecisions:
    """Return about ``count`` decisions: the same episodes again and again, as further tasks."""
    copies = -(-count // len(d))
    numeric = np.flatnonzero(~((d.x == 0) | (d.x == 1)).all(axis=0))
    spread = d.x[:, numeric].std(axis=0)
    rng = np.random.default_rng(0)
    x = np.empty((copies * len(d), d.x.shape[1]), np.float32)
    for copy in range(copies):
        own = x[copy * len(d) : (copy + 1) * len(d)]
        own[:] = d.x
        if copy:
            own[:, numeric] += 0.01 * spread * rng.standard_normal((len(d), len(numeric)), np.float32)
    tasks = int(d.task.max()) + 1
    task = np.concatenate([d.task + copy * tasks for copy in range(copies)])
    action, cost, last, success = (np.tile(one, copies) for one in (d.action, d.cost, d.last, d.success))
    return LoggedDecisions(x, action, cost, last, success, task, actions=d.actions)


def measured(
    name: str, decisions: LoggedDecisions, settings: Settings, folder: str | None = None, progress: bool = False
) -> FittedFrontier:
    """Fit, and print what it took and the held-out success at the budgets."""
    cpu, wall = time.process_time(), time.perf_counter()
    frontier = fit_decisions(decisions, settings, folder=folder, progress=progress)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    success = ", ".join(
        f"{policy.expected_success:.3f} [{policy.success_ci[0]:.3f}, {policy.success_ci[1]:.3f}]"
        for policy in map(frontier.policy, BUDGETS)
    )
    print(
        f"{name}: {len(decisions):,} decisions, at most {settings.rows:,} per round: {cpu:.0f} CPU-seconds, "
        f"{wall:.0f} seconds, peak memory of the process {peak:.2f} GiB, {len(frontier.history)} rounds, held-out "
        f"value {frontier.history[-1]['value']:.4f}, held-out success at {BUDGETS}: {success}",
        flush=True,
    )
    return frontier


def main() -> None:
    """Read the store, fit it with each limit, and fit the repeated decisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--decisions", type=int, default=1_000_000, help="0: none")
    parser.add_argument("--rows", type=int, default=Settings.rows)
    parser.add_argument("--compare", type=int, nargs="*", default=[])
    parser.add_argument("--folder", help="of the state of the long fit, which an interrupted command continues")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cpu = time.process_time()
    decisions = read(arguments.store)
    print(f"{len(decisions):,} decisions with {decisions.x.shape[1]} inputs read in {time.process_time() - cpu:.0f} "
          "CPU-seconds", flush=True)  # fmt: skip
    for rows in arguments.compare:
        measured("store", decisions, Settings(rows=rows, seed=arguments.seed))
    if arguments.decisions:
        decisions = repeated(decisions, arguments.decisions)
        settings = Settings(rows=arguments.rows, seed=arguments.seed)
        measured("repeated", decisions, settings, arguments.folder, progress=True)


if __name__ == "__main__":
    main()
