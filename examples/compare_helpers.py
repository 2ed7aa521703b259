"""Compare helpers on the household task, in a minute, with no model to train.

    python examples/compare_helpers.py

Three helpers of equal usage: one that asks at random, one that asks at every k-th step, and one written here, which
asks while the actor does not know where to go. Each is calibrated to one call per episode on training tasks and
evaluated on new ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from selfreg_gym import Evaluation, evaluate, registry
from selfreg_gym.calibration import calibrate_many
from selfreg_gym.report import format_table, write_report
from selfreg_gym.types import HelperPolicy

BUDGET = 1.0
OUT = Path("runs/compare-helpers")


def env(split: str) -> dict[str, object]:
    """Keyword arguments of selfreg/Intervention-v0: a rule-based actor that errs, and an expert to be asked."""
    task = {"kind": "mixed", "split": split}
    return {"task": "selfreg/SIF-v0", "actor": "scripted", "interventions": ["expert"], "task_kwargs": task}


class WhenLost(HelperPolicy):
    """Asks in the first steps in which the actor does not know where to go.

    The rule-based actor understands plain names only: not a hint that implies the room of the object ("Earlier the
    human said: ..."), nor one that implies where the human has gone. The knob is the number of calls per episode.
    Calibration needs ``knob``, its bounds and ``with_knob``.
    """

    knob_bounds = (0.0, 20.0)

    def __init__(self, calls: float = 1.0) -> None:
        self.knob = calls

    def with_knob(self, x: float) -> WhenLost:
        return WhenLost(x)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        texts = [observation] if isinstance(observation, str) else observation
        calls = np.zeros(len(texts)) if state is None else state
        if episode_start is not None:
            calls = np.where(episode_start, 0, calls)
        actions = (np.array([self.is_lost(text) for text in texts]) & (calls < self.knob)).astype(int)
        return (int(actions[0]) if isinstance(observation, str) else actions), calls + actions

    def is_lost(self, text: str) -> bool:
        """Whether the actor searches for the object by a hint, or carries it to a human who is not in sight."""
        offered = text.rpartition("You can:")[2]
        if "and hold nothing" in offered:
            return "Earlier the human said" in text and "Pick up the" not in offered
        return "Bring me the" in text and "On your map" not in text and "the human" not in offered

    def wrap(self, env):
        return env


def main(out: Path = OUT, *, episodes: int = 6) -> Evaluation:
    """Calibrate, evaluate, print and write the report."""
    random, every_k = (registry.load("helpers", name)() for name in ("random", "every-k"))
    candidates = {"random": random, "every-k": every_k, "when-lost": WhenLost()}
    requests = {f"{name}@{BUDGET:g}": (helper, BUDGET) for name, helper in candidates.items()}
    calibrated = calibrate_many(requests, env("train"), tasks=range(40), episodes=400)

    anchors = {name: registry.load("helpers", name)() for name in ("never", "always")}
    evaluation = evaluate(
        env("test-seen"), anchors | calibrated, tasks=range(84), episodes=episodes, split="seen", traces=3
    )
    Console().print(format_table(evaluation))

    for name in ("every-k", "when-lost"):
        found = evaluation.at_equal_usage(name, budget=BUDGET, other="random")
        print(f"{name} minus random at U = {found.usage:.2f}: {found.difference} in success rate")

    out.mkdir(parents=True, exist_ok=True)
    evaluation.save(out / "evaluation.json")
    print(f"Report: {write_report(out)}")
    return evaluation


if __name__ == "__main__":
    main()
