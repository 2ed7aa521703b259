"""``Explorer``: a helper for a collection, which gives help where an ensemble of fitted values is uncertain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.helper import Helper
from selfreg_gym.utils.arguments import check_name
from selfreg_gym.utils.episode_draws import EpisodeDraws

__all__ = ["RULES", "Explorer", "explore"]

RULES = ("disagreement", "posterior")

RANDOM_STEPS = 0.1
"""Share of the steps with a random action."""


class Explorer(Helper):
    """Decides when to ask in a collection, by the gains of all networks of fitted values.

    In every episode a price of the grid is drawn. With the rule ``disagreement`` help is given with probability 1/2
    where the networks disagree about the best action (each of K interventions is equally likely), and the action of the
    largest mean gain is taken elsewhere. With the rule ``posterior`` a network is drawn in every episode and followed,
    as in bootstrapped DQN (Osband et al. 2016). One step in ten has a random action. Draws depend on ``seed`` and the
    episode alone.

    Args:
        frontier: fitted values with an encoder.
        rule: ``disagreement`` or ``posterior``.
        seed: of the draws.

    Raises:
        UnknownNameError: another rule.
    """

    seed: int

    def __init__(self, frontier: Any, *, rule: str, seed: int = 0) -> None:
        check_name("rule of exploration", rule, RULES)
        self.frontier, self.rule, self.seed = frontier, rule, seed

    def begin_episodes(self, state: Any, starts: NDArray[np.bool_], keys: NDArray[np.int64]) -> Any:
        """Set the random streams of the episodes that begin."""
        return EpisodeDraws.begin(state, starts, keys, seed=self.seed)

    def wrap(self, env: Any) -> Any:
        """The env that shows the inputs of the values."""
        from selfreg_gym.wrappers import EncodedObservation

        return EncodedObservation(env, self.frontier.encoder)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Choose the actions by the rule; ``state`` has the random streams."""
        draws = EpisodeDraws.at(state, len(start), start, seed=self.seed)
        steps, following = draws.of_step(3)
        gains = self._gains(np.asarray(observations, np.float32))
        return explore(gains, draws.of_episode(), steps, rule=self.rule), following

    def _gains(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """``(networks, N, P, K)`` gain in value of each intervention, at each price, of each network."""
        import torch

        prices = np.asarray(self.frontier.prices, np.float64)[:, None]
        found = []
        for networks in self.frontier.networks:
            for member in range(networks.count):
                success, usage = (
                    one.numpy().transpose(0, 2, 1) for one in networks.values(torch.from_numpy(x), member)
                )
                value = success.astype(np.float64) - prices * usage
                found.append(value[..., 1:] - value[..., :1])
        return np.stack(found)


def explore(
    gains: NDArray[np.float64], episode: NDArray[np.float64], steps: NDArray[np.float64], *, rule: str
) -> NDArray[np.int64]:
    """Actions of N decisions.

    Args:
        gains: ``(networks, N, P, K)`` gain in value of each intervention.
        episode: ``(N,)`` random numbers in [0, 1), one per episode: they choose the price and the network.
        steps: ``(N, 3)`` random numbers in [0, 1) of the steps: they choose random steps, help or nohelp, and the
            intervention.
        rule: one of ``RULES``.

    Returns:
        ``(N,)`` actions from 0 to K.
    """
    count, n, prices, interventions = gains.shape
    each = np.arange(n)
    choice = np.minimum((episode * prices * count).astype(int), prices * count - 1)
    at_price = gains[:, each, choice % prices]  # (networks, N, K)
    best = np.where(at_price.max(axis=2) > 0, at_price.argmax(axis=2) + 1, 0)  # (networks, N)
    some_help = 1 + np.minimum((steps[:, 2] * interventions).astype(int), interventions - 1)
    coin = np.where(steps[:, 1] < 0.5, some_help, 0)
    if rule == "posterior":
        action = best[choice // prices, each]
    else:
        mean = at_price.mean(axis=0)
        agreed = (best == best[:1]).all(axis=0)
        greedy = np.where(mean.max(axis=1) > 0, mean.argmax(axis=1) + 1, 0)
        action = np.where(agreed, greedy, coin)
    return np.where(steps[:, 0] < RANDOM_STEPS, coin, action).astype(np.int64)
