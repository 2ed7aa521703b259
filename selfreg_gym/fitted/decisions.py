"""Logged decisions as arrays, and the division of their episodes into folds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.utils.random_streams import FITTED_FOLDS, stream

__all__ = ["Folds", "LoggedDecisions", "assign_folds", "behaviour_warnings"]

CHUNK = 8192  # rows checked at once, which bounds the memory


@dataclass(frozen=True, eq=False)
class LoggedDecisions:
    """The n decisions of E finished episodes, episode by episode, each in the order of its steps.

    Attributes:
        x: ``(n, D)`` float32, what was known at each decision.
        action: ``(n,)`` int64, 0 nohelp or k help from the k-th intervention.
        cost: ``(n,)`` float32 cost units of the step.
        last: ``(n,)`` bool, whether it is the last decision of its episode, also if the episode was truncated.
        success: ``(n,)`` bool, True at the last decision of a successful episode, False elsewhere.
        task: ``(E,)`` int64 task of each episode.
        actions: A = 1 + K, the number of actions.
        closed: ``(n,)`` bool, True where help is not available; None: it is available everywhere. A logged call at a
            closed decision must end its episode; its row is excluded from training.
        aborted: ``(n,)`` bool, True where the episode was aborted; None: nowhere. Such a decision is the last one of
            its episode and has the action 0; its row is excluded from training.

    Raises:
        InvalidArgumentError: arrays of other shapes, numbers that are not finite, an action outside 0 .. A - 1, a
            negative cost, a cost of nohelp, success before the end of an episode, an episode without end, or a call at
            a closed decision before the end of its episode.
    """

    x: np.ndarray
    action: np.ndarray
    cost: np.ndarray
    last: np.ndarray
    success: np.ndarray
    task: np.ndarray
    actions: int = 2
    closed: np.ndarray | None = None
    aborted: np.ndarray | None = None

    def __post_init__(self) -> None:
        x = np.asarray(self.x)
        if x.ndim != 2 or not len(x) or not x.shape[1]:
            raise InvalidArgumentError(f"x must be a non-empty array (n, D) of inputs, received shape {x.shape}.")
        n = len(x)
        kinds = {"action": np.int64, "cost": np.float32, "last": bool, "success": bool}
        columns = {name: np.asarray(getattr(self, name)) for name in kinds}
        for name, column in columns.items():
            if column.shape != (n,):
                raise InvalidArgumentError(f"{name} must have shape ({n},), one per row of x, received {column.shape}.")
        for name, column in {"x": x, "cost": columns["cost"]}.items():
            if not all(np.isfinite(column[begin : begin + CHUNK]).all() for begin in range(0, n, CHUNK)):
                raise InvalidArgumentError(f"{name} must have finite numbers, received NaN or infinity.")
        object.__setattr__(self, "x", np.ascontiguousarray(x, np.float32))
        for name, kind in kinds.items():
            object.__setattr__(self, name, columns[name].astype(kind))
        if self.actions < 2 or not ((self.action >= 0) & (self.action < self.actions)).all():
            raise InvalidArgumentError(
                f"action must be from 0 to {self.actions - 1} with at least two actions, received "
                f"{self.action.min()} to {self.action.max()}."
            )
        if (self.cost < 0).any() or self.cost[self.action == 0].any():
            raise InvalidArgumentError("cost must be at least 0, and 0 where the action is nohelp.")
        if (self.success & ~self.last).any() or not self.last[-1]:
            raise InvalidArgumentError(
                "an episode has success only at its last decision, and the last row ends an episode."
            )
        task = np.asarray(self.task)
        if task.shape != (int(self.last.sum()),):
            raise InvalidArgumentError(
                f"task must have one number per episode, {int(self.last.sum())}, received shape {task.shape}."
            )
        object.__setattr__(self, "task", task.astype(np.int64))

        if self.closed is not None:
            closed = np.asarray(self.closed, bool)
            if closed.shape != (n,) or (closed & (self.action > 0) & ~self.last).any():
                raise InvalidArgumentError(
                    f"closed must have shape ({n},), and a call at a closed decision must be the last decision of its "
                    f"episode; received shape {closed.shape}."
                )
            object.__setattr__(self, "closed", closed)
        if self.aborted is not None:
            aborted = np.asarray(self.aborted, bool)
            if aborted.shape != (n,) or (aborted & (~self.last | self.success | (self.action > 0))).any():
                raise InvalidArgumentError(
                    f"aborted must have shape ({n},), and an aborted decision must be the last one of its episode, "
                    f"with the action 0 and without success; received shape {aborted.shape}."
                )
            object.__setattr__(self, "aborted", aborted)

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def cut(self) -> np.ndarray:
        """``(n,)`` bool, True at a logged call where help is not available, and where the episode was aborted."""
        cut = np.zeros(len(self), bool) if self.closed is None else self.closed & (self.action > 0)
        return cut if self.aborted is None else cut | self.aborted

    @property
    def tried(self) -> np.ndarray:
        """``(n,)`` the action, -1 at the decisions that are excluded from training (``cut``)."""
        return np.where(self.cut, -1, self.action)

    @property
    def episodes(self) -> int:
        """E, the number of episodes."""
        return len(self.task)

    @cached_property
    def first(self) -> np.ndarray:
        """``(E,)`` row of the first decision of each episode."""
        return np.r_[0, np.flatnonzero(self.last)[:-1] + 1]

    @cached_property
    def length(self) -> np.ndarray:
        """``(E,)`` number of decisions of each episode."""
        return np.diff(np.r_[self.first, len(self.last)])

    @cached_property
    def episode(self) -> np.ndarray:
        """``(n,)`` episode of each row."""
        return np.repeat(np.arange(self.episodes), self.length)

    @cached_property
    def order(self) -> np.ndarray:
        """``(E,)`` episodes sorted by task and content, so that results do not depend on their order in the arrays."""
        digests = []
        for begin, length in zip(self.first, self.length, strict=True):
            rows = slice(int(begin), int(begin + length))
            digest = hashlib.blake2b(self.x[rows].tobytes(), digest_size=16)
            for column in (self.action, self.cost, self.success):
                digest.update(column[rows].tobytes())
            digests.append(digest.digest())
        return np.array(sorted(range(self.episodes), key=lambda e: (int(self.task[e]), digests[e])))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all episodes that does not depend on their order."""
        digest = hashlib.blake2b(f"{self.actions}".encode(), digest_size=16)
        for episode in self.order:
            rows = slice(int(self.first[episode]), int(self.first[episode] + self.length[episode]))
            for column in (self.x, self.action, self.cost, self.success):
                digest.update(column[rows].tobytes())
            if self.aborted is not None:
                digest.update(self.aborted[rows].tobytes())
        return digest.hexdigest()

    def rows_of(self, episodes: np.ndarray) -> np.ndarray:
        """The rows of the given episodes, in this order."""
        lengths = self.length[episodes]
        begin = np.repeat(self.first[episodes] - np.r_[0, np.cumsum(lengths)[:-1]], lengths)
        return begin + np.arange(int(lengths.sum()))


