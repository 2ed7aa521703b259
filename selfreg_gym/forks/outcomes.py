"""Outcomes of continuations, collected in arrays, and the file from which an interrupted call continues."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selfreg_gym.errors import CheckpointError
from selfreg_gym.forks.states import ForkState
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps, read_object

__all__ = ["Outcome", "Work"]


_SECONDS = 10.0  # between two writes, because each of them writes all finished states


class Outcome(NamedTuple):
    """A finished continuation: indices of state, first action and repetition, and what is measured."""

    state: int
    first: int
    repetition: int
    success: bool
    cost: float
    calls: tuple[int, ...]
    steps: int
    first_steps: int
    invalid_at: int
    failed: bool
    error: str | None = None  # why it failed


class Work:
    """The arrays of a call of ``fork``, filled by its outcomes, and the file of its finished states.

    Args:
        states: S states.
        shape: (S, F, R).
        interventions: K.
        path: the file, or None.
        identity: a text that is different for calls with different results.

    Attributes:
        arrays: those of :class:`selfreg_gym.forks.Forks`.
        left: ``(S,)`` continuations of each state that are not finished.
        played: number of finished continuations.
        error: the last error of a failed continuation, or None.
    """

    def __init__(
        self,
        states: Sequence[ForkState],
        shape: tuple[int, int, int],
        interventions: int,
        path: Path | None,
        identity: str,
    ) -> None:
        self.arrays: dict[str, np.ndarray] = {
            "success": np.zeros(shape, bool), "cost": np.zeros(shape), "calls": np.zeros((*shape, interventions), int),
            "steps": np.zeros(shape, int), "first_steps": np.zeros(shape, int), "invalid_at": np.full(shape, -1),
            "failed": np.zeros(shape, bool),
        }  # fmt: skip
        self.states, self.path, self.identity = states, path, identity
        self.left = np.full(len(states), shape[1] * shape[2])
        self.played = 0
        self.error: str | None = None
        self._written, self._unwritten = time.monotonic(), False

    @property
    def done(self) -> int:
        """Number of finished states."""
        return int((self.left == 0).sum())

    def missing(self) -> list[tuple[int, ForkState]]:
        """The unfinished states with their numbers."""
        return [(i, state) for i, state in enumerate(self.states) if self.left[i]]

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome; write the file if its state is finished and the last write was over ten seconds ago."""
        at = (outcome.state, outcome.first, outcome.repetition)
        for name in self.arrays:
            self.arrays[name][at] = getattr(outcome, name)
        self.error = outcome.error or self.error
        self.left[outcome.state] -= 1
        self.played += 1
        if not self.left[outcome.state]:
            self._unwritten = True
            if time.monotonic() - self._written > _SECONDS:
                self.write()

    def read(self) -> None:
        """Read the finished states of the file, if it exists.

        Raises:
            CheckpointError: the file holds the work of another call, or is damaged.
        """
        if self.path is None or not self.path.exists():
            return
        keys = ("identity", "finished", *self.arrays)
        found = read_object(self.path, what="unfinished forks", remedy="delete it", keys=keys)
        if found["identity"] != self.identity:
            raise CheckpointError(
                f"{str(self.path)!r} holds forks with other arguments or states: use another file, or delete it."
            )
        try:
            finished = np.array(found["finished"], int)
            for name, array in self.arrays.items():
                array[finished] = np.array(found[name], array.dtype).reshape(len(finished), *array.shape[1:])
        except (ValueError, IndexError, TypeError) as fault:
            raise CheckpointError(f"{str(self.path)!r} is damaged ({fault}): delete it.") from fault
        self.left[finished] = 0
        self.played = len(finished) * int(np.prod(self.arrays["success"].shape[1:]))

    def write(self) -> None:
        """Write the finished states, if there is a file and it lacks some of them."""
        if self.path is None or not self._unwritten:
            return
        self._unwritten, self._written = False, time.monotonic()
        finished = np.flatnonzero(self.left == 0)
        values = {name: array[finished].tolist() for name, array in self.arrays.items()}
        write_text(self.path, dumps({"identity": self.identity, "finished": finished.tolist(), **values}) + "\n")
