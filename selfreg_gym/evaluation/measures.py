"""What one episode is measured by, and the table of many helpers on the same episodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation.bootstrap import Design, Floats, bootstrap_weights
from selfreg_gym.types import Episode
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.random_streams import BOOTSTRAP, stream

__all__ = ["COLUMNS", "EpisodeTable", "Measured", "measure", "parse_key"]

AFTER_HELP = 3
"""An invalid action counts as *after help* when help was given at most this many steps before."""

COLUMNS = (
    "success",  # 1 or 0
    "usage",  # cost units
    "length",  # decisions
    "helped",  # decisions with help
    "toggles",  # returns to help after a pause: help -> nohelp -> help
    "switches",  # changes between help and nohelp, either way
    "invalid",  # 1 if some action was not admissible
    "invalid_after_help",  # 1 if such an action came at most AFTER_HELP steps after help
    "unseen",  # decisions in states that the helper says it never saw; NaN when it does not say
    "spl",  # success weighted by path length; NaN when the task has none
)
"""The numbers kept of each episode. An episode that ended in an error has NaN in all of them: it is no data. Beside
them, ``error`` is 1 for such an episode, 0 for any other, and NaN for one that this helper was not asked to play."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An episode reduced to numbers: cheap to send between processes and to keep."""

    task: int
    seed: int
    kind: str
    error: str | None
    values: dict[str, float]


def measure(episode: Episode) -> Measured:
    """Reduce one episode to the numbers of :data:`COLUMNS` and the usage of each intervention k.

    The latter are ``usage_1 .. usage_K`` (cost units) and ``calls_1 .. calls_K`` (decisions with help from it).
    """
    return Measured(episode.task_index, episode.seed, episode.kind, episode.error, _values(episode))


def _values(episode: Episode) -> dict[str, float]:
    names = [f"{what}_{k}" for what in ("usage", "calls") for k in range(1, len(episode.usage) + 1)]
    if episode.error is not None:
        return dict.fromkeys([*COLUMNS, *names], np.nan) | {"error": 1.0}
    helped = np.array([step.action > 0 for step in episode.steps], dtype=bool)
    starts = int(helped[:1].sum() + (helped[1:] & ~helped[:-1]).sum())
    latest, after = -AFTER_HELP - 1, False
    for step in episode.steps:
        # The helper's own invalid action is not "after help": only what the actor did alone afterwards is.
        after |= step.invalid and step.action == 0 and step.t - latest <= AFTER_HELP
        if step.action > 0:
            latest = step.t
    values = (
        float(episode.success),
        episode.cost,
        float(len(helped)),
        float(helped.sum()),
        float(max(0, starts - 1)),
        float((helped[1:] != helped[:-1]).sum()),
        float(any(step.invalid for step in episode.steps)),
        float(after),
        float(episode.metrics.get("unseen", np.nan)),
        float(episode.metrics.get("spl", np.nan)),
    )
    calls = [sum(step.action == k for step in episode.steps) for k in range(1, len(episode.usage) + 1)]
    by_intervention = dict(zip(names, map(float, [*episode.usage, *calls]), strict=True))
    return dict(zip(COLUMNS, values, strict=True)) | by_intervention | {"error": 0.0}


def parse_key(key: str) -> tuple[str, float | None, int | None]:
    """Split ``"lm@1.0#3"`` into helper id, budget and training seed: ``("lm", 1.0, 3)``. Both suffixes are optional.

    Raises:
        InvalidArgumentError: no text, what follows ``@`` is not a number, or what follows ``#`` not an integer.
    """
    try:
        name, _, seed = key.partition("#")
        name, _, budget = name.partition("@")
        return name, float(budget) if budget else None, int(seed) if seed else None
    except (ValueError, AttributeError):
        raise InvalidArgumentError(
            f"a helper's key is NAME, NAME@BUDGET or NAME@BUDGET#SEED, for instance 'lm@1#3'; received {key!r}."
        ) from None


