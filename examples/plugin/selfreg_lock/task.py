"""``selfreg_lock/Lock-v0``: find the digits of a lock, one after the other, with a limited number of tries."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym import FreeText

__all__ = ["Lock"]


class Lock(gym.Env[str, str]):
    """A lock with 2 or 3 digits from 0 to 7; each wrong try says whether the digit is higher or lower.

    Task ``i`` has ``2 + i % 2`` digits, which ``seed`` draws. The episode ends when the lock is open (success), after
    ``tries`` tries (failure), or after a text that is not offered (failure).

    Args:
        tries: number of tries.
        render_mode: None or "ansi" (the observation).
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it
    num_episodes = 40
    splits = {"collected": {}, "seen": {"tries": 6}}  # noqa: RUF012 - a constant

    def __init__(self, *, tries: int = 6, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = FreeText(), FreeText(10)
        self.tries, self.render_mode = tries, render_mode
        self.episode = self.left = self.place = self.low = self.high = 0
        self.digits: tuple[int, ...] = ()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Close a new lock."""
        super().reset(seed=seed)
        self.episode = int((options or {}).get("episode", self.np_random.integers(self.num_episodes)))
        self.left, self.place, self.low, self.high = self.tries, 0, 0, 7
        self.digits = tuple(self.np_random.integers(8, size=2 + self.episode % 2).tolist())
        return self._text(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Try a digit."""
        invalid = action not in self._offered()
        self.left = 0 if invalid else self.left - 1
        if not invalid:
            guess, digit = int(action), self.digits[self.place]
            if guess == digit:
                self.place, self.low, self.high = self.place + 1, 0, 7
            elif guess < digit:
                self.low = guess + 1
            else:
                self.high = guess - 1
        success = self.place == len(self.digits)
        over = success or self.left == 0
        info = self._info() | {"invalid_action": invalid}
        if over:
            info |= {"success": success, "is_success": success, "steps_left": 0}
        return self._text(), float(success), over, False, info

    def expert_action(self) -> str:
        """The digit itself."""
        return str(self.digits[min(self.place, len(self.digits) - 1)])

    def snapshot(self) -> object:
        """The exact state."""
        state = self.np_random.bit_generator.state
        return self.episode, self.left, self.place, self.low, self.high, self.digits, state

    def restore(self, snapshot: Any) -> None:
        """Return to a state that ``snapshot`` returned."""
        self.episode, self.left, self.place, self.low, self.high, self.digits, state = snapshot
        self.np_random.bit_generator.state = state

    def reseed(self, seed: int) -> None:
        """Continue with a new random stream; nothing is drawn after the reset."""
        self._np_random, self._np_random_seed = gym.utils.seeding.np_random(seed)

    def sample_hidden(self, rng: np.random.Generator) -> None:
        """Draw the digits that are not known: the current one from its range, the later ones from all digits."""
        if self.place < len(self.digits):
            later = rng.integers(8, size=len(self.digits) - self.place - 1).tolist()
            self.digits = (*self.digits[: self.place], int(rng.integers(self.low, self.high + 1)), *later)

    def render(self) -> str | None:
        """The observation, for ``render_mode="ansi"``."""
        return self._text() if self.render_mode == "ansi" else None

    def _offered(self) -> tuple[str, ...]:
        return tuple(str(digit) for digit in range(self.low, self.high + 1))

    def _text(self) -> str:
        size = 2 + self.episode % 2
        if self.place == size:
            return "The lock is open."
        return (
            f"Digit {self.place + 1} of {size} is from {self.low} to {self.high}. You have {self.left} tries left. "
            f"You can say: {', '.join(self._offered())}."
        )

    def _info(self) -> dict[str, Any]:
        where = f"{2 + self.episode % 2 - self.place} to find, {self.low}-{self.high}"
        return {
            "task_id": f"lock-{self.episode}", "kind": f"{2 + self.episode % 2} digits", "invalid_action": False,
            "state_key": f"lock-{self.episode} {where}, {self.left} left", "feature_key": where,
            "steps_left": self.left, "admissible_actions": self._offered(),
        }  # fmt: skip
