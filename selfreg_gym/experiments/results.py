"""``Results``: the measured values of all cells and seeds of an experiment, and estimates with intervals from them.

The mean over S training seeds has two sources of error: the evaluated tasks, and the seeds (rollouts and trainings).
The interval over tasks is that of :mod:`selfreg_gym.evaluation.bootstrap`, of values averaged over the seeds. The
interval over seeds is ``t(S - 1) * sd / sqrt(S)``, with the standard deviation of the values by seed and the quantile
of Student's t. Half-widths are added in squares. With three seeds t is 4.3, so the intervals are wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.bootstrap import Estimate, student_factor
from selfreg_gym.experiments.packing import unpack
from selfreg_gym.pipeline.config import RunConfig

__all__ = ["Results", "over_seeds", "with_seeds"]

NORMAL = 1.959963984540054
"""The quantile of the normal distribution for 95 %."""


@dataclass(frozen=True)
class Results:
    """The measured cells of an experiment.

    Attributes:
        config: the config, without the seeds of the trials.
        seeds: numbers of the trials.
        measured: by cell and seed, the return value of :meth:`Experiment.measure`; a shared cell has the first seed.
    """

    config: RunConfig
    seeds: tuple[int, ...]
    measured: Mapping[tuple[str, int], Mapping[str, Any]]

    def of(self, cell: str) -> list[Mapping[str, Any]]:
        """The values of a cell, one for each seed (one in all for a shared cell)."""
        return [self.measured[cell, seed] for seed in self.seeds if (cell, seed) in self.measured]

    def values(self, cell: str, *path: str | int) -> Estimate:
        """The mean over seeds of a number of a cell, with the interval over seeds.

        Args:
            cell: its name.
            *path: the keys and indices of the number in the values of the cell.
        """
        return over_seeds([_at(one, path) for one in self.of(cell)])

    @cached_property
    def evaluation(self) -> Evaluation:
        """All evaluations merged; the keys of helpers with several training seeds contain the seed."""
        return Evaluation.merge(*(unpack(one["evaluation"]) for one in self.measured.values() if "evaluation" in one))

    @cached_property
    def by_seed(self) -> dict[int, Evaluation]:
        """The merged evaluation of each seed, which includes the shared cells."""
        first, found = self.seeds[0], {}
        for seed in self.seeds:
            chosen = [
                unpack(one["evaluation"])
                for (cell, of), one in self.measured.items()
                if "evaluation" in one and (of == seed or (of == first and self._is_shared(cell)))
            ]
            found[seed] = Evaluation.merge(*chosen)
        return found

    def estimate(self, read: Callable[[Evaluation], Estimate]) -> Estimate:
        """A number of the evaluations, with an interval over tasks and seeds (see the head of this module).

        Args:
            read: reads the number from an evaluation, for instance
                ``lambda found: found.recovery("random", budget=1.0, split="seen").share``. It is called with the
                evaluation of all seeds, and with that of each seed.
        """
        together = read(self.evaluation)
        if len(self.seeds) == 1:
            return together
        return with_seeds(together, [read(found).value for found in self.by_seed.values()])

    def _is_shared(self, cell: str) -> bool:
        return len(self.seeds) > 1 and (cell, self.seeds[1]) not in self.measured


def over_seeds(values: Sequence[float | None]) -> Estimate:
    """The mean of one value per seed with Student's interval; values that are None or NaN are left out.

    The interval of a single value has the ends NaN, because one value does not show the spread over seeds.
    """
    known = np.array([value for value in values if value is not None and math.isfinite(value)], dtype=np.float64)
    if not len(known):
        return Estimate(math.nan, math.nan, math.nan)
    mean, half = float(known.mean()), _half_width(known)
    return Estimate(mean, mean - half, mean + half)


def with_seeds(estimate: Estimate, by_seed: Sequence[float]) -> Estimate:
    """An estimate of a mean over seeds, with its interval over tasks widened by the spread over seeds.

    Args:
        estimate: the mean over seeds, with its interval over tasks.
        by_seed: the value of each seed; with a single value the estimate is returned unchanged.
    """
    half = _half_width(np.asarray(by_seed, dtype=np.float64))
    if not math.isfinite(half):
        return estimate
    low, high = estimate.value - estimate.low, estimate.high - estimate.value
    return Estimate(estimate.value, estimate.value - math.hypot(low, half), estimate.value + math.hypot(high, half))


def _at(value: Any, path: Sequence[str | int]) -> Any:
    """The value at the end of a path of keys and indices."""
    for key in path:
        value = value[key]
    return value


def _half_width(values: np.ndarray) -> float:
    """``t(S - 1) * sd / sqrt(S)`` of S values; NaN for one value."""
    if len(values) < 2:
        return math.nan
    t = NORMAL * math.sqrt(student_factor(len(values) - 1))
    return float(t * values.std(ddof=1) / math.sqrt(len(values)))
