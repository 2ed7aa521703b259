"""Small text tasks with known optima, for tests of planners."""

from __future__ import annotations

import gymnasium as gym

from selfreg_gym.spaces import FreeText


class _Small(gym.Env):
    """The common parts: spaces, snapshots and the random stream."""

    num_episodes = 1

    def __init__(self):
        self.observation_space, self.action_space = FreeText(), FreeText(20)
        self.state, self.left = "", 0

    def snapshot(self):
        return self.state, self.left, self.np_random.bit_generator.state

    def restore(self, snapshot):
        self.state, self.left, self.np_random.bit_generator.state = snapshot

    def reseed(self, seed):
        self._np_random, self._np_random_seed = gym.utils.seeding.np_random(seed)

    def sample_hidden(self, rng):
        pass

    def _info(self, actions, *, over=False, success=False):
        info = {
            "task_id": "small", "state_key": f"{self.state}", "admissible_actions": () if over else actions,
            "steps_left": self.left,
        }  # fmt: skip
        return info | ({"success": success, "is_success": success} if over else {})


class Corridor(_Small):
    """Cells 0 to n; from the middle, exactly the direct way to cell n takes all steps."""

    def __init__(self, n=4):
        super().__init__()
        self.n = n

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.left = self.n // 2, self.n - self.n // 2
        return f"cell {self.state}, {self.left} left", self._info(("left", "right"))

    def step(self, action):
        self.state = min(self.n, max(0, self.state + (1 if action == "right" else -1)))
        self.left -= 1
        success = self.state == self.n
        over = success or self.left == 0
        self.left = 0 if over else self.left
        info = self._info(("left", "right"), over=over, success=success)
        return f"cell {self.state}, {self.left} left", float(success), over, False, info


class Game(_Small):
    """A game tree with chance.

    ``safe`` wins with probability 0.8. ``look`` shows red or blue, each with probability 0.5; naming the shown colour
    wins, so the value of ``look`` is 1 for an actor that reads what it sees, and 0.5 for a fixed sequence of actions.
    """

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.left = "start", 2
        return "start", self._info(("safe", "look"))

    def step(self, action):
        draw = self.np_random.random()
        if self.state == "start" and action == "look":
            self.state, self.left = ("red" if draw < 0.5 else "blue"), 1
            return self.state, 0.0, False, False, self._info(("red", "blue"))
        success = draw < 0.8 if action == "safe" else action == self.state
        self.state, self.left = "end", 0
        return "end", float(success), True, False, self._info((), over=True, success=success)
