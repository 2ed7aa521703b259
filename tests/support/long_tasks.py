"""A task with long episodes and many offered actions, as in text games: 100 steps, 100 actions."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from selfreg_gym import FreeText

__all__ = ["LongTask"]

_ROOMS = "kitchen hall cellar garden attic bedroom study garage bathroom workshop".split()
_THINGS = "lamp key book cup rope box coin knife map bottle plate hammer".split()


class LongTask(gym.Env[str, str]):
    """Find a thing: each step shows a room, and ``actions`` actions of which one per step is of use.

    Success: at least a third of the actions taken were of use.

    Args:
        steps: length of an episode.
        actions: number of offered actions.
        keys: whether states have keys.
    """

    num_episodes = 1000

    def __init__(self, *, steps: int = 100, actions: int = 100, keys: bool = True) -> None:
        self.observation_space, self.action_space = FreeText(), FreeText()
        self.steps, self.actions, self.keys = steps, actions, keys

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode = int((options or {}).get("episode", self.np_random.integers(self.num_episodes)))
        self.t = self.found = 0
        return self._show()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        invalid = action not in self.offered
        self.found += action == self.wanted
        self.t += 1
        over = self.t >= self.steps
        text, info = self._show()
        info["invalid_action"] = invalid
        if over:
            info |= {"success": 3 * self.found >= self.steps, "is_success": 3 * self.found >= self.steps}
        return text, 0.0, over, False, info

    def expert_action(self) -> str:
        """The action of use."""
        return self.wanted

    def _show(self) -> tuple[str, dict[str, Any]]:
        self.room = (self.episode * 7 + self.t * 13 + int(self.np_random.integers(3))) % len(_ROOMS)
        first = self.room * 17 + self.t
        self.offered = tuple(
            f"take the {_THINGS[(first + i) % len(_THINGS)]} from shelf {i // len(_THINGS)} of the {_ROOMS[self.room]}"
            for i in range(self.actions)
        )
        self.wanted = self.offered[(self.room * 31 + self.t) % self.actions]
        things = ", ".join(f"a {_THINGS[(first + 5 * i) % len(_THINGS)]} on shelf {i}" for i in range(8))
        text = (
            f"You are in the {_ROOMS[self.room]}. You see {things}. You look for something useful. "
            f"You have found {self.found} things in {self.t} steps. The {self.wanted.split()[2]} would be of use."
        )
        info: dict[str, Any] = {
            "task_id": f"long-{self.episode}",
            "admissible_actions": self.offered,
            "steps_left": self.steps - self.t,
            "invalid_action": False,
        }
        if self.keys:
            info["state_key"] = f"long-{self.episode} {self.room} {self.found} {self.t}"
            info["feature_key"] = f"{self.room} {min(self.found, 40) // 8} {self.t // 20}"
        return text, info
