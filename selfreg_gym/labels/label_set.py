"""``Labels``: the training set of a helper, and its file.

The file is JSON lines: a header (format, version, number of labels, origin), then one line per decision with its labels
for all budgets, so that its text is stored once::

    {"format": "selfreg_gym labels", "version": 1, "count": 8, "source": "rollouts.sqlite", ...}
    {"observation": "You are in ...", "task_id": "pnp-3", "plan_index": 0, "labels": [
        {"budget": 0.5, "action": 0, "weight": 0.31, "advantage": -0.02}, {"budget": 1.0, ...}]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
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
_DECISION, _CHOICE = ("observation", "task_id", "plan_index"), ("budget", "action", "weight", "advantage")


@dataclass(frozen=True, slots=True)
class Label:
    """The action of the solution at one decision and budget.

    Attributes:
        observation: the text that the helper reads.
        budget: C, cost units per episode.
        action: 0 nohelp, k help from the k-th intervention.
        weight: positive, in the training loss (:mod:`selfreg_gym.labels.labelling`).
        advantage: value S - r M of the best help minus that of nohelp.
        plan_index: index of the rollout in the collection's plan. Decisions of one rollout are dependent: split by it.
        task_id: the task, for splits by task.
    """

    observation: str
    budget: float
    action: int
    weight: float
    advantage: float
    plan_index: int
    task_id: str


@dataclass(frozen=True, eq=False)
class Labels(Sequence[Label]):
    """L labels as arrays. ``labels[i]`` and iteration give :class:`Label`; a slice or a bool mask gives Labels.

    Attributes:
        observation, task_id: distinct texts, and ``codes`` (L,) into them.
        budget, weight, advantage: (L,) float64.
        action, plan_index: (L,) int64.
        info: how the labels were made, as JSON values: ``source, scope, budgets, transitions, unlabelled, scale,
            merged``.
    """

    observation: Coded
    budget: np.ndarray
    action: np.ndarray
    weight: np.ndarray
    advantage: np.ndarray
    plan_index: np.ndarray
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
            int(self.plan_index[index]),
            self.task_id.values[self.task_id.codes[index]],
        )

    def __iter__(self) -> Iterator[Label]:
        texts, tasks = self.observation.values, self.task_id.values
        numbers = self.budget, self.action, self.weight, self.advantage, self.plan_index
        columns = [column.tolist() for column in (self.observation.codes, *numbers, self.task_id.codes)]
        for text, budget, action, weight, advantage, plan_index, task in zip(*columns, strict=True):
            yield Label(texts[text], budget, action, weight, advantage, plan_index, tasks[task])

    def __repr__(self) -> str:
        shares = ", ".join(f"{row['budget']:g}: {row['help_share']:.1%}" for row in self.summary())
        return f"Labels({len(self)} labels of {len(self.observation.values)} texts; help by budget {shares})"

    def summary(self) -> list[dict[str, float]]:
        """Per budget: ``budget, labels``, share of help in number (``help_share``) and in weight (``help_weight``)."""
        rows = []
        for budget in np.unique(self.budget):
            here = self.budget == budget
            helps, weight = self.action[here] > 0, self.weight[here]
            shares = {"help_share": float(helps.mean()), "help_weight": float(weight[helps].sum() / weight.sum())}
            rows.append({"budget": float(budget), "labels": int(here.sum()), **shares})
        return rows

    def merged(self) -> Labels:
        """Merge labels with equal observation, budget and action into one.

        Its weight is the sum, its advantage the weighted mean, plan index and task are those of the first one. The
        training loss stays the same. An observation of two states with different actions keeps both. The labels of an
        observation are adjacent.
        """
        if not len(self):
            return self
        _, budget = np.unique(self.budget, return_inverse=True)
        key = (self.observation.codes * (budget.max() + 1) + budget.reshape(-1)) * (self.action.max() + 1) + self.action
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
        weight = np.bincount(group.reshape(-1), self.weight)
        advantage = np.bincount(group.reshape(-1), self.weight * self.advantage) / weight
        first_met = np.full(len(self.observation.values), len(self))
        np.minimum.at(first_met, self.observation.codes, np.arange(len(self)))  # first label of each observation
        order = np.lexsort((self.action[first], self.budget[first], first_met[self.observation.codes[first]]))
        merged = self._take(first[order])
        return replace(merged, weight=weight[order], advantage=advantage[order], info={**self.info, "merged": True})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the labels to a JSON-lines file, atomically."""
        path = Path(path)
        header = {"format": _FORMAT, "version": _VERSION, "count": len(self), **self.info}
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(header, allow_nan=False) + "\n")
            for decision, labels in groupby(self, key=attrgetter(*_DECISION)):
                by_budget = [{name: getattr(one, name) for name in _CHOICE} for one in labels]
                line = {**dict(zip(_DECISION, decision, strict=True)), "labels": by_budget}
                file.write(json.dumps(line, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Labels:
        """Read a file written by :meth:`save`.

        Raises:
            StoreError: no such file.
            StoreVersionError: another format version.
            StoreDamagedError: not a file of labels, incomplete, or a line with an invalid label.
        """
        try:
            with Path(path).open(encoding="utf-8") as file:
                header = _header(file.readline(), path)
                rows = list(_rows(file, path))
        except FileNotFoundError:
            raise StoreError(f"there are no labels at {path}: write them with label(...).save(path).") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}.") from error
        except UnicodeDecodeError as error:
            raise StoreDamagedError(f"{path} is not a file of labels: it is not UTF-8 text.") from error
        count = header.pop("count")
        if len(rows) != count:
            raise StoreDamagedError(f"{path} has {len(rows)} of its {count} labels: it is incomplete. Write it again.")
        info = {key: value for key, value in header.items() if key not in ("format", "version")}
        return cls.of(rows, info)

    @classmethod
    def of(cls, labels: Sequence[Label], info: dict[str, Any] | None = None) -> Labels:
        """Build the set from single labels.

        Raises:
            InvalidArgumentError: a weight is not positive, or a value not finite.
        """
        numbers = np.array([(x.budget, x.weight, x.advantage) for x in labels], np.float64).reshape(-1, 3)
        if not np.isfinite(numbers).all() or (numbers[:, 1] <= 0).any():
            raise InvalidArgumentError(
                "budget, weight and advantage of a label must be finite numbers, and the weight positive."
            )
        return cls(
            observation=Coded.of([x.observation for x in labels]),
            budget=numbers[:, 0],
            action=np.array([x.action for x in labels], np.int64),
            weight=numbers[:, 1],
            advantage=numbers[:, 2],
            plan_index=np.array([x.plan_index for x in labels], np.int64),
            task_id=Coded.of([x.task_id for x in labels]),
            info=dict(info or {}),
        )

    def _take(self, index: Any) -> Labels:
        """The labels at ``index``, with all texts."""
        names = ("budget", "action", "weight", "advantage", "plan_index")
        arrays = {name: getattr(self, name)[index] for name in names}
        observation, task_id = (replace(text, codes=text.codes[index]) for text in (self.observation, self.task_id))
        return replace(self, **arrays, observation=observation, task_id=task_id)


def _header(line: str, path: Any) -> dict[str, Any]:
    try:
        header = json.loads(line)
        is_header = header["format"] == _FORMAT
    except (ValueError, TypeError, KeyError, RecursionError):
        is_header, header = False, {}
    if not is_header or not isinstance(header.get("count"), int):
        raise StoreDamagedError(f"{path} is not a file of labels: its first line is not the header.")
    if header.get("version") != _VERSION:
        raise StoreVersionError(
            f"{path} has format version {header.get('version')}; this selfreg_gym reads version {_VERSION}."
        )
    return header


def _rows(lines: Iterator[str], path: Any) -> Iterator[Label]:
    for number, line in enumerate(lines, start=2):
        try:
            decision = json.loads(line)
            if "episode" in decision:  # the former name
                decision["plan_index"] = decision.pop("episode")
            labels = decision.pop("labels")
            rows = [_checked(Label(**decision, **one)) for one in labels]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            what = f"{path}, line {number}, has no valid labels ({error})"
            raise StoreDamagedError(f"{what}. Write the file again.") from error
        yield from rows


def _checked(label: Label) -> Label:
    """Raise a ValueError if a field has an invalid type or is out of range."""
    if not (isinstance(label.observation, str) and isinstance(label.task_id, str)):
        raise ValueError("observation and task_id must be texts")
    for name in ("action", "plan_index"):
        value = getattr(label, name)
        low, high = (0, 2**15) if name == "action" else (-(2**63), 2**63)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value < high:
            raise ValueError(f"{name} must be an integer from {low} to {high - 1}, received {value!r}")
    for name in ("budget", "weight", "advantage"):
        if not is_number(value := getattr(label, name)):
            raise ValueError(f"{name} must be a finite number, received {value!r}")
    if label.weight <= 0:
        raise ValueError(f"weight must be positive, received {label.weight!r}")
    return label
