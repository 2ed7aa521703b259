"""The fixed list of episodes of a collection: which task, which seed, which help probability."""

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
"""0, 0.1, ..., 1: every state is seen with and without help before it and after it."""

PLAN = 2
"""Version of the plan that a new store gets; a store that was begun with an earlier one keeps it."""


def collection_plan(
    tasks: Sequence[int],
    episodes_per_task: int,
    help_probabilities: Sequence[float] = HELP_PROBABILITIES,
    *,
    seed: int = 0,
    version: int = PLAN,
) -> list[EpisodeSpec]:
    """The episodes of a collection: each task ``episodes_per_task`` times, with seeds of 32 bits.

    With ``m`` help probabilities and ``episodes_per_task = q * m + rest``, each task gets every probability ``q`` times
    and ``rest`` further ones, all different. These are at equal distances in the list of probabilities, so each task
    has low and high ones. The place where a task begins comes from a random order of the tasks, drawn from ``seed``,
    and runs through all places equally often. So the probability does not depend on the task's index or kind, and over
    all tasks every probability occurs equally often (up to rounding).

    Args:
        tasks: task indices, no two the same.
        episodes_per_task: rollouts of each task.
        help_probabilities: in [0, 1], no two the same.
        seed: of the whole plan.
        version: 1 for the plan of stores that earlier versions began: the probabilities take turns through the list, so
            with fewer episodes than probabilities a task's probabilities depend on its place.

    Raises:
        InvalidArgumentError: no tasks or the same twice, ``episodes_per_task < 1``, bad or repeated probabilities, or a
            bad seed.
    """
    tasks, probabilities = check_tasks(tasks), check_numbers("help_probabilities", help_probabilities)
    episodes, seed = check_count("episodes (rollouts per task)", episodes_per_task), check_count("seed", seed, low=0)
    if version not in (1, PLAN):
        raise InvalidArgumentError(f"version of a plan must be 1 or {PLAN}, received {version!r}.")
    places = (
        _turns(len(tasks), episodes, len(probabilities))
        if version == 1
        else _spread(len(tasks), episodes, len(probabilities), seed)
    )
    plan: list[EpisodeSpec] = []
    for number, task in enumerate(tasks):
        used: set[int] = set()
        for rollout in range(episodes):
            words = seed_sequence(COLLECTION_EPISODES, seed, task, rollout).generate_state(8, np.uint32)
            own = next(int(word) for word in words if int(word) not in used)  # no two rollouts of a task alike
            used.add(own)
            plan.append(EpisodeSpec(task, own, probabilities[places[number][rollout]], plan_index=len(plan)))
    return plan


def _turns(tasks: int, episodes: int, m: int) -> list[list[int]]:
    """Version 1: index of the probability of each task's rollouts, taking turns through the whole list."""
    return [[(number * episodes + rollout) % m for rollout in range(episodes)] for number in range(tasks)]


def _spread(tasks: int, episodes: int, m: int, seed: int) -> Any:
    """Version 2: index of the probability of each task's rollouts."""
    whole, rest = divmod(episodes, m)
    order = stream(COLLECTION_PLAN, seed).permutation(tasks)
    stride = _coprime(m)
    return [
        [*(list(range(m)) * whole), *sorted((int(order[number]) * stride + k * m // rest) % m for k in range(rest))]
        for number in range(tasks)
    ]


def _coprime(m: int) -> int:
    """The step nearest to the golden section of m that reaches all m places: neighbours in the order lie far apart."""
    return min((step for step in range(1, m + 1) if math.gcd(step, m) == 1), key=lambda step: abs(step - 0.618 * m))
