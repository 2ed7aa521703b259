"""Exact snapshots of text tasks and of the wrappers around them.

A task with its own ``snapshot`` and ``restore`` is used as it is; the step counter of a ``TimeLimit`` wrapper is added
to the snapshot. A task without these methods, or inside any other wrapper that may hold state, is restored by replay:
seed, options and actions determine an episode of a task that meets the contract. A replay takes as many steps as the
episode had.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from selfreg_gym.errors import InvalidArgumentError, NotResetError, TaskContractError
from selfreg_gym.optional_members import required_member

__all__ = ["LimitSnapshots", "ReplaySnapshots", "layers", "restore_snapshot", "take_snapshot", "with_snapshots"]

_STATELESS = (OrderEnforcing, PassiveEnvChecker)  # their state is the same after every reset


def layers(env: gym.Env[Any, Any]) -> list[gym.Env[Any, Any]]:
    """The wrappers of an env, outermost first, then the env itself."""
    found = [env]
    while isinstance(found[-1], gym.Wrapper):
        found.append(found[-1].env)
    return found


def with_snapshots(task: gym.Env[str, str]) -> gym.Env[str, str]:
    """Return the task with exact ``snapshot`` and ``restore``, its wrappers included.

    A task whose own methods are exact is returned unchanged. Others are wrapped: in :class:`LimitSnapshots` if only
    ``TimeLimit`` wrappers hold state, else in :class:`ReplaySnapshots`.
    """
    all_layers = layers(task)
    own = next((i for i, layer in enumerate(all_layers) if _has_own_snapshots(layer)), None)
    above = {type(layer) for layer in all_layers[:own]}
    if own is None or above - {*_STATELESS, TimeLimit}:
        return ReplaySnapshots(task)
    return LimitSnapshots(task) if TimeLimit in above else task


def _has_own_snapshots(layer: gym.Env[Any, Any]) -> bool:
    """Whether this layer defines both methods; a wrapper that only forwards the attributes of its env does not."""
    owner: Any = type(layer) if isinstance(layer, gym.Wrapper) else layer
    return all(callable(getattr(owner, name, None)) for name in ("snapshot", "restore"))


def take_snapshot(env: gym.Env[Any, Any]) -> object:
    """The exact state of an intervention env and of the wrappers around it, for :func:`restore_snapshot`.

    Raises:
        InvalidArgumentError: a wrapper may hold state that cannot be saved; the message names it.
        NotResetError: no episode has begun.
    """
    counted: list[Any] = []
    for layer in layers(env):
        if _has_own_snapshots(layer):
            return layer.snapshot(), tuple(counted)  # type: ignore[attr-defined]
        if type(layer) is TimeLimit:
            counted.append(layer._elapsed_steps)
        elif type(layer) not in _STATELESS and not type(layer).__module__.startswith("selfreg_gym."):
            break
    raise InvalidArgumentError(
        f"a snapshot must include the state of every wrapper, and {type(layer).__name__} in {env} may have state that "
        "cannot be saved: give it snapshot() and restore(snapshot), or take the snapshot of the env inside it."
    )


def restore_snapshot(env: gym.Env[Any, Any], snapshot: Any) -> None:
    """Restore the state that :func:`take_snapshot` returned for the same env."""
    state, counted = snapshot
    remaining = list(counted)
    for layer in layers(env):
        if _has_own_snapshots(layer):
            layer.restore(state)  # type: ignore[attr-defined]
            return
        if type(layer) is TimeLimit:
            layer._elapsed_steps = remaining.pop(0)


class LimitSnapshots(gym.Wrapper[str, str, str, str], gym.utils.RecordConstructorArgs):
    """Give a task inside ``TimeLimit`` wrappers a ``snapshot`` that includes their step counters."""

    def __init__(self, env: gym.Env[str, str]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._limits: list[Any] = [layer for layer in layers(env) if type(layer) is TimeLimit]

    def snapshot(self) -> object:
        """The task's snapshot, and the step counters of the ``TimeLimit`` wrappers."""
        return self.env.get_wrapper_attr("snapshot")(), tuple(limit._elapsed_steps for limit in self._limits)

    def restore(self, snapshot: Any) -> None:
        """Restore the state that :meth:`snapshot` returned, for a task with the same number of time limits."""
        if not isinstance(snapshot, tuple) or len(snapshot) != 2 or len(snapshot[1]) != len(self._limits):
            raise InvalidArgumentError(
                f"restore takes a snapshot that this task returned, received {type(snapshot).__name__}."
            )
        state, counted = snapshot
        self.env.get_wrapper_attr("restore")(state)
        for limit, steps in zip(self._limits, counted, strict=True):
            limit._elapsed_steps = steps


