"""``GameTask``: the base class of tasks made of game objects that draw from the global random generators."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.spaces import FreeText
from selfreg_gym.tasks.copied import CopiedTask
from selfreg_gym.tasks.functions import check_function
from selfreg_gym.tasks.global_random import GlobalRandom
from selfreg_gym.utils.arguments import check_count, check_number, task_and_events

__all__ = ["GameTask", "Played"]


@dataclass(frozen=True, slots=True)
class Played:
    """The result of a step of a game.

    Attributes:
        text: the observation.
        reward: the reward of the step.
        terminated, truncated: whether the game is over.
        invalid: whether the game refused the action.
        success: whether the game reports a success; None if it reports none.
    """

    text: str
    reward: float
    terminated: bool
    truncated: bool
    invalid: bool
    success: bool | None = None


@dataclass(slots=True)
class _Episode:
    """Everything that changes in an episode."""

    game: Any
    random: GlobalRandom
    episode: int
    text: str
    t: int = 0
    actions: tuple[str, ...] | None = None


class GameTask(CopiedTask):
    """A text task of game objects: a new object for each episode, played with its own random generators.

    The games draw from the *global* generators of Python and NumPy. Their states are set to those of the episode before
    each call of the object, and restored after it, so neither other episodes nor the program are affected.

    A subclass implements :meth:`_package`, :meth:`_begin` and :meth:`_advance`. Its docstring describes the arguments.
    """

    success: ClassVar[float]
    unknown: ClassVar[str]
    """The error for an id that the package does not know, with ``{}`` in its place."""

    def __init__(
        self,
        game: Any,
        *,
        actions: Sequence[str] | Callable[..., Sequence[str]] | None = None,
        success: float = 1.0,
        max_steps: int = 100,
        num_episodes: int = 1000,
        first_seed: int = 0,
        snapshots: str = "auto",
        kwargs: dict[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        package = self._package()
        if isinstance(game, str) and game not in package.envs.registration.ENV_REGISTRY:
            raise InvalidArgumentError(self.unknown.format(shown(game)))
        self.game, self.kwargs, self.render_mode = game, dict(kwargs or {}), render_mode
        self._make = _maker(game, package.Env, package.make, self.kwargs)
        self.name = game if isinstance(game, str) else getattr(game, "env_id", type(game).__name__)
        self.success = check_number("success (the smallest reward of a success)", success, low=-np.inf)  # type: ignore[misc]
        self.max_steps = check_count("max_steps", max_steps)
        self.num_episodes = check_count("num_episodes", num_episodes)
        self.first_seed = check_count("first_seed", first_seed, low=0)
        if actions is not None and not callable(actions):
            actions = _names(actions)
        self.actions = actions
        self._actions_of = check_function("actions", actions) if callable(actions) else None
        self.observation_space, self.action_space = FreeText(10**7), FreeText(10**6)
        self._set_snapshots(snapshots)

    @abstractmethod
    def _package(self) -> Any:
        """The package of the games, with ``Env``, ``make`` and ``envs.registration.ENV_REGISTRY``.

        Raises:
            MissingPackageError: it is not installed.
        """

    @abstractmethod
    def _begin(self, game: Any, seed: int) -> str:
        """Reset a game with a seed, and return the first observation."""

    @abstractmethod
    def _advance(self, game: Any, action: str) -> Played:
        """Take an action."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode with a new game object.

        ``options["episode"]`` chooses the task: the object is reset with the seed ``first_seed + episode``. The
        random events after it depend on ``seed``.
        """
        super().reset(seed=seed)
        episode, events = task_and_events(self, options)
        start = GlobalRandom.seeded(self.first_seed + episode)
        with start.active():
            game = self._make()
            text = self._begin(game, self.first_seed + episode)
        self._state = _Episode(game, GlobalRandom.seeded(events), episode, text)
        self._offer()
        return text, self._info(invalid=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Pass the text to the game. With names of actions, any other text is invalid, and the game is not called."""
        state = self._state
        state.t += 1
        if state.actions is not None and action not in state.actions:
            played = Played(state.text, 0.0, False, False, invalid=True)
        else:
            with state.random.active():
                played = self._advance(state.game, action)
        state.text = played.text
        truncated = played.truncated or state.t >= self.max_steps
        over = played.terminated or truncated
        self._offer(over=over)
        info = self._info(invalid=played.invalid)
        if over:
            won = played.reward >= self.success if played.success is None else played.success
            info["success"] = info["is_success"] = bool(won and (played.terminated or played.truncated))
        return played.text, played.reward, played.terminated, truncated, info

    def reseed(self, seed: int) -> None:
        """Set the random generators of the game, so that future random events are drawn anew."""
        self._state.random = GlobalRandom.seeded(seed)

    def _offer(self, *, over: bool = False) -> None:
        """Set the names of the actions in the current state."""
        state = self._state
        if self._actions_of is None:
            state.actions = self.actions  # type: ignore[assignment]
            return
        function, count = self._actions_of
        arguments = (state.text, self._info(invalid=False), state.game)[:count]
        with state.random.active():
            state.actions = () if over else _names(function(*arguments))

    def _info(self, *, invalid: bool) -> dict[str, Any]:
        state = self._state
        info: dict[str, Any] = {
            "task_id": f"{self.name}-{self.first_seed + state.episode}",
            "steps_left": self.max_steps - state.t,
            "invalid_action": invalid,
        }
        if state.actions is not None:
            info["admissible_actions"] = state.actions
        return info


def _maker(game: Any, kind: type, make: Callable[..., Any], kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    """A function that makes a new game object.

    Args:
        game: an id, a function that makes a game, or a game, of which each call returns a copy.
        kind: the class of games of the package.
        make: the package's function from an id to a game.
        kwargs: arguments of the id.
    """
    if isinstance(game, str):
        return lambda: make(game, **kwargs)
    if kwargs:
        raise InvalidArgumentError(f"arguments need a game given by its id, received the game {shown(game)}.")
    if isinstance(game, kind):
        pristine = copy.deepcopy(game)
        return lambda: copy.deepcopy(pristine)
    if callable(game):
        return _checked(game, kind)
    raise InvalidArgumentError(
        f"a game must be an id, a {kind.__module__}.{kind.__qualname__}, or a function that makes one, received "
        f"{type(game).__name__}."
    )


def _checked(make: Callable[[], Any], kind: type) -> Callable[[], Any]:
    def new() -> Any:
        made = make()
        if not isinstance(made, kind):
            raise InvalidArgumentError(f"the function must return a {kind.__module__} env, received {shown(made)}.")
        return made

    return new


def _names(actions: Any) -> tuple[str, ...]:
    if isinstance(actions, str) or not isinstance(actions, Sequence) or not all(isinstance(a, str) for a in actions):
        raise InvalidArgumentError(f"actions must be a sequence of texts, received {shown(actions)}.")
    if len(set(actions)) < len(actions):
        raise TaskContractError(f"each action must be named once, received {shown(actions)}.")
    return tuple(actions)
