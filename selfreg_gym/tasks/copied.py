"""``CopiedTask``: the base class of tasks whose snapshots are deep copies of their state, if these are exact."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError, NotResetError, shown
from selfreg_gym.utils.arguments import check_name

__all__ = ["SNAPSHOTS", "CopiedTask"]

SNAPSHOTS = ("auto", "copy", "replay")
_STEPS_BEFORE, _STEPS_AFTER = 3, 8  # of the episode in which the copies are compared


class _Copy(NamedTuple):
    """The snapshot of a :class:`CopiedTask`."""

    state: Any
    random: np.random.Generator | None


class CopiedTask(gym.Env[str, str]):
    """A text task that holds everything that changes in an episode in one object, ``_state``.

    ``snapshot`` and ``restore`` copy this object deeply. They exist only if copies are exact, because an object can
    refer to things that are not copied: a process, a file, another object that is shared. Without them, the
    intervention env restores the task by a replay of its actions
    (:class:`selfreg_gym.intervention_env.snapshots.ReplaySnapshots`).

    A subclass calls :meth:`_set_snapshots` at the end of its constructor.
    """

    _state: Any = None
    _copies: bool = False

    def _set_snapshots(self, snapshots: str) -> None:
        """Decide between copies and replay.

        Args:
            snapshots: ``"copy"``, ``"replay"``, or ``"auto"``: copies, if they are exact in an episode that is played
                now with random actions.
        """
        check_name("kind of snapshots", snapshots, SNAPSHOTS)
        if snapshots == "auto":
            self._copies = self._copies_are_exact()
            self._state = None
        else:
            self._copies = snapshots == "copy"

    @property
    def snapshot(self) -> Callable[[], object]:
        """The method ``snapshot()``; AttributeError if the task is restored by replay."""
        return self._own(self._take)

    @property
    def restore(self) -> Callable[[Any], None]:
        """The method ``restore(snapshot)``; AttributeError if the task is restored by replay."""
        return self._own(self._put_back)

    def _own(self, method: Any) -> Any:
        if self._copies:
            return method
        raise AttributeError(f"{type(self).__name__} has no snapshots of its own: it is restored by replay.")

    def _take(self) -> object:
        if self._state is None:
            raise NotResetError("snapshot needs an episode: call reset() first.")
        return _Copy(copy.deepcopy(self._state), copy.deepcopy(self._np_random))

    def _put_back(self, snapshot: Any) -> None:
        if not isinstance(snapshot, _Copy):
            raise InvalidArgumentError(f"restore takes a snapshot that this task returned, received {shown(snapshot)}.")
        self._state, self._np_random = copy.deepcopy(snapshot.state), copy.deepcopy(snapshot.random)

    def _text_for_check(self, info: Mapping[str, Any], picker: np.random.Generator) -> str:
        """An action for the episode in which the copies are compared."""
        actions = info.get("admissible_actions")
        return "" if not actions else actions[int(picker.integers(len(actions)))]

    def _copies_are_exact(self) -> bool:
        """Whether two copies continue an episode as the original does, one of them also when it is restored again."""
        picker = np.random.default_rng(0)
        _, info = self.reset(seed=0, options={"episode": 0})
        for _ in range(_STEPS_BEFORE):
            _, _, terminated, truncated, info = self.step(self._text_for_check(info, picker))
            if terminated or truncated:
                _, info = self.reset(seed=0, options={"episode": 0})
                break
        try:
            snapshots = [self._take() for _ in range(2)]
            expected, actions = [], []
            for _ in range(_STEPS_AFTER):
                actions.append(self._text_for_check(info, picker))
                result = self.step(actions[-1])
                expected.append(_comparable(result))
                info = result[4]
                if result[2] or result[3]:
                    break
            for snapshot in (snapshots[0], snapshots[1], snapshots[0]):
                self._put_back(snapshot)
                if [_comparable(self.step(action)) for action in actions] != expected:
                    return False
        except Exception:  # the state can contain any object, and copies can fail with any error
            return False
        return True


def _comparable(value: Any) -> Any:
    """The value with arrays as bytes, for ``==``."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_comparable, value))
    return value
