"""``CallInProgress``: the call of an intervention that lasts several steps, and the actions that are possible.

A call of several steps is an *option* (Sutton, Precup and Singh 1999): it is chosen once, and the intervention then
acts at every step until the call ends. Each step is an ordinary step of the env; while the call goes on, one action is
possible, that of the intervention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.types import Intervention, optional_member

__all__ = ["CallInProgress"]


class CallInProgress:
    """Who must act in the next step of an episode.

    Args:
        task: the task env.
        interventions: K of them.
        abort: whether the action K + 1 ends the episode.

    Attributes:
        who: k while the call of the k-th intervention goes on, else 0.
        steps: number of steps of the last call so far.
        continued: whether the last step continued a call.
        abort: as given.

    Raises:
        InvalidArgumentError: a call lasts until the sub-goal changes, and the task has no ``subgoal``.
    """

    __slots__ = ("_costs", "_durations", "_masks", "_names", "_subgoal", "_task", "abort", "continued", "steps", "who")

    def __init__(self, task: Any, interventions: Sequence[Intervention], *, abort: bool = False) -> None:
        self._task, self.abort = task, abort
        self._names = [one.name for one in interventions]
        self._durations = (1, *(one.duration for one in interventions))
        # Cost units of the first step of a call, and of each of the others.
        per_step = [one.cost if one.cost_per == "step" else 0.0 for one in interventions]
        self._costs = ((0.0, *(one.cost for one in interventions), 0.0), (0.0, *per_step))
        count = 1 + len(interventions) + abort
        self._masks = tuple(np.concatenate([np.ones((1, count), np.int8), np.eye(count, dtype=np.int8)[1:]]))
        self.who = self.steps = 0
        self.continued = False
        self._subgoal: str | None = None
        if "subgoal" in self._durations and optional_member(task, "subgoal") is None:
            name = self._names[self._durations.index("subgoal") - 1]
            raise InvalidArgumentError(
                f"intervention {name!r} has the duration 'subgoal', and the task "
                f"{type(getattr(task, 'unwrapped', task)).__name__} has no method subgoal() -> str: add one, or choose "
                "a number of steps or 'end'."
            )

    @property
    def mask(self) -> np.ndarray:
        """int8 ``(A,)``: 1 for the actions that are possible in the next step."""
        return self._masks[self.who].copy()

    def clear(self) -> None:
        """No call is in progress, as at the beginning of an episode."""
        self.who = self.steps = 0
        self.continued, self._subgoal = False, None

    def cost_of(self, action: int) -> float:
        """Expected cost units of the next step, if it is ``action``."""
        return self._costs[action > 0 and action == self.who][action]

    def begin_step(self, who: int) -> float:
        """Begin or continue the call of the intervention ``who``, and return the expected cost units of this step."""
        cost = self.cost_of(who)
        self.continued = self.who == who
        if not self.continued:
            self.who, self.steps = who, 0
            if self._durations[who] == "subgoal":
                self._subgoal = self._read_subgoal()
        return cost

    def end_step(self, *, over: bool) -> None:
        """Count the step, and end the call if its time or the episode is over."""
        self.steps += 1
        duration = self._durations[self.who]
        if duration == 1 or over:
            self.who = 0
        elif duration == "subgoal":
            if self._read_subgoal() != self._subgoal:
                self.who = 0
        elif duration != "end" and self.steps >= duration:  # type: ignore[operator]
            self.who = 0

    def state(self) -> tuple[Any, ...]:
        """For a snapshot."""
        return self.who, self.steps, self.continued, self._subgoal

    def set_state(self, state: tuple[Any, ...]) -> None:
        """Return to a state of :meth:`state`."""
        self.who, self.steps, self.continued, self._subgoal = state

    def raise_forbidden(self, action: int) -> NoReturn:
        """Raise the error for another action than the only possible one."""
        lasts = {"subgoal": "until the task's sub-goal changes", "end": "to the end of the episode"}
        duration = self._durations[self.who]
        length = lasts[duration] if isinstance(duration, str) else f"{duration} steps"
        raise InvalidArgumentError(
            f"help from {self._names[self.who - 1]!r} lasts {length}, and {self.steps} of its steps "
            f"{'is' if self.steps == 1 else 'are'} done: the next action must be {self.who}, received {action}. "
            "info['action_mask'] has the possible actions."
        )

    def _read_subgoal(self) -> str:
        try:
            name = self._task.get_wrapper_attr("subgoal")()
        except Exception as error:
            raise TaskContractError(
                f"subgoal() of a task must return a str in every state; it raised {type(error).__name__} "
                f"({shown(str(error))})."
            ) from error
        if not isinstance(name, str):
            raise TaskContractError(f"subgoal() of a task must return a str, received {shown(name)}.")
        return str(name)
