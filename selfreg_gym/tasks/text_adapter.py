"""``TextAdapter``: makes a text task of a Gymnasium env, a function that describes its states, and names of actions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.intervention_env.task_output import checked_flag
from selfreg_gym.spaces import FreeText
from selfreg_gym.tasks.copied import CopiedTask
from selfreg_gym.tasks.functions import StateFunction, check_function, checked_reward
from selfreg_gym.utils.arguments import check_count, check_flag, check_number, task_and_events

__all__ = ["Ending", "TextAdapter"]

_STARTS = ("episode", "seed")


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an episode of the wrapped env, which decides about success.

    Attributes:
        observation, reward, terminated, truncated, info: the result of the last step.
        total_reward: the sum of the rewards of the episode.
        steps: number of steps, those with invalid actions included.
        env: the wrapped env.
    """

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]
    total_reward: float
    steps: int
    env: gym.Env[Any, Any]


@dataclass(slots=True)
class _Episode:
    """Everything that changes in an episode."""

    env: gym.Env[Any, Any]
    episode: int = 0
    t: int = 0
    observation: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    actions: dict[str, Any] | None = None  # name -> action of the env, in this state
    total_reward: float = 0.0


class TextAdapter(CopiedTask):
    """A text task of a Gymnasium env: its states are described in words, and its actions have names.

    ## Description
    The wrapped env has the dynamics. A text that is not the name of a possible action is an invalid action: it counts
    as a step of the episode, but the wrapped env is not stepped.

    ## Observation Space
    The text of ``describe``, and a line with the possible actions (``list_actions``).

    ## Action Space
    The names in ``actions``; with ``actions=None`` any text, for envs whose actions are text.

    ## Rewards
    The rewards of the wrapped env, and 0 for an invalid action. The intervention env does not use them: its reward is
    success.

    ## Starting State
    ``reset(options={"episode": i})`` resets the wrapped env with the seed ``first_seed + i``, and then sets its
    ``np_random`` by the seed of the episode. So the index determines the start. The seed determines the random events
    after it, if the wrapped env draws them from ``np_random``. With ``start="seed"`` there is one task, and its seed
    determines everything.

    ## Episode End
    The wrapped env ends the episode, or it is truncated after ``max_steps`` steps.

    ## Arguments
    * ``env``: the env, its Gymnasium id, or a function that makes it. Its time limit is part of it.
    * ``describe``: ``f(observation) -> str``; it may also take the env's info, and the env, as second and third
      argument.
    * ``actions``: names of the actions of a ``Discrete`` env, in their order; or a dict from names to actions; or a
      function of the state (as ``describe``) that returns such a dict. For an env whose actions are text: only names.
    * ``success``: function of an :class:`Ending` that returns a bool; or a number, the smallest ``total_reward`` of a
      success. Default: ``info["success"]`` or ``info["is_success"]`` of the last step if the env reports it, else
      whether it terminated with a positive reward.
    * ``max_steps``: default: the ``max_episode_steps`` of the env's spec.
    * ``num_episodes``: number of tasks (1 with ``start="seed"``).
    * ``start``: ``"episode"`` or ``"seed"``.
    * ``first_seed``: seed of the start of the first task; different ranges make different splits.
    * ``state_key``, ``feature_key``: functions of the state that return a str. Equal states have equal keys; a
      ``state_key`` is preceded by the task id. Without ``state_key`` a state is identified by its text.
    * ``feature_vector``: function of the state that returns finite numbers ``(d,)``.
    * ``kind``: function of the state that returns the kind of the task.
    * ``expert``: function of the state that returns the name of a good action (intervention ``expert``).
    * ``list_actions``: whether the observation ends with the names of the possible actions.
    * ``name``: first part of the task id; default: that of the env.
    * ``snapshots``: ``"copy"`` (deep copies of the env), ``"replay"`` (of the actions), or ``"auto"``: copies if they
      are exact in an episode that is played by the constructor.
    * ``render_mode``: that of an env given by its id.

    Raises:
        InvalidArgumentError: an argument of the wrong type or out of range, or actions that do not fit the env.
        UnknownNameError: another kind of ``snapshots``.

    Examples:
        >>> from selfreg_gym.tasks import TextAdapter
        >>> task = TextAdapter("CliffWalking-v1", lambda cell: f"You are in row {cell // 12}, column {cell % 12}.",
        ...                    ["up", "right", "down", "left"], max_steps=30, num_episodes=1)
        >>> print(task.reset(seed=0)[0])
        You are in row 3, column 0.
        Possible actions: up, right, down, left
        >>> print(task.step("up")[0])
        You are in row 2, column 0.
        Possible actions: up, right, down, left
    """

    immaterial = ("render_mode",)

    def __init__(
        self,
        env: gym.Env[Any, Any] | str | Callable[[], gym.Env[Any, Any]],
        describe: StateFunction,
        actions: Sequence[str] | Mapping[str, Any] | StateFunction | None = None,
        *,
        success: float | Callable[[Ending], bool] | None = None,
        max_steps: int | None = None,
        num_episodes: int = 1000,
        start: str = "episode",
        first_seed: int = 0,
        state_key: StateFunction | None = None,
        feature_key: StateFunction | None = None,
        feature_vector: StateFunction | None = None,
        kind: StateFunction | None = None,
        expert: StateFunction | None = None,
        list_actions: bool = True,
        name: str | None = None,
        snapshots: str = "auto",
        render_mode: str | None = None,
    ) -> None:
        wrapped = _made(env, render_mode)
        self.render_mode = wrapped.render_mode
        self.metadata = wrapped.metadata
        self._functions: dict[str, tuple[StateFunction, int]] = {}
        for what, function in (
            ("describe", describe), ("state_key", state_key), ("feature_key", feature_key),
            ("feature_vector", feature_vector), ("kind", kind), ("expert", expert),
        ):  # fmt: skip
            if function is not None or what == "describe":
                self._functions[what] = check_function(what, function)
        self._fixed_actions = _fixed_actions(actions, wrapped.action_space)
        if callable(actions):
            self._functions["actions"] = check_function("actions", actions)
        if success is not None and not callable(success):
            success = check_number("success (the smallest total reward of a success)", success, low=-np.inf)
        if start not in _STARTS:
            raise InvalidArgumentError(f"start must be 'episode' or 'seed', received {shown(start)}.")
        if max_steps is None:
            max_steps = None if wrapped.spec is None else wrapped.spec.max_episode_steps
            if max_steps is None:
                raise InvalidArgumentError(
                    f"a task must end its episodes, and {wrapped} declares no largest number of steps, received "
                    "max_steps=None: pass max_steps=100, for instance."
                )
        self.max_steps = check_count("max_steps", max_steps)
        self.num_episodes = 1 if start == "seed" else check_count("num_episodes", num_episodes)
        self.first_seed = check_count("first_seed", first_seed, low=0)
        list_actions = check_flag("list_actions", list_actions)
        # Under the names of the arguments: they identify the task in a store.
        self.describe, self.actions, self.success, self.start = describe, actions, success, start
        self.state_key, self.feature_key, self.feature_vector = state_key, feature_key, feature_vector
        self.kind, self.expert, self.list_actions = kind, expert, list_actions
        self.name = _name_of(wrapped) if name is None else name
        self.observation_space, self.action_space = FreeText(10**7), FreeText(10**7)
        self._env = wrapped
        self._set_snapshots(snapshots)

    @property
    def action_kinds(self) -> tuple[str, ...]:
        """The names of the actions, if they are the same in all states (the input ``actor`` reads them)."""
        return tuple(sorted(self._fixed_actions or (), key=len, reverse=True))

    @property
    def expert_action(self) -> Callable[[], str]:
        """The method ``expert_action()``; AttributeError without an ``expert``."""
        if "expert" not in self._functions:
            raise AttributeError(f"{type(self).__name__} has no expert: pass expert=a function of the state.")
        return lambda: self._text_of("expert")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode of the task ``options["episode"]``; without it, the seed chooses the task."""
        super().reset(seed=seed)
        episode, events = task_and_events(self, options)
        if self._state is not None:  # a copy that was restored, or the env itself
            self._env = self._state.env
        env = self._env
        if self.start == "seed":
            observation, info = env.reset(seed=events)
        else:
            observation, info = env.reset(seed=self.first_seed + episode)
            env.unwrapped.np_random = np.random.default_rng(events)
        self._state = _Episode(env, episode, 0, observation, info)
        self._describe()
        return self._state.text, self._info(invalid=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take the action with this name."""
        state = self._state
        state.t += 1
        out_of_time = state.t >= self.max_steps
        if state.actions is not None and action not in state.actions:
            info = self._info(invalid=True)
            if out_of_time:
                info |= self._success(0.0, terminated=False, truncated=True)
            return state.text, 0.0, False, out_of_time, info
        taken = action if state.actions is None else copy.deepcopy(state.actions[action])
        state.observation, reward, terminated, truncated, state.info = state.env.step(taken)
        reward, terminated = checked_reward(reward), checked_flag("terminated", terminated)
        truncated = checked_flag("truncated", truncated) or out_of_time
        state.total_reward += reward
        over = terminated or truncated
        self._describe(over=over)
        info = self._info(invalid=False)
        if over:
            info |= self._success(reward, terminated=terminated, truncated=truncated)
        return state.text, reward, terminated, truncated, info

    def reseed(self, seed: int) -> None:
        """Set the wrapped env's ``np_random``, so that future random events are drawn anew."""
        self._state.env.unwrapped.np_random = np.random.default_rng(seed)

    def render(self) -> Any:
        """Render the wrapped env."""
        return (self._env if self._state is None else self._state.env).render()

    def close(self) -> None:
        """Close the wrapped env."""
        self._env.close()

    def _call(self, what: str) -> Any:
        """The value of a function of the user at the current state."""
        function, count = self._functions[what]
        state = self._state
        return function(*(state.observation, state.info, state.env)[:count])

    def _text_of(self, what: str) -> str:
        value = self._call(what)
        if isinstance(value, str):
            return value
        raise TaskContractError(f"{what} of a TextAdapter must return a str, received {shown(value)}.")

    def _vector(self) -> np.ndarray:
        value = self._call("feature_vector")
        try:
            return np.array(value, dtype=np.float32)
        except (TypeError, ValueError):
            raise TaskContractError(
                f"feature_vector of a TextAdapter must return numbers (d,), received {shown(value)}."
            ) from None

    def _describe(self, *, over: bool = False) -> None:
        """Set the text and the possible actions of the current state."""
        state = self._state
        text = self._text_of("describe")
        actions = self._fixed_actions
        if "actions" in self._functions:
            actions = {} if over else _named(self._call("actions"), state.env.action_space)
        if self.list_actions and actions and not over:
            text = f"{text}\nPossible actions: {', '.join(actions)}"
        state.text, state.actions = text, actions

    def _info(self, *, invalid: bool) -> dict[str, Any]:
        state = self._state
        task_id = self.name if self.start == "seed" else f"{self.name}-{self.first_seed + state.episode}"
        info: dict[str, Any] = {
            "task_id": task_id,
            "steps_left": self.max_steps - state.t,
            "invalid_action": invalid,
        }
        if state.actions is not None:
            info["admissible_actions"] = tuple(state.actions)
        if "state_key" in self._functions:
            info["state_key"] = f"{task_id} {self._text_of('state_key')}"
        for key in ("feature_key", "kind"):
            if key in self._functions:
                info[key] = self._text_of(key)
        if "feature_vector" in self._functions:
            info["feature_vector"] = self._vector()
        return info

    def _success(self, reward: float, *, terminated: bool, truncated: bool) -> dict[str, bool]:
        """The keys ``success`` and ``is_success`` of the last step."""
        state, rule = self._state, self.success
        if callable(rule):
            ending = Ending(
                state.observation, reward, terminated, truncated, state.info, state.total_reward, state.t, state.env
            )
            found: Any = rule(ending)
            if not isinstance(found, bool | np.bool_):
                raise TaskContractError(f"success of a TextAdapter must return True or False, received {shown(found)}.")
        elif rule is not None:
            found = state.total_reward >= rule
        else:
            reported = [state.info[key] for key in ("success", "is_success") if key in state.info]
            found = reported[0] if reported else terminated and reward > 0
        return {"success": bool(found), "is_success": bool(found)}


