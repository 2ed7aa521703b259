"""Optional members of tasks, actors and interventions, and how they are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from selfreg_gym.types import Actor, Intervention

__all__ = [
    "OptionalActorMembers",
    "OptionalInterventionMembers",
    "OptionalTaskMembers",
    "find_member",
    "optional_member",
    "required_member",
]


class OptionalTaskMembers(Protocol):
    """Members that a task may have; :func:`optional_member` finds them through its wrappers."""

    num_episodes: int
    """The number of tasks: ``options={"episode": i}`` takes ``0 <= i < num_episodes``."""
    splits: Mapping[str, Mapping[str, Any]]
    """Class attribute: name of a split -> constructor arguments of its tasks. Rollouts are collected on ``collected``,
    else on the first one. A run uses them unless its config has ``task.splits``."""
    val_splits: Mapping[str, Mapping[str, Any]]
    """Class attribute: name of a validation split -> constructor arguments of its tasks, which are in no other split. A
    run chooses on them between helpers, unless its config has ``select.splits``."""
    split_titles: Mapping[str, str]
    """Class attribute: name of a split -> its heading in tables and plots."""
    distributions: tuple[str, ...]
    """Class attribute: names of the installed distributions whose code the task plays (``("minigrid",)``). Their
    versions belong to the identity of a store, so that a collection is not continued with other ones."""
    checkpoints: str | Path | Mapping[str, str | Path]
    """Class attribute: the family of the checkpoints that were trained for the task, a folder with one folder for each
    agent: the name of one in ``selfreg_gym/agents/checkpoints``, or the path of one that another distribution brings.
    A class with several ids can have a mapping from id to family."""
    action_kinds: tuple[str, ...]
    """Class attribute: prefixes of action texts. An action is of the kind of the first prefix that it begins with."""

    def snapshot(self) -> object:
        """The exact state, the random state included. Without it, actions are replayed."""

    def restore(self, snapshot: Any) -> None:
        """Return to the state of a snapshot, as often as it is called."""

    def reseed(self, seed: int) -> None:
        """Continue in the same state with a new random stream, so that future random events are drawn anew."""

    def sample_hidden(self, rng: np.random.Generator) -> None:
        """Replace the facts that the actor cannot know by a sample from what its observations so far allow.

        Nothing that the actor has observed changes, nor does the random stream. The sample does not depend on the true
        facts. A task without hidden facts defines it without effect: a planner then knows that there are none.
        """

    def expert_action(self) -> str:
        """A good admissible action in the current state, which does not change."""

    def augment(self, observation: str, rng: np.random.Generator) -> str:
        """Another possible observation of the same state, for training."""

    def subgoal(self) -> str:
        """The name of the current sub-goal, by what the actor can know. A call with ``duration="subgoal"`` ends where
        the name changes."""


class OptionalActorMembers(Protocol):
    """Members that an actor may have; ``immaterial`` also belongs to classes of interventions and helpers."""

    checkpoint_dir: str | Path | None
    """The directory of its language model, which can be the backbone of other models. For the actor of an intervention
    also another model or file that its acts depend on; a run does not continue with another one."""
    default_backbone: bool
    """The literal True in the class of the registered actor whose checkpoint the backbone ``auto`` tries last."""
    unknown_tokens: Callable[[Sequence[str]], tuple[int, int]]
    """From texts to the number of their unknown tokens and of all their tokens, for an actor that reads tokens."""
    immaterial: tuple[str, ...]
    """Arguments that do not affect results (an address, a time-out): a store or run continues with other values."""

    def with_task(self, task: Any) -> Actor:
        """The actor for a task, for one that differs between tasks; ``self`` does not change.

        Args:
            task: the env, or the id of the task. An env calls it once, when it is made.
        """


class OptionalInterventionMembers(Protocol):
    """Members that an intervention may have."""

    def with_actor(self, actor: Actor) -> Intervention:
        """The intervention for an env with this actor, for one that calls the env's actor; ``self`` does not change.

        An env calls it once, when it is made. The result has the same name.
        """

    def with_task(self, task: Any) -> Intervention:
        """The intervention for a task (an env or an id), as for an actor. Without it, that of its actor is used."""


def optional_member(owner: Any, name: str) -> Any:
    """A declared optional member (as in :class:`OptionalTaskMembers`); None if ``owner`` does not have it.

    A member of a wrapped env is found through its wrappers (:func:`find_member`).
    """
    try:
        return find_member(owner, name)
    except AttributeError:
        return None


def required_member(owner: Any, name: str) -> Any:
    """A declared optional member, for a wrapper that passes a member on where the env inside it has it.

    Raises:
        AttributeError: ``owner`` does not have it, or it is None.
    """
    found = optional_member(owner, name)
    if found is None:
        raise AttributeError(f"{owner} has no {name}")
    return found


def find_member(owner: Any, name: str) -> Any:
    """A member of ``owner`` or, if it is an env, of the nearest env inside its wrappers that has it.

    Gymnasium's vector wrappers have no ``get_wrapper_attr``, so the envs inside them are searched here.

    Raises:
        AttributeError: neither ``owner`` nor an env inside it has the member.
    """
    if isinstance(owner, type):
        return getattr(owner, name)
    find = getattr(owner, "get_wrapper_attr", None)
    if find is not None:
        return find(name)
    inner = getattr(owner, "env", None)
    if inner is None or hasattr(owner, name):
        return getattr(owner, name)
    return find_member(inner, name)
