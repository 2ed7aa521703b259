"""``selfreg/Coin-v0``: call a sequence of hidden coins; the smallest task, with a known optimum.

It implements every member of ``TextTask`` and is a template for tasks of your own.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.spaces import FreeText
from selfreg_gym.utils.arguments import check_render_mode, chosen_task

__all__ = ["Coin"]

IDS = ("selfreg/Coin-v0",)
ENTRY = "Coin"


class Coin(gym.Env[str, str]):
    """Coins are hidden under a cup, one at a time; a wrong call ends the episode.

    ## Description
    Task ``i`` has ``2 + i % 4`` coins, and each shows heads with probability ``heads``, independently. The expert
    (``expert_action``) sees the coin and always succeeds. An actor that always says "heads" succeeds with probability
    ``heads ** coins``. With this actor, the expert at help cost ``r`` and ``i`` coins left, the optimal value is

    ``V(0) = 1, V(i) = max(heads * V(i - 1), V(i - 1) - r)``:

    the optimal helper guesses while many coins are left and asks near the end (``Coin.optimal_value``).

    ## Action Space
    Text: ``heads`` or ``tails``. Any other text is an invalid action and ends the episode as a wrong call does.

    ## Observation Space
    Text: the index of the current coin and the number of coins.

    ## Rewards
    1 on the last step of a successful episode, otherwise 0.

    ## Starting State
    ``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``, determines the number of coins; without it, the
    task is drawn at random. ``seed`` determines the coins.

    ## Episode End
    Terminated by a wrong call (failure) or by the last right call (success). ``info["steps_left"]`` is the number of
    coins left.

    ## Arguments
    * ``heads`` (float, default 0.5): probability of heads, in (0, 1).
    * ``render_mode``: None or ``"ansi"`` (the observation).

    ## Version History
    * v0: initial version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it
    num_episodes = 1000
    """Number of distinct tasks."""
    action_kinds = ("heads", "tails")

    def __init__(self, *, heads: float = 0.5, render_mode: str | None = None) -> None:
        if not 0 < heads < 1:
            raise InvalidArgumentError(f"heads must be a probability in (0, 1), received {heads!r}.")
        self.observation_space = FreeText()
        self.action_space = FreeText(100)
        self.heads, self.render_mode = heads, check_render_mode(render_mode, self)
        self._task_index = self._left = self._coins = 0
        self._coin = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode of the task ``options["episode"]``, an int in ``range(num_episodes)``; default: random."""
        super().reset(seed=seed)
        self._task_index = chosen_task(options, self)
        self._left = self._coins = 2 + self._task_index % 4
        self._hide()
        return self._text(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Call the coin under the cup."""
        invalid, right = action not in {"heads", "tails"}, action == self._coin
        self._left = self._left - 1 if right else 0
        info = self._info(invalid)
        if self._left == 0:
            info |= {"success": right, "is_success": right, "metrics": {"coins": float(self._coins)}}
        else:
            self._hide()
        return self._text(), float(right and self._left == 0), self._left == 0, False, info

    def expert_action(self) -> str:
        """The right call."""
        return self._coin

    def snapshot(self) -> object:
        """The state, the random state included."""
        return self._task_index, self._left, self._coins, self._coin, self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        """Return to a state that ``snapshot`` returned."""
        self._task_index, self._left, self._coins, self._coin, self.np_random.bit_generator.state = snapshot

    def reseed(self, seed: int) -> None:
        """Draw the coming coins from a new stream; the coin under the cup stays."""
        self._np_random, self._np_random_seed = gym.utils.seeding.np_random(seed)

    def sample_hidden(self, rng: np.random.Generator) -> None:
        """Toss the coin under the cup again."""
        if self._left:
            self._coin = "heads" if rng.random() < self.heads else "tails"

    def render(self) -> str | None:
        """The observation, for ``render_mode="ansi"``."""
        return self._text() if self.render_mode == "ansi" else None

    @staticmethod
    def optimal_value(coins: int, *, help_cost: float, heads: float = 0.5) -> float:
        """Largest expected ``success - help_cost * calls``, with an actor that always says "heads" and the expert."""
        value = 1.0
        for _ in range(coins):
            value = max(heads * value, value - help_cost)
        return value

    def _hide(self) -> None:
        self._coin = "heads" if self.np_random.random() < self.heads else "tails"

    def _text(self) -> str:
        if self._left == 0:
            return "The game is over."
        return f"Coin {self._coins - self._left + 1} of {self._coins} lies under the cup. Call it: heads or tails?"

    def _info(self, invalid: bool = False) -> dict[str, Any]:
        return {
            "admissible_actions": ("heads", "tails") if self._left else (),
            "state_key": f"coin-{self._task_index}/{self._left}",
            "feature_key": f"{self._left} left",
            "steps_left": self._left,
            "task_id": f"coin-{self._task_index}",
            "kind": "coin",
            "invalid_action": invalid,
        }
