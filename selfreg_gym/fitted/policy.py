"""``FittedPolicy``: the policy of a fitted frontier for a budget, one component of which is drawn per episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from selfreg_gym.fitted.estimates import Estimates

if TYPE_CHECKING:
    from selfreg_gym.fitted.priced import PricedFrontier

__all__ = ["Component", "FittedPolicy", "budget_mixture"]


class Component(NamedTuple):
    """A component of a mixture: greedy at a price, or a constant action (0 never, k always intervention k)."""

    price: float | None
    action: int | None = None

    def __str__(self) -> str:
        if self.price is not None:
            return f"price {self.price:.4g}"
        return "never" if self.action == 0 else f"always {self.action}"


@dataclass(frozen=True, eq=False)
class FittedPolicy:
    """A mixture of policies; one is drawn at the start of each episode.

    Attributes:
        frontier: the fitted values.
        components: the policies.
        weights: ``(m,)`` their probabilities.
        budget: C, cost units per episode; None if only a hard cap limits the usage.
        expected_success, expected_usage: held-out estimates of E[S] and E[M] of the mixture.
        success_ci, usage_ci: 95 % bootstrap intervals over episodes.
        message: a note on the result, or "".
        cap: the largest number of calls of an episode, or None.
    """

    frontier: PricedFrontier
    components: tuple[Component, ...]
    weights: np.ndarray
    budget: float | None
    expected_success: float
    expected_usage: float
    success_ci: tuple[float, float]
    usage_ci: tuple[float, float]
    message: str = ""
    cap: int | None = None

    @property
    def help_cost(self) -> float | None:
        """The price of the first component that has one; None if there is none."""
        return next((c.price for c in self.components if c.price is not None), None)

    def draw(self, rng: np.random.Generator) -> int:
        """Draw the index of the component of one episode."""
        return int(np.searchsorted(np.cumsum(self.weights), rng.random() * float(self.weights.sum()), side="right"))

    def action(self, x: np.ndarray, component: int = 0, *, left: Any = None) -> np.ndarray:
        """``(n,)`` int64 actions of a component.

        Args:
            x: ``(n, D)`` inputs, as the encoder makes them.
            component: the index of the drawn policy.
            left: ``(n,)`` calls left, under a hard cap; at first they are ``cap``.
        """
        price, constant = self.components[component]
        if self.cap is not None:
            x = self.frontier.with_calls_left(x, left)
        if price is not None:
            return self.frontier.action(x, price)
        action = np.full(len(x), constant, np.int64)
        return action if self.cap is None else np.where(np.asarray(left) > 0, action, 0)

    def __repr__(self) -> str:
        parts = " + ".join(f"{w:.3g} * {c}" for w, c in zip(self.weights, self.components, strict=True))
        note = f", message={self.message!r}" if self.message else ""
        return (
            f"FittedPolicy({parts}, expected_success={self.expected_success:.3f} "
            f"[{self.success_ci[0]:.3f}, {self.success_ci[1]:.3f}], expected_usage={self.expected_usage:.3f} "
            f"[{self.usage_ci[0]:.3f}, {self.usage_ci[1]:.3f}]{note})"
        )


def budget_mixture(estimates: Estimates, budget: float) -> tuple[np.ndarray, str]:
    """``(Q + 1 + K,)`` weights of at most two policies whose expected usage is the budget, and a note.

    The policies are ordered by usage: never, the prices from the highest to the lowest, then always asking the
    intervention with the largest success, if its success and usage are larger than those at the lowest price. At the
    end, policies without more success than a cheaper one are left out. A budget beyond the last that is left is not
    spent in full.
    """
    always = estimates.best_always()
    chain = [estimates.never, *range(estimates.never - 1, -1, -1)]
    last = chain[-1]
    if estimates.success[always] > estimates.success[last] and estimates.usage[always] > estimates.usage[last]:
        chain.append(always)
    while len(chain) > 1 and estimates.success[chain[-1]] <= estimates.success[chain[:-1]].max():
        chain.pop()
    usage = estimates.usage[chain]
    weights = np.zeros(len(estimates.usage))
    if budget >= usage[-1]:
        weights[chain[-1]] = 1.0
        spare = budget > usage[-1] + 1e-9
        return weights, f"more than {usage[-1]:.3g} cost units per episode do not help" if spare else ""
    right = int(np.searchsorted(usage, budget, side="right"))
    left = right - 1
    share = (budget - usage[left]) / (usage[right] - usage[left])
    weights[chain[left]] += 1 - share
    weights[chain[right]] += share
    return weights, ""
