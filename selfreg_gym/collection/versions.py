"""Versions of the packages whose code a task plays, as part of a store's identity.

A task of this package keeps its behaviour under one id: a change of its texts, actions or dynamics gets a new id
(``-v1``). The version of this package is therefore recorded, and a difference is a warning. The package that a task
wraps has no such rule. Another version of it may use other words for actions, so that one store would have the episodes
of two tasks. Therefore, a collection is not continued with another version of it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import StoreError, TaskContractError, shown
from selfreg_gym.intervention_env.task_members import task_id, task_member

__all__ = ["OtherVersionWarning", "check_versions", "versions_of"]

_OWN = "selfreg-gym"


class OtherVersionWarning(UserWarning):
    """A collection is continued by another version of selfreg_gym than the one that began it."""


def versions_of(task: Any) -> dict[str, str]:
    """The versions of selfreg_gym and of the distributions that a task declares or comes from, by name.

    Args:
        task: id, env, or function that makes one.

    Raises:
        TaskContractError: ``distributions`` of the task is not a tuple of names.
    """
    while isinstance(task, functools.partial):
        task = task.func
    declared = task_member(task, "distributions") or ()
    if not isinstance(declared, tuple) or not all(isinstance(name, str) and name for name in declared):
        raise TaskContractError(
            'distributions of a task must be a tuple of names of distributions, for instance ("minigrid",), received '
            f"{shown(declared)}."
        )
    origin = [one.origin for one in registry.describe("envs") if one.name == task_id(task)]
    names = [_OWN, *(name for name in origin if name != "selfreg_gym"), *declared]
    return {name: _version(name) for name in dict.fromkeys(names)}


def check_versions(stored: Mapping[str, Any], asked: Mapping[str, Any], place: str) -> None:
    """Compare the versions in two identities; a store of an earlier version of this package has none.

    Args:
        stored, asked: results of :func:`selfreg_gym.collection.identity.identity_of`.
        place: the store or the run directory, for the message.

    Raises:
        StoreError: another version of a task's package.
    """
    before, now = (dict(one.get("versions") or {}) for one in (stored, asked))
    if not before or not now:
        return
    own_before, own_now = before.pop(_OWN, None), now.pop(_OWN, None)
    changed = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if changed:
        differences = [f"{name} {now.get(name, '(none)')} for {before.get(name, '(none)')}" for name in changed]
        pins = [f"{name}=={before[name]}" for name in changed if name in before]
        install = f"install the same versions (pip install {' '.join(map(repr, pins))}), or " if pins else ""
        raise StoreError(
            f"the packages of a task must have the versions that {place!r} was begun with, received "
            f"{'; '.join(differences)}: {install}choose another path."
        )
    if own_before != own_now:
        warnings.warn(
            f"{place} was begun by selfreg-gym {own_before}, and this is selfreg-gym {own_now}: tasks keep their "
            "behaviour under one id, but actors and interventions may differ.",
            OtherVersionWarning,
            stacklevel=3,
        )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
