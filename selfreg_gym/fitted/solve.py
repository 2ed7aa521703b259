"""``solve_fitted``: fitted success and usage at all prices from rollouts, without a table of states."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.fitted.capped import with_caps
from selfreg_gym.fitted.decisions import LoggedDecisions, behaviour_warnings
from selfreg_gym.fitted.frontier import FittedFrontier
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.store.columns import Coded
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.store.source import RolloutSource, checked_source, finished_episodes
from selfreg_gym.utils.arguments import check_count
from selfreg_gym.utils.progress import progress_bar

__all__ = ["MissingSupportWarning", "fit_decisions", "logged_decisions", "solve_fitted", "task_numbers"]


class MissingSupportWarning(UserWarning):
    """The rollouts lack actions whose values are to be fitted."""


def solve_fitted(
    rollouts: Any,
    *,
    inputs: Sequence[str] = ("features", "steps_left"),
    backbone: str | Path = "auto",
    prm: Any = None,
    action_kinds: Sequence[str] | None = None,
    cap: int | None = None,
    folder: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> FittedFrontier:
    """Fit success and usage of the best policy at all prices to rollouts with random help.

    Args:
        rollouts: a ``Rollouts`` store, or a sequence of :class:`selfreg_gym.types.Episode`; episodes with an error or
            without steps are excluded, and a truncated episode counts by its ``success``.
        inputs: what is known at a decision, by name: see :class:`selfreg_gym.inputs.InputEncoder`.
        backbone: of the input ``embedding``: ``"auto"``, ``"actor"``, ``"prm"``, the id of an actor, or a checkpoint
            folder (:func:`selfreg_gym.inputs.fit_inputs`).
        prm: of the input ``prm``, and of the backbone ``"prm"``: a process reward model or its folder.
        action_kinds: of the input ``actor``, prefixes of action texts; None: those of the rollouts' task.
        cap: largest hard cap on the calls of an episode: the result has policies for each cap from 1 on
            (``policy(budget, cap=...)``). The fit needs memory for one copy of the rollouts per cap.
        folder: directory for the state of an unfinished fit; the same call continues it. None: no state is saved.
        progress: whether to draw a progress bar.
        **settings: see :class:`selfreg_gym.fitted.settings.Settings`.

    Returns:
        The fitted values, their policies (``policy(C)``), and held-out estimates.

    Raises:
        UnknownNameError: an unknown input or setting.
        InvalidArgumentError: too few episodes, or a setting out of range.
        CheckpointError: the state in ``folder`` belongs to other rollouts or settings.

    Warns:
        MissingSupportWarning: an action never occurs in the rollouts. The policies at prices never take it.
    """
    from selfreg_gym.inputs import fit_inputs

    checked = _settings(settings)
    rollouts = checked_source(rollouts)
    encoder, table = fit_inputs(
        rollouts, inputs, backbone=backbone, prm=prm, action_kinds=action_kinds, progress=progress
    )
    x = encoder.encode(table, progress=progress)
    decisions = logged_decisions(rollouts, x)
    return fit_decisions(decisions, checked, cap=cap, encoder=encoder, folder=folder, progress=progress)


def fit_decisions(
    decisions: LoggedDecisions,
    settings: Settings | None = None,
    *,
    cap: int | None = None,
    encoder: Any = None,
    folder: str | Path | None = None,
    progress: bool = False,
) -> FittedFrontier:
    """Fit to arrays; :func:`solve_fitted` makes them from rollouts.

    Args:
        decisions: the data.
        settings: of the iteration.
        encoder: of the inputs, stored in the result.
        cap, folder, progress: as in :func:`solve_fitted`.
    """
    from selfreg_gym.fitted.estimates import Estimates, estimate
    from selfreg_gym.fitted.iteration import iterate

    settings = settings or Settings()
    cap_of = np.zeros(decisions.episodes, np.int64)
    if cap is not None:
        if len(np.unique(decisions.task)) < settings.folds * settings.members:
            # The folds are of episodes: an episode must be in the same fold under all caps.
            decisions = replace(decisions, task=np.argsort(decisions.order))
        decisions, cap_of = with_caps(decisions, check_count("cap, the number of calls per episode,", cap))
    notes = behaviour_warnings(decisions)
    for note in notes:
        warnings.warn(note, MissingSupportWarning, stacklevel=2)
    with progress_bar("Fitted values", settings.rounds + settings.final_rounds, shown=progress) as update:
        found = iterate(decisions, settings, folder=folder, progress=lambda done, total, note: update(done, note=note))
    order = decisions.order

    def estimates(most: int) -> Estimates:
        own = order[cap_of[order] == most]
        bound = most * float(decisions.cost.max()) if cap else np.inf
        terms = found.success[own], found.usage[own]
        return estimate(*terms, prices=found.evaluated, seed=settings.seed, most=bound)

    caps = tuple(estimates(most) for most in range(1, (cap or 0) + 1))
    return FittedFrontier(
        networks=found.networks, prices=found.prices, encoder=encoder, settings=settings.fields(),
        estimates=caps[-1] if caps else estimates(0), history=found.history, episodes=decisions.episodes,
        decisions=len(decisions), warnings=tuple(notes), caps=caps,
    )  # fmt: skip


def logged_decisions(rollouts: Any, x: np.ndarray) -> LoggedDecisions:
    """Actions, costs and outcomes of rollouts, whose inputs ``(n, D)`` are known, in the order of the rollouts.

    A call of several steps is one decision, with the cost of the whole call: the values are those of the semi-Markov
    problem whose options are the calls.

    Args:
        rollouts: a ``Rollouts`` store, or episodes; those with an error or without steps are excluded.
        x: the inputs of the decisions, episode by episode.

    Raises:
        InvalidArgumentError: no episodes, or another number of decisions than rows of ``x``.
    """
    columns = _of_store(rollouts) if isinstance(rollouts, Rollouts) else _of_episodes(rollouts)
    action, cost, last, success, task, interventions = columns
    aborted = action > interventions
    action = np.where(aborted, 0, action)
    if not len(action):
        raise InvalidArgumentError("fitted values need finished episodes without errors: received none.")
    return LoggedDecisions(
        x, action, cost, last, success, task, actions=1 + interventions, aborted=aborted if aborted.any() else None
    )


def task_numbers(index: Any, name: Coded) -> np.ndarray:
    """``(n,)`` a number for each distinct pair of task index and task id, in their order, whatever that of the rows.

    Args:
        index: ``(n,)`` task indices.
        name: the task ids.
    """
    rank = np.argsort(sorted(range(len(name.values)), key=name.values.__getitem__))
    pairs = np.stack([np.asarray(index, np.int64), rank[name.codes]], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)


def _of_store(rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    c: dict[str, Any] = rollouts.columns("action", "cost", "t", "success", "task", "task_id", decisions=True)
    if not len(c["action"]):
        return (np.empty(0),) * 5 + (1,)
    last = np.r_[c["t"][1:] == 0, True]
    first = np.r_[True, last[:-1]]
    task = task_numbers(c["task"][first], Coded(c["task_id"].codes[first], c["task_id"].values))
    named = len(rollouts.spec.get("env", {}).get("interventions", ()))
    interventions = max(named or int(c["action"].max()), 1)
    return c["action"], c["cost"], last, c["success"] & last, task, interventions


def _of_episodes(
    rollouts: RolloutSource,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    episodes = list(finished_episodes(rollouts))
    per_episode = [episode.decisions for episode in episodes]
    steps = [step for decisions in per_episode for step in decisions]
    length = np.array([len(decisions) for decisions in per_episode], np.int64)
    last = np.zeros(len(steps), bool)
    last[np.cumsum(length) - 1] = True
    success = last.copy()
    success[last] = [episode.success for episode in episodes]
    task = task_numbers([one.task_index for one in episodes], Coded.of([one.task_id for one in episodes]))
    action = np.array([step.action for step in steps], np.int64)
    interventions = max([len(episode.usage) for episode in episodes] + [1])
    return action, np.array([step.cost for step in steps], np.float32), last, success, task, interventions


def _settings(given: dict[str, Any]) -> Settings:
    known = [field.name for field in fields(Settings)]
    for name in given:
        if name not in known:
            raise UnknownNameError("setting of fitted values", name, known)
    return Settings(**given)
