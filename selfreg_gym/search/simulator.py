"""``Simulator``: simulated episodes of a live task from its current state, and the return to that state."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from selfreg_gym.search.states import advance, member
from selfreg_gym.types import optional_member
from selfreg_gym.utils.random_streams import SIMULATION, stream

__all__ = ["Simulator", "foresees"]


def foresees(task: Any) -> bool:
    """Whether simulations of a task use facts that the actor cannot know, because it cannot draw them anew.

    A snapshot has the random state and the hidden facts of the episode. Random events are drawn anew by ``reseed``, and
    hidden facts by ``sample_hidden``. A task that lacks one of these methods may have such events or facts.
    """
    return any(optional_member(task, name) is None for name in ("reseed", "sample_hidden"))


class Simulator:
    """Simulates episodes from the current state of a task, as a context manager that restores this state at its end.

    Args:
        task: the live task env, with ``snapshot`` and ``restore``.
        steps_left: steps until the episode ends, or None if it is not known.
        privileged: simulate the true episode, with its hidden facts and its future random events.

    Raises:
        TaskContractError: the task has no snapshots.
    """

    def __init__(self, task: Any, *, steps_left: int | None = None, privileged: bool = False) -> None:
        self.task, self._left, self._steps_left = task, steps_left, steps_left
        self._restore = member(task, "restore")
        self._start = member(task, "snapshot")()
        self._sample = None if privileged else optional_member(task, "sample_hidden")
        self._reseed = None if privileged else optional_member(task, "reseed")

    def begin(self, *key: int) -> None:
        """Return to the first state, and draw hidden facts and a random stream by ``key`` (non-negative integers)."""
        self._restore(self._start)
        self._left = self._steps_left
        if self._sample is None and self._reseed is None:
            return
        rng = stream(SIMULATION, *key)
        if self._sample is not None:
            self._sample(rng)
        if self._reseed is not None:
            self._reseed(int(rng.integers(2**63)))

    def step(self, action: str) -> tuple[str, bool, bool, dict[str, Any]]:
        """Simulate one action: ``(observation, over, success, info)``."""
        result = advance(self.task, action, self._left)
        self._left = result[3].get("steps_left")
        return result

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(self._start)
