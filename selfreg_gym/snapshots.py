"""Snapshots for tasks that have none: go back by playing the same episode again.

A seed, the options and the actions determine an episode of a task that keeps the contract, so they are its snapshot.
Restoring costs as many steps as the episode had; a task that can do better has its own ``snapshot`` and ``restore``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from selfreg_gym.errors import InvalidArgumentError, NotResetError, TaskContractError

__all__ = ["ReplaySnapshots", "has_snapshots"]


def has_snapshots(task: gym.Env[Any, Any]) -> bool:
    """Whether ``snapshot`` and ``restore`` can be reached on the task or under its wrappers."""
    return all(callable(_attribute(task, name)) for name in ("snapshot", "restore"))


def _attribute(task: gym.Env[Any, Any], name: str) -> Any:
    try:
        return task.get_wrapper_attr(name)
    except AttributeError:
        return None


@dataclass(frozen=True, slots=True)
class _Replay:
    seed: int
    options: dict[str, Any] | None
    actions: tuple[str, ...]
    observation: str


class ReplaySnapshots(gym.Wrapper[str, str, str, str], gym.utils.RecordConstructorArgs):
    """Give a text task ``snapshot`` and ``restore``, by remembering seed, options and actions.

    Without a seed, ``reset`` draws one from ``np_random``, so that every episode can be repeated. The task must be
    deterministic given its seed; ``restore`` notices when it is not.

    Example:
        >>> import gymnasium as gym, selfreg_gym
        >>> from selfreg_gym.snapshots import ReplaySnapshots
        >>> task = ReplaySnapshots(gym.make("selfreg/Coin-v0", heads=0.99))
        >>> before, _ = task.reset(seed=0, options={"episode": 0})
        >>> moment = task.snapshot()
        >>> _ = task.step("heads")
        >>> task.restore(moment)
        >>> task.step("heads")[0]
        'Coin 2 of 2 lies under the cup. Call it: heads or tails?'
    """

    def __init__(self, env: gym.Env[str, str]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._seed: int | None = None
        self._options: dict[str, Any] | None = None
        self._actions: list[str] = []
        self._observation = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset the task, with a seed in any case."""
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self._options = None if options is None else dict(options)
        self._actions = []
        result = self.env.reset(seed=self._seed, options=options)
        self._observation = result[0]
        return result

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step the task and remember the action."""
        result = self.env.step(action)
        self._actions.append(action)
        self._observation = result[0]
        return result

    def snapshot(self) -> object:
        """Seed, options and actions so far.

        Raises:
            NotResetError: no episode has begun.
        """
        if self._seed is None:
            raise NotResetError("snapshot needs an episode: call reset() first.")
        return _Replay(self._seed, self._options, tuple(self._actions), self._observation)

    def restore(self, snapshot: object) -> None:
        """Play the episode again up to the moment of ``snapshot``.

        Raises:
            InvalidArgumentError: ``snapshot`` is not one of this class.
            TaskContractError: the replay led elsewhere, so the task is not determined by its seed.
        """
        if not isinstance(snapshot, _Replay):
            raise InvalidArgumentError(
                f"restore takes what snapshot() of ReplaySnapshots returned, received {type(snapshot).__name__}."
            )
        self.reset(seed=snapshot.seed, options=snapshot.options)
        for action in snapshot.actions:
            self.step(action)
        if self._observation != snapshot.observation:
            raise TaskContractError(
                "a task must be determined by its seed, options and actions: replaying "
                f"{len(snapshot.actions)} actions from seed {snapshot.seed} led to {self._observation[:80]!r} "
                f"and not to {snapshot.observation[:80]!r}. Take all randomness from self.np_random."
            )
