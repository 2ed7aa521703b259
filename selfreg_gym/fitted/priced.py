"""``PricedFrontier``: gains, policies and held-out results from values at a grid of prices, however they are fitted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted.capped import calls_left_inputs
from selfreg_gym.fitted.estimates import Estimates
from selfreg_gym.fitted.policy import Component, FittedPolicy, budget_mixture
from selfreg_gym.fitted.refinement import interpolated
from selfreg_gym.utils.arguments import check_count, check_number

__all__ = ["PricedFrontier"]


class PricedFrontier(ABC):
    """Success and usage of the best policy at each of P prices, as functions of inputs.

    Attributes:
        prices: ``(P,)`` rising, per cost unit.
        estimates: held-out usage and success of the policies.
        encoder: the encoder of the inputs, with ``encode`` and ``save``; None if they are arrays of the caller.
        caps: the estimates under a hard cap of 1, 2, ... calls per episode; empty without a cap. Values under caps have
            the calls left among their inputs (:meth:`with_calls_left`).
    """

    prices: np.ndarray
    estimates: Estimates
    encoder: Any
    caps: tuple[Estimates, ...] = ()

    @property
    @abstractmethod
    def tried(self) -> np.ndarray:
        """``(K,)`` bool, the interventions that occur in the rollouts. Nothing is known about the others."""

    @abstractmethod
    def values(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Success and usage of each action at inputs ``(n, D)``, followed by the best policy at each price.

        Returns:
            ``(n, P, K + 1)`` float32 each; usage in cost units.
        """

    def gains(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """``(n, P, K)`` success and usage of help k minus those of nohelp; arguments as in :meth:`values`."""
        success, usage = self.values(x)
        return success[..., 1:] - success[..., :1], usage[..., 1:] - usage[..., :1]

    def advantage(self, x: Any, price: float) -> np.ndarray:
        """``(n, K)`` gain of help k at a price, S - price * M; between two prices, their gains are interpolated."""
        i, j, share = interpolated(self.prices, check_number("price", price))
        success, usage = self.gains(x)
        low, high = (success[:, at] - float(self.prices[at]) * usage[:, at] for at in (i, j))
        return low if share == 0 else high if share == 1 else (1 - share) * low + share * high

    def with_calls_left(self, x: Any, left: Any) -> np.ndarray:
        """``(n, D)`` inputs of values under a hard cap, from those of the encoder and ``(n,)`` calls left.

        Raises:
            InvalidArgumentError: the values have no cap, or the calls left are not from 0 to the largest cap.
        """
        left, most = np.asarray(left), len(self.caps)
        if not most:
            raise InvalidArgumentError("these values have no hard cap, received calls left: fit them with cap=.")
        if left.shape != np.shape(x)[:1] or left.dtype.kind not in "iu" or ((left < 0) | (left > most)).any():
            raise InvalidArgumentError(f"left must be (n,) integers from 0 to {most}, the calls left; received {left}.")
        return calls_left_inputs(np.asarray(x, np.float32), left, most)

    def action(self, x: Any, price: float) -> np.ndarray:
        """``(n,)`` int64 actions with the largest S - price * M; nohelp without a positive gain, or without calls."""
        advantage = self.advantage(x, price)
        if self.caps:
            advantage[np.asarray(x)[:, -len(self.caps) - 1] > 0] = 0.0
        best = advantage.argmax(axis=1)
        return np.where(advantage[np.arange(len(best)), best] > 0, best + 1, 0).astype(np.int64)

    def policy(self, budget: float | None = None, *, cap: int | None = None) -> FittedPolicy:
        """The policy whose held-out usage is the budget.

        It is greedy at a price, or draws one of two policies per episode: those of two neighbouring prices of the
        estimates, or that of the lowest price and always asking, whose usage no price reaches.

        Args:
            budget: C, cost units per episode; None for no limit in expectation, which needs a cap.
            cap: the largest number of calls of an episode, if the values were fitted with ``cap=``; None: the largest.

        Raises:
            InvalidArgumentError: a negative budget, or a cap that the values were not fitted for.
        """
        cap = self.checked_cap(cap)
        if budget is None and not cap:
            raise InvalidArgumentError("a policy needs a budget, received None: only a hard cap can replace it.")
        if budget is not None:
            budget = check_number("a budget, in cost units per episode,", budget)
        e = self.estimates_under(cap)
        weights, message = budget_mixture(e, np.inf if budget is None else budget)
        message = "" if budget is None else message
        used = np.flatnonzero(weights > 0)
        components = []
        for i in used:
            constant = int(i) - e.never
            components.append(Component(None, constant) if constant >= 0 else Component(float(e.prices[i])))
        return FittedPolicy(
            frontier=self, components=tuple(components), weights=weights[used], budget=budget, cap=cap,
            expected_success=float(e.success @ weights), expected_usage=float(e.usage @ weights),
            success_ci=e.interval(weights, of="success"), usage_ci=e.interval(weights, of="usage"), message=message,
        )  # fmt: skip

    def estimates_under(self, cap: int | None) -> Estimates:
        """The held-out estimates of the policies under a checked cap (:meth:`checked_cap`); None: those without one."""
        return self.caps[cap - 1] if cap else self.estimates

    def checked_cap(self, cap: int | None) -> int | None:
        """The cap; for None the largest one of the values, or None if they have none.

        Raises:
            InvalidArgumentError: the values were not fitted for this cap.
        """
        if cap is None:
            return len(self.caps) or None
        if not self.caps:
            raise InvalidArgumentError(f"these values have no hard cap, received cap={cap}: fit them with cap={cap}.")
        return check_count("cap, the number of calls per episode,", cap, high=len(self.caps))

    def rows(self) -> list[dict[str, Any]]:
        """One dict per policy, in order of usage: ``policy, help_cost, usage, success``, and the ends of the intervals.

        ``policy`` is ``"price"``, ``"never"`` or ``"always k"``; ``help_cost`` is None for the last two.
        """
        e, rows = self.estimates, []
        for i in [e.never, *range(e.never - 1, -1, -1), *range(e.never + 1, len(e.usage))]:
            weights = np.zeros(len(e.usage))
            weights[i] = 1.0
            greedy = i < e.never
            (s_low, s_high), (m_low, m_high) = (e.interval(weights, of=of) for of in ("success", "usage"))
            rows.append(
                {
                    "policy": "price" if greedy else str(Component(None, i - e.never)),
                    "help_cost": float(e.prices[i]) if greedy else None,
                    "usage": float(e.usage[i]), "usage_low": m_low, "usage_high": m_high,
                    "success": float(e.success[i]), "success_low": s_low, "success_high": s_high,
                }
            )  # fmt: skip
        return rows

    def success_at(self, budget: Any) -> np.ndarray:
        """Held-out success of :meth:`policy` at one or more budgets."""
        found = [self.policy(float(one)).expected_success for one in np.atleast_1d(budget)]
        return np.reshape(found, np.shape(budget))

    def plot(self, ax: Any = None, *, label: str | None = "fitted", **style: Any) -> Any:
        """Plot held-out success against usage with 95 % intervals.

        Args:
            ax: Matplotlib axes; None: those of a new figure.
            label: text in the legend.
            **style: arguments of ``ax.plot``.

        Returns:
            The axes.
        """
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(5, 3.5), layout="constrained").subplots()
        e, table = self.estimates, self.rows()
        rows, always = table[: e.never + 1], table[e.best_always()]
        usage, success = ([row[name] for row in rows] for name in ("usage", "success"))
        (line,) = ax.plot(usage, success, label=label, **{"marker": ".", "markersize": 4, **style})
        low, high = ([row[name] for row in rows] for name in ("success_low", "success_high"))
        ax.fill_between(usage, low, high, alpha=0.15, color=line.get_color())
        end = rows[-1]
        ax.plot(
            [end["usage"], always["usage"]], [end["success"], always["success"]], "--", linewidth=1,
            color=line.get_color(), label="coin with always",
        )  # fmt: skip
        ax.set(xlabel="expected usage E[U] (cost units per episode)", ylabel="expected success")
        ax.legend(frameon=False)
        return ax
