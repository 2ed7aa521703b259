"""``TaskGuard``: the live task as actors see it, which notices if one of them changes it and does not restore it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym

from selfreg_gym.errors import SetupError, TaskContractError
from selfreg_gym.optional_members import required_member
from selfreg_gym.utils.time_limit import raise_if_interrupted

__all__ = ["TaskGuard"]

_PATIENCE = 10.0  # seconds to wait for the end of a task's step, in the thread of a call whose time is over


class _Snapshot(NamedTuple):
    """The task's snapshot, and the mark of the state that it belongs to."""

    state: Any
    mark: object


class TaskGuard(gym.Wrapper[str, str, str, str]):
    """The live task in the decisions of an episode.

    Each state that a caller can reach has a mark: ``reset``, ``step``, ``reseed`` and ``sample_hidden`` make a new one,
    and ``restore`` brings back that of the snapshot. So a changed task is noticed without a comparison of states. A
    change through ``unwrapped``, or by another method of the task, is not noticed.

    After a failed call, :meth:`renewed` brings back the state in which the call received the task, and returns another
    guard for the next call. The earlier one then raises ``TaskContractError`` in all its methods, because threads of
    the failed call may still run. In the thread of a call whose time is over, every guard raises
    :class:`selfreg_gym.utils.time_limit.Interrupted`.

    Args:
        task: the task env, with ``snapshot`` and ``restore``.
    """

    def __init__(self, task: gym.Env[str, str]) -> None:
        super().__init__(task)
        self._mark = self._expected = object()
        self._watched: list[int] = []
        self._before: _Snapshot | None = None  # the state before the first change of this step
        self._closed = False
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    @property
    def mark(self) -> object:
        """The mark of the current state."""
        return self._mark

    def watch(self, who: int) -> None:
        """Begin a call of ``who`` (0 the actor, k the k-th intervention)."""
        self._watched.append(who)

    def end(self) -> list[int]:
        """End the step: who was called in it, if the task is not in the state in which they received it; else none."""
        changed = self._watched if self._mark is not self._expected else []
        self._watched, self._before = [], None
        self._mark = self._expected = object()  # a new one: the snapshots of earlier steps are other states
        return changed

    def renewed(self) -> TaskGuard:
        """Restore the state in which the calls of this step received the task, and return another guard of it.

        The calls that have this guard cannot use the task any more.

        Raises:
            SetupError: the task itself does not return from a method, which a call began whose time is over.
        """
        if not self._lock.acquire(timeout=_PATIENCE):
            raise SetupError(
                f"the task {self.env} does not return from a method that an actor or an intervention called before its "
                "time was over (call_timeout). A task must answer every call; this one cannot be used any more."
            )
        try:
            self._closed = True
            if self._before is not None and self._mark is not self._expected:
                self.env.get_wrapper_attr("restore")(self._before.state)
                self._mark = self._before.mark
        finally:
            self._lock.release()
        other = TaskGuard(self.env)
        other._mark, other._expected, other._watched = self._mark, self._expected, self._watched
        return other

    def _check_open(self) -> None:
        """Raise if this guard has been replaced."""
        raise_if_interrupted()
        if self._closed:
            raise TaskContractError(
                "an actor must use the task of its decision only until it has answered or failed; this task is that of "
                "a call that failed. Take decision.task anew in each call."
            )

    def _change(self) -> None:
        """Begin a change of the task by the call in progress; the lock is held."""
        self._check_open()
        if self._before is None and self._watched:
            self._before = _Snapshot(self.env.get_wrapper_attr("snapshot")(), self._mark)
        self._mark = object()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset the task."""
        with self._lock:
            self._change()
            return self.env.reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step the task."""
        with self._lock:
            self._change()
            return self.env.step(action)

    def snapshot(self) -> object:
        """The task's snapshot with the mark of this state."""
        with self._lock:
            self._check_open()
            return _Snapshot(self.env.get_wrapper_attr("snapshot")(), self._mark)

    def restore(self, snapshot: Any) -> None:
        """Restore a snapshot of this guard, or of the task itself, which counts as another state."""
        known = isinstance(snapshot, _Snapshot)
        with self._lock:
            self._change()
            self.env.get_wrapper_attr("restore")(snapshot.state if known else snapshot)
            if known:
                self._mark = snapshot.mark

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
            with self._lock:
                self._change()
                own(argument)

        return changing

    def __getattr__(self, name: str) -> Any:
        """A member of the task itself; one that begins with an underscore only if this class has it."""
        if name.startswith("_") or name in ("reseed", "sample_hidden"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        self._check_open()
        return self.env.get_wrapper_attr(name)