def _made(env: Any, render_mode: str | None) -> gym.Env[Any, Any]:
    if isinstance(env, str):
        return gym.make(env, disable_env_checker=True, render_mode=render_mode)
    if callable(env) and not isinstance(env, gym.Env):
        env = env()
    if not isinstance(env, gym.Env):
        raise InvalidArgumentError(
            f"env must be a gymnasium.Env, its id or a function that makes one, received {type(env).__name__}."
        )
    if render_mode is not None and render_mode != env.render_mode:
        raise InvalidArgumentError(
            f"render_mode={render_mode!r} differs from the env's render mode {env.render_mode!r}: make the env with "
            "the render mode that you want."
        )
    return env


def _name_of(env: gym.Env[Any, Any]) -> str:
    spec = env.spec
    return type(env.unwrapped).__name__ if spec is None else spec.id.rpartition("/")[2]


def _fixed_actions(actions: Any, space: gym.Space[Any]) -> dict[str, Any] | None:
    """Name -> action, the same in all states; None if any text is an action, or they depend on the state."""
    if actions is not None and not callable(actions):
        return _named(actions, space)
    if actions is None and not isinstance(space, gym.spaces.Text):
        raise InvalidArgumentError(
            f"the actions of the env need names, because its action space is {space}; received actions=None: pass a "
            "name for each action, or a dict from names to actions."
        )
    return None


