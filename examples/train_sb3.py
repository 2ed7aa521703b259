"""Train PPO on features as a helper, and compare it with random help and with the exact policy.

    python examples/train_sb3.py            # or: dqn, maskable-ppo, recurrent-ppo

An imperfect rule-based actor, an expert as help, 120 training tasks, one core, no downloads. The DP policy is solved
from rollouts of the same tasks. All helpers are calibrated to one and to two calls per episode on training tasks, and
evaluated on new tasks in the same houses.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from selfreg_gym import evaluate, registry
from selfreg_gym.calibration import calibrate_many
from selfreg_gym.collection import collect
from selfreg_gym.report import format_table, write_report
from selfreg_gym.solver import solve_frontier
from selfreg_gym.transitions import TransitionModel

BUDGETS = (1.0, 2.0)
TASKS = range(120)


def env(split: str) -> dict[str, object]:
    """Return keyword arguments of selfreg/Intervention-v0."""
    task = {"kind": "mixed", "split": split}
    return {"task": "selfreg/SIF-v0", "actor": "scripted", "interventions": ["expert"], "task_kwargs": task}


def main(algorithm: str = "ppo", steps: int = 100_000) -> None:
    """Train, calibrate and evaluate the helpers, and write the report."""
    out = Path("runs") / f"train-{algorithm}"
    out.mkdir(parents=True, exist_ok=True)
    learner = registry.load("helpers", algorithm)
    cap = {"cap": 3.0} if learner.needs_cap else {}
    learned = learner.train(env("train"), tasks=TASKS, steps=steps, help_cost=0.05, **cap)
    learned.save_pretrained(out / "rl" / algorithm)
    print(f"{algorithm}: {learned.info['steps']} decisions in {learned.info['seconds']} s")

    with collect(env("train"), store=out / "rollouts.sqlite", tasks=TASKS, episodes=44, seed=1) as rollouts:
        frontier = solve_frontier(TransitionModel.fit(rollouts, backoff="feature", horizon=True))
    helpers = {
        "random": registry.load("helpers", "random")(),
        algorithm: learned,
        "dp": registry.load("helpers", "dp")(frontier),
    }
    requests = {f"{name}@{budget:g}": (helper, budget) for name, helper in helpers.items() for budget in BUDGETS}
    tasks = {key: TASKS if key.startswith("dp") else range(120, 180) for key in requests}
    calibrated = calibrate_many(requests, env("train"), tasks=tasks, episodes=400)

    anchors = {name: registry.load("helpers", name)() for name in ("never", "always")}
    compared = anchors | calibrated
    evaluation = evaluate(env("test-seen"), compared, tasks=range(84), episodes=6, split="seen")
    Console().print(format_table(evaluation))
    for budget in BUDGETS:
        found = evaluation.at_equal_usage(algorithm, budget=budget, other="random")
        print(f"{algorithm} minus random at U = {found.usage:.2f}: {found.difference} in success rate")
    evaluation.save(out / "evaluation.json")
    print(f"Report: {write_report(out)}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
