"""``check_task``: the contract of a text task."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.intervention_env.snapshots import ReplaySnapshots
from selfreg_gym.testing.common import UntouchedGlobalRandomness, broken, frozen, rest

__all__ = ["check_task"]

_NONSENSE = "\u00bfqu\u00e9? (no such action)"


def check_task(task: gym.Env[str, str] | str, *, episodes: int = 3, max_steps: int = 1000) -> None:
    """Check a text task: spaces, infos, endings, determinism, ``episode``, snapshots, the expert, ``augment``, bad
    actions.

    Args:
        task: the task env, or its id.
        episodes: how many tasks (``options={"episode": i}``) are tried, at most ``num_episodes`` of the task.
        max_steps: an episode that is longer counts as one that never ends.

    Raises:
        TaskContractError: the first rule that the task breaks.
    """
    env = build_task(task)
    there_are = env.get_wrapper_attr("num_episodes") if env.has_wrapper_attr("num_episodes") else episodes
    for episode in range(min(episodes, there_are)):
        for chooser in (_random_choice, _expert_choice):
            if chooser is _expert_choice and _expert(env) is None:
                continue
            first = _trace(env, episode, 7 + episode, chooser, max_steps)
            again = _trace(env, episode, 7 + episode, chooser, max_steps)
            if first != again:
                broken(
                    "the same seed, options and actions give the same episode (take all randomness from "
                    "self.np_random, and reset everything in reset)",
                    _first_difference(first, again),
                )
            _check_snapshots(env, episode, chooser, max_steps)
            _check_augment(env, [first[0][0], *(step[1] for step in first[1:])])
        _check_nonsense(env, episode)
    _check_episode_option(env, range(min(2, there_are)))
    _check_unseeded(env)


def _trace(env: Any, episode: int, seed: int, choose: Callable[..., str], max_steps: int) -> list[Any]:
    """Play an episode and return all that it showed."""
    picker = np.random.default_rng(seed)
    with UntouchedGlobalRandomness("a task"):
        answer = env.reset(seed=seed, options={"episode": episode})
        if not isinstance(answer, tuple) or len(answer) != 2:
            broken("reset returns (observation, info)", repr(answer))
        observation, info = answer
        _check_moment(env, observation, info)
        trace: list[Any] = [(observation, frozen(info))]
        kinds: dict[str, type] = {}
        _check_types(kinds, info)
        left = info.get("steps_left")
        for _ in range(max_steps):
            action = choose(env, info, picker)
            answer = env.step(action)
            if not isinstance(answer, tuple) or len(answer) != 5:
                broken("step returns (observation, reward, terminated, truncated, info)", repr(answer))
            previous = info
            observation, reward, terminated, truncated, info = answer
            if info is previous:
                broken("every step returns a new info (the last one belongs to the caller)", "the same dict again")
            if not isinstance(terminated, bool) or not isinstance(truncated, bool):
                broken("terminated and truncated are bool", f"{terminated!r} and {truncated!r}")
            if not np.isfinite(float(reward)):
                broken("the reward is a finite number", repr(reward))
            _check_moment(env, observation, info, over=terminated or truncated)
            _check_types(kinds, info)
            now = info.get("steps_left")
            if left is not None and now is not None and now > left:
                broken("info['steps_left'] never grows", f"{now} after {left}")
            left = now
            trace.append((action, observation, float(reward), terminated, truncated, frozen(info)))
            if terminated or truncated:
                return trace
    broken("an episode ends by itself (a task counts its own steps)", f"no end after {max_steps} steps")


def _check_moment(env: Any, observation: Any, info: Any, *, over: bool = False) -> None:
    if not isinstance(observation, str) or observation not in env.observation_space:
        broken("an observation is a str inside the observation space", f"{str(observation)[:80]!r}")
    if not isinstance(info, dict):
        broken("info is a dict", repr(info))
    for key in ("task_id", "state_key", "feature_key", "kind"):
        value = info.get(key)
        if value is None and key == "task_id":
            broken("info['task_id'] says which task this is, on every reset and step", f"info keys {sorted(info)}")
        if value is not None and not isinstance(value, str):
            broken(f"info[{key!r}] is a str", repr(value))
    metrics = info.get("metrics")
    if metrics is not None and (
        not isinstance(metrics, dict)
        or not all(isinstance(name, str) and (x is None or isinstance(x, numbers.Real)) for name, x in metrics.items())
    ):
        broken("info['metrics'] is a dict of numbers (None or NaN: not measured)", repr(metrics))
    actions = info.get("admissible_actions")
    if actions is not None and (not isinstance(actions, tuple) or not all(isinstance(a, str) for a in actions)):
        broken("info['admissible_actions'] is a tuple of str (or absent: any text may be said)", repr(actions))
    if actions is not None and len(set(actions)) < len(actions):
        broken("info['admissible_actions'] names every action once", repr(actions))
    if actions == () and not over:
        broken("while the episode goes on, at least one action is admissible", "an empty tuple")
    left = info.get("steps_left")
    if left is not None and (not isinstance(left, int) or left < 0 or (left == 0 and not over)):
        broken("info['steps_left'] is an int of at least 0, and 0 only when the episode is over", repr(left))
    if over:
        for key in ("success", "is_success"):
            if not isinstance(info.get(key), bool):
                broken(f"info[{key!r}] is a bool on the last step", repr(info.get(key)))
        if info["success"] is not info["is_success"]:
            broken("info['success'] and info['is_success'] agree", f"{info['success']} and {info['is_success']}")


def _check_types(kinds: dict[str, type], info: dict[str, Any]) -> None:
    """A key of info has one type on every step: Gymnasium's vector envs make an array of the first value's type."""
    for key, value in info.items():
        kind = float if isinstance(value, float) else bool if isinstance(value, bool | np.bool_) else type(value)
        if kinds.setdefault(key, kind) is not kind and {kinds[key], kind} & {int, float, bool, np.ndarray, dict}:
            broken(
                f"info[{key!r}] has one type on every step (leave the key out where there is no value)",
                f"{kind.__name__} after {kinds[key].__name__}",
            )


def _check_snapshots(env: Any, episode: int, choose: Callable[..., str], max_steps: int) -> None:
    """A snapshot survives the end of the episode, can be restored twice, and brings the random state back."""
    picker = np.random.default_rng(episode)
    _, info = env.reset(seed=episode, options={"episode": episode})
    moment = env.get_wrapper_attr("snapshot")()
    actions: list[str] = []
    over = False
    while not over and len(actions) < max_steps:
        actions.append(choose(env, info, picker))
        _, _, terminated, truncated, info = env.step(actions[-1])
        over = terminated or truncated
    continuations = []
    for _ in range(2):
        env.get_wrapper_attr("restore")(moment)
        continuations.append(rest(env, actions))
    if any(shown != _rest_from_reset(env, episode, actions) for shown in continuations):
        kind = "the replay" if isinstance(env, ReplaySnapshots) else "snapshot() and restore()"
        broken(
            "restore(snapshot) brings back the exact state, the random state included, as often as it is called",
            f"another continuation through {kind}",
        )


def _rest_from_reset(env: Any, episode: int, actions: Sequence[str]) -> list[Any]:
    env.reset(seed=episode, options={"episode": episode})
    return rest(env, actions)


def _check_nonsense(env: Any, episode: int) -> None:
    """A language model may say anything: that is an invalid action, and no exception."""
    for text in (_NONSENSE, ""):
        _, info = env.reset(seed=episode, options={"episode": episode})
        if info.get("admissible_actions") is None:
            continue
        try:
            answer = env.step(text)
        except Exception as error:
            broken("any text may be stepped; what is not admissible is an invalid action", f"{error!r} for {text!r}")
        if answer[4].get("invalid_action") is not True:
            broken(
                "info['invalid_action'] is True after an action that was not admissible",
                f"{answer[4].get('invalid_action')!r} after {text!r}",
            )


def _check_episode_option(env: Any, episodes: Sequence[int]) -> None:
    ids, keys = [], []
    for episode in episodes:
        seen = set()
        for seed in (1, 2, 3):
            observation, info = env.reset(seed=seed, options={"episode": episode})
            seen.add(info["task_id"])
        if len(seen) > 1:
            broken("options={'episode': i} fixes the task, whatever the seed", f"task ids {sorted(seen)}")
        ids.append(info["task_id"])
        keys.append(info.get("state_key", observation))
    if ids[0] != ids[-1] and keys[0] == keys[-1] and info.get("state_key") is not None:
        broken("info['state_key'] differs between tasks (it includes the task id)", f"{keys[0]!r} for {ids}")


def _check_unseeded(env: Any) -> None:
    """Without options the seed chooses the task; without a seed np_random goes on."""
    runs = []
    for _ in range(2):
        first = env.reset(seed=5)
        second = env.reset()
        runs.append((first[0], frozen(first[1]), second[0], frozen(second[1])))
    if runs[0] != runs[1]:
        broken("reset(seed=s), then reset(), gives the same two episodes each time", "episodes that differ")


def _check_augment(env: Any, pages: list[str]) -> None:
    """A rewritten observation is an observation, and the generator alone decides which."""
    augment = env.get_wrapper_attr("augment") if env.has_wrapper_attr("augment") else None
    if augment is None:
        return
    for page in pages:
        with UntouchedGlobalRandomness("a task"):
            told, again = (augment(page, np.random.default_rng(3)) for _ in range(2))
        if not isinstance(told, str) or told not in env.observation_space:
            broken("augment(observation, rng) returns a str inside the observation space", f"{str(told)[:80]!r}")
        if told != again:
            broken(
                "augment(observation, rng) takes its randomness from rng alone", f"{told[:80]!r}, then {again[:80]!r}"
            )


def _random_choice(env: Any, info: dict[str, Any], picker: np.random.Generator) -> str:
    actions = info.get("admissible_actions")
    if not actions:
        return env.action_space.sample() if actions is None else _NONSENSE
    return actions[int(picker.integers(len(actions)))]


def _expert(env: Any) -> Callable[[], str] | None:
    try:
        return env.get_wrapper_attr("expert_action")
    except AttributeError:
        return None


def _expert_choice(env: Any, info: dict[str, Any], picker: np.random.Generator) -> str:
    expert = _expert(env)
    assert expert is not None
    before = env.get_wrapper_attr("snapshot")()
    action = expert()
    if not isinstance(action, str):
        broken("expert_action() returns a str", repr(action))
    admissible = info.get("admissible_actions")
    if admissible is not None and action not in admissible:
        broken("expert_action() is admissible", f"{action!r}, not one of {admissible!r}")
    if expert() != action:
        broken("expert_action() leaves the task as it found it", f"{action!r}, then {expert()!r}")
    if not isinstance(env, ReplaySnapshots):  # a replay would hide what the expert changed
        after = rest(env, [action])
        env.get_wrapper_attr("restore")(before)
        if rest(env, [action]) != after:
            broken("expert_action() leaves the task as it found it", "a step that differs after asking")
        env.get_wrapper_attr("restore")(before)
    return action


def _first_difference(one: list[Any], other: list[Any]) -> str:
    for t, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return f"at step {t}: {str(a)[:200]} and {str(b)[:200]}"
    return f"{len(one) - 1} and {len(other) - 1} steps"
