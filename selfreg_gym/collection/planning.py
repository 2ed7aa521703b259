"""``collection_plan``: task, seed and help probability of each episode of a collection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.utils.arguments import check_count, check_numbers, check_tasks
from selfreg_gym.utils.random_streams import COLLECTION_EPISODES, COLLECTION_PLAN, seed_sequence, stream

__all__ = ["HELP_PROBABILITIES", "PLAN", "collection_plan"]

HELP_PROBABILITIES = tuple(i / 10 for i in range(11))
"""0, 0.1, ..., 1: so states occur with and without help before and after them."""

PLAN = 2
"""Version of the plan of new stores; an existing store keeps the version that it was created with."""


def collection_plan(
    tasks: Sequence[int],
    episodes_per_task: int,
    help_probabilities: Sequence[float] = HELP_PROBABILITIES,
    *,
    seed: int = 0,
    version: int = PLAN,
) -> list[EpisodeSpec]:
    """The episodes of a collection: each task ``episodes_per_task`` times, with seeds of 32 bits.

    With m help probabilities and ``episodes_per_task = q m + rest``, each task gets every probability q times, and
    ``rest`` further ones. These are all different and evenly spaced in the list of probabilities, so that each task has
    low and high ones. The offset of a task in the list comes from a random order of the tasks, drawn from ``seed``; all
    offsets occur equally often. So the probabilities do not depend on a task's index or kind, and over all tasks each
    occurs equally often (up to rounding).

    Args:
        tasks: different task indices.
        episodes_per_task: at least 1.
        help_probabilities: different numbers in [0, 1].
        seed: seed of the plan and of its episodes.
        version: 1 for stores of earlier versions: the probabilities take turns through the whole list, so with fewer
            episodes than probabilities those of a task depend on its position.

    Raises:
        InvalidArgumentError: no tasks or the same twice, ``episodes_per_task < 1``, invalid or repeated probabilities,
            or an invalid seed.
    """
    tasks, probabilities = check_tasks(tasks), check_numbers("help_probabilities", help_probabilities)
    episodes, seed = check_count("episodes (per task)", episodes_per_task), check_count("seed", seed, low=0)
    if version not in (1, PLAN):
        raise InvalidArgumentError(f"version of a plan must be 1 or {PLAN}, received {version!r}.")
    m, positions = len(probabilities), _spread(len(tasks), episodes, len(probabilities), seed)
    if version == 1:
        positions = [[(number * episodes + rollout) % m for rollout in range(episodes)] for number in range(len(tasks))]
    plan: list[EpisodeSpec] = []
    for number, task in enumerate(tasks):
        used: set[int] = set()
        for rollout in range(episodes):
            words = seed_sequence(COLLECTION_EPISODES, seed, task, rollout).generate_state(8, np.uint32)
            own_seed = next(int(word) for word in words if int(word) not in used)  # no seed twice for one task
            used.add(own_seed)
            plan.append(EpisodeSpec(task, own_seed, probabilities[positions[number][rollout]], plan_index=len(plan)))
    return plan


def _spread(tasks: int, episodes: int, m: int, seed: int) -> Any:
    """Version 2: indices ``[task][episode]`` of the probabilities, with a random offset per task."""
    whole, rest = divmod(episodes, m)
    order = stream(COLLECTION_PLAN, seed).permutation(tasks)
    stride = _coprime(m)
    return [
        [*(list(range(m)) * whole), *sorted((int(order[number]) * stride + k * m // rest) % m for k in range(rest))]
        for number in range(tasks)
    ]


def _coprime(m: int) -> int:
    """The number nearest to 0.618 m that is coprime to m: its multiples reach all m positions, neighbours far apart."""
    return min((step for step in range(1, m + 1) if math.gcd(step, m) == 1), key=lambda step: abs(step - 0.618 * m))
