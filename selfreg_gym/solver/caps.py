"""``solve_caps``: a hard cap on the calls of each episode, for all caps 0 to c at once.

The state is (s, h) with h calls left. Nohelp keeps h and help, possible for h > 0, leads to h - 1:

    V(s, h) = max( V_0(s) from V(., h),  max_k V_k(s) from V(., h - 1) )

One pass over the model solves all h together. The cycles of a component contain only states with equal h, so a cyclic
component is solved for h = 0, 1, ..., c in turn, with help as an exit. A help cost may be given in addition. Success
under a cap of c calls is never larger than with c calls in expectation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from selfreg_gym.solver import arrays
from selfreg_gym.solver.arguments import checked_number, checked_whole
from selfreg_gym.solver.engine import DENSE_LIMIT, Engine
from selfreg_gym.solver.modes import EPS, FREE
from selfreg_gym.solver.prepared import Prepared
from selfreg_gym.transitions import TransitionModel

__all__ = ["CappedSolution", "solve_caps"]


@dataclass(frozen=True, eq=False)
class CappedSolution:
    """The best policies under hard caps of 0 to c calls per episode.

    Attributes:
        model: the model that was solved.
        policy: ``(c + 1, n)`` int8, the action in each state, by number of calls left.
        success: ``(c + 1, n)`` probability of success from each state on.
        usage: ``(c + 1, n)`` expected cost units from each state on.
        help_cost: the price of a cost unit in addition to the cap.
    """

    model: TransitionModel
    policy: np.ndarray
    success: np.ndarray
    usage: np.ndarray
    help_cost: float = 0.0

    @property
    def hard_cap(self) -> int:
        """The largest cap, c."""
        return len(self.policy) - 1

    @property
    def expected_success(self) -> np.ndarray:
        """``(c + 1,)`` over the start states, one per cap."""
        return self.success @ self.model.start

    @property
    def expected_usage(self) -> np.ndarray:
        """``(c + 1,)`` cost units over the start states, one per cap."""
        return self.usage @ self.model.start

    def action(self, index: int, calls_left: int) -> int:
        """Return the action in a state with ``calls_left``; nohelp for an unknown state (index -1)."""
        return int(self.policy[min(max(calls_left, 0), self.hard_cap), index]) if index >= 0 else 0

    def rows(self) -> list[dict[str, float]]:
        """Return one dict per cap: ``hard_cap, usage, success``."""
        columns = zip(self.expected_usage.tolist(), self.expected_success.tolist(), strict=True)
        return [{"hard_cap": cap, "usage": usage, "success": success} for cap, (usage, success) in enumerate(columns)]

    def __repr__(self) -> str:
        success = ", ".join(f"{value:.4f}" for value in self.expected_success[:6])
        return f"CappedSolution(hard_cap={self.hard_cap}, expected_success=[{success}{', ..' * (self.hard_cap > 5)}])"


def solve_caps(
    model: TransitionModel, *, hard_cap: int, help_cost: float = 0.0, discount: float = 1.0, backend: str = "auto"
) -> CappedSolution:
    """Find the best policies with at most ``hard_cap`` calls per episode, and with every smaller number.

    Args:
        model: the problem; a call counts once, whatever its cost and its number of steps.
        hard_cap: c >= 0.
        help_cost: price r >= 0 of a cost unit in addition to the cap.
        discount, backend: as in :func:`selfreg_gym.solver.solve`.

    Returns:
        The policies of all caps from 0 to ``hard_cap``, with their values.

    Raises:
        InvalidArgumentError: a negative or fractional cap, or an invalid price.
    """
    hard_cap = checked_whole("a hard cap, the number of calls per episode,", hard_cap)
    help_cost = checked_number("help_cost with a hard cap, one price for all interventions,", help_cost, finite=True)
    engine = Engine(model, backend=backend, discount=discount)
    solver = _Pass(engine, hard_cap + 1, help_cost)
    for level in range(model.levels):
        solver.level(level)
    success, usage = solver.values[:, ::2], solver.values[:, 1::2] * engine.prepared.unit
    policy, success, usage = (engine.model_order(array).T for array in (solver.policy, success, usage))
    return CappedSolution(model, policy, success, usage, help_cost)


class _Pass:
    """One pass over a model; ``values`` (n, 2 * caps) and ``policy`` (n, caps) are in the order of solution."""

    def __init__(self, engine: Engine, caps: int, price: float) -> None:
        p = engine.prepared
        self.engine, self.caps, self.price = engine, caps, price * p.unit
        self.values = np.empty((p.nodes * p.levels, 2 * caps))
        self.policy = np.zeros((p.nodes * p.levels, caps), np.int8)
        self.is_nohelp = np.arange(len(p.cost)) % p.actions == 0
        self.nohelp = p if p.is_acyclic else _without_help(p, self.is_nohelp)

    def level(self, level: int) -> None:
        """Solve the states with ``level + 1`` steps left (all states of a model without a clock)."""
        p, nohelp, offset = self.engine.prepared, self.nohelp, level * self.engine.prepared.nodes
        success = p.success if level else p.last_success
        if not p.is_acyclic:
            nohelp.success[:] = np.where(self.is_nohelp, success, 0.0)
        if self.engine.kernels is None:
            for low, high, components in p.layers():
                if high > low:
                    self._run(low, high, offset)
                for c in components:
                    self._block(c, offset)
            return
        from selfreg_gym.solver.kernels_caps import sweep_caps

        begin = 0
        large = np.flatnonzero(np.diff(p.component_start) > DENSE_LIMIT)
        for c in [*large.tolist(), len(p.cyclic)]:
            sweep_caps(
                begin, c, p.component_start, p.cyclic, offset, *p.at_level(level), p.cost, self.price,
                self.engine.discount, EPS,
                (nohelp.indptr, nohelp.indices, nohelp.data, nohelp.drop, nohelp.leaving), nohelp.success, nohelp.cost,
                self.values, self.policy,
            )  # fmt: skip
            if c < len(p.cyclic):
                self._block(c, offset)
            begin = c + 1

    def _run(self, first: int, last: int, offset: int) -> None:
        """Solve single states that do not depend on each other."""
        here = slice(offset + first, offset + last)
        ahead = self._by_action(first, last, offset, slice(None))
        best, chosen = ahead[:, 0], np.zeros((last - first, self.caps), np.int8)
        for a in range(1, self.engine.prepared.actions):
            helped = np.full_like(best, np.nan)  # no help without calls left
            helped[:, 1:] = ahead[:, a, :-1]
            with np.errstate(invalid="ignore"):
                gain = (helped[..., 0] - self.price * helped[..., 1]) - (best[..., 0] - self.price * best[..., 1])
                better = (gain > EPS) | ((gain >= -EPS) & (best[..., 1] - helped[..., 1] > EPS))
            best = np.where(better[..., None], helped, best)
            chosen[better] = a
        self.values[here], self.policy[here] = best.reshape(last - first, -1), chosen

    def _block(self, c: int, offset: int) -> None:
        """Solve a cyclic component, for each number of calls left in turn."""
        p = self.engine.prepared
        first, last = int(p.component_start[c]), int(p.component_start[c + 1])
        success, cost = (array.reshape(-1, p.actions)[first:last] for array in (self.nohelp.success, self.nohelp.cost))
        for left in range(self.caps):
            cost[:, 1:] = np.inf
            if left:
                ahead = self._by_action(first, last, offset, slice(2 * left - 2, 2 * left))[:, 1:, 0]
                missing = np.isnan(ahead[..., 1])
                success[:, 1:] = np.where(missing, 0.0, ahead[..., 0])
                cost[:, 1:] = np.where(missing, np.inf, ahead[..., 1])
            arrays.solve_block(
                self.nohelp, first, last, offset, self.price, self.engine.discount, EPS, False, FREE,
                self.values[:, 2 * left : 2 * left + 2], self.policy[:, left],
            )  # fmt: skip

    def _by_action(self, first: int, last: int, offset: int, columns: slice) -> np.ndarray:
        """Return ``(last - first, A, caps, 2)``: S and M of each action, NaN where missing, for a slice of caps."""
        p = self.engine.prepared
        sums = arrays.lookahead(p, first, last, offset, self.values[:, columns])
        now = slice(first * p.actions, last * p.actions)
        success, cost = (p.success if offset else p.last_success)[now], p.cost[now]
        reward = np.stack([np.where(np.isinf(cost), np.nan, success), np.where(np.isinf(cost), np.nan, cost)], axis=-1)
        ahead = reward[:, None] + self.engine.discount * sums.reshape(len(reward), -1, 2)
        return ahead.reshape(last - first, p.actions, -1, 2)


def _without_help(p: Prepared, is_nohelp: np.ndarray) -> Prepared:
    """Return the model with empty rows of help, the success and cost of which are set later."""
    each = (p.indptr[1:] - p.indptr[:-1]).astype(np.int64)
    kept = np.repeat(is_nohelp, each)
    success = np.where(is_nohelp, p.success, 0.0)
    return replace(
        p,
        indptr=np.r_[0, np.cumsum(np.where(is_nohelp, each, 0))].astype(p.indptr.dtype),
        indices=p.indices[kept],
        data=p.data[kept],
        drop=None if p.drop is None else p.drop[kept],
        success=success,
        last_success=success,
        cost=np.where(is_nohelp, p.cost, np.inf),
        leaving=p.leaving | ~is_nohelp,
    )
