"""Gymnasium's toy text as text tasks: the base class of FrozenLake, Taxi and CliffWalking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from selfreg_gym.envs._toy_dynamics import Dynamics, intervention_model
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.spaces import FreeText
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.utils.arguments import check_count, check_name, check_render_mode, chosen_task

__all__ = ["ToyText"]


class ToyText(gym.Env[str, str]):
    """A task on a grid whose dynamics are those of a Gymnasium env, with a limit on steps.

    A subclass defines ``MOVES``, ``split_sizes`` and the methods that raise ``NotImplementedError`` here. Dynamics,
    texts and optimal actions are computed once per map and shared by all envs of a process.

    Args:
        split: a key of ``split_sizes``.
        max_steps: steps per episode, at least 1.
        clock: whether the expert knows the steps left.
        render_mode: None or ``"ansi"``.

    Raises:
        InvalidArgumentError, UnknownNameError: an argument is out of range.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it
    distributions = ("gymnasium",)
    splits: ClassVar[Mapping[str, Mapping[str, Any]]] = {"collected": {"split": "train"}, "new": {"split": "test"}}
    val_splits: ClassVar[Mapping[str, Mapping[str, Any]]] = {"val": {"split": "val"}}
    split_titles: ClassVar[Mapping[str, str]] = {"collected": "Collected tasks", "new": "New tasks"}
    MOVES: ClassVar[tuple[str, ...]]
    """The actions, in the order of Gymnasium's."""
    split_sizes: ClassVar[Mapping[str, int]]
    """Split -> number of tasks."""

    def __init__(self, *, split: str, max_steps: int, clock: bool, render_mode: str | None) -> None:
        check_name(f"split of {type(self).__name__}", split, tuple(self.split_sizes))
        self.observation_space, self.action_space = FreeText(), FreeText(100)
        self.split, self.max_steps = split, check_count("max_steps", max_steps)
        self.clock, self.render_mode = bool(clock), check_render_mode(render_mode, self)
        self._number = {move: i for i, move in enumerate(self.MOVES)}
        self._expert: dict[int, Any] = {}  # task -> the expert's actions
        self._task_index = self._state = self._left = 0
        self._over = True
        self._load(0)

    @property
    def num_episodes(self) -> int:
        """Number of distinct tasks of the split."""
        return self.split_sizes[self.split]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode of the task ``options["episode"]``, an int in ``range(num_episodes)``; default: random."""
        super().reset(seed=seed)
        self._load(chosen_task(options, self))
        self._state, self._left, self._over = self._first(self._task_index), self.max_steps, False
        return self._text(), self._info(False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Make a move."""
        move = self._number.get(action) if isinstance(action, str) else None
        ends, success = move is None, False
        self._left -= 1
        if move is not None and not self._over:
            self._state, ends, success = self._dynamics.draw(self._state, move, self.np_random.random())
        self._over = self._over or ends or self._left <= 0
        if self._over:
            self._left = 0
        info = self._info(move is None)
        if self._over:
            info["success"] = info["is_success"] = success
        return self._text(), float(success), ends, self._over and not ends, info

    def expert_action(self) -> str:
        """The optimal move."""
        best = self._expert.get(self._task_index)
        if best is None:
            best = self._expert[self._task_index] = self._best(self._task_index)
        row = best[max(self._left, 1)] if self.clock else best
        return self.MOVES[row[self._state]]

    def snapshot(self) -> object:
        """The state, the random state included."""
        return self._task_index, self._state, self._left, self._over, self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        """Return to a state that ``snapshot`` returned."""
        index, self._state, self._left, self._over, self.np_random.bit_generator.state = snapshot
        self._load(index)

    def reseed(self, seed: int) -> None:
        """Draw the coming random events from a new stream."""
        self._np_random, self._np_random_seed = gym.utils.seeding.np_random(seed)

    def sample_hidden(self, rng: np.random.Generator) -> None:
        """No effect: there are no hidden facts."""

    def render(self) -> str | None:
        """The observation, for ``render_mode="ansi"``."""
        return self._text() if self.render_mode == "ansi" else None

    def intervention_model(self, episodes: Sequence[int] = (0,), *, noise: float = 0.5) -> TransitionModel:
        """Return the exact model of the intervention problem, over (state, steps left).

        The actor takes a uniformly random move with probability ``noise`` and the expert's move otherwise; help takes
        the expert's move. With an expert that knows the clock the model is flat, else it is levelled
        (:func:`selfreg_gym.envs._toy_dynamics.intervention_model`).

        Args:
            episodes: task indices, each equally likely.
            noise: in [0, 1].

        Raises:
            InvalidArgumentError: ``noise`` is out of range, or there is no task.
        """
        if not 0 <= noise <= 1 or not len(episodes):
            raise InvalidArgumentError(
                f"noise must be in [0, 1] and episodes must have at least one task, received {noise!r}, {episodes!r}."
            )
        first: dict[Any, np.ndarray] = {}
        task_of: dict[Any, int] = {}
        for episode in map(int, episodes):
            world = self._world(episode)
            task_of.setdefault(world, episode)
            starts = first.setdefault(world, np.zeros(self._dynamics_of(episode).states))
            starts[self._first(episode)] += 1 / len(episodes)
        worlds = [
            (self._dynamics_of(task), [self._key(task, s) for s in range(len(first[world]))], first[world])
            for world, task in task_of.items()
        ]
        return intervention_model(worlds, [self._best(task) for task in task_of.values()], self.max_steps, noise)

    def _load(self, task: int) -> None:
        self._task_index, self._dynamics = task, self._dynamics_of(task)

    def _best(self, task: int) -> np.ndarray:
        """The expert's moves: ``(S,)``, or ``(max_steps + 1, S)`` with a clock."""
        raise NotImplementedError

    def _dynamics_of(self, task: int) -> Dynamics:
        raise NotImplementedError

    def _first(self, task: int) -> int:
        """The first state."""
        raise NotImplementedError

    def _world(self, task: int) -> Any:
        """Tasks with equal worlds share dynamics and state keys."""
        raise NotImplementedError

    def _key(self, task: int, state: int) -> str:
        """The state key."""
        raise NotImplementedError

    def _feature(self) -> str:
        """The feature key of the current state."""
        raise NotImplementedError

    def _name(self) -> tuple[str, str]:
        """The name of the current task, and the kind of its tasks."""
        raise NotImplementedError

    def _text(self) -> str:
        """The observation."""
        raise NotImplementedError

    def _info(self, invalid: bool) -> dict[str, Any]:
        name, kind = self._name()
        return {
            "admissible_actions": () if self._over else self.MOVES,
            "state_key": self._key(self._task_index, self._state),
            "feature_key": self._feature(),
            "steps_left": self._left,
            "task_id": name,
            "kind": kind,
            "invalid_action": invalid,
        }
