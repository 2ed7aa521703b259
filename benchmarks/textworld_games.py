"""Speed of the TextWorld tasks: TextWorld's own env, the task, and the intervention env, on the same episodes.

    python benchmarks/textworld_games.py [--challenges cooking simple] [--seconds 20]

The three play the same games with the same actions, in turns of one episode that alternate, so that other load slows
all of them alike; CPU time, because the interpreter of the games runs in this process. TextWorld's env is
``textworld.start`` with the infos from which the task makes its observation; it loads each game, as the task does, and
as TextWorld's own Gymnasium env does. The actor is a stub. The last column has the median and the range of five parts
of the run. Goal: the intervention env reaches at least 0.95 of TextWorld's env.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import textworld
from twx import Script, recorded, turns_of

from selfreg_gym import Intervention, InterventionEnv
from selfreg_gym.envs.textworld import IDS
from selfreg_gym.envs.textworld.engine import INFOS

TASKS = 8
PARTS = 5


def prepared(name: str) -> tuple[dict[str, Callable[[int], None]], list[int]]:
    """What plays an episode of the task ``name``, by its title, and the numbers of steps of the episodes."""
    task: Any = gym.make(name, disable_env_checker=True).unwrapped
    script = Script()
    env = InterventionEnv(name, script, [Intervention(script, name="script")])
    episodes, paths = [], []
    for episode in range(TASKS):
        episodes.append(recorded(task, episode))
        paths.append(str(task._game.path))
    bare = textworld.start(paths[0], textworld.EnvInfos(**dict.fromkeys(INFOS, True)))

    def of_package(episode: int) -> None:
        bare.load(paths[episode])
        bare.reset()
        for action in episodes[episode]:
            bare.step(action)

    turns = {"TextWorld's env": of_package, **turns_of(task, env, script, episodes)}
    return turns, list(map(len, episodes))


def main() -> None:
    """Measure and print a table for each challenge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {arguments["challenge"]: name for name, arguments in IDS.items()}
    parser.add_argument("--challenges", nargs="+", choices=names, default=list(names))
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds for each challenge")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the interpreter warns for each game that it is not a known one
    for challenge in options.challenges:
        turns, lengths = prepared(names[challenge])
        for turn in turns.values():
            for episode in range(TASKS):
                turn(episode)
        seconds: dict[str, list[float]] = {title: [] for title in turns}
        end = time.process_time() + options.seconds
        while time.process_time() < end or len(seconds["the task"]) < PARTS:
            spent = dict.fromkeys(turns, 0.0)
            for episode in range(TASKS):
                for title, turn in turns.items():
                    begun = time.process_time()
                    turn(episode)
                    spent[title] += time.process_time() - begun
            for title, one in spent.items():
                seconds[title].append(one / sum(lengths))
        base = seconds["TextWorld's env"]
        print(f"\n{challenge}: {len(base)} rounds of {TASKS} games, {sum(lengths)} steps each, CPU time")
        print(f"{'':24}{'us/step':>10}{'speed, of TextWorld':>22}")
        for title, measured in seconds.items():
            ratios = [
                statistics.median(b / m for b, m in zip(base[part::PARTS], measured[part::PARTS], strict=True))
                for part in range(PARTS)
            ]
            spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
            print(f"{title:24}{statistics.median(measured) * 1e6:>10.0f}{spread:>22}")


if __name__ == "__main__":
    main()
