"""The levels of BabyAI: one fixed grid and mission for each (level, split, index).

The levels are those of the package ``minigrid``. A seed of ``minigrid`` determines a task, and each split has its own
range of seeds. The generation of a level prints nothing, and it may draw a limited number of random numbers. If it
needs more, as it does not end for some seeds, another seed is used, which depends only on the first one.
"""

from __future__ import annotations

import contextlib
import io
import os
from functools import cache
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401 - registers the levels with Gymnasium
from gymnasium.envs.registration import load_env_creator

from selfreg_gym.errors import SetupError, TaskContractError

__all__ = ["DEFAULT_LEVELS", "SPLITS", "level_names", "make_level"]

DEFAULT_LEVELS = ("GoToLocal", "PickupLoc", "PutNextLocal")

SPLITS: dict[str, tuple[int, int]] = {
    "actor-train": (0, 1_000_000),
    "train": (1_000_000, 100_000),
    "val": (2_000_000, 100_000),
    "test": (3_000_000, 100_000),
}
"""Split -> the first seed of its tasks, and the number of its tasks of each level."""

_PREFIX = "BabyAI-"
_MOST_DRAWS = 200_000  # the most in 40 tasks of each level is 7,407
_ATTEMPTS = 20
_NEXT_ATTEMPT = 10_000_000  # added to the seed; no split's range reaches it


@cache
def level_names() -> dict[str, str]:
    """Name of a level -> its id in Gymnasium's registry, for all levels of the installed ``minigrid``."""
    ids = [name for name in gym.registry if name.startswith(_PREFIX)]
    return {name.removeprefix(_PREFIX).rpartition("-")[0]: name for name in ids}


class _TooManyDraws(Exception):
    """The generation of a level has drawn more random numbers than allowed."""


def make_level(name: str, seed: int, max_steps: int | None) -> Any:
    """A level after ``reset(seed)``.

    Args:
        name: a name in :func:`level_names`.
        seed: the seed of grid and mission.
        max_steps: the limit on steps; None: that of the level, which depends on its size and its mission.

    Raises:
        SetupError: the environment variable ``BABYAI_DONE_ACTIONS`` is set, which changes all missions.
        TaskContractError: no seed gave a level.
    """
    if os.environ.get("BABYAI_DONE_ACTIONS"):
        raise SetupError(
            "BabyAI tasks end when their mission is done, and the environment variable BABYAI_DONE_ACTIONS changes "
            "that: unset it."
        )
    spec = gym.spec(level_names()[name])
    assert spec.entry_point is not None
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    for attempt in range(_ATTEMPTS):
        level: Any = creator(**spec.kwargs) if max_steps is None else creator(**{**spec.kwargs, "max_steps": max_steps})
        try:
            _generate(level, seed + attempt * _NEXT_ATTEMPT)
        except _TooManyDraws:
            continue
        level.gen_obs = _no_image
        return level
    raise TaskContractError(f"the level {name} of BabyAI could not be generated from the seed {seed}.")


def _no_image() -> dict[str, Any]:
    """Replaces ``gen_obs`` of a level: its image takes most of the time of a step, and :mod:`.view` reads the grid."""
    return {}


def _generate(level: Any, seed: int) -> None:
    """Reset a new level without its messages ("Sampling rejected: ..."), with a limited number of draws."""
    draw, left = level._rand_int, _MOST_DRAWS

    def counted(low: int, high: int) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooManyDraws
        return draw(low, high)

    level._rand_int = counted
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            level.reset(seed=seed)
    finally:
        del level._rand_int
