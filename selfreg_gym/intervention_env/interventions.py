"""The interventions of an env: made from registered names or objects, and bound to the env's actor.

A text in the list of interventions is an id, or ``NAME=ID``: the intervention ID under another name. So one class can
be used several times with different arguments, which are given by name::

    interventions = ["few=best-of-n", "many=best-of-n"]
    intervention_kwargs = {"few": {"n": 4}, "many": {"n": 16}}

Every id takes the arguments ``duration`` and ``cost_per`` of :class:`selfreg_gym.Intervention`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError, RegistryError, SelfRegError, UnknownNameError, shown
from selfreg_gym.intervention_env.building import build_task, check_kwargs, construct, material
from selfreg_gym.types import Actor, Intervention, optional_member

__all__ = [
    "bind",
    "build_interventions",
    "for_task",
    "in_env",
    "material_kwargs",
    "name_and_id",
    "names_of",
    "privileged_names",
]

_COMMON = ("duration", "cost_per")
"""Arguments that every registered intervention takes."""


def name_and_id(text: str) -> tuple[str, str]:
    """The name and the registered id of an intervention, from its id or ``NAME=ID``.

    Raises:
        InvalidArgumentError: the name or the id is empty.
    """
    name, equals, known = text.partition("=")
    if not equals:
        return text, text
    name, known = name.strip(), known.strip()
    if not name or not known or any(mark in name for mark in "@#:"):
        raise InvalidArgumentError(
            "an intervention must be an id or 'NAME=ID', for instance 'few=best-of-n', with a name without the "
            f"characters @, # and :; received {shown(text)}."
        )
    return name, known


def names_of(interventions: Sequence[Intervention | str]) -> list[str]:
    """The names of interventions that are given by texts or objects."""
    return [name_and_id(one)[0] if isinstance(one, str) else one.name for one in interventions]


def material_kwargs(interventions: Sequence[Any], kwargs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """``kwargs`` by name, without the arguments that cannot change results (:func:`.building.material`)."""
    ids = dict(name_and_id(one) for one in interventions if isinstance(one, str))
    return {name: material("interventions", ids.get(name, name), dict(given)) for name, given in kwargs.items()}


def build_interventions(
    interventions: Sequence[Intervention | str],
    intervention_kwargs: dict[str, dict[str, Any]] | None = None,
    actor: Actor | None = None,
) -> tuple[Intervention, ...]:
    """Make interventions from registered ids and their arguments (by name), or from objects.

    Args:
        interventions: ids, texts ``NAME=ID``, or :class:`selfreg_gym.Intervention` objects.
        intervention_kwargs: arguments of the constructors, and ``duration`` and ``cost_per``, by the name of the
            intervention.
        actor: the env's actor, to which interventions with ``with_actor`` are bound; None: they are not bound.

    Raises:
        UnknownNameError: an id, a name or an argument does not exist.
        InvalidArgumentError: not a list of ids and interventions, an intervention with invalid attributes, or two with
            the same name.
        RegistryError: ``with_actor`` raised, or did not return the intervention.
    """
    if isinstance(interventions, str | Intervention):
        raise InvalidArgumentError(
            f"interventions must be a list, received {type(interventions).__name__}: write [{shown(interventions)}]."
        )
    if not isinstance(interventions, Sequence):
        raise InvalidArgumentError(
            "interventions must be a list of registered names and selfreg_gym.Intervention objects, received "
            f"{shown(interventions)}: write [] for none."
        )
    arguments = check_kwargs("intervention_kwargs (arguments by the intervention's name)", intervention_kwargs)
    named = [name_and_id(one)[0] for one in interventions if isinstance(one, str)]
    for name in arguments:
        if name not in named:
            raise UnknownNameError("intervention in intervention_kwargs", name, named)
    built = tuple(_build(one, arguments) if isinstance(one, str) else one for one in interventions)
    for one in built:
        if not isinstance(one, Intervention):
            raise InvalidArgumentError(
                f"an intervention must be a registered name or an Intervention, received {type(one).__name__}: "
                "write Intervention(actor, name='...', cost=1.0)."
            )
        _check_attributes(one)
    names = [one.name for one in built]
    if len(set(names)) < len(names):
        raise InvalidArgumentError(
            f"interventions must have different names, received {names}. To use one id several times, name each: "
            f"'NAME={names[0]}'."
        )
    return built if actor is None else tuple(bind(one, actor) for one in built)


def privileged_names(env: Any) -> list[str]:
    """The names of an env's interventions that use facts which the actor cannot know, on its task.

    Args:
        env: keyword arguments of ``selfreg/Intervention-v0``, or an env. For invalid arguments the list is empty; the
            error is raised when the env is made.
    """
    if not isinstance(env, Mapping):
        return _privileged(env.unwrapped.interventions, env.unwrapped.slots[0].task)
    try:
        built = build_interventions(env["interventions"], env.get("intervention_kwargs"))
        task = build_task(env["task"], env.get("task_kwargs"))
    except (SelfRegError, KeyError):
        return []
    try:
        return _privileged(built, task)
    finally:
        if task is not env["task"]:
            task.close()


def _privileged(interventions: Sequence[Intervention], task: Any) -> list[str]:
    found = []
    for one in interventions:
        try:
            if one.privileged_on(task):
                found.append(one.name)
        except SelfRegError:
            raise
        except Exception as error:
            raise RegistryError(
                f"privileged_on(task) of the intervention {one.name!r} must return True or False; it raised "
                f"{type(error).__name__}: {shown(str(error))}."
            ) from error
    return found


def _check_attributes(intervention: Intervention) -> None:
    """Raise if a subclass has not set its attributes by the constructor of :class:`Intervention`, or changed them."""
    try:
        Intervention(
            intervention.actor, name=intervention.name, cost=intervention.cost, duration=intervention.duration,
            cost_per=intervention.cost_per,
        )  # fmt: skip
    except AttributeError as error:
        raise InvalidArgumentError(
            f"the class {type(intervention).__name__} of an intervention must call super().__init__(actor, name=..., "
            f"cost=...) in its constructor: {error}."
        ) from None


def _build(text: str, arguments: Mapping[str, dict[str, Any]]) -> Intervention:
    name, known = name_and_id(text)
    given = dict(arguments.get(name) or {})
    own = inspect.signature(registry.load("interventions", known)).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in own.values()):
        for key in given:
            if key not in (*own, *_COMMON):
                raise UnknownNameError(f"argument of the intervention {known!r}", key, {*own, *_COMMON})
    common = {key: given.pop(key) for key in _COMMON if key in given and key not in own}
    built: Intervention = construct("interventions", known, given)
    if not isinstance(built, Intervention):
        raise RegistryError(
            f"the class of the intervention {known!r} must inherit selfreg_gym.Intervention, and makes a "
            f"{type(built).__name__}."
        )
    if name != known:
        built.name = name
    return built.lasting(**{"duration": built.duration, **common}) if common else built


def in_env(actor: Actor, interventions: Sequence[Intervention], task: Any) -> tuple[Actor, tuple[Intervention, ...]]:
    """The actor and the interventions of an env: those for its task (:func:`for_task`), bound to its actor."""
    chosen = for_task(actor, task)
    return chosen, tuple(bind(for_task(one, task), chosen) for one in interventions)


def for_task(agent: Any, task: Any) -> Any:
    """The actor or intervention for a task, by its optional method ``with_task``; unchanged if it has none.

    Args:
        agent: an actor or an intervention. An intervention without ``with_task`` gets its actor for the task.
        task: the env, or the id of the task.

    Raises:
        RegistryError: the method raised, or did not return an agent of the same kind.
        CheckpointError: there is no checkpoint for the task.
    """
    with_task = optional_member(agent, "with_task")
    if with_task is None:
        actor = for_task(agent.actor, task) if isinstance(agent, Intervention) else None
        if actor is None or actor is agent.actor:
            return agent
        other = copy.copy(agent)
        other.actor = actor
        return other
    rule = f"with_task(task) of {type(agent).__name__} must return the same kind of agent for this task"
    try:
        found = with_task(task)
    except SelfRegError:
        raise
    except Exception as error:
        raise RegistryError(f"{rule}; it raised {type(error).__name__}: {shown(str(error))}.") from error
    if isinstance(agent, Intervention):
        same = isinstance(found, Intervention) and found.name == agent.name
    else:
        same = callable(getattr(found, "act", None))
    if not same:
        raise RegistryError(
            f"{rule}, with act(decisions) or as an Intervention with its name; received {shown(found)}."
        )
    return found


def bind(intervention: Intervention, actor: Actor) -> Intervention:
    """The intervention bound to an env's actor by its optional method ``with_actor``; unchanged if it has none.

    Raises:
        RegistryError: the method raised, or did not return an intervention with the same name.
    """
    with_actor = optional_member(intervention, "with_actor")
    if with_actor is None:
        return intervention
    rule = f"with_actor(actor) of the intervention {intervention.name!r} must return the intervention for this actor"
    try:
        bound = with_actor(actor)
    except SelfRegError:
        raise
    except Exception as error:
        raise RegistryError(f"{rule}; it raised {type(error).__name__}: {shown(str(error))}.") from error
    if not isinstance(bound, Intervention) or bound.name != intervention.name:
        received = f"one named {shown(bound.name)}" if isinstance(bound, Intervention) else shown(bound)
        raise RegistryError(f"{rule}, an Intervention with the same name; received {received}.")
    same = (bound.duration, bound.cost_per) == (intervention.duration, intervention.cost_per)
    return bound if same else bound.lasting(intervention.duration, intervention.cost_per)
