"""``Labels``: the training set of a helper, and its file.

The file is JSON lines: first a header (format, version, how many, where from), then one moment a line with its labels
for all budgets, so that the long text stands there once::

    {"format": "selfreg_gym labels", "version": 1, "count": 8, "source": "rollouts.sqlite", ...}
    {"observation": "You are in ...", "task_id": "pnp-3", "episode": 0, "labels": [
        {"budget": 0.5, "action": 0, "weight": 0.31, "advantage": -0.02}, {"budget": 1.0, ...}]}

It is written whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, overload

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, StoreDamagedError, StoreError, StoreVersionError
from selfreg_gym.store.rollouts import Coded
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.files import atomic_path

__all__ = ["Label", "Labels"]

_FORMAT = "selfreg_gym labels"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Label:
    """What the solution does in one moment, at one budget.

    Attributes:
        observation: what the helper will read.
        budget: C, cost units per episode.
        action: 0 nohelp, k help from the k-th intervention.
        weight: of the label in training, positive; a heuristic from the advantage, see
            :mod:`selfreg_gym.labels.labelling`.
        advantage: what the best help gains over nohelp in S - r M (negative where nohelp is better).
        episode: place of the rollout in the plan; moments of one rollout are not independent, so split by it.
        task_id: the task, for splits by task.
    """

    observation: str
    budget: float
    action: int
    weight: float
    advantage: float
    episode: int
    task_id: str


@dataclass(frozen=True, eq=False)
class Labels(Sequence[Label]):
    """L labels, held as arrays; ``labels[i]`` and iteration give :class:`Label`, a slice or a bool mask gives Labels.

    Attributes:
        observation: texts by code; ``codes`` (L,).
        budget, weight, advantage: (L,) float64.
        action, episode: (L,) int64.
        task_id: texts by code; ``codes`` (L,).
        info: how they were made, in plain JSON values: ``source, scope, budgets, transitions, unlabelled, scale,
            merged``.
    """

    observation: Coded
    budget: np.ndarray
    action: np.ndarray
    weight: np.ndarray
    advantage: np.ndarray
    episode: np.ndarray
    task_id: Coded
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.action)

    @overload
    def __getitem__(self, index: int) -> Label: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Labels: ...
    def __getitem__(self, index: Any) -> Label | Labels:
        if isinstance(index, slice | np.ndarray):
            return self._take(index)
        return Label(
            self.observation.values[self.observation.codes[index]],
            float(self.budget[index]),
            int(self.action[index]),
            float(self.weight[index]),
            float(self.advantage[index]),
            int(self.episode[index]),
            self.task_id.values[self.task_id.codes[index]],
        )

    def __iter__(self) -> Iterator[Label]:
        return iter(self._all())

    def __repr__(self) -> str:
        shares = ", ".join(f"{row['budget']:g}: {row['help_share']:.1%}" for row in self.summary())
        return f"Labels({len(self)} labels of {len(self.observation.values)} texts; help by budget {shares})"

    def summary(self) -> list[dict[str, float]]:
        """Per budget: ``budget, labels, help_share`` (plain) and ``help_weight`` (share of the weight on help)."""
        rows = []
        for budget in np.unique(self.budget):
            here = self.budget == budget
            helps, weight = self.action[here] > 0, self.weight[here]
            rows.append(
                {
                    "budget": float(budget),
                    "labels": int(here.sum()),
                    "help_share": float(helps.mean()),
                    "help_weight": float(weight[helps].sum() / weight.sum()),
                }
            )
        return rows

    def merged(self) -> Labels:
        """Labels with the same observation, budget and action as one, whose weight is their sum.

        The advantage is their weighted mean; episode and task are the first one's. Training sees the same loss on fewer
        rows; an observation that was labelled both ways (two states look alike) keeps both. All labels of an
        observation stand together.
        """
        if not len(self):
            return self
        _, budget = np.unique(self.budget, return_inverse=True)
        key = (self.observation.codes * (budget.max() + 1) + budget.reshape(-1)) * (self.action.max() + 1) + self.action
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
        weight = np.bincount(group.reshape(-1), self.weight)
        advantage = np.bincount(group.reshape(-1), self.weight * self.advantage) / weight
        met = np.full(len(self.observation.values), len(self))
        np.minimum.at(met, self.observation.codes, np.arange(len(self)))  # where each observation is first labelled
        order = np.lexsort((self.action[first], self.budget[first], met[self.observation.codes[first]]))
        some = self._take(first[order])
        return replace(some, weight=weight[order], advantage=advantage[order], info={**self.info, "merged": True})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the labels to a JSON-lines file, which appears only when it is whole."""
        path = Path(path)
        header = {"format": _FORMAT, "version": _VERSION, "count": len(self), **self.info}
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(header, allow_nan=False) + "\n")
            for (text, task, episode), labels in groupby(self, key=_moment):
                several = [
                    {"budget": x.budget, "action": x.action, "weight": x.weight, "advantage": x.advantage}
                    for x in labels
                ]
                line = {"observation": text, "task_id": task, "episode": episode, "labels": several}
                file.write(json.dumps(line, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Labels:
        """Read what :meth:`save` wrote.

        Raises:
            StoreError: no such file.
            StoreVersionError: another format version.
            StoreDamagedError: not a file of labels, or cut short, or a line that is no label.
        """
        try:
            with Path(path).open(encoding="utf-8") as file:
                header = _header(file.readline(), path)
                rows = list(_rows(file, path))
        except FileNotFoundError:
            raise StoreError(f"there are no labels at {path}: make them with label(...).save(path).") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}.") from error
        except UnicodeDecodeError as error:
            raise StoreDamagedError(f"{path} is not a file of labels: it is not UTF-8 text.") from error
        count = header.pop("count")
        if len(rows) != count:
            raise StoreDamagedError(f"{path} holds {len(rows)} of its {count} labels: it was cut. Make it again.")
        info = {key: value for key, value in header.items() if key not in ("format", "version")}
        return cls.of(rows, info)

    @classmethod
    def of(cls, labels: Sequence[Label], info: dict[str, Any] | None = None) -> Labels:
        """Make a set of single labels.

        Raises:
            InvalidArgumentError: a weight that is not positive, or a value that is not finite.
        """
        numbers = np.array([(x.budget, x.weight, x.advantage) for x in labels], np.float64).reshape(-1, 3)
        if not np.isfinite(numbers).all() or (numbers[:, 1] <= 0).any():
            raise InvalidArgumentError("a label's budget and advantage are finite numbers, and its weight is positive.")
        return cls(
            observation=Coded.of([x.observation for x in labels]),
            budget=numbers[:, 0],
            action=np.array([x.action for x in labels], np.int64),
            weight=numbers[:, 1],
            advantage=numbers[:, 2],
            episode=np.array([x.episode for x in labels], np.int64),
            task_id=Coded.of([x.task_id for x in labels]),
            info=dict(info or {}),
        )

    def _take(self, index: Any) -> Labels:
        """Some of the labels; all texts stay."""
        arrays = {name: getattr(self, name)[index] for name in ("budget", "action", "weight", "advantage", "episode")}
        texts = {name: replace(getattr(self, name), codes=getattr(self, name).codes[index]) for name in _TEXTS}
        return replace(self, **arrays, **texts)

    def _all(self) -> Iterator[Label]:
        texts, tasks = self.observation.values, self.task_id.values
        for text, budget, action, weight, advantage, episode, task in zip(
            self.observation.codes.tolist(),
            self.budget.tolist(),
            self.action.tolist(),
            self.weight.tolist(),
            self.advantage.tolist(),
            self.episode.tolist(),
            self.task_id.codes.tolist(),
            strict=True,
        ):
            yield Label(texts[text], budget, action, weight, advantage, episode, tasks[task])


_TEXTS = ("observation", "task_id")


def _header(line: str, path: Any) -> dict[str, Any]:
    try:
        header = json.loads(line)
        ours = header["format"] == _FORMAT
    except (ValueError, TypeError, KeyError, RecursionError):
        ours, header = False, {}
    if not ours or not isinstance(header.get("count"), int):
        raise StoreDamagedError(f"{path} is not a file of labels: its first line is not their header.")
    if header.get("version") != _VERSION:
        raise StoreVersionError(
            f"{path} holds labels of version {header.get('version')}; this selfreg_gym reads version {_VERSION}."
        )
    return header


def _rows(lines: Iterator[str], path: Any) -> Iterator[Label]:
    for number, line in enumerate(lines, start=2):
        try:
            moment = json.loads(line)
            labels = moment.pop("labels")
            rows = [_checked(Label(**moment, **one)) for one in labels]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreDamagedError(
                f"{path}, line {number}, holds no labels ({error}). Make the file again."
            ) from error
        yield from rows


def _checked(label: Label) -> Label:
    """Raise a ValueError unless every field has its type and range."""
    if not (isinstance(label.observation, str) and isinstance(label.task_id, str)):
        raise ValueError("observation and task_id are text")
    for name in ("action", "episode"):
        value = getattr(label, name)
        low, high = (0, 2**15) if name == "action" else (-(2**63), 2**63)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value < high:
            raise ValueError(f"{name} is a whole number from {low} to {high - 1}, received {value!r}")
    for name in ("budget", "weight", "advantage"):
        value = getattr(label, name)
        if not is_number(value):
            raise ValueError(f"{name} is a finite number, received {value!r}")
    if label.weight <= 0:
        raise ValueError(f"weight is positive, received {label.weight!r}")
    return label


def _moment(label: Label) -> tuple[str, str, int]:
    return label.observation, label.task_id, label.episode
