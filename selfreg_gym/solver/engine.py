"""Backward passes over a prepared model, one per price r (the help cost in the unit of the pass).

For every state, successors first, a pass computes for each action

    S_a(s) = success(s, a) + sum_s' P(s' | s, a) S(s'),     M_a(s) = cost(s, a) + sum_s' P(s' | s, a) M(s')

and keeps the action with the largest S_a - r M_a. Within ``EPS`` of the maximum, the smaller M (``tie="low"``) or the
larger one (``"high"``) decides. Without cycles this is backward induction. A cyclic component is solved by policy
iteration (Puterman 1994, ch. 7) that starts from nohelp, whose values are finite, and changes an action only for an
improvement of more than ``EPS``: it never enters a closed cycle, and it ends at the optimum.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, ModelError
from selfreg_gym.solver import arrays
from selfreg_gym.solver.arguments import check_choice, check_model, checked_number
from selfreg_gym.solver.modes import EPS, FIXED, FREE, WIDTH
from selfreg_gym.solver.prepared import Prepared, prepare
from selfreg_gym.transitions import TransitionModel

__all__ = ["Engine", "Values"]

DENSE_LIMIT = 200
"""A cyclic component up to this size is solved densely inside the compiled pass."""


class Options(NamedTuple):
    """The options of a pass: price in its unit, tolerance of ties, whether ties go to the larger usage, mode."""

    price: float
    discount: float
    eps: float
    high: bool
    mode: int


class Values(NamedTuple):
    """The result of a pass, in the order of solution: ``values`` (n, 2) has S and M, ``policy`` is (n,) int8."""

    values: np.ndarray
    policy: np.ndarray


class Engine:
    """The passes over one prepared model.

    Args:
        model: the problem.
        backend: ``"numba"`` (compiled), ``"numpy"`` (equal results), or ``"auto"``: Numba if it is installed.
        discount: per step, in (0, 1]; 1 is the problem of the paper.

    Attributes:
        batches: whether ``run_many`` makes one pass for all prices. False for models with cycles, and if ``WIDTH``
            values per state take more memory than the model, because states have few successors.
        passes: number of passes so far.
    """

    def __init__(self, model: TransitionModel, *, backend: str = "auto", discount: float = 1.0) -> None:
        check_model(model)
        check_choice("backend", backend, ("auto", "numba", "numpy"))
        self.model, self.discount = model, checked_number("a discount, at most 1 and above 0,", discount, finite=True)
        if not 0 < self.discount <= 1:
            raise InvalidArgumentError(f"a discount must be in (0, 1], received {discount!r}.")
        self.prepared = prepare(model)
        self.kernels = None if backend == "numpy" else _kernels(required=backend == "numba")
        self.passes = 0
        p = self.prepared
        thin = 128 * p.nodes * p.levels > 1.5 * (p.data.nbytes + p.indices.nbytes + p.indptr.nbytes)
        self.batches = self.kernels is not None and p.is_acyclic and not (thin and p.levels == 1)
        start = self.start_order(model.start)
        self._begins = np.flatnonzero(start)
        self._weights = start[self._begins]

    def run(
        self,
        price: float,
        *,
        tie: str = "low",
        mode: int = FREE,
        cost: np.ndarray | None = None,
        policy: np.ndarray | None = None,
        success: np.ndarray | None = None,
    ) -> Values:
        """Make one pass: solve at one price, or evaluate a policy.

        Args:
            price: help cost r >= 0 of one cost unit of the model.
            tie: ``"low"`` or ``"high"`` usage among actions of equal value.
            mode: FREE chooses actions, FIXED evaluates ``policy``, FROZEN chooses actions with S fixed at ``success``.
            cost: ``(N * A,)`` in the order of solution, instead of the model's; M is then in the unit of ``cost``.
            policy, success: ``(n,)`` in the order of solution, for FIXED and FROZEN.

        Raises:
            ModelError: the fixed policy has infinite usage.
        """
        self.passes += 1
        p = self.prepared
        n = p.nodes * p.levels
        values = np.empty((n, 2))
        if success is not None:
            values[:, 0] = success
        chosen = np.zeros(n, np.int8) if policy is None else policy.astype(np.int8)
        unit = p.unit if cost is None else 1.0
        cost = p.cost if cost is None else cost
        options = Options(float(price) * unit, self.discount, EPS, tie == "high", mode)
        endless = -1
        for level in range(p.levels):
            offset = level * p.nodes
            if self.kernels is None:
                endless = self._numpy_level(offset, cost, options, values, chosen)
            elif not p.is_acyclic:
                endless = self._mixed_level(offset, cost, options, values, chosen)
            elif mode == FIXED:
                rows = p.at_level(level)
                self.kernels.evaluate(0, p.nodes, offset, *rows, cost, self.discount, values, chosen)
            else:
                self.kernels.sweep(0, p.nodes, offset, *p.at_level(level), cost, *options, values, chosen)
            if endless >= 0:
                raise ModelError(
                    "this policy never stops asking for help, so its usage is infinite: it does not reach an end from "
                    f"state {self.model.describe(offset + int(p.order[endless - offset]))}."
                )
        if unit != 1.0:
            values[:, 1] *= unit
        return Values(values, chosen)

    def run_many(self, prices: np.ndarray) -> np.ndarray:
        """Solve at up to ``WIDTH`` prices (ties to the smaller usage), in one pass if ``batches``.

        Returns:
            ``(len(prices), 2)``: S and M over the start.
        """
        p = self.prepared
        if len(prices) == 1 or not self.batches:
            return np.array([self.over_start(self.run(price).values) for price in prices])
        self.passes += 1
        from selfreg_gym.solver.kernels_batch import aligned, sweep_many

        # Allocation takes as long as a pass, so the model keeps the memory. A second thread allocates its own.
        values = self.model.cache.pop("batch", None)
        if values is None:
            values = aligned(2 * WIDTH * p.nodes * p.levels)
        eight = aligned(WIDTH)
        eight[:] = prices[-1] * p.unit
        eight[: len(prices)] = prices * p.unit
        sweep_many(
            p.nodes, p.levels, p.actions, p.indptr, p.indices, p.data, p.drop, p.success, p.last_success, p.cost,
            eight, self.discount, EPS, values,
        )  # fmt: skip
        found = self.over_start(values.reshape(-1, 2 * WIDTH)).reshape(2, -1).T[: len(prices)].copy()
        found[:, 1] *= p.unit
        self.model.cache["batch"] = values  # last, because another pass may then overwrite it
        return found

    def backup(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the one-step lookahead: S and M of each action, then ``values``; ``(A, n)`` each, in model order."""
        p = self.prepared
        n = p.nodes * p.levels
        values = values if p.unit == 1.0 else values / np.array([1.0, p.unit])
        s, m = np.empty((n, p.actions)), np.empty((n, p.actions))
        if self.kernels is not None:
            self.kernels.backup(
                p.nodes, p.levels, p.actions, p.indptr, p.indices, p.data, p.drop, p.success, p.last_success, p.cost,
                self.discount, values, s, m,
            )  # fmt: skip
        else:
            for offset in range(0, n, p.nodes):
                here = slice(offset, offset + p.nodes)
                s[here], m[here] = arrays.backup_run(p, 0, p.nodes, offset, self.discount, values)
        return self.model_order(s).T, self.model_order(m * p.unit).T

    def over_start(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over the start states of ``(n, columns)`` values in the order of solution.

        The sum is in order, because the last bit of a matrix product can depend on the alignment of the arrays.
        """
        return np.einsum("i,ij->j", self._weights, values[self._begins])

    def model_order(self, array: np.ndarray) -> np.ndarray:
        """Return an array in the order of solution in the model's order of states."""
        p = self.prepared
        out = np.empty_like(array)
        out.reshape(p.levels, p.nodes, -1)[:, p.order] = array.reshape(p.levels, p.nodes, -1)
        return out

    def start_order(self, array: np.ndarray) -> np.ndarray:
        """Return an array over the model's states in the order of solution."""
        p = self.prepared
        return np.ascontiguousarray(array.reshape(p.levels, p.nodes, -1)[:, p.order]).reshape(array.shape)

    def _mixed_level(self, offset: int, cost: np.ndarray, options: Options, values: Any, policy: Any) -> int:
        """Solve the components of a level in order: small ones by the compiled pass, large ones by a sparse solve."""
        p, kernels = self.prepared, self.kernels
        assert kernels is not None
        large = np.flatnonzero(np.diff(p.component_start) > DENSE_LIMIT)
        begin = 0
        for c in [*large.tolist(), len(p.cyclic)]:
            endless = kernels.sweep_blocks(
                begin, c, p.component_start, p.cyclic, offset, *p.at_level(offset // p.nodes), cost, *options,
                p.leaving, values, policy,
            )  # fmt: skip
            if endless < 0 and c < len(p.cyclic):
                endless = self._block(c, offset, cost, options, values, policy)
            if endless >= 0:
                return int(endless)
            begin = c + 1
        return -1

    def _numpy_level(self, offset: int, cost: np.ndarray, options: Options, values: Any, policy: Any) -> int:
        """Solve a level layer by layer: the single states of a layer together, then its cyclic components."""
        p = self._with_cost(cost)
        for low, high, components in p.layers():
            if high > low:
                arrays.sweep_run(p, low, high, offset, *options, values, policy)
            for c in components:
                endless = self._block(c, offset, cost, options, values, policy)
                if endless >= 0:
                    return endless
        return -1

    def _block(self, c: int, offset: int, cost: np.ndarray, options: Options, values: Any, policy: Any) -> int:
        p = self._with_cost(cost)
        first, last = int(p.component_start[c]), int(p.component_start[c + 1])
        return arrays.solve_block(p, first, last, offset, *options, values, policy)

    def _with_cost(self, cost: np.ndarray) -> Prepared:
        return self.prepared if cost is self.prepared.cost else replace(self.prepared, cost=cost)


def _kernels(*, required: bool) -> Any:
    """Import the compiled passes, or return None without Numba."""
    try:
        from selfreg_gym.solver import kernels
    except ImportError as error:
        if required:
            raise InvalidArgumentError(
                "backend='numba' needs Numba, which is not installed: pip install numba, or backend='numpy'."
            ) from error
        warnings.warn("Numba is not installed: the solver uses NumPy, which is slower.", stacklevel=3)
        return None
    return kernels
