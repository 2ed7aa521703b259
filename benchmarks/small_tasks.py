"""Regret of the trained helper on small tasks whose optimum is known, with the whole pipeline of `selfreg run`.

    python benchmarks/small_tasks.py                       # all tasks
    python benchmarks/small_tasks.py coin relay-2 --out runs/small_tasks

For each task the pipeline runs from the command line with its default backbone. The language-model helper is then
applied to every state of the exact model, so its success and usage are computed and not sampled. The regret is the
optimal success minus the helper's success, at the helper's usage and at the budget C. Rows of other helpers are those
of evaluation.json (sampled).

coin         Coin: call two to five hidden coins; the actor says "heads".
lake         FrozenLake: 24 maps, 30 moves; the actor makes the expert's move with probability 1/2, else a random one.
relay        a task from another distribution (tests/support/relay.py), with one intervention.
relay-2      the same with two interventions of different cost.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))

import relay  # noqa: E402 - a plug-in's distribution

from selfreg_gym import TransitionModel, registry, solve_frontier  # noqa: E402
from selfreg_gym.calibration import CoinMixture, apply_calibration  # noqa: E402
from selfreg_gym.solver import evaluate_policy  # noqa: E402

BUDGETS = (0.5, 1.0, 2.0)
LAKE_STEPS, LAKE_MAPS = 30, 24
_BASE = [
    f"label.budgets={list(BUDGETS)}", f"evaluate.budgets={list(BUDGETS)}", "task.splits={collected={}}",
    "task.kwargs={}", "collect.tasks=200", "evaluate.tasks=60", "evaluate.episodes=10", "calibrate.tasks=40",
    "helper.max_labels=20000", "prm.max_states=4000",
    'helper.id=lm-sft', 'evaluate.helpers=["never", "always", "random", "dp", "lm-sft"]',
]  # fmt: skip


def coin() -> tuple[TransitionModel, list[list[str]]]:
    """Return the intervention problem of Coin, and the observations of each state."""
    states = [(coins, left) for coins in range(2, 6) for left in range(1, coins + 1)]
    place = {state: i for i, state in enumerate(states)}
    moves, success = np.zeros((2, len(states), len(states))), np.zeros((2, len(states)))
    for (coins, left), i in place.items():
        for a, right in enumerate((0.5, 1.0)):
            if left == 1:
                success[a, i] = right
            else:
                moves[a, i, place[coins, left - 1]] = right
    start = np.array([(coins == left) / 4 for coins, left in states])
    texts = [
        [f"Coin {coins - left + 1} of {coins} lies under the cup. Call it: heads or tails?"] for coins, left in states
    ]
    from scipy import sparse

    return TransitionModel([sparse.csr_array(move) for move in moves], success, start), texts


def lake() -> tuple[TransitionModel, list[list[str]]]:
    """Return the intervention problem of FrozenLake, and the observations of each (map, cell, moves left)."""
    env = registry.load("envs", "selfreg/FrozenLake-v0")(max_steps=LAKE_STEPS, clock=False)
    model = env.intervention_model(range(LAKE_MAPS), noise=0.5)
    texts: list[list[str]] = []
    for state in range(model.n):
        index, cell = map(int, model.keys[state % model.nodes].removeprefix("lake-").split("/"))
        env.restore((index, cell, state // model.nodes + 1, False, np.random.PCG64(0).state))
        texts.append([env._text()])
    return model, texts


@dataclass(frozen=True)
class Case:
    """A task with the settings of its run, its exact model and the entry points of its plug-in."""

    settings: list[str]
    exact: Callable[[], tuple[TransitionModel, list[list[str]]]]
    points: dict[str, dict[str, str]] = field(default_factory=dict)


CASES = {
    "coin": Case(
        ["task.id=selfreg/Coin-v0", "actor.id=heads"], coin, {"selfreg_gym.actors": {"heads": "small_actors:Heads"}}
    ),
    "lake": Case(
        [
            "task.id=selfreg/FrozenLake-v0",
            f"task.kwargs={{max_steps={LAKE_STEPS}, clock=false}}",
            "task.splits={collected={}}",
            "actor.id=noisy-expert",
            f"collect.tasks={LAKE_MAPS}",
            "collect.episodes=110",
            f"evaluate.tasks={LAKE_MAPS}",
            "evaluate.episodes=25",
            f"calibrate.tasks={LAKE_MAPS}",
        ],
        lake,
        {"selfreg_gym.actors": {"noisy-expert": "small_actors:NoisyExpert"}},
    ),
    "relay": Case(
        ["task.id=relay/Relay-v0", "actor.id=sign-reader", 'interventions.ids=["guide"]'],
        lambda: relay.exact_model(("guide",)),
        relay.ENTRY_POINTS,
    ),
    "relay-2": Case(
        ["task.id=relay/Relay-v0", "actor.id=sign-reader", 'interventions.ids=["hint", "guide"]'],
        lambda: relay.exact_model(("hint", "guide")),
        relay.ENTRY_POINTS,
    ),
}


def exact_value(helper: Any, model: TransitionModel, texts: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Return the exact success and usage of a calibrated helper: one knob, or a random choice between two."""
    parts = [(1.0, helper)]
    if isinstance(helper, CoinMixture):
        parts = [(1 - helper.weight, helper.low), (helper.weight, helper.high)]
    success = usage = 0.0
    each = min(map(len, texts))  # the observations of a state are equally likely
    for weight, part in parts:
        for i in range(each):
            flat = [shown[i] for shown in texts]
            actions = np.concatenate([part.predict(flat[b : b + 4096])[0] for b in range(0, len(flat), 4096)])
            value = evaluate_policy(model, actions)
            success += weight * value.expected_success / each
            usage += weight * value.expected_usage / each
    return success, usage


