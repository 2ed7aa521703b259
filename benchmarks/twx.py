"""Speed of the TextWorldExpress tasks: the package's own env, the task, and the intervention env, on the same episodes.

    python benchmarks/twx.py [--game cookingworld] [--seconds 30]

The three play the same games with the same actions, in turns of one episode that alternate, so that other load slows
all of them alike; wall time, because the game runs in another process. The actor is a stub.
Goal: the intervention env reaches at least 0.9 of the package's env.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
from textworld_express import TextWorldExpressEnv

import selfreg_gym
from selfreg_gym import Decision, Intervention, InterventionEnv
from selfreg_gym.envs.twx.games import GAMES, parameters_of, start_of

TASKS = 8


class Script:
    """An actor that returns the actions of a list, one after the other."""

    def __init__(self) -> None:
        self.actions: Sequence[str] = ()
        self.next = 0

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Return the next action for the one decision."""
        self.next += 1
        return [self.actions[self.next - 1] for _ in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> Script:
        return self


def recorded(task: Any, episode: int) -> list[str]:
    """The expert's actions, each after a look at the inventory, so that an episode has a usual length."""
    task.reset(options={"episode": episode})
    actions, over = [], False
    while not over:
        for action in ("inventory", task.expert_action()):
            _, _, terminated, truncated, _ = task.step(action)
            actions.append(action)
            over = terminated or truncated
            if over:
                break
    return actions


def turns_of(
    task: Any, env: Any, script: Script, episodes: Sequence[Sequence[str]]
) -> dict[str, Callable[[int], None]]:
    """What plays episode i of the lists of actions: the task alone, and the intervention env, which asks for help."""

    def of_task(episode: int) -> None:
        task.reset(options={"episode": episode})
        for action in episodes[episode]:
            task.step(action)

    def of_env(episode: int) -> None:
        script.actions, script.next = episodes[episode], 0
        env.reset(seed=0, options={"episode": episode})
        for step in range(len(script.actions)):
            env.step(1 if step % 4 == 0 else 0)

    return {"the task": of_task, "intervention env": of_env}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", choices=sorted(GAMES), default="cookingworld")
    parser.add_argument("--seconds", type=float, default=30.0, help="total measuring time")
    options = parser.parse_args()

    name = f"selfreg/TWX-{GAMES[options.game].title}-v0"
    task: Any = gym.make(name, disable_env_checker=True).unwrapped
    script = Script()
    env = InterventionEnv(name, script, [Intervention(script, name="script")])
    package = TextWorldExpressEnv(envStepLimit=100)
    parameters = ", ".join(f"{key}={value}" for key, value in parameters_of(options.game, None).items())
    package.load(options.game, parameters)
    episodes = [recorded(task, episode) for episode in range(TASKS)]

    def of_package(episode: int) -> None:
        start = start_of("train", episode)
        package.reset(seed=start.seed, gameFold=start.fold)
        for action in episodes[episode]:
            package.step(action)

    turns = {"the package's env": of_package, **turns_of(task, env, script, episodes)}
    for turn in turns.values():
        for episode in range(TASKS):
            turn(episode)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    end, number = time.perf_counter() + options.seconds, 0
    while time.perf_counter() < end:
        episode, number = number % TASKS, number + 1
        for name, turn in turns.items():
            begun = time.perf_counter()
            turn(episode)
            seconds[name].append((time.perf_counter() - begun) / len(episodes[episode]))

    base = seconds["the package's env"]
    print(f"{options.game}, selfreg_gym {selfreg_gym.__version__}, {len(base)} episodes each, wall time, medians\n")
    print(f"{'':24}{'steps/s':>10}{'us/step':>10}{'of the package':>16}")
    for name, measured in seconds.items():
        ratio = statistics.median(b / m for b, m in zip(base, measured, strict=True))
        each = statistics.median(measured)
        print(f"{name:24}{1 / each:>10,.0f}{each * 1e6:>10.0f}{ratio:>16.2f}")


if __name__ == "__main__":
    main()