@dataclass(frozen=True, slots=True)
class _Replay:
    seed: int
    options: dict[str, Any] | None
    events: tuple[tuple[str, Any], ...]
    observation: str


class ReplaySnapshots(gym.Wrapper[str, str, str, str], gym.utils.RecordConstructorArgs):
    """Give a text task ``snapshot`` and ``restore`` by replay of seed, options and actions.

    Without a seed, ``reset`` draws one from ``np_random``, so that every episode can be replayed. The task must be
    deterministic given its seed; ``restore`` raises if the last observation differs. Calls of the task's ``reseed`` and
    ``sample_hidden``, where it has them, are replayed too.

    Examples:
        >>> import gymnasium as gym, selfreg_gym
        >>> from selfreg_gym.intervention_env.snapshots import ReplaySnapshots
        >>> task = ReplaySnapshots(gym.make("selfreg/Coin-v0", heads=0.99))
        >>> _ = task.reset(seed=0, options={"episode": 0})
        >>> snapshot = task.snapshot()
        >>> _ = task.step("heads")
        >>> task.restore(snapshot)
        >>> task.step("heads")[0]
        'Coin 2 of 2 lies under the cup. Call it: heads or tails?'
    """

    def __init__(self, env: gym.Env[str, str]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._seed: int | None = None
        self._options: dict[str, Any] | None = None
        self._events: list[tuple[str, Any]] = []
        self._last: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset the task, with a drawn seed if ``seed`` is None."""
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self._options = None if options is None else dict(options)
        self._events = []
        self._last = self.env.reset(seed=self._seed, options=options)
        return self._last

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step the task and record the action."""
        self._last = self.env.step(action)
        self._events.append(("step", action))
        return self._last

    @property
    def reseed(self) -> Callable[[int], None]:
        """The task's ``reseed``; AttributeError if it has none."""
        own = required_member(self.env, "reseed")

        def reseed(seed: int) -> None:
            own(seed)
            self._events.append(("reseed", seed))

        return reseed

    @property
    def sample_hidden(self) -> Callable[[np.random.Generator], None]:
        """The task's ``sample_hidden``; AttributeError if it has none."""
        own = required_member(self.env, "sample_hidden")

        def sample_hidden(rng: np.random.Generator) -> None:
            before = copy.deepcopy(rng)
            own(rng)
            self._events.append(("sample_hidden", before))

        return sample_hidden

    def snapshot(self) -> object:
        """Seed, options, actions, and the other calls so far.

        Raises:
            NotResetError: no episode has begun.
        """
        if self._seed is None:
            raise NotResetError("snapshot needs an episode: call reset() first.")
        return _Replay(self._seed, self._options, tuple(self._events), self._last[0])

    def restore(self, snapshot: object) -> None:
        """Replay the episode up to the step of ``snapshot``.

        Raises:
            InvalidArgumentError: ``snapshot`` is not a snapshot of this class.
            TaskContractError: the replay ended at another observation, so the task is not determined by its seed.
        """
        if not isinstance(snapshot, _Replay):
            raise InvalidArgumentError(
                f"restore takes a snapshot that ReplaySnapshots returned, received {type(snapshot).__name__}."
            )
        self.reset(seed=snapshot.seed, options=snapshot.options)
        for name, argument in snapshot.events:
            getattr(self, name)(copy.deepcopy(argument))
        if self._last[0] != snapshot.observation:
            raise TaskContractError(
                "a task must be determined by its seed, options and actions: replaying "
                f"{len(snapshot.events)} calls from seed {snapshot.seed} led to {self._last[0][:80]!r} "
                f"instead of {snapshot.observation[:80]!r}. Draw all random numbers from self.np_random."
            )
