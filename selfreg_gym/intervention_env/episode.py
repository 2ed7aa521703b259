"""``EpisodeState``: one episode in progress, with the task, the counters and the result of the last step.

``InterventionEnv`` holds one :class:`EpisodeState` and ``InterventionVectorEnv`` N of them, so both play the same
episodes by construction; only the calls of actors are batched (:mod:`selfreg_gym.intervention_env.asking`).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import (
    CheckpointError,
    EpisodeOverError,
    InvalidArgumentError,
    MissingPackageError,
    NotResetError,
    SelfRegError,
    SetupError,
    TaskContractError,
    TaskResetError,
    is_failure,
    message_of,
    shown,
)
from selfreg_gym.intervention_env.calls import CallInProgress
from selfreg_gym.intervention_env.guard import TaskGuard
from selfreg_gym.intervention_env.task_members import episodes_of
from selfreg_gym.intervention_env.task_output import complete_info, count_steps_left, read_reset, read_step, success_of
from selfreg_gym.types import Act, Decision, Intervention
from selfreg_gym.utils.arguments import LARGEST_INTEGER, check_options
from selfreg_gym.utils.random_streams import DECISION

__all__ = ["EpisodeState"]

_DECISION_TAG = DECISION.tag


class EpisodeState:
    """One episode in progress; the attributes hold the result of the last step.

    Attributes:
        task: the task env, with ``snapshot`` and ``restore``.
        seed: seed of the episode, None before the first.
        t: number of steps.
        who: who acted in the last step (0 the actor, k the k-th intervention).
        usage: float64 ``(K,)``, cost units so far per intervention.
        calls: int64 ``(K,)``, calls so far per intervention.
        observation, reward, terminated, truncated, info: return values of the last reset or step.
        over: True if the episode has ended or none has begun.
        act: the actor's act at this step if it was asked before the step (:func:`.asking.ask_ahead`), else None.
        extra_actor_calls: number of steps at which the actor was asked and did not act.
        memory: by actor (0) and intervention (k), the ``memory`` of its last act in the episode.
        calling: k if the call of the k-th intervention goes on: it must act in the next step. 0 if a decision is due.
        continued: whether the last step continued a call that had begun before.
    """

    __slots__ = (
        "_available",
        "_call",
        "_guard",
        "_help_cost",
        "_interventions",
        "_limit",
        "act",
        "calls",
        "extra_actor_calls",
        "info",
        "memory",
        "observation",
        "over",
        "reward",
        "seed",
        "t",
        "task",
        "terminated",
        "truncated",
        "usage",
        "who",
    )

    def __init__(
        self,
        task: gym.Env[str, str],
        interventions: Sequence[Intervention],
        help_cost: float,
        max_episode_steps: int | None = None,
        *,
        abort: bool = False,
    ) -> None:
        self.task = task
        self._guard = TaskGuard(task)
        self._call = CallInProgress(task, interventions, abort=abort)
        self._available = episodes_of(task)
        self._limit = max_episode_steps
        self._interventions = tuple(interventions)
        self._help_cost = help_cost
        self.seed: int | None = None
        self.t = self.who = 0
        self.usage = np.zeros(len(self._interventions))
        self.calls = np.zeros(len(self._interventions), np.int64)
        self.observation = ""
        self.reward = 0.0
        self.terminated = self.truncated = False
        self.info: dict[str, Any] = {}
        self.over = True
        self.act: Act | None = None
        self.extra_actor_calls = 0
        self.memory: dict[int, Any] = {}

    def begin(self, seed: int, options: dict[str, Any] | None) -> None:
        """Reset the task with ``seed``, and the counters.

        Raises:
            InvalidArgumentError: ``options["episode"]`` is not an index of a task.
            UnknownNameError: an option is misspelt.
            TaskContractError: the task raised, or did not return an observation and an info.
        """
        if options is not None:
            check_options(options, available=self._available)
        self.t, self.over = 0, True  # until the task is reset
        try:
            observation, info = read_reset(self.task.reset(seed=seed, options=options))
            self.seed, self.who, self.usage = seed, 0, np.zeros(len(self._interventions))
            self.calls = np.zeros(len(self._interventions), np.int64)
            self.over = self.terminated = self.truncated = False
            self.act, self.extra_actor_calls, self.memory = None, 0, {}
            self._call.clear()
            self._guard.end()
            self._record(observation, info, 0.0, None, None, 0.0)
        except BaseException as error:
            self.over = True
            if not is_failure(error) or (isinstance(error, SelfRegError) and not isinstance(error, TaskContractError)):
                raise
            text = self._fault_of_task(error, f"reset(seed={seed}, options={shown(options)})")
            raise TaskResetError(text) from error

    def decision(self, who: int) -> Decision:
        """The next decision of ``who`` (0 the actor, k the k-th intervention)."""
        key = (self.seed, self.t, who, _DECISION_TAG)
        self._guard.watch(who)
        return Decision(
            self.observation,
            self.info.get("admissible_actions"),
            self._guard,
            key,  # type: ignore[arg-type]
            MappingProxyType(self.info),
            self.memory.get(who),
            self.memory.get(0) if who else None,
        )

    def again(self, decision: Decision) -> Decision:
        """A decision of this step for another call, after a call that failed.

        The task is in the state in which the failed call received it, and the random stream begins again. The failed
        call cannot use the task any more (:meth:`TaskGuard.renewed`).
        """
        self._guard = self._guard.renewed()
        return decision.renewed(task=self._guard)

    def apply(self, who: int, act: str | Act) -> None:
        """Execute the act of ``who``.

        The episode ends with ``info["error"]`` if the act has an error, an actor has changed the task, or the task
        raised or returned values of the wrong types. The message names who broke which rule.
        """
        name, cost, tokens, reported_cost = None, 0.0, None, None
        self.who = who
        failure = None if isinstance(act, str) or act.error is None else f"{self._name_of(who)}: {act.error}"
        if changed := self._guard.end():
            change = self._change_of(changed)
            act = Act("", error=change if failure is None else f"{failure.rstrip('.')}. Then, {change}")
        elif failure is not None:
            act = Act("", error=failure)
        if self.act is not None:
            self.extra_actor_calls += who > 0
            self.act = None
        if who:
            name, cost = self._interventions[who - 1].name, self._call.begin_step(who)
            self.calls[who - 1] += not self._call.continued
        elif self._call.continued:
            self._call.continued = False
        if isinstance(act, str):
            text = act
        else:
            if act.error is not None:
                self._fail(name, act.error)
                return
            text, tokens = act.text, act.tokens
            if act.memory is not None:
                self.memory[who] = act.memory
            if who and act.actor_memory is not None:
                self.memory[0] = act.actor_memory
            if act.cost is not None:
                reported_cost = float(act.cost)
                if who:
                    cost = reported_cost
        before = self.observation, self.info, self.usage.copy(), self.t
        try:
            observation, self.terminated, self.truncated, info = read_step(self.task.step(text))
            self.t += 1
            if self._limit is not None and self.t >= self._limit:
                self.truncated = True
            self.over = self.terminated or self.truncated
            if who:
                self._call.end_step(over=self.over)
            if cost:
                self.usage[who - 1] += cost
            reward = -self._help_cost * cost if cost else 0.0
            self._record(observation, info, cost, name, text, reward, tokens, reported_cost)
        except (SetupError, MissingPackageError, CheckpointError):
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            self.observation, self.info, self.usage, self.t = before
            self._fail(name, self._fault_of_task(error, f"step({shown(text)})"))

    def _fail(self, intervention: str | None, error: str) -> None:
        """End the episode with an error; it is excluded from all statistics.

        Raises:
            SetupError: the task does not return from a method that a call of an actor uses.
        """
        self._guard.end()
        self._guard = self._guard.renewed()  # threads of a failed call may go on
        self.t += 1
        self.terminated, self.truncated, self.over = False, True, True
        self._call.who = 0
        self._record(self.observation, self.info, 0.0, intervention, None, 0.0, error=error)

    def fail(self, error: str) -> None:
        """End the episode with the error of a helper; no action is taken on the task."""
        self.who = 0
        self.extra_actor_calls += self.act is not None
        self.act = None
        self._call.clear()
        self._fail(None, error)

    def _name_of(self, who: int) -> str:
        return f"the intervention {shown(self._interventions[who - 1].name)}" if who else "the actor"

    def _change_of(self, asked: Sequence[int]) -> str:
        """The error about a changed task."""
        who = " or ".join(map(self._name_of, dict.fromkeys(asked)))
        return (
            f"{who}: an actor must leave the live task as it is; the task was stepped, reset or drawn anew, and not "
            "restored. Take decision.task.snapshot() before a trial, and restore it afterwards, also after an error."
        )

    def abort(self) -> None:
        """End the episode without success; no action is taken on the task, and nothing is spent."""
        self.who = len(self._interventions) + 1
        self.extra_actor_calls += self.act is not None
        self.act = None
        self.t += 1
        self.terminated, self.truncated, self.over = True, False, True
        self._call.clear()
        self._record(self.observation, {**self.info, "invalid_action": False}, 0.0, None, None, 0.0)

    def cut_off(self) -> None:
        """Truncate the episode, because a wrapper around the env (a ``TimeLimit``) has ended it."""
        if not self.over:
            self.truncated = self.over = True
            self.end_call()

    @property
    def calling(self) -> int:
        return self._call.who

    @property
    def continued(self) -> bool:
        return self._call.continued

    @property
    def mask(self) -> np.ndarray:
        """int8 ``(A,)``: 1 for the actions that are possible in the next step."""
        return self._call.mask

    def next_cost(self, action: int) -> float:
        """Expected cost units of the next step, if it is ``action``."""
        return self._call.cost_of(action)

    def end_call(self) -> None:
        """End the call in progress before its time, so that the next step is a decision."""
        if self._call.who:
            self._call.who = 0
            self.info["action_mask"] = self._call.mask

    def require_possible(self, action: int) -> None:
        """Raise if a call is in progress and ``action`` is another one.

        Raises:
            InvalidArgumentError: the call allows one action only.
        """
        if self._call.who and action != self._call.who:
            self._call.raise_forbidden(action)

    def raise_not_running(self, what: str) -> NoReturn:
        """Raise the error for a call ``what`` that needs an episode in progress."""
        if self.seed is None:
            raise NotResetError(f"{what} needs an episode: call reset() first.")
        raise EpisodeOverError(f"{what} was called on an episode that has ended: call reset() to begin the next.")

    def _fault_of_task(self, error: BaseException, call: str) -> str:
        """The error about a task that raised, or returned something else than the contract says."""
        where = f"in {call}" if call.startswith("reset") else f"in {call}, after step {self.t} of seed {self.seed}"
        if isinstance(error, TaskContractError):
            return f"the task {self.task}: {str(error).rstrip('.')} ({where})."
        return (
            f"a task must accept every reset and every action text: {self.task} raised {type(error).__name__} "
            f"({shown(message_of(error))}) {where}."
        )

    def snapshot(self) -> tuple[Any, ...]:
        """The snapshot of the task, the counters, the result of the last step, and the actor's act at this step."""
        if self.seed is None:
            self.raise_not_running("snapshot")
        task_snapshot = self.task.get_wrapper_attr("snapshot")()
        counters = (self.seed, self.t, self.usage.copy(), self.calls.copy(), self.observation, self.info)
        ending = (self.reward, self.terminated, self.truncated, self.over)
        asked = self.act, self.extra_actor_calls, dict(self.memory)
        return task_snapshot, counters, ending, asked, self._call.state()

    def restore(self, snapshot: tuple[Any, ...]) -> None:
        """Restore the state in ``snapshot``, which :meth:`snapshot` returned."""
        try:
            task_snapshot, counters, ending, asked, call = snapshot
            seed, t, usage, calls, observation, info = counters
        except (TypeError, ValueError):
            raise InvalidArgumentError(
                f"restore takes a snapshot that this env returned, received {shown(snapshot)}."
            ) from None
        self._guard.end()
        self._guard = self._guard.renewed()
        self.task.get_wrapper_attr("restore")(task_snapshot)
        self.seed, self.t, self.observation, self.info = seed, t, observation, info
        self.usage, self.calls = usage.copy(), calls.copy()
        self.reward, self.terminated, self.truncated, self.over = ending
        self.act, self.extra_actor_calls, memory = asked
        self.memory = dict(memory)
        self._call.set_state(call)

    def _record(
        self,
        observation: str,
        task_info: dict[str, Any],
        cost: float,
        intervention: str | None,
        action_text: str | None,
        reward: float,
        tokens: int | None = None,
        reported_cost: float | None = None,
        error: str | None = None,
    ) -> None:
        """Set the attributes to the result of a reset or step."""
        success = self.over and error is None and success_of(task_info, self.terminated)
        self.observation, self.reward = observation, reward + 1.0 if success else reward
        info = task_info.copy()  # copy and assignments: a display with ** takes twice as long
        if self._limit is not None or (
            "steps_left" in info and (type(left := info["steps_left"]) is not int or not 0 <= left <= LARGEST_INTEGER)
        ):
            count_steps_left(info, None if self._limit is None else 0 if self.over else self._limit - self.t)
        complete_info(info, observation)
        info["usage"] = self.usage.copy()
        info["calls"] = self.calls.copy()
        info["intervention"] = intervention
        info["action_text"] = action_text
        info["cost"] = cost
        # The type of a key never changes: Gymnasium's vector envs make an array of the first value's type.
        info["tokens"] = -1 if tokens is None else tokens
        # "price" is the former name; a dict cannot warn, so both keys are there for one release.
        info["reported_cost"] = info["price"] = -1.0 if reported_cost is None else reported_cost
        info["step"] = self.t
        info["action_mask"] = self._call.mask
        if self._call.abort:
            info["aborted"] = self.t > 0 and self.who > len(self._interventions)
        info["success"] = info["is_success"] = success
        info["task_seed"] = self.seed
        info["error"] = error
        self.info = info
