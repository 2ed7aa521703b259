"""Targets of a process reward model: the definition of p(s), and the labelled examples of each definition.

The success probability at s depends on the policy that acts from s on. There are two targets:

``nohelp``
    The outcome without further help: a decision is an example if every action from it to the end of its episode is
    nohelp. In an episode with help probability p, a decision with n decisions left (itself included) is an example
    with probability (1 - p)^n, so the examples are biased towards decisions near the end. The weight of an example at
    step t corrects this:

        weight = 1 / sum_p f_p(t) (1 - p)^n,    f_p(t) = share of help probability p among episodes that reach step t

    This is the balance heuristic of multiple importance sampling (Veach and Guibas 1995). It is exact at the first
    decision, and at a later one if the state met at step t does not depend on p; it is at most ``1 / f_0(t)``. The
    weight (1 - p)^-n of each episode on its own is exact everywhere, but reaches many millions, and clipping it
    restores the bias; ``benchmarks/interval_coverage.py`` compares both. Held-out figures use episodes with p = 0,
    where every decision is an example.
``mixture``
    The target of the paper: the outcome of every decision of every episode, with the help that followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.store.source import checked_source, finished_episodes
from selfreg_gym.utils.arguments import check_name
from selfreg_gym.utils.random_streams import HELD_OUT_TASKS, stream

__all__ = ["TARGETS", "Examples", "gather", "split_tasks"]

TARGETS = ("nohelp", "mixture")

CLIP = 100.0
"""Largest weight by default; reached only at steps where fewer than 1 % of the episodes have p = 0."""


@dataclass(frozen=True, slots=True)
class Examples:
    """N labelled decisions.

    Attributes:
        observations: N texts.
        outcome: ``(N,)`` float64, 1 where the episode succeeded.
        weight: ``(N,)`` float64, positive.
        task: ``(N,)`` object, task ids.
        unhelped: ``(N,)`` bool, the episode has no help and help probability 0 (or unknown): there every decision is
            an example of "nohelp", without selection.
        first: ``(N,)`` bool, the decision is the first of its episode.
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
        """The examples at the indices ``rows``, with new weights if given."""
        columns = {name: getattr(self, name)[rows] for name in ("outcome", "weight", "task", "unhelped", "first")}
        if weight is not None:
            columns["weight"] = weight
        return Examples(tuple(self.observations[i] for i in rows), **columns)


def gather(rollouts: Any, *, targets: str = "nohelp", clip: float = CLIP) -> Examples:
    """Collect the examples of a store or of episodes. Truncated episodes have no outcome and are left out.

    Args:
        rollouts: a ``Rollouts`` store, or an iterable of :class:`~selfreg_gym.types.Episode`.
        targets: "nohelp" or "mixture".
        clip: largest weight (1: no correction).

    Raises:
        UnknownNameError: an unknown target.
        InvalidArgumentError: no decision is an example of the target, or ``clip`` is below 1.
    """
    check_name("process reward model target", targets, TARGETS)
    if not clip >= 1:
        raise InvalidArgumentError(f"clip must be at least 1, received {clip!r}.")
    rows: list[tuple[Any, ...]] = []
    lengths: dict[float, list[int]] = {}  # of the episodes with each p
    for episode in finished_episodes(checked_source(rollouts)):
        p = episode.help_probability
        without_help = not p and all(step.action == 0 for step in episode.steps)
        if p is not None:
            lengths.setdefault(p, []).append(len(episode.steps))
        helped = [t for t, step in enumerate(episode.steps) if step.action != 0 and targets == "nohelp"]
        known = np.nan if p is None else p
        for t in range(max(helped, default=-1) + 1, len(episode.steps)):
            ahead = len(episode.steps) - t  # decisions left, including this one
            text = episode.steps[t].observation
            rows.append((text, episode.success, known, ahead, t, episode.task_id, without_help, t == 0))
    if not rows:
        raise InvalidArgumentError(
            f"no decision is an example of the target {targets!r}: it needs completed episodes that end without help."
        )
    texts, outcome, *counts, task, unhelped, first = zip(*rows, strict=True)
    probability, left, steps = map(np.array, counts)
    weight = _weights(probability, left, steps, lengths, clip) if targets == "nohelp" else np.ones(len(texts))
    columns = np.asarray(outcome, np.float64), weight, np.asarray(task, dtype=object)
    return Examples(texts, *columns, np.asarray(unhelped, dtype=bool), np.asarray(first, dtype=bool))


def split_tasks(tasks: Sequence[str] | np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Hold out a random ``share`` of the tasks, at least one and not all: bool ``(N,)``, True for held-out examples.

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


def _weights(
    probability: np.ndarray, left: np.ndarray, steps: np.ndarray, lengths: dict[float, list[int]], clip: float
) -> np.ndarray:
    """``(N,)`` weights of "nohelp" (see the head of this module), at most ``clip``; 1 where p is unknown (NaN).

    ``left`` is n, ``steps`` is t, ``lengths`` the lengths of the episodes by p.
    """
    if not lengths:
        return np.ones(len(left))
    p, longest = np.array(list(lengths)), int(steps.max()) + 1
    # reached[t, i]: number of episodes with p[i] that reach step t
    reached = np.stack([(np.array(own)[:, None] > np.arange(longest)).sum(axis=0) for own in lengths.values()], axis=1)
    share = reached / np.maximum(reached.sum(axis=1, keepdims=True), 1)
    pairs, pair = np.unique(np.stack([steps, left]), axis=1, return_inverse=True)
    chance = (share[pairs[0]] * (1 - p) ** pairs[1][:, None]).sum(axis=1)
    with np.errstate(divide="ignore", over="ignore"):
        weight = np.minimum(1 / chance, clip)[pair.reshape(-1)]
    return np.where(np.isnan(probability), 1.0, weight)
