"""Speed of the intervention env on toy text, relative to the Gymnasium env underneath: steps per CPU-second.

    python benchmarks/toy_text.py [--seconds 10]

Gymnasium's env (integers, made by ``gym.make`` without its checker), the text task and the intervention env with a stub
as actor are measured in short turns that alternate. Goal: on FrozenLake the intervention env has at least 0.33 of the
speed of Gymnasium's env.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from selfreg_gym import Decision, InterventionEnv

PAIRS = {
    "selfreg/FrozenLake-v0": "FrozenLake-v1",
    "selfreg/Taxi-v0": "Taxi-v4",
    "selfreg/CliffWalking-v0": "CliffWalking-v1",
}
STEPS = 1000


class Stub:
    """An actor that chooses the action by the length of the text."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """One action per decision."""
        return [one.admissible_actions[len(one.observation) % 4] for one in decisions if one.admissible_actions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Stub:
        return self


def turn(env: Any, action: Callable[[int], Any], options: dict[str, Any] | None) -> float:
    """CPU seconds of ``STEPS`` steps, with resets."""
    begun = time.process_time()
    env.reset(seed=0, options=options)
    for step in range(STEPS):
        _, _, terminated, truncated, _ = env.step(action(step))
        if terminated or truncated:
            env.reset(seed=step, options=options)
    return time.process_time() - begun


def main() -> None:
    """Measure and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=10.0, help="measuring time per task")
    options = arguments.parse_args()
    print(f"{'task':<26}{'Gymnasium':>12}{'text task':>12}{'intervention env':>18}{'ratio':>8}")
    for task, bare in PAIRS.items():
        text = gym.make(task, disable_env_checker=True)
        moves = text.get_wrapper_attr("MOVES")
        first = {"episode": 0}
        runs = {
            "bare": (gym.make(bare, disable_env_checker=True), lambda step: step % 4, None),
            "text": (text, lambda step, moves=moves: moves[step % 4], first),
            "env": (InterventionEnv(task, Stub(), ["expert"]), lambda step: 0, first),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        end = time.perf_counter() + options.seconds
        while time.perf_counter() < end or len(seconds["env"]) < 3:
            for name, run in runs.items():
                seconds[name].append(turn(*run))
        ratio = statistics.median(a / b for a, b in zip(seconds["bare"], seconds["env"], strict=True))
        speeds = (STEPS / statistics.median(seconds[name]) for name in runs)
        print(
            f"{task:<26}" + "".join(f"{speed:>{w},.0f}" for speed, w in zip(speeds, (12, 12, 18), strict=True)), end=""
        )
        print(f"{ratio:>8.2f}")


if __name__ == "__main__":
    main()
