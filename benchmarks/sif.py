"""Speed of the household simulator in decisions per CPU-second, with observations and state keys.

    python benchmarks/sif.py [--decisions 100000] [--profile]

Random admissible actions on 50 tasks, one core, process time. The goal is 20,000.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import time

from selfreg_gym.envs.sif import SIF

GOAL = 20_000


def play(env: SIF, decisions: int, tasks: int, seed: int = 0) -> int:
    """Play random episodes for ``decisions`` decisions, and return the number of episodes."""
    choose = random.Random(seed).choice
    episodes = 0
    while decisions > 0:
        _, info = env.reset(seed=episodes, options={"episode": episodes % tasks})
        over = False
        while not over:
            _, _, over, _, info = env.step(choose(info["admissible_actions"]))
            decisions -= 1
            if over:
                break
        episodes += 1
    return episodes


def main() -> None:
    """Measure and print; with ``--profile`` also print a profile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    for kind in ("pnp", "s_obj", "s_hum", "mixed"):
        env = SIF(kind=kind)
        play(env, 2_000, arguments.tasks)  # create the tasks and fill the caches
        begin = time.process_time()
        episodes = play(env, arguments.decisions // 4, arguments.tasks)
        seconds = time.process_time() - begin
        rate = arguments.decisions // 4 / seconds
        verdict = "reached" if rate >= GOAL else "MISSED"
        print(f"{kind:6} {rate:9,.0f} decisions per CPU-second ({episodes:,} episodes), goal {GOAL:,} {verdict}")
    if arguments.profile:
        env = SIF()
        profile = cProfile.Profile()
        profile.runcall(play, env, 20_000, arguments.tasks)
        pstats.Stats(profile).sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
