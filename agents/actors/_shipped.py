"""Language models that this package or a task's distribution brings: the checkpoint is that of the task's family."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfreg_gym.agents.actors.lm import DEFAULT_FAMILY, LM, SHIPPED
from selfreg_gym.errors import CheckpointError, shown
from selfreg_gym.intervention_env.task_members import task_id, task_member

__all__ = ["ShippedLM"]


class ShippedLM(LM):
    """A causal LM whose checkpoint depends on the task: the folder ``name`` of the task's family of checkpoints.

    The family is what the task declares as ``checkpoints`` (:class:`selfreg_gym.optional_members.OptionalTaskMembers`).
    Without a task it is :data:`selfreg_gym.agents.actors.lm.DEFAULT_FAMILY`.

    Args:
        name: the name of the checkpoint in each family.
        family: a family for all tasks: the name of a folder in ``selfreg_gym/agents/checkpoints``, or the path of one;
            None: that of the task.
        **kwargs: those of :class:`LM`.

    Raises:
        CheckpointError: ``family`` has no such checkpoint.
    """

    def __init__(self, name: str, *, family: str | Path | None = None, **kwargs: Any) -> None:
        self._name, self._fixed = name, family is not None
        self._made: dict[Path, ShippedLM] = {}
        if family is not None and not _has_checkpoint(_folder(family, name)):
            raise CheckpointError(
                f"the family of the checkpoint {name!r} must be one of {_listed(name)}, or a folder with the folder "
                f"{name!r}, received {shown(family)}."
            )
        super().__init__(_folder(DEFAULT_FAMILY if family is None else family, name), **kwargs)

    def with_task(self, task: Any) -> ShippedLM:
        """The actor with the checkpoint for a task.

        Args:
            task: the env, or the id of the task.

        Raises:
            CheckpointError: the task has no such checkpoint; the message has the families with one.
        """
        if self._fixed:
            return self
        declared, known = task_member(task, "checkpoints"), task_id(task)
        if isinstance(declared, Mapping):
            declared = declared.get(known)
        folder = None if declared is None else _folder(declared, self._name)
        if folder is None or not _has_checkpoint(folder):
            what = known or type(getattr(task, "unwrapped", task)).__name__
            raise CheckpointError(
                f"{self._name!r} acts with a checkpoint that was trained for its task, and the task {what!r} "
                f"{'has none' if declared is None else f'has none in its family {str(declared)!r}'}. Families with "
                f"one: {_listed(self._name)}. Choose another agent (for instance 'lm' with the path of a checkpoint), "
                f"or one of these families with the argument family."
            )
        if folder == self.checkpoint_dir:
            return self
        if folder not in self._made:
            other = copy.copy(self)
            other.checkpoint_dir, other._scorer, other._made = folder, None, self._made
            self._made[folder] = other
        return self._made[folder]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_made": {}}


def _folder(family: str | Path, name: str) -> Path:
    return (SHIPPED / family if isinstance(family, str) else family) / name


def _has_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _listed(name: str) -> str:
    return ", ".join(sorted(one.name for one in SHIPPED.iterdir() if _has_checkpoint(one / name)))
