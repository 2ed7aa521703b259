"""``selfreg/Coin-v0``: call hidden coins, one after the other. The smallest task there is, with a known optimum.

A model for people who write their own task: the whole contract of ``TextTask``, on one page.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.spaces import FreeText
from selfreg_gym.utils.arguments import check_options

__all__ = ["Coin"]

IDS = ("selfreg/Coin-v0",)
ENTRY = "Coin"


class Coin(gym.Env[str, str]):
    """Coins lie under a cup, one at a time; a wrong call ends the episode.

    ## Description
    The task ``episode`` has ``2 + episode % 4`` coins. Each shows heads with probability ``heads``, whatever the others
    show. Who sees through the cup (``expert_action``) always succeeds; who says "heads" every time succeeds with
    probability ``heads ** coins``.

    ## Action Space
    Text: ``heads`` or ``tails``. Anything else is invalid and a wrong call.

    ## Observation Space
    Text: how many coins are left, and which this one is.

    ## Rewards
    1 on the last step of a success, otherwise 0.

    ## Starting State
    ``reset(options={"episode": i})``, ``0 <= i < num_episodes``, fixes the number of coins; without it the seed draws.

    ## Episode End
    Terminated by a wrong call (failure) or by the last right call (success). ``steps_left`` counts the coins left.

    ## The optimum (ours)
    With an actor that always says "heads" and an expert at help cost ``r``, and ``i`` coins left, the value is
    ``V(0) = 1, V(i) = max(heads * V(i - 1), V(i - 1) - r)``: guess while many coins are left, ask near the end
    (:meth:`optimal_value`).

    Args:
        heads: probability of heads, in (0, 1).
        render_mode: None or ``"ansi"``.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - Gymnasium declares it so
    num_episodes = 1000
    """How many distinct tasks there are."""

    def __init__(self, *, heads: float = 0.5, render_mode: str | None = None) -> None:
        if not 0 < heads < 1:
            raise InvalidArgumentError(f"heads is a probability inside (0, 1), received {heads!r}.")
        if render_mode not in {None, "ansi"}:
            raise UnknownNameError("render mode", render_mode, ["ansi"])
        self.observation_space = FreeText()
        self.action_space = FreeText(100)
        self.heads, self.render_mode = heads, render_mode
        self._episode = self._left = self._coins = 0
        self._coin = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode. ``options["episode"]`` chooses the task (an int from 0 to ``num_episodes - 1``)."""
        super().reset(seed=seed)
        check_options(options, available=self.num_episodes, strict=True)
        episode = (options or {}).get("episode")
        if episode is None:
            episode = int(self.np_random.integers(self.num_episodes))
        self._episode = int(episode)
        self._left = self._coins = 2 + self._episode % 4
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
        """What the coin shows."""
        return self._coin

    def snapshot(self) -> object:
        """Everything that can still matter, the random state included."""
        return self._episode, self._left, self._coins, self._coin, self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        """Go back to a moment that ``snapshot`` returned."""
        self._episode, self._left, self._coins, self._coin, self.np_random.bit_generator.state = snapshot

    def render(self) -> str | None:
        """What the actor reads, as text."""
        return self._text() if self.render_mode == "ansi" else None

    @staticmethod
    def optimal_value(coins: int, *, help_cost: float, heads: float = 0.5) -> float:
        """Largest expected ``success - help_cost * calls`` for a "heads" actor and the expert."""
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
            "state_key": f"coin-{self._episode}/{self._left}",
            "feature_key": f"{self._left} left",
            "steps_left": self._left,
            "task_id": f"coin-{self._episode}",
            "kind": "coin",
            "invalid_action": invalid,
        }
