"""One episode in progress: the task, the counters, and what the last step led to.

``InterventionEnv`` is one :class:`Row` and ``InterventionVectorEnv`` is N of them, so both give the same episodes by
construction; only *whom to ask* is batched, by :func:`ask`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import (
    CheckpointError,
    EpisodeOverError,
    MissingPackageError,
    NotResetError,
    SetupError,
    TaskContractError,
)
from selfreg_gym.types import Act, Actor, Decision, Intervention

__all__ = ["Row", "ask", "ask_one"]

# Last entry of a decision's key. Without it the key (s, 0, 0) would give the very stream that a task seeded with s
# draws from: SeedSequence pads with zeros.
_DECISION_STREAM = 1


class Row:
    """One episode in progress. What a step led to stays readable in the attributes.

    Attributes:
        task: the live task (with ``snapshot`` and ``restore`` in any case).
        seed: seed of the episode, or None before the first.
        t: steps done.
        who: who acted in the last step (0 the actor, k the k-th intervention).
        usage: float64 ``(K,)``: cost units so far, per intervention.
        observation, reward, terminated, truncated, info: what the last reset or step returned.
        over: the episode has ended, or none has begun.
    """

    __slots__ = (
        "_help_cost",
        "_interventions",
        "_task_info",
        "info",
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

    def __init__(self, task: gym.Env[str, str], interventions: Sequence[Intervention], help_cost: float) -> None:
        self.task = task
        self._interventions = tuple(interventions)
        self._help_cost = help_cost
        self.seed: int | None = None
        self.t = self.who = 0
        self.usage = np.zeros(len(self._interventions))
        self.observation = ""
        self.reward = 0.0
        self.terminated = self.truncated = False
        self.info: dict[str, Any] = {}
        self._task_info: dict[str, Any] = {}
        self.over = True

    def begin(self, seed: int, options: dict[str, Any] | None) -> None:
        """Reset the task with ``seed`` and start counting from zero."""
        observation, info = self.task.reset(seed=seed, options=options)
        self.seed, self.t, self.usage = seed, 0, np.zeros(len(self._interventions))
        self.over = self.terminated = self.truncated = False
        self._tell(observation, info, 0.0, None, None, 0.0)

    def decision(self, who: int) -> Decision:
        """The moment at which ``who`` (0 the actor, k the k-th intervention) must act."""
        return Decision(
            self.observation,
            self._task_info.get("admissible_actions"),
            task=self.task,
            key=(self.seed, self.t, who, _DECISION_STREAM),  # type: ignore[arg-type]
        )

    def apply(self, who: int, act: str | Act) -> None:
        """Execute what ``who`` said, or end the episode if it failed."""
        name, cost, tokens, price = None, 0.0, None, None
        self.who = who
        if who:
            intervention = self._interventions[who - 1]
            name, cost = intervention.name, intervention.cost
        if isinstance(act, str):
            text = act
        else:
            if act.error is not None:
                self.t += 1
                self.terminated, self.truncated, self.over = False, True, True
                self._tell(self.observation, self._task_info, 0.0, name, None, 0.0, error=act.error)
                return
            text, tokens = act.text, act.tokens
            if act.cost is not None:
                price = float(act.cost)
                if who:
                    cost = price
        observation, _, self.terminated, self.truncated, info = self.task.step(text)
        self.t += 1
        self.over = self.terminated or self.truncated
        if cost:
            self.usage[who - 1] += cost
        self._tell(observation, info, cost, name, text, -self._help_cost * cost if cost else 0.0, tokens, price)

    def refuse(self, what: str) -> NoReturn:
        """Raise the error that fits a call which needs an episode in progress."""
        if self.seed is None:
            raise NotResetError(f"{what} needs an episode: call reset() first.")
        raise EpisodeOverError(f"{what} was called on an episode that has ended: call reset() to begin the next.")

    def snapshot(self) -> tuple[Any, ...]:
        """The task's snapshot and all counters."""
        if self.seed is None:
            self.refuse("snapshot")
        moment = self.task.get_wrapper_attr("snapshot")()
        counters = (self.seed, self.t, self.usage.copy(), self.observation, self._task_info, self.info)
        return moment, counters, (self.reward, self.terminated, self.truncated, self.over)

    def restore(self, snapshot: tuple[Any, ...]) -> None:
        """Go back to a moment that :meth:`snapshot` returned."""
        moment, counters, ending = snapshot
        self.task.get_wrapper_attr("restore")(moment)
        self.seed, self.t, usage, self.observation, self._task_info, self.info = counters
        self.usage = usage.copy()
        self.reward, self.terminated, self.truncated, self.over = ending

    def _tell(
        self,
        observation: str,
        task_info: dict[str, Any],
        cost: float,
        intervention: str | None,
        action_text: str | None,
        reward: float,
        tokens: int | None = None,
        price: float | None = None,
        error: str | None = None,
    ) -> None:
        """Write down what a reset or step led to."""
        success = False
        if self.over and error is None:
            success = _success(task_info, self.terminated)
            if success:
                reward += 1.0
        self.observation, self.reward, self._task_info = observation, reward, task_info
        info = task_info.copy()  # and assignments, for a display with ** takes twice as long
        info["usage"] = self.usage.copy()
        info["intervention"] = intervention
        info["action_text"] = action_text
        info["cost"] = cost
        info["tokens"] = tokens
        info["price"] = price
        info["step"] = self.t
        info["success"] = info["is_success"] = success
        info["task_seed"] = self.seed
        info["error"] = error
        if "state_key" not in info:
            info["state_key"] = observation
        if "task_id" not in info:
            info["task_id"] = ""
        if "invalid_action" not in info:
            info["invalid_action"] = False
        self.info = info


