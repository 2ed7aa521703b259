"""`GainHelper`: the base class of helpers with the gain of each intervention at a grid of prices.

At a price r (success per cost unit) the gain of intervention k in state s is ``g_r(s, k) = dS_r(s, k) - r dM_r(s, k)``,
with ``dS_r(s, k) = S_r(s, k) - S_r(s, 0)`` and the same for M. ``S_r(s, k)`` and ``M_r(s, k)`` are the success and the
usage of asking k now (0: nohelp) and following the optimal policy of r afterwards. The best action at r has the largest
gain; the gain of nohelp is 0.

The knob is a position on the axis of prices, from 0 (never) to P + 1 (always)::

    0 ......... 1 ............ 2 ............ P ............ P + 1
    never       largest price  next price     smallest price always

Between two prices the gains are interpolated linearly. Outside the grid a coin per episode chooses between the policy
at the end of the grid and never, or always. So every usage from 0 to that of "always" is reached, and one helper serves
every budget. "Always" asks one intervention at every step
(:func:`selfreg_gym.agents.helpers._always.always_asked` chooses it).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._arguments import checked_costs, checked_seed
from selfreg_gym.agents.helpers._choice import check_costs
from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.helper import Helper
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import check_count, check_number
from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["GainHelper", "checked_prices", "gain_actions", "position_of"]

Gains = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]
"""dS and dM, each ``(n, P, K)``: success and cost units of each intervention minus those of nohelp, at each price."""


class GainHelper(Helper):
    """Asks the intervention with the largest gain at the price of its knob, if the gain is positive.

    A subclass defines :meth:`gains`. The coins at the ends of the axis depend on ``seed`` and the episode alone.

    Args:
        prices: ``(P,)`` prices of the gains, in success per cost unit; at least 0, all different, in any order.
        costs: ``(K,)`` cost units of a call of each intervention.
        position: the knob, in [0, P + 1]; None is the middle of the grid.
        seed: seed of the coins.
        always: the intervention, from 1 to K, that is asked at the position P + 1; None: the most expensive, the first
            of several.

    Raises:
        InvalidArgumentError: an argument is out of range.
    """

    seed: int

    def __init__(
        self,
        prices: Sequence[float],
        costs: Sequence[float],
        *,
        position: float | None = None,
        seed: int = 0,
        always: int | None = None,
    ) -> None:
        self.prices = checked_prices(prices)
        self.costs = checked_costs(costs, len(costs))
        self.seed = checked_seed(seed)
        if always is None:
            always = 1 + int(np.argmax(self.costs))
        self.always = check_count("always, the intervention at the end of the knob,", always, high=len(self.costs))
        self.knob_bounds = (0.0, len(self.prices) + 1.0)
        self.position = self._checked(sum(self.knob_bounds) / 2 if position is None else position)

    @abstractmethod
    def gains(self, observations: Any) -> Gains:
        """dS and dM at N observations of the wrapped env, each ``(N, P, K)``, in the order of :attr:`prices`."""

    def rounded(self, success: NDArray[np.floating[Any]], usage: NDArray[np.floating[Any]], decimals: int) -> Gains:
        """dS and dM as float64, rounded so that they do not depend on the batch.

        Args:
            success: dS.
            usage: dM, which is rounded in units of the smallest cost, because cost units can be large or small.
            decimals: of the rounded numbers.
        """
        unit = min(self.costs)
        in_units = np.round(np.asarray(usage, np.float64) / unit, decimals)
        return np.round(np.asarray(success, np.float64), decimals) + 0.0, in_units * unit + 0.0

    @property
    def knob(self) -> float:
        """The position on the axis of prices, in [0, P + 1]."""
        return self.position

    def with_knob(self, x: float) -> Self:
        """The same helper at another position.

        Raises:
            InvalidArgumentError: it is outside [0, P + 1].
        """
        return self._replaced(position=self._checked(x))

    def with_price(self, price: float) -> Self:
        """The same helper at a price (success per cost unit); a price outside the grid becomes the nearest one."""
        return self.with_knob(position_of(self.prices, price))

    def for_interventions(self, interventions: Sequence[Intervention]) -> Self:
        """The helper itself, if number and costs of the interventions are those of its training.

        Raises:
            InvalidArgumentError: their number or their costs differ.
        """
        check_costs(self, len(self.costs), self.costs, interventions)
        return self

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: NDArray[np.int64]) -> Any:
        """Set the coins of the episodes that begin (:meth:`selfreg_gym.Helper.begin_episodes`)."""
        return EpisodeDraws.begin(state, starts, keys, seed=self.seed)

    def episode_mixture(self) -> list[tuple[float, Helper]]:
        """The policies between which the coin chooses; inside the grid of prices, the helper itself."""
        grid = len(self.prices)
        for low in (0, grid):
            if low < self.position < low + 1:
                weight = self.position - low
                return [(1 - weight, self.with_knob(low)), (weight, self.with_knob(low + 1))]
        return [(1.0, self)]

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Take the action with the largest gain at the position; ties are nohelp."""
        draws = EpisodeDraws.at(state, len(start), start, seed=self.seed)
        success, usage = self.gains(observations)
        actions = gain_actions(
            success, usage, prices=self.prices, always=self.always, position=self.position, coins=draws.of_episode()
        )
        return actions, draws

    def _checked(self, position: float) -> float:
        return check_number("the knob (position on the axis of prices)", position, high=self.knob_bounds[1])

    def __repr__(self) -> str:
        return f"{self.type_name}(position={self.position:.3g}, prices={len(self.prices)}, costs={self.costs})"


