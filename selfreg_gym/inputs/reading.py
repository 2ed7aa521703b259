"""``fit_inputs``: the inputs of stored rollouts, with the actor's backbone and the task's kinds of actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfreg_gym.inputs.backbones import embedding_backbone
from selfreg_gym.inputs.encoder import InputEncoder, check_names
from selfreg_gym.inputs.table import DecisionTable
from selfreg_gym.intervention_env.task_members import task_member

__all__ = ["action_kinds_of", "fit_inputs"]


def action_kinds_of(rollouts: Any) -> tuple[str, ...]:
    """The kinds of actions that the task of the rollouts declares (``action_kinds``); empty if they are not known."""
    if kinds := getattr(rollouts, "action_kinds", ()):
        return tuple(kinds)
    spec = getattr(rollouts, "spec", None)
    env = spec.get("env") if isinstance(spec, Mapping) else None
    task = env.get("task") if isinstance(env, Mapping) else None
    return tuple(task_member(task, "action_kinds") or ()) if isinstance(task, str) else ()


def fit_inputs(
    rollouts: Any,
    names: Sequence[str],
    *,
    backbone: str | Path = "auto",
    prm: Any = None,
    action_kinds: Sequence[str] | None = None,
    progress: bool = False,
    **where: Any,
) -> tuple[InputEncoder, DecisionTable]:
    """Fit the inputs of stored decisions.

    Args:
        rollouts: a ``Rollouts`` store, or an iterable of episodes.
        names: inputs, each once (:class:`InputEncoder`).
        backbone: for ``embedding``: ``"auto"`` (:func:`~selfreg_gym.inputs.embedding_backbone`), ``"actor"``,
            ``"prm"``, the id of an actor, or a checkpoint folder.
        prm: for ``prm``, and for the backbone ``"prm"``: a process reward model or its folder.
        action_kinds: for ``actor``, prefixes of action texts; None: :func:`action_kinds_of`.
        progress: show a progress bar while texts are embedded.
        **where: filters of the store (:meth:`selfreg_gym.Rollouts.episodes`).

    Returns:
        The encoder and the table of the decisions; ``encoder.encode(table)`` is float32 ``(n, width)``.

    Raises:
        UnknownNameError: an unknown input, filter or backbone.
        InvalidArgumentError: no decisions, or an input that the rollouts lack.
    """
    names = check_names(names)
    table = DecisionTable.from_rollouts(rollouts, **where)
    kinds = action_kinds_of(rollouts) if action_kinds is None else action_kinds
    options: dict[str, Any] = {"prm": prm, "action_kinds": kinds, "progress": progress}
    if "embedding" not in names:
        return InputEncoder.fit(table, names, **options), table
    spec = getattr(rollouts, "spec", None)
    with embedding_backbone(backbone, table.observation.values, spec=spec, prm=prm) as folder:
        encoder = InputEncoder.fit(table, names, backbone=folder, **options)
    return encoder, table
