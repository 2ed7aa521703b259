"""The measures of several helpers on the same episodes of one split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Design, Floats, bootstrap_weights
from selfreg_gym.evaluation.measures import EpisodeId, EpisodeMeasures, episode_id
from selfreg_gym.helper import HelperKey
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.random_streams import BOOTSTRAP, stream

__all__ = ["EpisodeTable"]

REQUIRED = ("success", "usage", "length", "helped", "error")
"""Measures that every helper of a saved table has."""


@dataclass(frozen=True)
class EpisodeTable:
    """The measures of helpers on the same n episodes of a split.

    Attributes:
        split: its name.
        task_index: ``(n,)`` the task of each episode.
        seeds: ``(n,)`` the seed of each episode. Helpers have the same (task, seed), so that differences are paired.
        kinds: ``(n,)`` the kind of the task, ``""`` if it has none.
        columns: by helper key (also given as text) and measure, ``(n,)`` values; NaN for an episode without a value.
        fixed_tasks: True: the tasks are the population, and their episodes are resampled. False: they are a sample of
            it, and tasks are resampled.
        bootstrap_seed: of the resamples; a loaded table has the same intervals.
        resamples: their number B.
    """

    split: str
    task_index: NDArray[np.int64]
    seeds: NDArray[np.int64]
    kinds: NDArray[np.object_]
    columns: dict[HelperKey, dict[str, Floats]]
    fixed_tasks: bool
    bootstrap_seed: int = 0
    resamples: int = 2000
    _weights: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)
    _designs: dict[str, Design] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        columns = {HelperKey.parse(key): measures for key, measures in self.columns.items()}
        if len(columns) < len(self.columns):
            raise InvalidArgumentError(f"helper keys must differ, received {', '.join(map(str, self.columns))}.")
        object.__setattr__(self, "columns", columns)

    def __len__(self) -> int:
        return len(self.task_index)

    @classmethod
    def from_measures(
        cls,
        plans: Mapping[HelperKey, Sequence[EpisodeSpec]],
        played: Mapping[HelperKey, Iterable[EpisodeMeasures]],
        *,
        split: str,
        fixed_tasks: bool,
        bootstrap_seed: int = 0,
        resamples: int = 2000,
    ) -> EpisodeTable:
        """Arrange the episodes that each helper ``played``, in any order, along its plan.

        Args:
            plans: the planned episodes of each helper; the episodes of a shorter plan are among those of the longest.
            played: the measured episodes of each helper.
            split: name of the split.
            fixed_tasks, bootstrap_seed, resamples: as the attributes of the table.

        Raises:
            InvalidArgumentError: an episode is not in the plan, was counted twice, or is missing.
        """
        longest = max(plans.values(), key=len)
        place = _places([longest, *plans.values()])
        kinds = np.full(len(place), "", dtype=object)
        columns: dict[HelperKey, dict[str, Floats]] = {}
        for key, episodes in played.items():
            wanted = set(map(episode_id, plans[key]))
            found: dict[int, dict[str, float]] = {}
            for episode in episodes:
                pair = episode_id(episode)
                if pair not in wanted:
                    raise InvalidArgumentError(f"{key}: the episode (task, seed) {pair} is not in the plan.")
                if place[pair] in found:
                    raise InvalidArgumentError(f"{key}: the episode (task, seed) {pair} was counted twice.")
                found[place[pair]] = episode.values
                if episode.error is None:
                    kinds[place[pair]] = episode.kind
            if len(found) != len(wanted):
                missing = len(wanted) - len(found)
                raise InvalidArgumentError(f"{key}: {missing} of {len(wanted)} episodes of the plan are missing.")
            where = np.fromiter(found, dtype=np.int64)
            columns[key] = {
                name: _scatter(np.array([values.get(name, np.nan) for values in found.values()]), where, len(place))
                for name in dict.fromkeys(name for values in found.values() for name in values)
            }
        task_index, seeds = np.array(list(place), dtype=np.int64).reshape(-1, 2).T
        return cls(split, task_index, seeds, kinds, columns, fixed_tasks, bootstrap_seed, resamples)

    def weights(self, kind: str = "all") -> Floats:
        """``(B, n of this kind)`` bootstrap weights, shared by all helpers."""
        if kind not in self._weights:
            if kind == "all":
                strata, clusters = self._strata()
                rng = stream(BOOTSTRAP, self.bootstrap_seed)
                self._weights[kind] = bootstrap_weights(strata, clusters=clusters, resamples=self.resamples, rng=rng)
            else:
                self._weights[kind] = self.weights()[:, self.restrict(kind)]
        return self._weights[kind]

    def design(self, kind: str = "all") -> Design:
        """The units and strata of the episodes of a kind."""
        if kind not in self._designs:
            self._designs[kind] = Design.of(*self._strata()).take(self.restrict(kind))
        return self._designs[kind]

    def _strata(self) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Strata and clusters ``(n,)``: episodes within tasks, or tasks within kinds."""
        if self.fixed_tasks:
            return self.task_index, None
        # A task has one kind, also in its truncated episodes.
        known = {task: kind for task, kind in zip(self.task_index, self.kinds, strict=True) if kind}
        return np.array([known.get(task, "") for task in self.task_index], dtype=object), self.task_index

    def restrict(self, kind: str) -> NDArray[np.bool_]:
        """``(n,)`` whether each episode is of the kind; True for all of them if it is "all"."""
        return np.ones(len(self), dtype=bool) if kind == "all" else self.kinds == kind

    def column(self, keys: Sequence[HelperKey], name: str) -> Floats:
        """The measure ``name (n,)``, averaged over ``keys`` (the training seeds of one helper)."""
        empty = np.full(len(self), np.nan)
        stacked = np.stack([self.columns[key].get(name, empty) for key in keys])
        known = np.isfinite(stacked)
        with np.errstate(invalid="ignore"):
            return np.where(known, stacked, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)

    def join(self, other: EpisodeTable) -> EpisodeTable:
        """The helpers of both tables; NaN for episodes that only the other table has.

        Raises:
            InvalidArgumentError: a helper key is in both, or the tables differ in ``fixed_tasks``.
        """
        twice = sorted(map(str, self.columns.keys() & other.columns.keys()))
        if twice:
            raise InvalidArgumentError(f"helper {twice[0]!r} is in both evaluations of split {self.split!r}.")
        if self.fixed_tasks != other.fixed_tasks:
            raise InvalidArgumentError(f"two evaluations of split {self.split!r} differ in fixed_tasks.")
        own = [[*zip(table.task_index.tolist(), table.seeds.tolist(), strict=True)] for table in (self, other)]
        place = _places(own)
        kinds = np.full(len(place), "", dtype=object)
        columns: dict[HelperKey, dict[str, Floats]] = {}
        for table, pairs in zip((self, other), own, strict=True):
            where = np.array([place[pair] for pair in pairs], dtype=np.int64)
            kinds[where] = np.where(table.kinds == "", kinds[where], table.kinds)
            for key, measures in table.columns.items():
                columns[key] = {name: _scatter(values, where, len(place)) for name, values in measures.items()}
        task_index, seeds = np.array(list(place), dtype=np.int64).reshape(-1, 2).T
        return replace(self, task_index=task_index, seeds=seeds, kinds=kinds, columns=columns, _weights={}, _designs={})

    def to_json(self) -> dict[str, Any]:
        """Plain lists; NaN as None, integral values as integers, helper keys as text."""
        return {
            "split": self.split,
            "fixed_tasks": self.fixed_tasks,
            "bootstrap_seed": self.bootstrap_seed,
            "resamples": self.resamples,
            "task": self.task_index.tolist(),
            "seed": self.seeds.tolist(),
            "kind": self.kinds.tolist(),
            "helpers": {
                str(key): {name: _compact(values) for name, values in columns.items()}
                for key, columns in self.columns.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpisodeTable:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError, ValueError, TypeError: an entry is missing, or has another length or type.
        """
        n = len(data["task"])
        columns: dict[Any, dict[str, Floats]] = {}
        for key, stored in data["helpers"].items():
            columns[key] = {name: _loaded(f"{name} of {key}", values, n) for name, values in stored.items()}
            if missing := [name for name in REQUIRED if name not in stored]:
                raise ValueError(f"helper {key!r} has no {missing[0]}")
        whole = {name: _loaded(name, data[name], n) for name in ("task", "seed")}
        if any(not (np.isfinite(v).all() and (v == np.rint(v)).all()) for v in whole.values()):
            raise ValueError("task and seed must hold integers")
        if len(data["kind"]) != n or not all(isinstance(kind, str) for kind in data["kind"]):
            raise ValueError(f"kind must hold one text per episode ({n})")
        if not n or not columns:
            raise ValueError("there are no episodes, or no helpers")
        if not isinstance(data["split"], str) or not isinstance(data["fixed_tasks"], bool):
            raise ValueError("split must be text, and fixed_tasks true or false")
        return cls(
            split=data["split"],
            task_index=np.array(data["task"], dtype=np.int64),
            seeds=np.array(data["seed"], dtype=np.int64),
            kinds=np.array(data["kind"], dtype=object),
            columns=columns,
            fixed_tasks=data["fixed_tasks"],
            bootstrap_seed=int(data["bootstrap_seed"]),
            resamples=max(int(data["resamples"]), 1),
        )


def _places(plans: Iterable[Iterable[EpisodeSpec | EpisodeId]]) -> dict[EpisodeId, int]:
    """The episodes of all plans, numbered in the order in which they first occur."""
    pairs = (item if isinstance(item, tuple) else episode_id(item) for plan in plans for item in plan)
    return {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}


def _loaded(what: str, values: Any, n: int) -> Floats:
    """``(n,)`` numbers of a file, with None as NaN (earlier versions wrote NaN)."""
    if not isinstance(values, list) or len(values) != n:
        raise ValueError(f"{what} must hold one number per episode ({n})")
    if not all(value is None or value != value or is_number(value) for value in values):
        raise ValueError(f"{what} must hold numbers, or null for a missing one")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _scatter(values: Floats, where: NDArray[np.int64], n: int) -> Floats:
    """``(n,)`` with ``values`` at the indices ``where`` and NaN elsewhere."""
    found = np.full(n, np.nan)
    found[where] = values
    return found


def _compact(values: Floats) -> list[float | int | None]:
    """Numbers for JSON: NaN as None; 12 digits, which keep small costs and drop the rounding errors of sums."""
    return [None if not np.isfinite(v) else int(v) if float(v).is_integer() else float(f"{v:.12g}") for v in values]
