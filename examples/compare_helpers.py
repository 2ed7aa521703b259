"""Compare helpers on the household task in a minute, without training a model.

    python examples/compare_helpers.py

Three helpers with the same usage: one asks at random, one asks at every k-th step, and the one in this file asks while
the actor does not know where to go. Each is calibrated to one call per episode on training tasks and evaluated on other
tasks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from selfreg_gym import Evaluation, Helper, evaluate, registry
from selfreg_gym.calibration import calibrate_many
from selfreg_gym.report import format_table, write_report

BUDGET = 1.0
OUT = Path("runs/compare-helpers")


def env(split: str) -> dict[str, object]:
    """Return keyword arguments of selfreg/Intervention-v0: an imperfect rule-based actor, with an expert as help."""
    task = {"kind": "mixed", "split": split}
    return {"task": "selfreg/SIF-v0", "actor": "scripted", "interventions": ["expert"], "task_kwargs": task}


class WhenLost(Helper):
    """Asks in the first steps in which the actor does not know where to go.

    The rule-based actor understands plain names only: neither a hint that implies the room of the object ("Earlier the
    human said: ..."), nor one that implies where the human has gone.

    Args:
        calls: the knob, the largest number of calls per episode.
    """

    knob_bounds = (0.0, 20.0)

    def __init__(self, calls: float = 1.0) -> None:
        self.calls = calls

    @property
    def knob(self) -> float:
        return self.calls

    def with_knob(self, knob: float) -> WhenLost:
        return WhenLost(knob)

    def decide(self, observations, state, start):
        """The state is ``(N,)``, the number of calls so far in each episode."""
        calls = np.where(start, 0, 0 if state is None else state)
        actions = (np.array([self.is_lost(text) for text in observations]) & (calls < self.knob)).astype(int)
        return actions, calls + actions

    def is_lost(self, text: str) -> bool:
        """Whether the actor searches for the object by a hint, or carries it to a human out of sight."""
        offered = text.rpartition("You can:")[2]
        if "and hold nothing" in offered:
            return "Earlier the human said" in text and "Pick up the" not in offered
        return "Bring me the" in text and "On your map" not in text and "the human" not in offered


def main(out: Path = OUT, *, episodes: int = 6) -> Evaluation:
    """Calibrate and evaluate the helpers, and write the report."""
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
