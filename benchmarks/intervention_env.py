"""Overhead of the intervention env: its speed relative to the text task.

    python benchmarks/intervention_env.py [--task selfreg/SIF-v0] [--seconds 20]

The task and the envs are measured in short turns that alternate, so that other load slows all of them alike; the
figures are medians over the turns. The actor is a stub, so that the env's own time is measured. Goal: the single env
reaches at least 0.8 of the task's speed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym import (
    Decision,
    FeatureObservation,
    HelpBudget,
    HelpCost,
    Intervention,
    InterventionVectorEnv,
    StateKeyObservation,
    registry,
)

TASKS = 16
"""Number of distinct tasks of the episodes."""


def _choose(text: str, actions: Sequence[str]) -> str:
    return actions[len(text) % len(actions)]


class Stub:
    """An actor that chooses the action by the length of the text: cheap, and it varies between steps."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Return one action per decision."""
        return [_choose(decision.observation, decision.admissible_actions or ("",)) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Stub:
        return self


def main() -> None:
    """Measure and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "selfreg/SIF-v0" if "selfreg/SIF-v0" in registry.names("envs") else "selfreg/Coin-v0"
    arguments.add_argument("--task", default=default)
    arguments.add_argument("--seconds", type=float, default=20.0, help="total measuring time")
    arguments.add_argument("--num-envs", type=int, default=64)
    options = arguments.parse_args()

    arguments_of_env: dict[str, Any] = {
        "task": options.task,
        "actor": Stub(),
        "interventions": [Intervention(Stub(), name="stub")],
        "help_cost": 0.1,
    }

    def single(wrap: Callable[[Any], Any] = lambda env: env) -> Any:
        return wrap(gym.make("selfreg/Intervention-v0", **arguments_of_env))

    def vector(wrap: Callable[[Any], Any] = lambda env: env) -> Any:
        return wrap(InterventionVectorEnv(options.num_envs, autoreset_mode="Disabled", **arguments_of_env))

    turns: dict[str, Callable[[int], None]] = {
        "the task itself": _task_turn(gym.make(options.task)),
        "intervention env": _single_turn(single()),
        "+ HelpCost": _single_turn(single(lambda env: HelpCost(env, 0.2))),
        "+ HelpBudget": _single_turn(single(lambda env: HelpBudget(env, 2))),
        "+ StateKeyObservation": _single_turn(single(StateKeyObservation)),
        "+ FeatureObservation": _single_turn(single(FeatureObservation)),
        f"vector env, N = {options.num_envs}": _vector_turn(vector()),
        "vector + StateKeyObservation": _vector_turn(vector(StateKeyObservation)),
        "vector + FeatureObservation": _vector_turn(vector(FeatureObservation)),
    }
    steps = 640
    for turn in turns.values():
        turn(steps)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end:
        for name, turn in turns.items():
            start = time.process_time()
            turn(steps)
            seconds[name].append((time.process_time() - start) / steps)

    base = seconds["the task itself"]
    print(f"{options.task}, {len(base)} turns of {steps} steps each, CPU time\n")
    print(f"{'':32}{'steps/s':>10}{'us/step':>10}{'of the task':>14}")
    for name, measured in seconds.items():
        ratio = statistics.median(b / m for b, m in zip(base, measured, strict=True))
        each = statistics.median(measured)
        print(f"{name:32}{1 / each:>10,.0f}{each * 1e6:>10.1f}{ratio:>14.2f}")


def _resets(env: Any) -> Callable[[], Any]:
    """Return a function that resets to one of ``TASKS`` tasks with a new seed, as a collection does."""
    numbers = iter(range(10**9))

    def begin() -> Any:
        number = next(numbers)
        return env.reset(seed=number, options={"episode": number % TASKS})

    return begin


def _task_turn(task: Any) -> Callable[[int], None]:
    """Step the task itself: the baseline."""
    begin = _resets(task)

    def turn(steps: int) -> None:
        text, info = begin()
        for _ in range(steps):
            text, _, terminated, truncated, info = task.step(_choose(text, info["admissible_actions"]))
            if terminated or truncated:
                text, info = begin()

    return turn


def _single_turn(env: Any) -> Callable[[int], None]:
    """Step a single intervention env; every fourth step asks for help."""
    begin = _resets(env)

    def turn(steps: int) -> None:
        begin()
        for step in range(steps):
            _, _, terminated, truncated, _ = env.step(1 if step % 4 == 0 else 0)
            if terminated or truncated:
                begin()

    return turn


def _vector_turn(envs: Any) -> Callable[[int], None]:
    """Step N episodes at once in DISABLED mode, with resets as in ``run_episodes``; steps are counted per episode."""
    n = envs.num_envs
    numbers = iter(range(10**9))
    nohelp, help_ = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)

    def begin(mask: np.ndarray) -> None:
        first = [next(numbers) if wanted else None for wanted in mask]
        episodes = np.array([0 if number is None else number % TASKS for number in first])
        envs.reset(seed=first, options={"reset_mask": mask, "episode": episodes})

    begin(np.ones(n, dtype=np.bool_))

    def turn(steps: int) -> None:
        for step in range(steps // n):
            _, _, terminations, truncations, _ = envs.step(help_ if step % 4 == 0 else nohelp)
            if (terminations | truncations).any():
                begin(terminations | truncations)

    return turn


if __name__ == "__main__":
    main()