@dataclass(frozen=True, eq=False)
class Folds:
    """Folds of the episodes, and parts of the episodes within each fold.

    The networks of fold f are fitted to all other folds. Among these networks, member m is fitted to the parts other
    than m, and gives the targets of part m. With one member there is one part, and the targets are not cross-fitted.

    Attributes:
        fold: ``(E,)`` from 0 to ``count`` - 1.
        part: ``(E,)`` from 0 to ``members`` - 1.
        count, members: their numbers.
        by_task: whether all episodes of a task are in the same fold and part.
    """

    fold: np.ndarray
    part: np.ndarray
    count: int
    members: int
    by_task: bool


def assign_folds(decisions: LoggedDecisions, *, folds: int, members: int, seed: int) -> Folds:
    """Divide tasks at random into folds and parts; episodes, if there are fewer tasks than ``folds * members``.

    Raises:
        InvalidArgumentError: fewer episodes than ``folds * members``, or fewer than two folds.
    """
    if folds < 2 or members < 1 or decisions.episodes < folds * members:
        raise InvalidArgumentError(
            f"cross-fitting needs at least 2 folds, 1 member and one episode per fold and member, received "
            f"folds={folds}, members={members} and {decisions.episodes} episodes."
        )
    tasks, of_task = np.unique(decisions.task, return_inverse=True)
    by_task = len(tasks) >= folds * members
    if by_task:
        unit, units = of_task, len(tasks)
    else:
        unit, units = np.empty(decisions.episodes, np.int64), decisions.episodes
        unit[decisions.order] = np.arange(units)
    place = stream(FITTED_FOLDS, seed).permutation(units)
    return Folds(place[unit] % folds, place[unit] // folds % members, folds, members, by_task)


def behaviour_warnings(decisions: LoggedDecisions) -> list[str]:
    """Warnings about actions that never occur in the data."""
    counts: Any = np.bincount(decisions.action, minlength=decisions.actions)
    names = ["nohelp", *(f"help {k}" for k in range(1, decisions.actions))]
    never = [name for name, count in zip(names, counts, strict=True) if not count]
    if not never:
        return []
    return [
        f"{' and '.join(never)} never occurs in the rollouts, so its values cannot be estimated and policies avoid it: "
        "collect with help probabilities strictly between 0 and 1, and a share of help for each intervention."
    ]
