"""Targets of a process reward model: the meaning of p(s), and the stored decisions that it is learned from.

A success probability depends on the policy that acts from s on. There are two targets:

``nohelp``
    The outcome once help has stopped: a decision counts if every action from it to the end was nohelp. In an episode
    where help came with probability p at each step, a decision with n decisions left passes that filter with
    probability (1 - p)^n, so those that pass are biased towards short rests (quick successes, early failures). Each is
    therefore weighted by the inverse of the probability to pass in the whole collection,

        1 / sum_p f_p(t) (1 - p)^n,    f_p(t): the share of help probability p among the episodes that reach step t

    (the balance heuristic of importance sampling, Veach and Guibas 1995). It removes the bias exactly for first
    decisions, and for later ones where a state at step t is met at every p alike, nearly so elsewhere; it is at most
    ``1 / f_0(t)``. Weighting each episode by its own (1 - p)^-n has no bias in theory, but needs weights of many
    millions, and a clip puts the bias back; ``benchmarks/interval_coverage.py`` compares them. The model is judged on
    episodes of p = 0, where nothing was filtered.
``mixture``
    The published target: the outcome of every decision of every episode, whatever mixture of help followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.types import Episode
from selfreg_gym.utils.random_streams import HELD_OUT_TASKS, stream

__all__ = ["TARGETS", "Examples", "gather", "split_tasks"]

TARGETS = ("nohelp", "mixture")

CLIP = 100.0
"""Largest weight by default. It is reached only at steps where fewer than 1 % of the episodes have p = 0."""


@dataclass(frozen=True, slots=True)
class Examples:
    """N labelled moments.

    Attributes:
        observations: N texts.
        outcome: ``(N,)`` float64, 1 where the episode succeeded.
        weight: ``(N,)`` float64, positive.
        task: ``(N,)`` object, the task ids.
        unhelped: ``(N,)`` bool, the moment belongs to an episode without any help that was run with p = 0 (or whose
            p is unknown): there the nohelp outcome is observed without selection.
        first: ``(N,)`` bool, the moment is the first of its episode.
    """

    observations: tuple[str, ...]
    outcome: np.ndarray
    weight: np.ndarray
    task: np.ndarray
    unhelped: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.observations)

    def take(self, rows: np.ndarray, *, weight: np.ndarray | None = None) -> Examples:
        """The examples at these row indices, with other weights if given."""
        return Examples(
            tuple(self.observations[i] for i in rows),
            self.outcome[rows],
            self.weight[rows] if weight is None else weight,
            self.task[rows],
            self.unhelped[rows],
            self.first[rows],
        )


def gather(rollouts: Any, *, targets: str = "nohelp", clip: float = CLIP) -> Examples:
    """Collect the labelled moments of a store or of episodes.

    Args:
        rollouts: a ``Rollouts`` store, or an iterable of :class:`~selfreg_gym.types.Episode`.
        targets: "nohelp" or "mixture".
        clip: largest weight of a decision (1: no correction).

    Raises:
        UnknownNameError: there is no such target.
        InvalidArgumentError: no episode has a moment for it, or ``clip`` is below 1.
    """
    if targets not in TARGETS:
        raise UnknownNameError("process reward model target", targets, TARGETS)
    if not clip >= 1:
        raise InvalidArgumentError(f"clip must be at least 1, received {clip!r}.")
    episodes: Iterable[Episode] = rollouts.episodes() if hasattr(rollouts, "episodes") else rollouts
    texts: list[str] = []
    outcome: list[float] = []
    chance: list[float] = []  # p of the episode, NaN where it is not known
    rest: list[int] = []  # decisions left, itself included
    steps: list[int] = []
    lengths: dict[float, list[int]] = {}  # of the episodes of each p
    task: list[str] = []
    unhelped: list[bool] = []
    first: list[bool] = []
    for episode in episodes:
        if episode.error is not None or not episode.steps:
            continue
        p = episode.help_probability
        alone = not p and all(step.action == 0 for step in episode.steps)
        if p is not None:
            lengths.setdefault(p, []).append(len(episode.steps))
        begin = 0 if targets == "mixture" else _last_help(episode) + 1
        for t in range(begin, len(episode.steps)):
            left = len(episode.steps) - t
            texts.append(episode.steps[t].observation)
            outcome.append(float(episode.success))
            chance.append(np.nan if p is None else p)
            rest.append(left)
            steps.append(t)
            task.append(episode.task_id)
            unhelped.append(alone)
            first.append(t == 0)
    if not texts:
        raise InvalidArgumentError(
            f"no decision for the target {targets!r} was found: it needs finished episodes that end without help."
        )
    return Examples(
        tuple(texts),
        np.asarray(outcome),
        _weights(np.array(chance), np.array(rest), np.array(steps), lengths, clip)
        if targets == "nohelp"
        else np.ones(len(texts)),
        np.asarray(task, dtype=object),
        np.asarray(unhelped, dtype=bool),
        np.asarray(first, dtype=bool),
    )


def split_tasks(tasks: Sequence[str] | np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Return a bool ``(N,)``: True for the rows of a random ``share`` of the tasks (at least one task on each side).

    Raises:
        InvalidArgumentError: fewer than two tasks.
    """
    names = sorted(set(tasks))
    if len(names) < 2:
        raise InvalidArgumentError(f"a split by task needs at least 2 tasks, received {len(names)}.")
    rng = stream(HELD_OUT_TASKS, seed)
    count = min(max(1, round(share * len(names))), len(names) - 1)
    chosen = {names[i] for i in rng.permutation(len(names))[:count]}
    return np.asarray([task in chosen for task in tasks], dtype=bool)


def _last_help(episode: Episode) -> int:
    return max((t for t, step in enumerate(episode.steps) if step.action != 0), default=-1)


def _weights(
    chance: np.ndarray, rest: np.ndarray, steps: np.ndarray, lengths: dict[float, list[int]], clip: float
) -> np.ndarray:
    """``(N,)`` inverse probabilities to pass the filter, clipped; where an episode's p is not known, 1."""
    if not lengths:
        return np.ones(len(rest))
    p, longest = np.array(list(lengths)), int(steps.max()) + 1
    # reached[t, i]: the episodes of p[i] that have a step t
    reached = np.stack([(np.array(own)[:, None] > np.arange(longest)).sum(axis=0) for own in lengths.values()], axis=1)
    share = reached / np.maximum(reached.sum(axis=1, keepdims=True), 1)
    pairs, of = np.unique(np.stack([steps, rest]), axis=1, return_inverse=True)
    passing = (share[pairs[0]] * (1 - p) ** pairs[1][:, None]).sum(axis=1)
    with np.errstate(divide="ignore", over="ignore"):
        weight = np.minimum(1 / passing, clip)[of.reshape(-1)]
    return np.where(np.isnan(chance), 1.0, weight)