def gain_actions(
    success: NDArray[np.floating[Any]],
    usage: NDArray[np.floating[Any]],
    *,
    prices: Sequence[float],
    always: int,
    position: float,
    coins: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Choose the actions of N decisions at a position on the axis of prices.

    Args:
        success, usage: dS and dM, each ``(N, P, K)``.
        prices: ``(P,)``, in the order of the gains.
        always: the intervention, from 1 to K, that is asked at the position P + 1.
        position: in [0, P + 1].
        coins: ``(N,)`` in [0, 1), one number per episode.

    Returns:
        ``(N,)`` actions from 0 to K.
    """
    n, grid = len(coins), len(prices)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(-np.asarray(prices, dtype=np.float64), kind="stable")
    inside = min(max(position, 1.0), float(grid)) - 1.0
    low = int(inside)
    high, weight = min(low + 1, grid - 1), inside - low

    def gain(at: int) -> NDArray[np.float64]:
        i = int(order[at])
        return np.asarray(success[:, i], np.float64) - prices[i] * np.asarray(usage[:, i], np.float64)

    gains = gain(low) if weight == 0 else (1 - weight) * gain(low) + weight * gain(high)
    actions = np.where(gains.max(axis=1) > 0, gains.argmax(axis=1) + 1, 0)
    if position < 1:
        actions = np.where(coins < position, actions, 0)
    elif position > grid:
        actions = np.where(coins < position - grid, always, actions)
    return actions.astype(np.int64)


def position_of(prices: Sequence[float], price: float) -> float:
    """The position of a price on the axis, in [1, P]; a price outside the grid becomes the nearest one."""
    rising = np.sort(np.asarray(prices, dtype=np.float64))
    places = np.arange(len(rising), 0, -1, dtype=np.float64)
    return float(np.interp(check_number("a price (success per cost unit)", price), rising, places))


def checked_prices(prices: Sequence[float]) -> tuple[float, ...]:
    """Return P different prices of at least 0.

    Raises:
        InvalidArgumentError: anything else.
    """
    try:
        values = tuple(float(price) for price in prices)
    except (TypeError, ValueError):
        values = ()
    if not values or len(set(values)) < len(values) or not all(np.isfinite(r) and r >= 0 for r in values):
        raise InvalidArgumentError(
            f"prices must be at least one number of success per cost unit, all different and 0 or more; received "
            f"{shown(prices)}."
        )
    return values
