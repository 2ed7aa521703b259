"""Expert episodes of a task, from which `train_actor.py` trains the shipped actors.

    python examples/demonstrations.py babyai --episodes 12000 --jobs 4 --out demonstrations.jsonl.xz

Episodes follow the task's expert, except that each step takes a random action with some probability (its label is still
the expert's action); otherwise a learner never sees the states after a mistake. Episodes in which the expert has no
action are left out. `train_actor.py` makes them itself; a file of them is for machines on which the task cannot run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import lzma
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import selfreg_gym  # noqa: F401 - registers the tasks
from selfreg_gym.errors import TaskContractError
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.random_streams import Purpose, stream

SPLIT = "actor-train"


@dataclass(frozen=True, slots=True)
class Family:
    """The tasks of a family of checkpoints.

    Attributes:
        task: the id of the task.
        kwargs: arguments of the task, one dict or several, which alternate between episodes.
        final: beginnings of the actions that end an episode, which are never taken at random.
        lost: the expert's action where the task can no longer be won; the episode is not played further.
        block: number of episodes with one random stream, which can be played apart from the others; None: all.
        split: the split of the training tasks.
    """

    task: str
    kwargs: tuple[dict[str, Any], ...] = field(default=({},))
    final: tuple[str, ...] = ()
    lost: str = ""
    block: int | None = None
    split: str = SPLIT


OTHERS = ("OpenDoor", "GoToSeqS5R2", "SynthS5R2", "UnlockPickup", "PickupAbove")
"""Small levels of BabyAI with doors, keys, several rooms and sequences of instructions."""

FAMILIES = {
    "sif": Family("selfreg/SIF-v0", ({"kind": "mixed"},), final=("Done!",)),
    # Two limits on steps, and other levels in every seventh episode: their words and numbers occur in the observations.
    "babyai": Family(
        "selfreg/BabyAI-v0", (*({}, {"max_steps": 30}) * 3, {"levels": OTHERS, "max_steps": 64}), block=250
    ),
    "cookingworld": Family(
        "selfreg/TWX-CookingWorld-v0",
        ({}, {"max_steps": 30}, {"max_steps": 40}),
        final=("eat ",),
        lost="look around",
        block=100,
    ),
}


def expert_decisions(
    family: Family, episodes: int, perturb: float, seed: int, *, jobs: int = 1
) -> list[tuple[str, str]]:
    """Return ``(observation, expert's action)`` of every decision of the expert episodes.

    Args:
        family: the tasks.
        episodes: number of tasks, each played once.
        perturb: probability of a random action at a step.
        seed: seed of the episodes and of the random actions.
        jobs: number of processes; it does not change the result.
    """
    if family.block is None:
        return _played(family, range(episodes), perturb, stream(Purpose(0xE9), seed))
    blocks = [range(first, min(first + family.block, episodes)) for first in range(0, episodes, family.block)]
    each = [(family, block, perturb, stream(Purpose(0xE9), seed, number)) for number, block in enumerate(blocks)]
    if jobs == 1:
        found = [_played(*one) for one in each]
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(_played, *zip(*each, strict=True)))
    return [pair for pairs in found for pair in pairs]


def _played(family: Family, episodes: range, perturb: float, rng: np.random.Generator) -> list[tuple[str, str]]:
    """The decisions of some of the episodes."""
    envs = [gym.make(family.task, split=family.split, **kwargs).unwrapped for kwargs in family.kwargs]
    pairs = []
    for episode in episodes:
        # An expert without a plan ends the episode.
        with contextlib.suppress(TaskContractError):
            pairs += _episode(envs[episode % len(envs)], episode, family, perturb, rng)
    return pairs


def _episode(env: Any, episode: int, family: Family, perturb: float, rng: np.random.Generator) -> list[tuple[str, str]]:
    """The decisions of one episode."""
    pairs = []
    observation, info = env.reset(seed=int(rng.integers(2**31)), options={"episode": episode})
    over = False
    while not over:
        action = expert = env.expert_action()
        if expert == family.lost:
            break
        pairs.append((observation, expert))
        others = [a for a in info["admissible_actions"] if a != expert and not a.startswith(family.final)]
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
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    family = FAMILIES[options.family]
    pairs = expert_decisions(family, options.episodes, options.perturb, options.seed, jobs=options.jobs)
    write(options.out, pairs)
    print(f"{len(pairs)} decisions in {options.out}")


if __name__ == "__main__":
    main()
