"""What the checks share: how a broken rule is told, and how what was seen is compared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from selfreg_gym.errors import TaskContractError

__all__ = ["SAMPLE_TASK", "UntouchedGlobalRandomness", "broken", "frozen", "rest"]

SAMPLE_TASK = "selfreg/Coin-v0"
"""The task on which actors and helpers are tried when none is named."""


def broken(rule: str, received: str) -> NoReturn:
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
    """What the next steps show."""
    shown = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        shown.append((observation, float(reward), terminated, truncated, frozen(info)))
    return shown


class UntouchedGlobalRandomness:
    """Fails when the global generators of numpy or Python were used."""

    def __init__(self, who: str) -> None:
        self._who = who

    def __enter__(self) -> None:
        self._before = self._state()

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self._state() != self._before:
            broken(f"{self._who} draws from its own generator", "a draw from np.random or random")

    @staticmethod
    def _state() -> tuple[Any, ...]:
        state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - it is what must not be used
        return repr(state["state"]["key"].tobytes()), state["state"]["pos"], random.getstate()
