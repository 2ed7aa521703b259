"""Compare helpers of your own on the household task, in a minute, with no model to train.

    python examples/compare_helpers.py

Three helpers that spend the same: one that asks at random, one that asks every k-th step, and one written here, which
asks when the text says so. Each is calibrated to one call per episode on training tasks, and judged on new ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from selfreg_gym import evaluate, registry
from selfreg_gym.calibration import calibrate_many
from selfreg_gym.report import format_table, write_report
from selfreg_gym.types import HelperPolicy

BUDGET = 1.0
OUT = Path("runs/compare-helpers")


def env(split: str) -> dict[str, object]:
    """Keyword arguments of selfreg/Intervention-v0: a rule-based actor that errs, and an expert to be asked."""
    task = {"kind": "mixed", "split": split}
    return {"task": "selfreg/SIF-v0", "actor": "scripted", "interventions": ["expert"], "task_kwargs": task}


class WhenPlacing(HelperPolicy):
    """Asks with probability ``p`` at the moments at which an object can be put down: that is hard to take back.

    A knob with bounds, ``with_knob`` and a ``seed`` is all that calibration wants.
    """

    knob_bounds = (0.0, 1.0)

    def __init__(self, p: float = 0.5, seed: int = 0) -> None:
        self.knob, self.seed = p, seed

    def with_knob(self, x: float) -> WhenPlacing:
        return WhenPlacing(x, self.seed)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        rng = np.random.default_rng(self.seed) if state is None else state
        texts = [observation] if isinstance(observation, str) else observation
        placing = np.array(["Put the " in text.rpartition("You can:")[2] for text in texts])
        actions = (placing & (rng.random(len(texts)) < self.knob)).astype(int)
        return (int(actions[0]) if isinstance(observation, str) else actions), rng

    def wrap(self, env):
        return env


def main() -> None:
    """Calibrate, evaluate, print and write the report."""
    random, every_k = (registry.load("helpers", name)() for name in ("random", "every-k"))
    candidates = {"random": random, "every-k": every_k, "when-placing": WhenPlacing()}
    requests = {f"{name}@{BUDGET:g}": (helper, BUDGET) for name, helper in candidates.items()}
    calibrated = calibrate_many(requests, env("train"), tasks=range(40), episodes=400)

    anchors = {name: registry.load("helpers", name)() for name in ("never", "always")}
    evaluation = evaluate(env("test-seen"), anchors | calibrated, tasks=range(84), episodes=6, split="seen", traces=3)
    Console().print(format_table(evaluation))

    for name in ("every-k", "when-placing"):
        found = evaluation.at_equal_usage(name, budget=BUDGET, other="random")
        print(f"{name} minus random at U = {found.usage:.2f}: {found.difference} in success rate")

    OUT.mkdir(parents=True, exist_ok=True)
    evaluation.save(OUT / "evaluation.json")
    print(f"Report: {write_report(OUT)}")


if __name__ == "__main__":
    main()
