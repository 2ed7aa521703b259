"""Expert episodes of a task, from which `train_actor.py` trains the shipped actors.

    python examples/demonstrations.py babyai --episodes 15000 --out demonstrations.jsonl.xz

Episodes follow the task's expert, except that each step takes a random action with some probability (its label is still
the expert's action); otherwise a learner never sees the states after a mistake. `train_actor.py` makes them itself; a
file of them is for machines on which the task cannot run.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

import selfreg_gym  # noqa: F401 - registers the tasks
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.random_streams import Purpose, stream

SPLIT = "actor-train"


@dataclass(frozen=True, slots=True)
class Family:
    """The tasks of a family of checkpoints.

    Attributes:
        task: the id of the task.
        kwargs: arguments of the task, one dict or several, which alternate between episodes.
        final: actions that end an episode, which are never taken at random.
        split: the split of the training tasks.
    """

    task: str
    kwargs: tuple[dict[str, Any], ...] = field(default=({},))
    final: tuple[str, ...] = ()
    split: str = SPLIT


FAMILIES = {
    "sif": Family("selfreg/SIF-v0", ({"kind": "mixed"},), final=("Done!",)),
    # Two limits on steps: the numbers of both occur in the observations.
    "babyai": Family("selfreg/BabyAI-v0", ({}, {"max_steps": 30})),
}


def expert_decisions(family: Family, episodes: int, perturb: float, seed: int) -> list[tuple[str, str]]:
    """Return ``(observation, expert's action)`` of every decision of the expert episodes.

    Args:
        family: the tasks.
        episodes: number of tasks, each played once.
        perturb: probability of a random action at a step.
        seed: seed of the episodes and of the random actions.
    """
    envs = [gym.make(family.task, split=family.split, **kwargs).unwrapped for kwargs in family.kwargs]
    rng = stream(Purpose(0xE9), seed)
    pairs = []
    for episode in range(episodes):
        env: Any = envs[episode % len(envs)]
        observation, info = env.reset(seed=int(rng.integers(2**31)), options={"episode": episode})
        over = False
        while not over:
            action = expert = env.expert_action()
            pairs.append((observation, expert))
            others = [a for a in info["admissible_actions"] if a != expert and a not in family.final]
            if others and rng.random() < perturb:
                action = others[rng.integers(len(others))]
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
    return pairs


def write(path: Path, pairs: Sequence[tuple[str, str]]) -> None:
    """Write decisions to a compressed file of JSON lines."""
    lines = "".join(f"{json.dumps(pair)}\n" for pair in pairs)
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(lzma.compress(lines.encode(), preset=6))


def read(path: Path) -> list[tuple[str, str]]:
    """Read the decisions of a file that :func:`write` wrote."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return [(observation, action) for observation, action in map(json.loads, lines)]


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=sorted(FAMILIES))
    parser.add_argument("--episodes", type=int, default=6000)
    parser.add_argument("--perturb", type=float, default=0.1, help="probability of a random action at a step")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pairs = expert_decisions(FAMILIES[options.family], options.episodes, options.perturb, options.seed)
    write(options.out, pairs)
    print(f"{len(pairs)} decisions in {options.out}")


if __name__ == "__main__":
    main()
