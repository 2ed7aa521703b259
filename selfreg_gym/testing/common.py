"""Tools of the checks: the error for a broken rule, comparable infos, guarded global generators."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from selfreg_gym.errors import TaskContractError

__all__ = ["SAMPLE_TASK", "SECONDS", "broken", "frozen", "rest", "untouched_global_randomness"]

SAMPLE_TASK = "selfreg/Coin-v0"
"""The default task on which actors and helpers are checked."""

SECONDS = 120.0
"""The default limit of one call of an actor or a helper."""


def broken(rule: str, received: str) -> NoReturn:
    """Raise ``TaskContractError`` with a rule and what was received in its place."""
    raise TaskContractError(f"broken rule: {rule}. Received: {received}.")


def frozen(info: dict[str, Any]) -> Any:
    """A copy of an info that can be compared with ``==`` (arrays become bytes)."""
    if isinstance(info, dict):
        return {key: frozen(value) for key, value in info.items()}
    if isinstance(info, np.ndarray):
        return info.dtype.str, info.shape, info.tobytes()
    if isinstance(info, list | tuple):
        return tuple(frozen(value) for value in info)
    return info


def rest(env: Any, actions: Sequence[str]) -> list[Any]:
    """The results of the next steps, comparable with ``==``."""
    shown = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        shown.append((observation, float(reward), terminated, truncated, frozen(info)))
    return shown


@contextlib.contextmanager
def untouched_global_randomness(user: str) -> Iterator[None]:
    """Raise ``TaskContractError`` if the block uses the global generator of NumPy or Python."""
    before = _random_state()
    yield
    if _random_state() != before:
        broken(f"{user} draws from its own generator", "a draw from np.random or random")


def _random_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    return state["state"]["key"].tobytes(), state["state"]["pos"], random.getstate()
