"""Tools of the checks: the error for a broken rule, comparable infos, guarded global generators."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from selfreg_gym.errors import TaskContractError

__all__ = ["SAMPLE_TASK", "UntouchedGlobalRandomness", "broken", "frozen", "rest"]

SAMPLE_TASK = "selfreg/Coin-v0"
"""The default task on which actors and helpers are checked."""


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


class UntouchedGlobalRandomness:
    """Raises ``TaskContractError`` if the block uses the global generator of NumPy or Python."""

    def __init__(self, user: str) -> None:
        self._user = user

    def __enter__(self) -> None:
        self._before = self._state()

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self._state() != self._before:
            broken(f"{self._user} draws from its own generator", "a draw from np.random or random")

    @staticmethod
    def _state() -> tuple[Any, ...]:
        state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
        return repr(state["state"]["key"].tobytes()), state["state"]["pos"], random.getstate()
