"""The gains on which a helper is trained: those of a teacher at every stored decision.

A teacher may read more than the helper that learns from it, such as state keys. It is an object with fitted values
(``prices``, ``encoder`` and ``gains(x)``, as :class:`selfreg_gym.fitted.FittedFrontier`), or a transition model, whose
exact solutions are looked up by state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.inputs import DecisionTable
from selfreg_gym.solver import solve, solve_frontier
from selfreg_gym.transitions import TransitionModel

__all__ = ["TeacherGains", "equal_usage_prices", "table_gains", "teacher_gains"]

_PRICES = 12  # number of prices for a transition model
_ROWS = 65_536  # decisions per call of a teacher


class TeacherGains(NamedTuple):
    """The gains of n decisions at P prices.

    Attributes:
        prices: ``(P,)``, success per cost unit.
        values: float32 ``(n, P, K, 2)``: dS and dM, success and cost units of each intervention minus those of nohelp.
        known: bool ``(n,)``, False where the teacher does not know the state; such decisions are not used in training.
        source: a description of the teacher, for model cards.
    """

    prices: tuple[float, ...]
    values: np.ndarray
    known: np.ndarray
    source: str

    @property
    def interventions(self) -> int:
        """K."""
        return int(self.values.shape[2])


def teacher_gains(teacher: Any, table: DecisionTable) -> TeacherGains:
    """The teacher's gains at the decisions of a table.

    Args:
        teacher: an object with ``prices`` (P,), ``encoder`` and ``gains(x) -> (dS, dM)``, each (n, P, K), or a
            :class:`TransitionModel`.
        table: n decisions.

    Raises:
        InvalidArgumentError: another kind of teacher, gains of another shape or that are not finite, or a model that
            knows none of the decisions.
    """
    if isinstance(teacher, TransitionModel):
        return table_gains(teacher, table)
    if not all(hasattr(teacher, name) for name in ("prices", "encoder", "gains")):
        raise InvalidArgumentError(
            "a teacher must have prices, encoder and gains(x) (the result of solve_fitted), or be a TransitionModel; "
            f"received {type(teacher).__name__}."
        )
    prices = tuple(float(r) for r in teacher.prices)
    parts = []
    for begin in range(0, len(table), _ROWS):
        rows = table.take(np.arange(begin, min(begin + _ROWS, len(table))))
        success, usage = teacher.gains(teacher.encoder.encode(rows))
        parts.append(np.stack([np.asarray(success, np.float32), np.asarray(usage, np.float32)], axis=-1))
    values = np.concatenate(parts)
    if values.ndim != 4 or values.shape[:2] != (len(table), len(prices)) or not np.isfinite(values).all():
        raise InvalidArgumentError(
            f"the gains of a teacher must be finite and of shape (n, P, K) with n = {len(table)} and "
            f"P = {len(prices)}; {type(teacher).__name__} gave the shape {values.shape[:-1]}."
        )
    names = ", ".join(getattr(teacher.encoder, "names", ()))
    return TeacherGains(prices, values, np.ones(len(table), bool), f"{type(teacher).__name__}({names})")


def table_gains(model: TransitionModel, table: DecisionTable, *, prices: Sequence[float] | None = None) -> TeacherGains:
    """The gains of a transition model's exact solutions, by state.

    Args:
        model: fitted to the rollouts.
        table: n decisions.
        prices: in success per cost unit; None: those of :func:`equal_usage_prices`.

    Raises:
        InvalidArgumentError: the model knows none of the states.
    """
    grid = tuple(equal_usage_prices(model) if prices is None else map(float, prices))
    state = model.locate_many(*_keys(model, table))
    known = state >= 0
    if not known.any():
        raise InvalidArgumentError("the transition model knows none of the decisions: fit it to the same rollouts.")
    values = np.zeros((len(table), len(grid), model.actions - 1, 2), np.float32)
    for i, price in enumerate(grid):
        solution = solve(model, help_cost=price)
        for j, by_action in enumerate((solution.success_by_action, solution.usage_by_action)):
            gain = np.nan_to_num(by_action[1:] - by_action[0])  # 0 where an intervention was never tried
            values[:, i, :, j] = np.where(known, gain[:, state], 0.0).T
    return TeacherGains(grid, values, known, f"TransitionModel({model.n} states)")


def equal_usage_prices(model: TransitionModel, count: int = _PRICES) -> list[float]:
    """At most ``count`` falling prices at which the usage of the optimal policy rises in equal steps."""
    frontier = solve_frontier(model)
    budgets = np.linspace(0.0, float(frontier.usage[-1]), count + 1)[:-1] + float(frontier.usage[-1]) / (2 * count)
    prices = [float(frontier.policy(float(budget)).help_cost) for budget in budgets]
    return sorted(set(prices), reverse=True)


def _keys(model: TransitionModel, table: DecisionTable) -> tuple[list[Any], list[Any], list[int | None]]:
    """State key, feature key and steps left of each decision, as the model reads them."""
    by_text = model.fitted is not None and model.fitted.settings["key"] == "observation"
    key = table.observation if by_text else table.state_key
    feature = [None if code < 0 else table.feature_key.values[code] for code in table.feature_key.codes.tolist()]
    left = [None if one < 0 else one for one in table.steps_left.tolist()]
    return [key.values[code] for code in key.codes.tolist()], feature, left