def main() -> None:
    """Run the tasks and print the regrets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="default: all tasks")
    parser.add_argument("--out", type=Path, default=Path("runs/small_tasks"))
    parser.add_argument("--set", action="append", default=[], help="section.key=value, for every run")
    options = parser.parse_args()
    for name in options.cases or CASES:
        case, out = CASES[name], options.out / name
        plugin = out.parent / f"{name}-plugin"
        environment = relay.install(plugin / str(time.time_ns()), case.points, name=name)
        words = [word for setting in [*_BASE, *case.settings, *options.set] for word in ("--set", setting)]
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "selfreg_gym", "run", "--out", str(out), "--update", *words],
            env=environment, check=True,
        )  # fmt: skip
        report(name, out, case, time.perf_counter() - begun)


def report(name: str, out: Path, case: Case, seconds: float) -> None:
    """Print the helpers of a finished run, compared with the exact optimum."""
    model, texts = case.exact()
    frontier = solve_frontier(model, gap=1e-5)
    stages = json.loads((out / "manifest.json").read_text())["stages"]
    info = json.loads((out / "helper" / "helper.json").read_text())["info"]
    print(f"\n{name}: {seconds:.0f} s; helper on {info['backbone']}, unknown tokens {info['unknown_tokens']:.1%}")
    for stage, record in stages.items():
        for warning in record.get("warnings", ()):
            print(f"  warning of {stage}: {warning}")
    print("  helper      C   usage  success  optimum at usage  regret  optimum at C  below it")
    calibrations = json.loads((out / "calibration.json").read_text())
    helpers = registry.load("helpers", "lm-sft").from_pretrained(out / "helper").for_budgets(BUDGETS)
    for budget, helper in helpers.items():
        success, usage = exact_value(apply_calibration(helper, calibrations[f"lm-sft@{budget:g}"]), model, texts)
        _row("lm-sft (exact)", budget, usage, success, frontier)
    for row in json.loads((out / "evaluation.json").read_text())["rows"]:
        if row["kind"] == "all" and row["seed"] is None:
            _row(row["helper"], row["budget"], row["usage"], row["success_rate"], frontier)


def _row(name: str, budget: float | None, usage: float, success: float, frontier: Any) -> None:
    best = float(frontier.success_at(usage))
    asked = "" if budget is None else budget
    line = f"  {name:<10} {asked:>4}  {usage:6.3f}   {success:6.3f}   {best:15.3f}  {best - success:+.3f}"
    if budget is not None:
        at = float(frontier.success_at(budget))
        line += f"   {at:11.3f}    {at - success:+.3f}"
    print(line)


if __name__ == "__main__":
    main()
