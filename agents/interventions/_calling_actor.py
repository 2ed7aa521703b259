"""Interventions that call an actor: the env's own, or another one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

from selfreg_gym.errors import SetupError
from selfreg_gym.intervention_env.asking import ask
from selfreg_gym.intervention_env.building import build_actor
from selfreg_gym.intervention_env.interventions import for_task
from selfreg_gym.types import Act, Actor, Decision, Intervention

__all__ = ["CallingActor", "CallsActor"]


class CallingActor:
    """The base class of the actors of these interventions.

    The called actor keeps its memory in an episode (``Act.memory``): the env's actor has one memory, whether it acts
    itself or is called by an intervention.

    Args:
        actor: the actor that is called: a registered id, an actor or a function of the observation; None for the env's.
        actor_kwargs: arguments of an actor that is given by its id.
    """

    def __init__(
        self, actor: Actor | Callable[[str], str] | str | None = None, actor_kwargs: dict[str, Any] | None = None
    ) -> None:
        self.own = None if actor is None and not actor_kwargs else build_actor(actor, actor_kwargs)  # type: ignore[arg-type]
        self._base: Actor | None = None

    @property
    def called(self) -> Actor:
        """The actor that is called.

        Raises:
            SetupError: it is the env's actor, and there is no env.
        """
        found = self._base if self.own is None else self.own
        if found is None:
            raise SetupError(
                f"{type(self).__name__} calls the env's actor, and none is known here: use the intervention in an env, "
                "bind it with with_actor(actor), or give it an actor of its own (actor=)."
            )
        return found

    def memory_of(self, decision: Decision) -> Any:
        """The memory in this episode of the actor that is called."""
        return decision.actor_memory if self.own is None else decision.memory

    def keeping(self, act: Act, memory: Any) -> Act:
        """The act of the intervention that gives the called actor this memory; None leaves its memory as it is."""
        return replace(act, actor_memory=memory) if self.own is None else replace(act, memory=memory)

    def ask_called(self, decisions: Sequence[Decision], memories: Sequence[Any]) -> list[Act]:
        """The acts of the called actor, which finds these memories; the acts give it the memories that it returns."""
        if not decisions:
            return []
        asked = [one.remembering(memory) for one, memory in zip(decisions, memories, strict=True)]
        acts = [Act(act) if isinstance(act, str) else act for act in ask(self.called, asked)]
        return [self.keeping(replace(act, memory=None), act.memory) for act in acts]

    def with_actor(self, actor: Actor) -> Self:
        """The same for an env with this actor."""
        bound = copy.copy(self)
        bound._base = actor
        return bound

    def with_task(self, task: Any) -> Self:
        """The same with an own actor for this task (an env or an id)."""
        own = None if self.own is None else for_task(self.own, task)
        if own is self.own:
            return self
        bound = copy.copy(self)
        bound.own = own
        return bound

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class CallsActor(Intervention):
    """The base class of interventions whose actor is a :class:`CallingActor`."""

    actor: CallingActor  # type: ignore[assignment]

    def with_actor(self, actor: Actor) -> Self:
        """The intervention for an env with this actor (``OptionalInterventionMembers.with_actor``)."""
        bound = copy.copy(self)
        bound.actor = self.actor.with_actor(actor)
        return bound
