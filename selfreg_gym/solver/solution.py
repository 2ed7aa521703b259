"""Results of a solve: ``Solution`` (a deterministic policy and its values) and ``MixedPolicy`` (a mixture of them)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver.engine import Engine
from selfreg_gym.solver.modes import FIXED
from selfreg_gym.transitions import TransitionModel

__all__ = ["MixedPolicy", "Solution", "make_solution", "priced_cost"]


@dataclass(frozen=True, eq=False)
class Solution:
    """A policy with its values, arrays over the model's states.

    Attributes:
        model: the model that was solved.
        help_cost: the price r of the solve; ``(K,)`` for one price per intervention.
        policy: ``(n,)`` int8, 0 nohelp or k help from the k-th intervention.
        success: ``(n,)``, S: the probability of success from each state on.
        usage: ``(n,)``, M: the expected cost units of help from each state on.
        value: ``(n,)``, S - r M (with K prices: S minus the priced usage).
        iterations: number of passes over the model.
        method: ``"exact"``, ``"prm"``, ``"paper"`` or ``"evaluation"``.
        discount: per step.
        backend: of the passes.
        message: a note on the result, or "".
    """

    model: TransitionModel
    help_cost: float | np.ndarray
    policy: np.ndarray
    success: np.ndarray
    usage: np.ndarray
    value: np.ndarray
    iterations: int = 1
    method: str = "exact"
    discount: float = 1.0
    backend: str = "auto"
    message: str = ""

    @property
    def expected_success(self) -> float:
        """S over the start states, on the model; ``cross_fitted_value`` estimates it on other episodes."""
        return float(self.model.start @ self.success)

    @property
    def expected_usage(self) -> float:
        """E[U], M over the start states, in cost units."""
        return float(self.model.start @ self.usage)

    @cached_property
    def expected_usage_by_intervention(self) -> np.ndarray:
        """``(K,)`` cost units per intervention over the start states; they add up to ``expected_usage``."""
        count = self.model.actions - 1
        if count == 1:
            return np.array([self.expected_usage])
        engine = Engine(self.model, backend=self.backend, discount=self.discount)
        prepared, policy = engine.prepared, engine.start_order(self.policy)
        start, usage = engine.start_order(self.model.start), np.zeros(count)
        for k in range(1, count + 1):
            own = np.where((prepared.charged == k) | np.isinf(prepared.cost), prepared.cost, 0.0)
            usage[k - 1] = prepared.unit * (start @ engine.run(0.0, mode=FIXED, cost=own, policy=policy).values[:, 1])
        return usage

    @cached_property
    def _by_action(self) -> tuple[np.ndarray, np.ndarray]:
        engine = Engine(self.model, backend=self.backend, discount=self.discount)
        values = np.stack([engine.start_order(self.success), engine.start_order(self.usage)], axis=1)
        return engine.backup(values)

    @property
    def success_by_action(self) -> np.ndarray:
        """``(A, n)``: S of taking this action now and following the policy afterwards; NaN where not available."""
        return self._by_action[0]

    @property
    def usage_by_action(self) -> np.ndarray:
        """``(A, n)``: M of taking this action now and following the policy afterwards; NaN where not available."""
        return self._by_action[1]

    @cached_property
    def advantage(self) -> np.ndarray:
        """``(n,)``: S - r M of the best available help minus that of nohelp; 0 where no help is available."""
        success, usage = self._by_action
        if self.model.actions == 1:
            return np.zeros(self.model.n)
        paid = self._priced_by_action if np.ndim(self.help_cost) else float(self.help_cost) * usage
        value = success - paid
        best = np.where(np.isnan(value[1:]), -np.inf, value[1:]).max(axis=0)
        return np.where(np.isfinite(best), best - value[0], 0.0)

    @cached_property
    def _priced_by_action(self) -> np.ndarray:
        """``(A, n)`` sum over interventions of price times usage, for K prices."""
        engine = Engine(self.model, backend=self.backend, discount=self.discount)
        priced = priced_cost(engine, np.asarray(self.help_cost))
        engine.prepared = replace(engine.prepared, cost=priced, unit=1.0)
        values = np.stack([self.success, self.success - self.value], axis=1)
        return engine.backup(engine.start_order(values))[1]

    def action(self, index: int) -> int:
        """Return the action in a state; nohelp for an unknown one (index -1)."""
        return int(self.policy[index]) if index >= 0 else 0

    def __repr__(self) -> str:
        return (
            f"Solution(help_cost={_number(self.help_cost)}, expected_success={self.expected_success:.4f}, "
            f"expected_usage={self.expected_usage:.4f}, iterations={self.iterations}, method={self.method!r})"
        )


@dataclass(frozen=True, eq=False)
class MixedPolicy:
    """A mixture of deterministic policies, one of which is drawn at the start of each episode.

    Attributes:
        policies: the policies.
        weights: ``(m,)`` probabilities of the policies.
        help_cost: a price at which all of them are optimal (``(K,)`` for K budgets).
        budget: the requested budget, or None.
        message: a note on the result (for instance that more budget cannot help), or "".
        iterations: number of passes over the model.
    """

    policies: tuple[Solution, ...]
    weights: np.ndarray
    help_cost: float | np.ndarray
    budget: float | np.ndarray | None = None
    message: str = field(default="")
    iterations: int = 0

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, np.float64)
        if len(weights) != len(self.policies) or (weights < 0).any() or abs(weights.sum() - 1) > 1e-9:
            raise InvalidArgumentError(
                f"a mixture must have one weight >= 0 per policy, with sum 1: received {len(self.policies)} policies, "
                f"weights {weights}."
            )

    @property
    def model(self) -> TransitionModel:
        """The model that was solved."""
        return self.policies[0].model

    @property
    def expected_success(self) -> float:
        """S over the start states and the policies."""
        return float(sum(w * p.expected_success for w, p in zip(self.weights, self.policies, strict=True)))

    @property
    def expected_usage(self) -> float:
        """E[U] over the start states and the policies, in cost units."""
        return float(sum(w * p.expected_usage for w, p in zip(self.weights, self.policies, strict=True)))

    @property
    def expected_usage_by_intervention(self) -> np.ndarray:
        """``(K,)`` cost units per intervention."""
        parts = [w * p.expected_usage_by_intervention for w, p in zip(self.weights, self.policies, strict=True)]
        return np.sum(parts, axis=0)

    def draw(self, rng: np.random.Generator) -> int:
        """Draw the index of the policy of one episode."""
        return int(np.searchsorted(np.cumsum(self.weights), rng.random() * float(np.sum(self.weights)), side="right"))

    def action(self, index: int, component: int = 0) -> int:
        """Return the action in a state under one of the policies; nohelp for an unknown state (index -1)."""
        return self.policies[component].action(index)

    def help_probability(self) -> np.ndarray:
        """``(n,)``: the probability that the drawn policy asks for help in each state."""
        return np.sum([w * (p.policy > 0) for w, p in zip(self.weights, self.policies, strict=True)], axis=0)

    def __repr__(self) -> str:
        coin = ", ".join(f"{w:.3g}" for w in self.weights)
        note = f", message={self.message!r}" if self.message else ""
        return (
            f"MixedPolicy(weights=[{coin}], help_cost={_number(self.help_cost)}, "
            f"expected_success={self.expected_success:.4f}, expected_usage={self.expected_usage:.4f}{note})"
        )


def make_solution(
    engine: Engine, prices: float | np.ndarray, values: np.ndarray, policy: np.ndarray, method: str,
    priced: np.ndarray | None = None,
) -> Solution:  # fmt: skip
    """Return the result of a pass in the model's order of states."""
    pair = engine.model_order(values)
    success, usage = np.ascontiguousarray(pair[:, 0]), np.ascontiguousarray(pair[:, 1])
    paid = engine.model_order(priced) if priced is not None else float(np.asarray(prices)) * usage
    return Solution(
        model=engine.model, help_cost=prices, policy=engine.model_order(policy), success=success, usage=usage,
        value=success - paid, iterations=engine.passes, method=method,
        discount=engine.discount, backend="numba" if engine.kernels is not None else "numpy",
    )  # fmt: skip


def priced_cost(engine: Engine, prices: np.ndarray) -> np.ndarray:
    """Return ``(N * A,)`` costs multiplied by ``prices[k - 1]`` of their intervention k."""
    prepared = engine.prepared
    factor = np.concatenate(([0.0], prices))[prepared.charged]
    missing = np.isinf(prepared.cost)
    return np.where(missing, np.inf, np.where(missing, 0.0, prepared.cost) * (factor * prepared.unit))


def _number(value: float | np.ndarray) -> str:
    return f"{value:.6g}" if np.ndim(value) == 0 else str(np.round(value, 6))
