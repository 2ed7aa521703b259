"""``Forks``: what the continuations of each state achieved, and the value of help with its interval.

The difference of two first actions is *paired*: both have the same random numbers in each repetition. Of R repetitions,
let b be those in which only the first action succeeds, and c those in which only the other does. With
``p = (b + 1) / (R + 2)`` and ``q = (c + 1) / (R + 2)`` the interval of the difference of success rates is
``p - q -+ z sqrt((p + q - (p - q)^2) / (R + 2))`` (Bonett and Price 2012, "Adjusted Wald confidence interval for a
difference of binomial proportions based on paired data", J. Educational and Behavioral Statistics 37). It has a width
above 0 also if all repetitions have the same outcome. A difference of costs has Student's interval.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import CheckpointError, InvalidArgumentError, UnknownNameError
from selfreg_gym.evaluation.bootstrap import (
    Design,
    Estimate,
    Z,
    bootstrap_weights,
    estimate_mean,
    student_factor,
    wilson_interval,
)
from selfreg_gym.forks.states import ForkState
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps, read_object
from selfreg_gym.utils.random_streams import BOOTSTRAP, stream

__all__ = ["FORMAT", "Differences", "Forks", "as_first_actions", "state_record"]

FORMAT = "selfreg-forks-1"

_STATE = ("task_index", "seed", "t", "task_id", "kind", "observation", "state_key", "feature_key", "steps_left", "row",
          "action")  # fmt: skip
_ARRAYS = {"success": bool, "cost": float, "calls": int, "steps": int, "first_steps": int, "invalid_at": int,
           "failed": bool}  # fmt: skip


class Differences(NamedTuple):
    """Differences of two first actions, one per state: each ``(S,)`` float64; NaN without a valid repetition.

    Attributes:
        success, success_low, success_high: difference of success rates, with its 95 % interval.
        cost, cost_low, cost_high: difference of cost units per continuation, with its 95 % interval.
    """

    success: np.ndarray
    success_low: np.ndarray
    success_high: np.ndarray
    cost: np.ndarray
    cost_low: np.ndarray
    cost_high: np.ndarray


@dataclass(frozen=True, eq=False)
class Forks:
    """The continuations of S states under F first actions, R repetitions each.

    Attributes:
        states: the states; states that were read from a file cannot be continued again.
        first_actions: F tuples of actions: 0 nohelp, k help from the k-th intervention.
        interventions: K names.
        then: the helper that is followed after the first actions.
        reseeded: whether the task's randomness differs between repetitions (its member ``reseed``). If not, all
            repetitions have the recorded randomness of the task, and the results hold for it alone.
        success: bool ``(S, F, R)``.
        cost: float64 ``(S, F, R)``, cost units from the state on.
        calls: int64 ``(S, F, R, K)``, calls from the state on.
        steps: int64 ``(S, F, R)``, steps from the state to the end.
        first_steps: int64 ``(S, F, R)``, the steps of the first actions; a call counts with all of its steps.
        invalid_at: int64 ``(S, F, R)``, the first step from the state on (from 0) with an invalid action, -1 if none.
        failed: bool ``(S, F, R)``, True where an actor or the helper failed at every attempt; left out of all
            statistics.
        seed: of the repetitions.
    """

    states: Sequence[ForkState]
    first_actions: tuple[tuple[int, ...], ...]
    interventions: tuple[str, ...]
    then: str
    reseeded: bool
    success: np.ndarray
    cost: np.ndarray
    calls: np.ndarray
    steps: np.ndarray
    first_steps: np.ndarray
    invalid_at: np.ndarray
    failed: np.ndarray
    seed: int = 0

    def __len__(self) -> int:
        return len(self.states)

    @property
    def repetitions(self) -> int:
        """R."""
        return self.success.shape[2]

    @property
    def note(self) -> str:
        """What differs between the repetitions."""
        if self.reseeded:
            return "The repetitions differ in the random numbers of task, actors and helper."
        return (
            "The task cannot be reseeded: all repetitions have its recorded randomness, and differ only in the random "
            "numbers of actors and helper."
        )

    def index(self, first: int | Sequence[int]) -> int:
        """Position of a first action (an action, or a sequence of actions) in ``first_actions``.

        Raises:
            UnknownNameError: it was not forked.
        """
        wanted = (int(first),) if isinstance(first, int | np.integer) else tuple(int(one) for one in first)
        if wanted not in self.first_actions:
            raise UnknownNameError("first action", _text(wanted), [_text(one) for one in self.first_actions])
        return self.first_actions.index(wanted)

    def rates(self, first: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Success rate and mean cost of a first action per state, each ``(S,)``; NaN without a valid repetition."""
        f = self.index(first)
        known = ~self.failed[:, f]
        return _mean(self.success[:, f].astype(np.float64), known), _mean(self.cost[:, f], known)

    def differences(self, action: int | Sequence[int] = 1, base: int | Sequence[int] = 0) -> Differences:
        """The paired differences between two first actions, at each state: by default help minus nohelp."""
        a, b = self.index(action), self.index(base)
        known = ~(self.failed[:, a] | self.failed[:, b])
        won = np.where(known, self.success[:, a].astype(np.int64) - self.success[:, b], 0)
        n = known.sum(axis=1)
        success = _mean(won.astype(np.float64), known)
        p, q = ((won == sign).sum(axis=1) + 1.0 for sign in (1, -1))
        p, q = p / (n + 2), q / (n + 2)
        half = Z * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
        spent = self.cost[:, a] - self.cost[:, b]
        cost = _mean(spent, known)
        t = np.array([Z * np.sqrt(student_factor(int(m) - 1)) if m > 1 else np.nan for m in n])
        variance = _mean((spent - cost[:, None]) ** 2, known) * n / np.maximum(n - 1, 1)
        wide = t * np.sqrt(variance / np.maximum(n, 1))
        none = n == 0
        low, high = np.where(none, np.nan, p - q - half), np.where(none, np.nan, p - q + half)
        return Differences(success, np.minimum(low, success), np.maximum(high, success), cost, cost - wide, cost + wide)

    def mean_difference(
        self, action: int | Sequence[int] = 1, base: int | Sequence[int] = 0, *, resamples: int = 2000
    ) -> tuple[Estimate, Estimate]:
        """Mean differences of success and cost over the states, with intervals over tasks (bootstrap)."""
        found = self.differences(action, base)
        return self.average(found.success, resamples=resamples), self.average(found.cost, resamples=resamples)

    def average(self, values: np.ndarray, *, resamples: int = 2000) -> Estimate:
        """The mean of ``(S,)`` values of the states with a bootstrap interval over tasks, stratified by kind."""
        kinds = [state.kind for state in self.states]
        tasks = [f"{state.kind}/{state.task_id}" for state in self.states]
        weights = bootstrap_weights(kinds, clusters=tasks, resamples=resamples, rng=stream(BOOTSTRAP, len(self)))
        return estimate_mean(values, weights, design=Design.of(kinds, tasks))

    def rows(self) -> list[dict[str, Any]]:
        """One dict per state and first action, in their order.

        Keys: ``task_id, seed, t, steps_left, state_key, first_actions, repetitions, success, success_low,
        success_high`` (Wilson's interval), ``cost, steps``, one ``calls:NAME`` per intervention, and ``gain, gain_low,
        gain_high, gain_cost``: the paired difference from ``first_actions[0]``.
        """
        found = []
        gains = [self.differences(first, self.first_actions[0]) for first in self.first_actions]
        for i, state in enumerate(self.states):
            for f, first in enumerate(self.first_actions):
                known = ~self.failed[i, f]
                n = int(known.sum())
                rate = float(self.success[i, f][known].mean()) if n else float("nan")
                low, high = wilson_interval(rate, n) if n else (float("nan"), float("nan"))
                gain = gains[f]
                row: dict[str, Any] = {
                    "task_id": state.task_id, "seed": state.seed, "t": state.t, "steps_left": state.steps_left,
                    "state_key": state.state_key, "first_actions": _text(first), "repetitions": n,
                    "success": rate, "success_low": low, "success_high": high,
                    "cost": float(self.cost[i, f][known].mean()) if n else float("nan"),
                    "steps": float(self.steps[i, f][known].mean()) if n else float("nan"),
                }  # fmt: skip
                for k, name in enumerate(self.interventions):
                    row[f"calls:{name}"] = float(self.calls[i, f, known, k].mean()) if n else float("nan")
                if f:
                    row |= {
                        "gain": float(gain.success[i]), "gain_low": float(gain.success_low[i]),
                        "gain_high": float(gain.success_high[i]), "gain_cost": float(gain.cost[i]),
                    }  # fmt: skip
                else:
                    row |= dict.fromkeys(("gain", "gain_low", "gain_high", "gain_cost"))
                found.append(row)
        return found

    def to_csv(self, path: str | Path) -> Path:
        """Write :meth:`rows` as a CSV file."""
        rows, text = self.rows(), io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())
        return Path(path)

    def save(self, path: str | Path) -> Path:
        """Write everything to a JSON file, for :meth:`load`."""
        record = {
            "format": FORMAT,
            "first_actions": [list(one) for one in self.first_actions],
            "interventions": list(self.interventions),
            "then": self.then,
            "reseeded": self.reseeded,
            "seed": self.seed,
            "states": [state_record(state) for state in self.states],
            **{name: getattr(self, name).astype(float if kind is float else int).tolist()
               for name, kind in _ARRAYS.items()},
        }  # fmt: skip
        write_text(path, dumps(record) + "\n")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Forks:
        """Read a file of :meth:`save`.

        Raises:
            CheckpointError: the file is missing, damaged or of another format.
        """
        keys = ("format", "first_actions", "interventions", "then", "reseeded", "seed", "states", *_ARRAYS)
        keys = tuple(name for name in keys if name != "first_steps")  # files of earlier versions lack it
        found = read_object(path, what="forks", remedy="run the forks again", keys=keys)
        if found["format"] != FORMAT:
            raise CheckpointError(f"{str(path)!r} must have the format {FORMAT!r}, and has {found['format']!r}.")
        try:
            states = [ForkState(**{name: one[name] for name in _STATE}) for one in found["states"]]
            first = tuple(tuple(one) for one in found["first_actions"])
            if "first_steps" not in found:  # written before calls of several steps existed
                counts = np.array([len(one) for one in first]).reshape(-1, 1)
                found["first_steps"] = np.minimum(np.array(found["steps"], int), counts)
            arrays: dict[str, Any] = {name: np.array(found[name], kind) for name, kind in _ARRAYS.items()}
            shape = (len(states), len(first))
            if any(array.shape[:2] != shape for array in arrays.values()):
                raise ValueError(f"its arrays do not have the shape {shape}")
            names, then, seed = tuple(map(str, found["interventions"])), str(found["then"]), int(found["seed"])
            if arrays["calls"].shape != (*arrays["success"].shape, len(names)):
                raise ValueError(f"its calls are not those of {len(names)} interventions")
        except (TypeError, ValueError, KeyError) as fault:
            raise CheckpointError(f"{str(path)!r} is damaged ({fault}): run the forks again.") from fault
        return cls(
            states=states, first_actions=first, interventions=names, then=then, reseeded=bool(found["reseeded"]),
            seed=seed, **arrays,
        )  # fmt: skip


