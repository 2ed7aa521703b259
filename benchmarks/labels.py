"""Time to label a store of the demo's size at the four budgets of the protocol, and to save the labels.

    python benchmarks/labels.py [--episodes 4000]

Episodes of 25 steps in 50 tasks with 100 states each, observations of about 450 characters, one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from selfreg_gym.labels import BUDGETS, Labels, label
from selfreg_gym.solver import solve_frontier
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Episode, Transition


def make_episodes(count: int, rng: np.random.Generator) -> Iterator[Episode]:
    """Yield episodes whose success probability increases with help."""
    for seed in range(count):
        actions = rng.integers(0, 2, size=25)
        success = bool(rng.random() < 0.3 + 0.02 * actions.sum())
        steps = tuple(
            Transition(
                t, f"observation {seed} {t} " * 20, None, f"{seed % 50} {(seed * 7 + t) % 100}", f"{t // 3}", 25 - t,
                int(action), "go", float(action), float(success and t == 24), t == 24, False, False,
            )
            for t, action in enumerate(actions)
        )  # fmt: skip
        cost = float(actions.sum())
        yield Episode(seed % 50, seed, f"task {seed % 50}", "", 0.5, success, (cost,), steps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=4000)
    options = parser.parse_args()
    table = Table("what", "seconds")

    def timed(what: str, function: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        value = function()
        table.add_row(what, f"{time.perf_counter() - began:.2f}")
        return value

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.jsonl"
        with Rollouts.create(Path(folder) / "rollouts.sqlite", spec={}) as rollouts:
            rollouts.add(make_episodes(options.episodes, np.random.default_rng(0)))
            frontier = solve_frontier(timed("fit the model", lambda: TransitionModel.fit(rollouts)))
            timed("solve at the budgets", lambda: [frontier.policy(budget=budget) for budget in BUDGETS])
            labels = timed("label", lambda: label(rollouts, frontier))
            timed("label along trajectories", lambda: label(rollouts, frontier, scope="trajectory"))
        timed("merge", labels.merged)
        timed("save", lambda: labels.save(path))
        timed("load", lambda: Labels.load(path))
        size = path.stat().st_size / 1e6
    table.title = f"{labels.info['transitions']} transitions, {len(labels)} labels, {size:.0f} MB"
    Console().print(table)


if __name__ == "__main__":
    main()