@dataclass(frozen=True)
class EpisodeTable:
    """Helpers side by side on the same n episodes of one split.

    Attributes:
        split: its name.
        tasks: ``(n,)`` task index of each episode.
        seeds: ``(n,)`` seed of each episode. The same (task, seed) for every helper: differences are paired.
        kinds: ``(n,)`` the task's kind, ``""`` if it has none.
        columns: for each helper key, for each measure, ``(n,)`` numbers; NaN where the episode is no data.
        fixed_tasks: the tasks are the population (resample their episodes), or else a sample of it (resample tasks).
        bootstrap_seed: seeds the resamples, so that a loaded evaluation has the same intervals.
    """

    split: str
    tasks: NDArray[np.int64]
    seeds: NDArray[np.int64]
    kinds: NDArray[np.object_]
    columns: dict[str, dict[str, Floats]]
    fixed_tasks: bool
    bootstrap_seed: int = 0
    resamples: int = 2000
    _weights: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)
    _designs: dict[str, Design] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.tasks)

    @classmethod
    def from_measured(
        cls,
        plans: Mapping[str, Sequence[tuple[int, int]]],
        played: Mapping[str, Iterable[Measured]],
        *,
        split: str,
        fixed_tasks: bool,
        bootstrap_seed: int = 0,
        resamples: int = 2000,
    ) -> EpisodeTable:
        """Arrange what each helper ``played``, in any order, along its plan of (task index, seed).

        Raises:
            InvalidArgumentError: an episode that is not in the plan, came twice, or never came.
        """
        place: dict[tuple[int, int], int] = {}
        for pair in max(plans.values(), key=len):
            place.setdefault(pair, len(place))
        for plan in plans.values():
            for pair in plan:
                place.setdefault(pair, len(place))
        kinds = np.full(len(place), "", dtype=object)
        columns: dict[str, dict[str, Floats]] = {}
        for key, episodes in played.items():
            wanted = set(plans[key])
            rows: dict[int, dict[str, float]] = {}
            for episode in episodes:
                pair = (episode.task, episode.seed)
                if pair not in wanted:
                    raise InvalidArgumentError(f"{key}: played (task, seed) {pair}, which was not in the plan.")
                if place[pair] in rows:
                    raise InvalidArgumentError(f"{key}: the episode (task, seed) {pair} was counted twice.")
                rows[place[pair]] = episode.values
                if episode.error is None:
                    kinds[place[pair]] = episode.kind
            if len(rows) != len(wanted):
                raise InvalidArgumentError(f"{key}: {len(wanted) - len(rows)} of {len(wanted)} episodes never came.")
            where = np.fromiter(rows, dtype=np.int64)
            names = list(dict.fromkeys(name for row in rows.values() for name in row))
            columns[key] = {
                name: _spread(np.array([row.get(name, np.nan) for row in rows.values()]), where, len(place))
                for name in names
            }
        tasks, seeds = np.array(list(place), dtype=np.int64).reshape(-1, 2).T
        return cls(split, tasks, seeds, kinds, columns, fixed_tasks, bootstrap_seed, resamples)

    def weights(self, kind: str = "all") -> Floats:
        """``(resamples, n of this kind)`` bootstrap weights, drawn once and shared by all helpers."""
        if kind not in self._weights and kind != "all":
            self._weights[kind] = self.weights()[:, self.restrict(kind)]
        if kind not in self._weights:
            rng = stream(BOOTSTRAP, self.bootstrap_seed)
            strata, clusters = self._strata()
            self._weights["all"] = bootstrap_weights(strata, clusters=clusters, resamples=self.resamples, rng=rng)
        return self._weights[kind]

    def design(self, kind: str = "all") -> Design:
        """The design of the bootstrap of the episodes of ``kind``: its units and strata."""
        if kind not in self._designs:
            whole = Design.of(*self._strata())
            self._designs[kind] = whole.take(self.restrict(kind))
        return self._designs[kind]

    def _strata(self) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Strata and clusters: episodes within tasks, or tasks within kinds."""
        return (self.tasks, None) if self.fixed_tasks else (self._task_kinds(), self.tasks)

    def _task_kinds(self) -> NDArray[Any]:
        """``(n,)`` one kind per task, also where an episode in error left none."""
        known = {task: kind for task, kind in zip(self.tasks, self.kinds, strict=True) if kind}
        return np.array([known.get(task, "") for task in self.tasks], dtype=object)

    def restrict(self, kind: str) -> NDArray[np.bool_]:
        """Which episodes are of ``kind`` ("all": every one)."""
        return np.ones(len(self), dtype=bool) if kind == "all" else self.kinds == kind

    def column(self, keys: Sequence[str], name: str) -> Floats:
        """The measure ``name`` ``(n,)``, averaged over ``keys`` (several training seeds of one helper)."""
        empty = np.full(len(self), np.nan)
        stacked = np.stack([self.columns[key].get(name, empty) for key in keys])
        known = np.isfinite(stacked)
        with np.errstate(invalid="ignore"):
            return np.where(known, stacked, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)

    def join(self, other: EpisodeTable) -> EpisodeTable:
        """Put the helpers of ``other`` beside these; where one side played episodes that the other did not, NaN.

        Raises:
            InvalidArgumentError: a helper key is in both, or the splits sample their tasks differently.
        """
        twice = self.columns.keys() & other.columns.keys()
        if twice:
            raise InvalidArgumentError(f"helper {sorted(twice)[0]!r} is in both evaluations of split {self.split!r}.")
        if self.fixed_tasks != other.fixed_tasks:
            raise InvalidArgumentError(f"two evaluations of split {self.split!r} disagree on whether tasks are fixed.")
        place: dict[tuple[int, int], int] = {}
        for table in (self, other):
            for pair in zip(table.tasks.tolist(), table.seeds.tolist(), strict=True):
                place.setdefault(pair, len(place))
        kinds = np.full(len(place), "", dtype=object)
        columns: dict[str, dict[str, Floats]] = {}
        for table in (self, other):
            pairs = zip(table.tasks.tolist(), table.seeds.tolist(), strict=True)
            where = np.array([place[pair] for pair in pairs], dtype=np.int64)
            kinds[where] = np.where(table.kinds == "", kinds[where], table.kinds)
            for key, measured in table.columns.items():
                columns[key] = {name: _spread(values, where, len(place)) for name, values in measured.items()}
        tasks, seeds = np.array(list(place), dtype=np.int64).reshape(-1, 2).T
        return replace(self, tasks=tasks, seeds=seeds, kinds=kinds, columns=columns, _weights={}, _designs={})

    def to_json(self) -> dict[str, Any]:
        """Plain lists; NaN as None, whole numbers as integers."""
        return {
            "split": self.split,
            "fixed_tasks": self.fixed_tasks,
            "bootstrap_seed": self.bootstrap_seed,
            "resamples": self.resamples,
            "task": self.tasks.tolist(),
            "seed": self.seeds.tolist(),
            "kind": self.kinds.tolist(),
            "helpers": {
                key: {name: _compact(values) for name, values in columns.items()}
                for key, columns in self.columns.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpisodeTable:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError, ValueError, TypeError: something is missing, of another length, or of another type.
        """
        n = len(data["task"])
        columns: dict[str, dict[str, Floats]] = {}
        for key, stored in data["helpers"].items():
            parse_key(key)
            columns[key] = {name: _loaded(f"{name} of {key}", values, n) for name, values in stored.items()}
            missing = [name for name in ("success", "usage", "length", "helped", "error") if name not in stored]
            if missing:
                raise ValueError(f"helper {key!r} has no {missing[0]}")
        whole = {name: _loaded(name, data[name], n) for name in ("task", "seed")}
        if any(not (np.isfinite(v).all() and (v == np.rint(v)).all()) for v in whole.values()):
            raise ValueError("task and seed hold whole numbers")
        if len(data["kind"]) != n or not all(isinstance(kind, str) for kind in data["kind"]):
            raise ValueError(f"kind holds one text per episode ({n})")
        if not n or not columns:
            raise ValueError("there are no episodes, or no helpers")
        if not isinstance(data["split"], str) or not isinstance(data["fixed_tasks"], bool):
            raise ValueError("split is text, and fixed_tasks true or false")
        return cls(
            split=data["split"],
            tasks=np.array(data["task"], dtype=np.int64),
            seeds=np.array(data["seed"], dtype=np.int64),
            kinds=np.array(data["kind"], dtype=object),
            columns=columns,
            fixed_tasks=data["fixed_tasks"],
            bootstrap_seed=int(data["bootstrap_seed"]),
            resamples=max(int(data["resamples"]), 1),
        )


def _loaded(what: str, values: Any, n: int) -> Floats:
    """``(n,)`` numbers of a file, None as NaN."""
    if not isinstance(values, list) or len(values) != n:
        raise ValueError(f"{what} holds one number per episode ({n})")
    if not all(value is None or is_number(value) for value in values):
        raise ValueError(f"{what} holds numbers, and null where there is none")
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _spread(values: Floats, where: NDArray[np.int64], n: int) -> Floats:
    """Put ``values`` at ``where`` in ``n`` places, NaN elsewhere."""
    spread = np.full(n, np.nan)
    spread[where] = values
    return spread


def _compact(values: Floats) -> list[float | int | None]:
    """Numbers for JSON, which knows no NaN; 12 digits, so that tiny costs are kept and sums lose their rounding."""
    return [None if not np.isfinite(v) else int(v) if float(v).is_integer() else float(f"{v:.12g}") for v in values]
