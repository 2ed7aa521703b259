"""``TaskGuard``: the live task as actors see it, which notices if one of them changes it and does not restore it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym

from selfreg_gym.optional_members import required_member

__all__ = ["TaskGuard"]


class _Snapshot(NamedTuple):
    """The task's snapshot, and the mark of the state that it belongs to."""

    state: Any
    mark: object


class TaskGuard(gym.Wrapper[str, str, str, str]):
    """The live task in the decisions of an episode.

    Each state that a caller can reach has a mark: ``reset``, ``step``, ``reseed`` and ``sample_hidden`` make a new one,
    and ``restore`` brings back that of the snapshot. So a changed task is noticed without a comparison of states. A
    change through ``unwrapped``, or by another method of the task, is not noticed.

    Args:
        task: the task env, with ``snapshot`` and ``restore``.
    """

    def __init__(self, task: gym.Env[str, str]) -> None:
        super().__init__(task)
        self._mark = self._expected = object()
        self._watched: list[int] = []

    def watch(self, who: int) -> None:
        """Begin a call of ``who`` (0 the actor, k the k-th intervention)."""
        self._watched.append(who)

    def end(self) -> list[int]:
        """End the step: who was called in it, if the task is not in the state in which they received it; else none."""
        changed = self._watched if self._mark is not self._expected else []
        self._watched = []
        self._mark = self._expected = object()  # a new one: the snapshots of earlier steps are other states
        return changed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset the task."""
        self._mark = object()
        return self.env.reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step the task."""
        self._mark = object()
        return self.env.step(action)

    def snapshot(self) -> object:
        """The task's snapshot with the mark of this state."""
        return _Snapshot(self.env.get_wrapper_attr("snapshot")(), self._mark)

    def restore(self, snapshot: Any) -> None:
        """Restore a snapshot of this guard, or of the task itself, which counts as another state."""
        known = isinstance(snapshot, _Snapshot)
        self.env.get_wrapper_attr("restore")(snapshot.state if known else snapshot)
        self._mark = snapshot.mark if known else object()

    @property
    def reseed(self) -> Callable[[int], None]:
        """The task's ``reseed``; AttributeError if it has none."""
        return self._marked("reseed")

    @property
    def sample_hidden(self) -> Callable[[Any], None]:
        """The task's ``sample_hidden``; AttributeError if it has none."""
        return self._marked("sample_hidden")

    def _marked(self, name: str) -> Callable[[Any], None]:
        own = required_member(self.env, name)

        def changing(argument: Any) -> None:
            own(argument)
            self._mark = object()

        return changing

    def __getattr__(self, name: str) -> Any:
        """A member of the task itself; one that begins with an underscore only if this class has it."""
        if name.startswith("_") or name in ("reseed", "sample_hidden"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self.env.get_wrapper_attr(name)