def ask(actor: Actor, decisions: Sequence[Decision]) -> list[str | Act]:
    """Ask an actor once for all decisions; what goes wrong comes back as ``Act.error``.

    When a batched call raises or answers with the wrong number of acts, each decision is asked alone, so that one bad
    decision does not take the others' episodes with it.

    Raises:
        SetupError, MissingPackageError, CheckpointError: the actor cannot answer anything as it is set up here. No
            episode has failed.
    """
    try:
        acts = actor.act(decisions)
        if len(acts) == len(decisions):
            return [act if type(act) is str else _checked(act) for act in acts]
        failure = f"{type(actor).__name__}.act answered {len(decisions)} decisions with {len(acts)} acts."
    except (SetupError, MissingPackageError, CheckpointError):
        raise
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    if len(decisions) == 1:
        return [Act("", error=failure)]
    # The failed call may have drawn from the streams: each decision starts afresh.
    return [ask_one(actor, decision.renewed()) for decision in decisions]


def ask_one(actor: Actor, decision: Decision) -> str | Act:
    """Ask an actor for one decision."""
    return ask(actor, (decision,))[0]


def _checked(act: str | Act) -> str | Act:
    """An act that can be executed, or one with an error."""
    if not isinstance(act, Act):
        return str(act) if isinstance(act, str) else Act("", error=f"an act is a str or Act, received {act!r}.")
    if act.error is None:
        if not isinstance(act.text, str):
            return Act("", error=f"an act's text is a str, received {act.text!r}.")
        if act.cost is not None and not (math.isfinite(act.cost) and act.cost >= 0):
            return Act("", error=f"an act's cost is a number of at least 0, received {act.cost!r}.")
        if act.tokens is not None and (not isinstance(act.tokens, int | np.integer) or act.tokens < 0):
            return Act("", error=f"an act's tokens are a whole number of at least 0, received {act.tokens!r}.")
    return act


def _success(info: dict[str, Any], terminated: bool) -> bool:
    """The outcome that the task reports on its last step."""
    success = info.get("success", info.get("is_success"))
    if success is None and terminated:
        raise TaskContractError(
            "a task must report info['success'] (bool) on its last step; this one terminated without it."
        )
    return bool(success)
