"""``solve_caps``: a hard limit on the calls of each episode, every limit at once.

The state is (state, calls left): a call is only possible while one is left and leaves one less. So the limits 0 to c
are c + 1 layers, each an ordinary problem whose help leads to the layer below; one pass over each gives the best
success under every limit. There is no price. Success under a limit of c calls is never more than with c calls on
average.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.solver.engine import Engine, Prepared
from selfreg_gym.transitions import TransitionModel

__all__ = ["CappedSolution", "solve_caps"]


@dataclass(frozen=True, eq=False)
class CappedSolution:
    """The best policies under hard limits of 0 to c calls per episode.

    Attributes:
        model: the model that was solved.
        policy: ``(c + 1, n)`` int8, the action in each state with so many calls left.
        success: ``(c + 1, n)``.
        usage: ``(c + 1, n)`` expected cost units from each state on.
    """

    model: TransitionModel
    policy: np.ndarray
    success: np.ndarray
    usage: np.ndarray

    @property
    def expected_success(self) -> np.ndarray:
        """``(c + 1,)`` over the start states, one per limit."""
        return self.success @ self.model.start

    @property
    def expected_usage(self) -> np.ndarray:
        """``(c + 1,)`` cost units over the start states, one per limit."""
        return self.usage @ self.model.start

    def action(self, index: int, calls_left: int) -> int:
        """Return the action in a state with so many calls left; nohelp for an unknown state (index -1)."""
        return int(self.policy[min(max(calls_left, 0), len(self.policy) - 1), index]) if index >= 0 else 0


def solve_caps(
    model: TransitionModel, *, hard_cap: int, discount: float = 1.0, backend: str = "auto"
) -> CappedSolution:
    """Find the best use of at most ``hard_cap`` calls per episode, and of every smaller number.

    Args:
        model: the problem; a call is one help, whatever it costs.
        hard_cap: c >= 0.
        discount, backend: as in :func:`selfreg_gym.solver.solve`.

    Raises:
        InvalidArgumentError: a negative or fractional cap.
    """
    if int(hard_cap) != hard_cap or hard_cap < 0:
        raise InvalidArgumentError(f"a hard cap is a whole number of calls >= 0, received {hard_cap!r}.")
    flat = model if model.levels == 1 else model.flat()
    engine = Engine(flat, backend=backend, discount=discount)
    base, layer = engine.prepared, _without_help(engine.prepared)
    policies, successes, usages = [], [], []
    for _ in range(int(hard_cap) + 1):
        engine.prepared = layer
        values, policy = engine.run(0.0)
        engine.prepared = base
        policies.append(engine.model_order(policy))
        pair = engine.model_order(values)
        successes.append(pair[:, 0])
        usages.append(pair[:, 1])
        layer = _helped_by(layer, base, *engine.backup(values), engine)
    return CappedSolution(model, np.stack(policies), np.stack(successes), np.stack(usages))


def _without_help(base: Prepared) -> Prepared:
    """Return the layer without a call left: the rows of help are empty and not available."""
    nohelp = np.arange(len(base.cost)) % base.actions == 0
    each = (base.indptr[1:] - base.indptr[:-1]).astype(np.int64)
    lengths = np.where(nohelp, each, 0)
    kept = np.repeat(nohelp, each)
    return replace(
        base,
        indptr=np.r_[0, np.cumsum(lengths)].astype(base.indptr.dtype),
        indices=base.indices[kept],
        data=base.data[kept],
        cost=np.where(nohelp, base.cost, np.inf),
        leaving=base.leaving | ~nohelp,
    )


def _helped_by(layer: Prepared, base: Prepared, success: np.ndarray, usage: np.ndarray, engine: Engine) -> Prepared:
    """Return the layer above: help ends it, with the values of the layer below after the call."""
    of_success = np.stack([engine.start_order(row) for row in success], axis=1).ravel()
    of_usage = np.stack([engine.start_order(row) for row in usage], axis=1).ravel()
    nohelp = np.arange(len(base.cost)) % base.actions == 0
    missing = np.isinf(base.cost)
    ends_well = np.where(nohelp, base.success, np.where(missing, 0.0, of_success))
    return replace(
        layer, success=ends_well, last_success=ends_well, cost=np.where(nohelp | missing, base.cost, of_usage)
    )
