"""``PairForks``: what two first actions in a row achieve at each state, to compare several interventions.

At a state, an episode is continued with two first actions and then without help (:func:`selfreg_gym.fork`), for all
pairs of actions and with common random numbers. With ``S(a, b)`` the success rate after the first actions a and b, and
``c_k`` the cost of a call of intervention k:

* the *value of one call* of k at a price r is ``S(k, 0) - S(0, 0) - r c_k``;
* the *value of k after a* is ``S(a, k) - S(a, 0)``;
* the *clash* of k with j is the value of k after j minus the value of k after k.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, Self

import numpy as np

from selfreg_gym.evaluation.bootstrap import Design, Estimate, bootstrap_weights, estimate_mean
from selfreg_gym.experiments.findings import Column, Table
from selfreg_gym.experiments.results import with_seeds
from selfreg_gym.utils.random_streams import BOOTSTRAP, stream

__all__ = ["PairForks", "decomposition_tables", "first_pairs", "mean_over_states"]


def first_pairs(interventions: int) -> list[tuple[int, int]]:
    """All pairs of actions from 0 to K, in the order of the axes of :attr:`PairForks.success`."""
    actions = range(1 + interventions)
    return list(product(actions, actions))


@dataclass(frozen=True, eq=False)
class PairForks:
    """The continuations of S states under all pairs of first actions, R repetitions each.

    Attributes:
        success: float64 ``(S, A, A, R)`` 1 for success, 0 for failure, NaN for a continuation that failed.
        costs: ``(K,)`` cost units of a call.
        task: ``(S,)`` the task of each state, the unit of intervals.
    """

    success: np.ndarray
    costs: np.ndarray
    task: np.ndarray

    @classmethod
    def of(cls, forks: Any, costs: Sequence[float]) -> Self:
        """From the result of :func:`selfreg_gym.fork` with ``first_actions=first_pairs(K)``."""
        actions = 1 + len(costs)
        found = np.where(forks.failed, np.nan, forks.success.astype(np.float64))
        shape = len(forks.states), actions, actions, forks.repetitions
        task = np.array([state.task_index for state in forks.states], np.int64)
        return cls(found.reshape(shape), np.asarray(costs, np.float64), task)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        coded = np.where(np.isnan(self.success), -1, self.success).astype(int)
        return {"success": coded.tolist(), "costs": self.costs.tolist(), "task": self.task.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        coded = np.asarray(values["success"], np.float64)
        found = np.where(coded < 0, np.nan, coded)
        return cls(found, np.asarray(values["costs"], np.float64), np.asarray(values["task"], np.int64))

    def rates(self, half: int | None = None) -> np.ndarray:
        """``(S, A, A)`` success rates over all repetitions, or over those with even or odd numbers."""
        some = self.success if half is None else self.success[..., half::2]
        known = np.isfinite(some)
        return np.where(known, some, 0.0).sum(axis=-1) / np.where(known.any(axis=-1), known.sum(axis=-1), np.nan)

    def value_of_call(self, price: float, half: int | None = None) -> np.ndarray:
        """``(S, A)`` value of one call of each action at a price; 0 for nohelp."""
        rates = self.rates(half)
        return rates[:, :, 0] - rates[:, :1, 0] - price * np.r_[0.0, self.costs]

    def best(self, price: float, allowed: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """The best of nohelp and the ``allowed`` interventions at each state.

        The action is chosen on one half of the repetitions and valued on the other half, so that the choice of the
        largest of several noisy values does not raise it; both ways are averaged.

        Returns:
            ``(S,)`` its value, and ``(S, A)`` the share of the halves that choose each action.
        """
        options = np.array([0, *sorted(allowed)])
        value, shares = np.zeros(len(self.task)), np.zeros((len(self.task), 1 + len(self.costs)))
        rows = np.arange(len(self.task))
        for half in (0, 1):
            choice = options[np.nan_to_num(self.value_of_call(price, half)[:, options], nan=-np.inf).argmax(axis=1)]
            value += self.value_of_call(price, 1 - half)[rows, choice] / 2
            shares[rows, choice] += 0.5
        return value, shares

    def value_after(self, action: int, first: int) -> np.ndarray:
        """``(S,)`` the value of ``action`` after ``first``, in success."""
        rates = self.rates()
        return rates[:, first, action] - rates[:, first, 0]

    def clash(self, action: int, other: int) -> np.ndarray:
        """``(S,)`` the value of ``action`` after ``other`` minus its value after itself."""
        return self.value_after(action, other) - self.value_after(action, action)


def mean_over_states(values: np.ndarray, task: np.ndarray) -> Estimate:
    """The mean over states with a bootstrap interval over tasks; ``values`` ``(n,)``, ``task`` ``(n,)``."""
    strata = np.zeros(len(values), np.int64)
    weights = bootstrap_weights(strata, clusters=task, rng=stream(BOOTSTRAP, 0, 0xF0C))
    return estimate_mean(values, weights, design=Design.of(strata, task))


def decomposition_tables(
    measured: Sequence[Mapping[str, Any]], names: Sequence[str], budgets: Sequence[float], *, repetitions: int
) -> list[Table]:
    """The tables of complementarity and clash.

    Args:
        measured: for each seed: ``pairs`` (:meth:`PairForks.to_json`) and ``prices``, the price of each budget.
        names: of the K interventions.
        budgets: cost units per episode.
        repetitions: R, for the notes.
    """
    forks = [PairForks.from_json(one["pairs"]) for one in measured]

    def estimate(per_state: Sequence[np.ndarray]) -> Estimate:
        task = np.concatenate([one.task for one in forks])
        together = mean_over_states(np.concatenate(per_state), task)
        return with_seeds(together, [float(np.nanmean(one)) for one in per_state])

    numbers = range(1, 1 + len(names))
    rows = []
    for budget in budgets:
        prices = [float(one["prices"][f"{budget:g}"]) for one in measured]
        pairs = list(zip(forks, prices, strict=True))
        every = [one.best(price, numbers) for one, price in pairs]
        single = {k: [one.best(price, [k])[0] for one, price in pairs] for k in numbers}
        better = max(numbers, key=lambda k: float(np.mean(np.concatenate(single[k]))))
        row: dict[str, Any] = {"budget": budget, "price": float(np.mean(prices)), "better": names[better - 1]}
        for k in numbers:
            row[f"share_{k}"] = estimate([shares[:, k] for _, shares in every])
            row[f"value_{k}"] = estimate(single[k])
        row["value"] = estimate([value for value, _ in every])
        row["more"] = estimate([value - own for (value, _), own in zip(every, single[better], strict=True)])
        rows.append(row)
    columns = [
        Column("budget", "C", digits=1),
        Column("price", "price r"),
        *(Column(f"share_{k}", f"{names[k - 1]} is best in", "%", 0) for k in numbers),
        *(Column(f"value_{k}", f"value of {names[k - 1]} or nohelp", "%", 1) for k in numbers),
        Column("value", "value of the best of all", "%", 1),
        Column("better", "better one"),
        Column("more", "best of all minus better one", "%", 1),
    ]
    states = sum(len(one.task) for one in forks)
    note = (
        f"{states} states, {repetitions} continuations of each first action. The value of a call is its success minus "
        "that of nohelp, minus the price times its cost. Actions are chosen on one half of the continuations and "
        "valued on the other half."
    )
    tables = [Table("complementarity", "Complementarity: states where each is better", columns, rows, note)]
    rows = [
        {
            "pair": f"{names[a - 1]} after {names[b - 1]}",
            "first": estimate([one.value_after(a, 0) for one in forks]),
            "same": estimate([one.value_after(a, a) for one in forks]),
            "other": estimate([one.value_after(a, b) for one in forks]),
            "clash": estimate([one.clash(a, b) for one in forks]),
        }
        for a, b in permutations(numbers, 2)
    ]
    columns = [
        Column("pair", "call"),
        Column("first", "value after nohelp", "%", 1),
        Column("same", "value after itself", "%", 1),
        Column("other", "value after the other", "%", 1),
        Column("clash", "clash", "%", 1),
    ]
    note = (
        "The value of a call is its success minus that of nohelp at the same step, without its cost. Clash: the value "
        "after the other intervention minus that after itself; below 0, the interventions are worth less in turn."
    )
    return [*tables, Table("clash", "Clash: the same call after different calls", columns, rows, note)]
