"""Speed of BabyAI as text in the intervention env, compared with the bare levels of ``minigrid`` in the same run.

    python benchmarks/babyai.py [--seconds 20] [--levels GoToLocal BossLevel]

A stub actor chooses the actions in the intervention env; the bare level takes the same actions in the same tasks, with
the image that it makes for its agents. The two alternate in short turns; the figures are medians over the turns, in CPU
time. Goal: at least 0.8 of the bare speed, text and keys included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import gymnasium as gym
from intervention_env import Stub

from selfreg_gym import Intervention
from selfreg_gym.envs.babyai.levels import SPLITS, level_names

STEPS = 600


def played(env: Any, first: int) -> tuple[list[tuple[int, list[int]]], float]:
    """``(task, actions)`` of ``STEPS`` steps of the intervention env, and the CPU seconds that they took."""
    task = env.unwrapped.slots[0].task.unwrapped
    episodes: list[tuple[int, list[int]]] = []
    begun, steps, number = time.process_time(), 0, first
    while steps < STEPS:
        env.reset(seed=number, options={"episode": number})
        over = False
        while not over and steps < STEPS:
            _, _, terminated, truncated, _ = env.step(1 if steps % 4 == 0 else 0)
            over, steps = terminated or truncated, steps + 1
        episodes.append((number, task._taken))
        number += 1
    return episodes, time.process_time() - begun


def repeated(bare: Any, episodes: list[tuple[int, list[int]]]) -> float:
    """The CPU seconds of the same episodes on the bare level."""
    begun = time.process_time()
    for number, actions in episodes:
        bare.reset(seed=SPLITS["train"][0] + number)
        for action in actions:
            bare.step(action)
    return time.process_time() - begun


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="measuring time of each level")
    parser.add_argument("--levels", nargs="+", default=["GoToLocal", "PutNextLocal", "BossLevel"])
    options = parser.parse_args()
    print(f"{'level':16}{'bare us/step':>14}{'intervention env':>18}{'ratio of speeds':>17}")
    for level in options.levels:
        arguments = {"actor": Stub(), "interventions": [Intervention(Stub(), name="stub")], "help_cost": 0.1}
        env = gym.make(
            "selfreg/Intervention-v0", task="selfreg/BabyAI-v0", task_kwargs={"levels": [level]}, **arguments
        )
        bare = gym.make(level_names()[level], disable_env_checker=True).unwrapped
        rows, first, end = [], 0, time.perf_counter() + options.seconds
        while time.perf_counter() < end:
            episodes, seconds = played(env, first)
            rows.append((repeated(bare, episodes), seconds))
            first += len(episodes)
        ratio = statistics.median(slow / own for slow, own in rows)
        each = [statistics.median(column) / STEPS * 1e6 for column in zip(*rows, strict=True)]
        print(f"{level:16}{each[0]:>14.0f}{each[1]:>18.0f}{ratio:>17.2f}")


if __name__ == "__main__":
    main()