def _named(actions: Any, space: gym.Space[Any]) -> dict[str, Any]:
    """Name -> action, from a sequence of names or a dict."""
    if isinstance(actions, Mapping):
        named = dict(actions)
    elif isinstance(actions, str) or not isinstance(actions, Sequence):
        raise InvalidArgumentError(
            "actions must be names, a dict from names to actions, or a function of the state; received "
            f"{shown(actions)}."
        )
    elif isinstance(space, gym.spaces.Text):
        named = {name: name for name in actions}
    elif isinstance(space, gym.spaces.Discrete) and len(actions) == space.n:
        named = {name: int(space.start) + i for i, name in enumerate(actions)}
    else:
        wanted = f"a name for each of its {space.n} actions, or " if isinstance(space, gym.spaces.Discrete) else ""
        raise InvalidArgumentError(
            f"the action space of the env is {space}: pass {wanted}a dict from names to actions; received "
            f"{len(actions)} names, {shown(actions)}."
        )
    for name in named:
        if not isinstance(name, str) or not name.strip():
            raise InvalidArgumentError(
                f"the name of an action must be a text that is not empty, received {shown(name)}."
            )
    if len(named) < len(actions):
        raise InvalidArgumentError(f"each action needs its own name, received {shown(actions)}.")
    return named