def as_first_actions(first_actions: Any, actions: int) -> tuple[tuple[int, ...], ...]:
    """First actions as tuples.

    Args:
        first_actions: actions, or sequences of actions; at least one, all different.
        actions: their number; an action is below it.

    Raises:
        InvalidArgumentError: anything else.
    """
    rule = (
        f"first_actions must be different actions from 0 to {actions - 1}, or sequences of them, such as "
        "[0, 1] or [(1, 2), (2, 2)]"
    )
    if isinstance(first_actions, str):
        raise InvalidArgumentError(f"{rule}; received {first_actions!r}.")
    try:
        found = tuple(
            (int(one),) if isinstance(one, int | np.integer) else tuple(int(action) for action in one)
            for one in first_actions
        )
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{rule}; received {first_actions!r}.") from None
    outside = any(not 0 <= action < actions for one in found for action in one)
    if not found or outside or len(set(found)) < len(found):
        raise InvalidArgumentError(f"{rule}; received {first_actions!r}.")
    return found


def state_record(state: ForkState) -> dict[str, Any]:
    """A state as plain JSON values, without what is needed to continue it."""
    return {name: getattr(state, name) for name in _STATE}


def _text(first: Sequence[int]) -> str:
    return "+".join(map(str, first)) or "none"


def _mean(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Means over the last axis of the known values; NaN where none is known."""
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
