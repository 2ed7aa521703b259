"""Counted and fitted values on identical inputs: success at equal usage on new tasks, by play.

    python benchmarks/counted_and_fitted.py runs/demo/rollouts.sqlite [--split val-unseen] [--tasks 168] [--episodes 2]

A transition table that is solved exactly and fitted values differ in method, and usually also in what they read. Here
both read the same: the feature key alone, or the feature key and steps left; feature vectors are removed. The table has
steps left either as a clock (rows pooled over time) or in the keys (in buckets). Both are trained on the same rollouts
of the household task and played on the same episodes of tasks that were not collected. The share of the gap between
never and always asking is read off at equal usage, with 95 % intervals over tasks. By default the tasks are those of a
validation split.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym import Episode, EpisodeSpec, Rollouts, TransitionModel, registry, run_episodes, solve, solve_fitted
from selfreg_gym.evaluation.bootstrap import Design
from selfreg_gym.off_policy.curves import Curve, estimate_of
from selfreg_gym.solver import MixedPolicy

PRICES = (0.6, 0.45, 0.35, 0.28, 0.22, 0.17, 0.13, 0.1, 0.07, 0.05, 0.03, 0.01)
TABLES: dict[str, dict[str, dict[str, Any]]] = {
    "feature key": {"counted": {"horizon": None}},
    "feature key, steps left": {
        "counted, clock": {},
        "counted, 3 buckets": {"time_buckets": 3},
        "counted, 12 buckets": {"time_buckets": 12},
    },
}
INPUTS = {"feature key": ("features",), "feature key, steps left": ("features", "steps_left")}


def counted(rollouts: list[Episode], **options: Any) -> Iterator[Any]:
    """The policies of a solved table, from low to high usage."""
    model = TransitionModel.fit(rollouts, key="feature", backoff=None, **options)
    kind = registry.load("helpers", "dp-features")
    for price in PRICES:
        yield kind(MixedPolicy((solve(model, help_cost=price),), np.ones(1), price))


def fitted(rollouts: list[Episode], inputs: tuple[str, ...], seed: int) -> Iterator[Any]:
    """The policies of fitted values, from low to high usage."""
    frontier = solve_fitted(rollouts, inputs=inputs, seed=seed, progress=False)
    helper = registry.load("helpers", "fitted")(frontier, costs=[1.0])
    for position in np.linspace(1, len(frontier.prices), len(PRICES)):
        yield helper.with_knob(float(position))


def without_vectors(episode: Episode) -> Episode:
    """The episode without feature vectors, which a table cannot read."""
    return replace(episode, steps=tuple(replace(step, feature_vector=None) for step in episode.steps))


def main() -> None:
    """Train, play, and print one line per method."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("rollouts", type=Path)
    arguments.add_argument("--collected", type=int, help="number of collected tasks that are used; default: all")
    arguments.add_argument("--split", default="val-unseen")
    arguments.add_argument("--tasks", type=int, default=168)
    arguments.add_argument("--episodes", type=int, default=2)
    arguments.add_argument("--usages", type=float, nargs="+", default=[0.5, 1.0, 2.0, 3.0])
    arguments.add_argument("--methods", nargs="+", choices=["counted", "fitted"], default=["counted", "fitted"])
    arguments.add_argument("--inputs", nargs="+", choices=list(TABLES), default=list(TABLES))
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    with Rollouts.open(options.rollouts) as store:
        tasks = sorted({spec.task_index for spec in store.plan})[: options.collected]
        rollouts = [without_vectors(episode) for episode in store.episodes(task=tasks)]
    env = gym.make_vec(
        "selfreg/Intervention-v0", num_envs=48, task="selfreg/SIF-v0",
        task_kwargs={"kind": "mixed", "split": options.split}, actor="tiny", interventions=["expert"],
        autoreset_mode="Disabled",
    )  # fmt: skip
    specs = [EpisodeSpec(i, 100_000 + 1_000 * e + i) for i in range(options.tasks) for e in range(options.episodes)]
    design = Design.of(np.zeros(len(specs)), [spec.task_index for spec in specs])

    def played(helper: Any) -> np.ndarray:
        """``(n, 2)`` success and usage of each episode."""
        episodes = sorted(run_episodes(env, specs, helper), key=lambda one: (one.task_index, one.seed))
        return np.array([[one.success, one.cost] for one in episodes], np.float64)

    ends = [played(registry.load("helpers", name)()) for name in ("never", "always")]
    low, high = (one[:, 0].mean() for one in ends)
    print(f"{len(rollouts)} episodes of {len(tasks)} collected tasks, played on {options.split}")
    print(f"success of never {low:.3f}, of always {high:.3f} at usage {ends[1][:, 1].mean():.2f}")
    print(f"{'inputs':24} {'method':22}" + "".join(f" share at U = {u:<9g}" for u in options.usages))

    def line(inputs: str, method: str, helpers: Iterator[Any]) -> None:
        outcomes = [ends[0], *map(played, helpers), ends[1]]
        points = np.array([one.mean(axis=0)[::-1] for one in outcomes])
        curve = Curve(points, np.stack([design.contributions(one) for one in outcomes]))
        cells = []
        for usage in options.usages:
            value, contributions, _ = curve.at(usage)
            share = estimate_of((value - low) / (high - low), contributions / (high - low), design.freedom)
            cells.append(f"{share.value:6.2f} [{share.low:.2f}, {share.high:.2f}]")
        print(f"{inputs:24} {method:22}" + " ".join(cells), flush=True)

    for inputs in options.inputs:
        if "counted" in options.methods:
            for method, settings in TABLES[inputs].items():
                line(inputs, method, counted(rollouts, **settings))
        if "fitted" in options.methods:
            line(inputs, "fitted", fitted(rollouts, INPUTS[inputs], options.seed))


if __name__ == "__main__":
    main()
