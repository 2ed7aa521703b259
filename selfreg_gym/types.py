"""The types of the whole package: tasks, decisions, actors, interventions, helpers, episodes.

Tasks and actors are protocols: any object with the right methods is one, and :mod:`selfreg_gym.testing` checks it.
Their optional members are in :mod:`selfreg_gym.optional_members`.
"""

from __future__ import annotations

import copy
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from selfreg_gym.episodes import Episode, Transition
from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.optional_members import (
    OptionalActorMembers,
    OptionalInterventionMembers,
    OptionalTaskMembers,
    optional_member,
)
from selfreg_gym.utils.arguments import LARGEST_INTEGER, check_number
from selfreg_gym.utils.random_streams import DERIVED_DECISION, generator

__all__ = [
    "Act",
    "Actor",
    "CostPer",
    "Decision",
    "Duration",
    "Episode",
    "FunctionActor",
    "HelperPolicy",
    "Intervention",
    "OptionalActorMembers",
    "OptionalInterventionMembers",
    "OptionalTaskMembers",
    "TextTask",
    "Transition",
    "as_actor",
    "optional_member",
]

Duration = int | Literal["subgoal", "end"]
"""How long a call lasts: a number of steps, until the task's sub-goal changes, or to the end of the episode."""
CostPer = Literal["call", "step"]
"""Whether the cost of an intervention is that of a call or that of each of its steps."""
DURATIONS = ("subgoal", "end")
COSTS_PER = ("call", "step")


@runtime_checkable
class TextTask(Protocol):
    """A Gymnasium env whose observation and action are ``str``.

    ``reset(options={"episode": i})`` chooses the task with index i; ``seed`` determines all other randomness, so one
    task can be played many times. ``info`` has these keys on every reset and step:

    * ``task_id`` (str): the name of the task;
    * ``admissible_actions`` (tuple of str), absent if any text is admissible;
    * ``state_key`` (str, default: the observation): equal for equal states; it includes the task id;
    * ``feature_key`` (str, optional): the same without the task id, with a few hundred values;
    * ``kind`` (str, optional): a group of tasks with separate results;
    * ``feature_vector`` (float32 ``(d,)``, optional): the same as numbers, for tasks whose states are continuous;
    * ``steps_left`` (int, optional): an upper bound on the steps until the task ends the episode;
    * ``success`` and ``is_success`` (bool) on the last step;
    * ``invalid_action`` (bool, optional): the last action was not admissible;
    * ``metrics`` (dict of numbers, optional, last step): further results. None, NaN and infinity mean "not measured",
      and become NaN.

    A key has one type on every step, so that Gymnasium's vector environments can put it into one array. A task counts
    its own steps, because a ``TimeLimit`` wrapper is not part of a snapshot. :class:`OptionalTaskMembers` has the
    optional members.
    """

    observation_space: gym.Space[str]
    action_space: gym.Space[str]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode and return ``(observation, info)``."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Apply one text action and return ``(observation, reward, terminated, truncated, info)``."""


class Decision:
    """One decision of the actor or of an intervention.

    Attributes:
        observation: the text to act on.
        admissible_actions: the actions that will be accepted, or None if any text is admissible.
        task: the live task env. A planner may take a snapshot and must restore it.
        info: the env's info at this decision, read-only; empty if it is not known.
        memory: the ``Act.memory`` of the last act in this episode of the same actor or intervention, or None.
        actor_memory: the memory of the env's actor in this episode, for an intervention that calls this actor, or None.
        rng: a random stream for (episode seed, step, actor), created at its first use. It is independent of other
            streams, so neither batching nor a memo changes a sample.
    """

    __slots__ = ("_key", "_rng", "actor_memory", "admissible_actions", "info", "memory", "observation", "task")

    def __init__(
        self,
        observation: str,
        admissible_actions: tuple[str, ...] | None = None,
        task: Any = None,
        key: tuple[int, ...] = (0,),
        info: Mapping[str, Any] | None = None,
        memory: Any = None,
        actor_memory: Any = None,
    ) -> None:
        """``key``: non-negative integers (episode seed, step, actor) that seed ``rng``."""
        self.observation = observation
        self.admissible_actions = admissible_actions
        self.task = task
        self.info: Mapping[str, Any] = {} if info is None else info
        self.memory, self.actor_memory = memory, actor_memory
        self._key = key
        self._rng: np.random.Generator | None = None

    @property
    def rng(self) -> np.random.Generator:
        """The random stream of this decision alone."""
        if self._rng is None:
            self._rng = generator(self._key)
        return self._rng

    def renewed(self, *, task: Any = ...) -> Decision:
        """The same decision with its random stream reset; ``task``: another env, or ``...`` for the same."""
        other = self.remembering(self.memory, self.actor_memory)
        if task is not ...:
            other.task = task
        return other

    def remembering(self, memory: Any, actor_memory: Any = None) -> Decision:
        """The same decision with its random stream reset and other memories."""
        args = self.observation, self.admissible_actions, self.task, self._key, self.info
        return Decision(*args, memory, actor_memory)

    def derived(
        self,
        number: int,
        *,
        observation: str | None = None,
        admissible_actions: Any = ...,
        task: Any = ...,
        info: Any = ...,
    ) -> Decision:
        """A decision with another random stream, for an actor that asks another actor, once or several times.

        It has no memory; :meth:`remembering` gives it one.

        Args:
            number: number of the question, not negative; each has a stream of its own.
            observation: another text to act on; None: the same.
            admissible_actions: others, or None if any text is admissible; ``...``: the same.
            task, info: others; ``...``: the same.
        """
        key = (*self._key, DERIVED_DECISION.tag, number)
        return Decision(
            self.observation if observation is None else observation,
            self.admissible_actions if admissible_actions is ... else admissible_actions,
            self.task if task is ... else task,
            key,  # type: ignore[arg-type]
            self.info if info is ... else info,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: dict(self.info) if name == "info" else getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        return f"Decision({self.observation[:60]!r}, {self.admissible_actions!r}, key={self._key})"


@dataclass(frozen=True, slots=True)
class Act:
    """The answer of an actor to one decision.

    Attributes:
        text: the action.
        logprobs: log-probabilities of ``decision.admissible_actions`` in their order, if the actor computes them.
        tokens: tokens read and written for this act (0 to 2**53), or None if they are not counted.
        cost: cost units of this call (0 to 1e12), or None; overrides the intervention's expected cost. The actor's own
            cost is in ``info["reported_cost"]`` and never charged.
        error: the reason of a failure, or None. An act with an error is not executed.
        memory: what the actor finds as ``decision.memory`` at its next decision of this episode; None leaves it as it
            is. It belongs to the episode, so snapshots include it. It must not be changed later, and is not stored.
        actor_memory: what the env's actor finds as ``decision.memory`` at its next decision, if an intervention called
            this actor; None leaves it as it is.

    The env checks each act when it is received. An act with an invalid field counts as failed: its episode ends with
    ``info["error"]``, and no other episode is affected.
    """

    text: str
    logprobs: tuple[float, ...] | None = None
    tokens: int | None = None
    cost: float | None = None
    error: str | None = None
    memory: Any = field(default=None, compare=False, repr=False)
    actor_memory: Any = field(default=None, compare=False, repr=False)


@runtime_checkable
class Actor(Protocol):
    """Acts on a task. Batched: N decisions in, N acts (or plain strings) out, in the same order.

    ``__deepcopy__`` should return ``self``: Gymnasium copies env specs deeply, and a model must not be copied.
    :class:`OptionalActorMembers` has the optional members.
    """

    def act(self, decisions: Sequence[Decision]) -> Sequence[str | Act]:
        """Answer every decision."""


class FunctionActor:
    """A plain function of the observation, as an actor."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self.function = function

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Call the function once per decision."""
        return [self.function(decision.observation) for decision in decisions]

    def __deepcopy__(self, memo: dict[int, Any]) -> FunctionActor:
        return self

    def __repr__(self) -> str:
        return f"FunctionActor({getattr(self.function, '__qualname__', self.function)!r})"


def as_actor(actor: Actor | Callable[[str], str]) -> Actor:
    """Make an :class:`Actor` of ``f(observation: str) -> str``; an actor is returned unchanged.

    Raises:
        InvalidArgumentError: ``actor`` has no ``act`` method and cannot be called, or is a class of actors.
    """
    if isinstance(actor, type) and isinstance(inspect.getattr_static(actor, "act", None), types.FunctionType):
        raise InvalidArgumentError(
            f"an actor must be an object, received the class {actor.__name__}: write {actor.__name__}()."
        )
    if callable(getattr(actor, "act", None)):
        return actor  # type: ignore[return-value]
    if callable(actor):
        return FunctionActor(actor)
    raise InvalidArgumentError(
        f"an actor must have act(decisions) or be a function of the observation, received {type(actor).__name__}."
    )


class Intervention:
    """An actor that can be asked for help, the cost of a call, and its duration.

    Args:
        actor: an :class:`Actor`, or a function of the observation.
        name: its name in ``info`` and in tables.
        cost: expected cost units of one call, or of one step of it (positive); an ``Act.cost`` overrides it for that
            step.
        duration: how long it acts when it is called: a number of steps (at least 1), ``"subgoal"``: until the task's
            current sub-goal changes (``OptionalTaskMembers.subgoal``), or ``"end"``: to the end of the episode. A call
            also ends with the episode.
        cost_per: ``"call"``: ``cost`` is spent on the first step of a call; ``"step"``: on each of its steps.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    privileged: bool = False
    """Whether it uses facts that the actor cannot know: hidden facts, or the random events to come."""

    def __init__(
        self,
        actor: Actor | Callable[[str], str],
        *,
        name: str,
        cost: float = 1.0,
        duration: Duration = 1,
        cost_per: CostPer = "call",
    ) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"an intervention needs a name (a non-empty str), received {shown(name)}.")
        self.actor = as_actor(actor)
        self.name = name
        self.cost = check_number(f"the cost of intervention {shown(name)} (cost units per call)", cost, above=True)
        self.duration, self.cost_per = _checked_duration(name, duration, cost_per)

    def lasting(self, duration: Duration, cost_per: CostPer | None = None) -> Intervention:
        """The same intervention with calls of another duration, and if given with another unit of the cost.

        Raises:
            InvalidArgumentError: an argument is out of range.
        """
        other = copy.copy(self)
        other.duration, other.cost_per = _checked_duration(self.name, duration, cost_per or self.cost_per)
        return other

    def privileged_on(self, task: Any) -> bool:
        """Whether it uses facts of this task (an env) that the actor cannot know; :attr:`privileged` by default."""
        return self.privileged

    def __deepcopy__(self, memo: dict[int, Any]) -> Intervention:
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.actor!r}, name={self.name!r}, cost={self.cost:g})"


def _checked_duration(name: str, duration: Any, cost_per: Any) -> tuple[Duration, CostPer]:
    """The duration and the unit of the cost of an intervention's calls, checked."""
    if isinstance(duration, np.integer):
        duration = int(duration)
    steps = type(duration) is int and 1 <= duration <= LARGEST_INTEGER
    if not steps and not (isinstance(duration, str) and duration in DURATIONS):
        raise InvalidArgumentError(
            f"the duration of intervention {shown(name)} must be a number of steps (at least 1), 'subgoal' or 'end', "
            f"received {shown(duration)}."
        )
    if not isinstance(cost_per, str) or cost_per not in COSTS_PER:
        raise InvalidArgumentError(
            f"cost_per of intervention {shown(name)} must be 'call' or 'step', received {shown(cost_per)}."
        )
    return duration, cost_per  # type: ignore[return-value]


@runtime_checkable
class HelperPolicy(Protocol):
    """The minimal interface of a helper for ``run_episodes`` and ``evaluate``: ``predict`` of Stable-Baselines3.

    :class:`selfreg_gym.Helper` is the base class with all optional members, such as ``wrap(env)``; those that an object
    with ``predict`` has are used. If it draws random numbers in batch order, its decisions depend on the batch size.
    """

    def predict(
        self, observation: Any, state: Any = None, episode_start: np.ndarray | None = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """``(actions, state)``: 0 (nohelp) or k (help from the k-th intervention); see :meth:`Helper.predict`.

        ``state`` is not changed in place: after an error, the helper is asked again with the same state.
        """
