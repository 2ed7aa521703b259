"""``check_task``: the contract of a text task."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.intervention_env.snapshots import ReplaySnapshots
from selfreg_gym.testing.common import broken, frozen, rest, untouched_global_randomness
from selfreg_gym.testing.planning import check_planning_members
from selfreg_gym.types import optional_member

__all__ = ["check_task"]

_NONSENSE = "\u00bfqu\u00e9? (no such action)"


def check_task(task: gym.Env[str, str] | str, *, episodes: int = 3, max_steps: int = 1000) -> None:
    """Check a text task: spaces, infos, episode ends, determinism, snapshots, invalid actions, optional members.

    Args:
        task: the task env, or its id.
        episodes: number of tasks (``options={"episode": i}``) to check, at most its ``num_episodes``.
        max_steps: a longer episode counts as one without end.

    Raises:
        TaskContractError: the first rule that the task breaks.
    """
    env = build_task(task)
    _check_action_kinds(env)
    available = optional_member(env, "num_episodes") or episodes
    for episode in range(min(episodes, available)):
        for chooser in (_random_choice, _expert_choice):
            if chooser is _expert_choice and optional_member(env, "expert_action") is None:
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
        check_planning_members(env, episode)
        _check_nonsense(env, episode)
    _check_episode_option(env, range(min(2, available)))
    _check_unseeded(env)


def _trace(env: Any, episode: int, seed: int, choose: Callable[..., str], max_steps: int) -> list[Any]:
    """Play an episode and return all results."""
    picker = np.random.default_rng(seed)
    with untouched_global_randomness("a task"):
        answer = env.reset(seed=seed, options={"episode": episode})
        if not isinstance(answer, tuple) or len(answer) != 2:
            broken("reset returns (observation, info)", repr(answer))
        observation, info = answer
        _check_state(env, observation, info)
        trace: list[Any] = [(observation, frozen(info))]
        kinds: dict[str, Any] = {}
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
                broken("every step returns a new info dict", "the same dict again")
            if not isinstance(terminated, bool) or not isinstance(truncated, bool):
                broken("terminated and truncated are bool", f"{terminated!r} and {truncated!r}")
            if not np.isfinite(float(reward)):
                broken("the reward is a finite number", repr(reward))
            _check_state(env, observation, info, over=terminated or truncated)
            _check_types(kinds, info)
            now = info.get("steps_left")
            if left is not None and now is not None and now > left:
                broken("info['steps_left'] never grows", f"{now} after {left}")
            left = now
            trace.append((action, observation, float(reward), terminated, truncated, frozen(info)))
            if terminated or truncated:
                return trace
    broken("an episode ends by itself (a task counts its own steps)", f"no end after {max_steps} steps")


def _check_state(env: Any, observation: Any, info: Any, *, over: bool = False) -> None:
    if not isinstance(observation, str) or observation not in env.observation_space:
        broken("an observation is a str inside the observation space", f"{str(observation)[:80]!r}")
    if not isinstance(info, dict):
        broken("info is a dict", repr(info))
    for key in ("task_id", "state_key", "feature_key", "kind"):
        value = info.get(key)
        if value is None and key == "task_id":
            broken("info['task_id'] names the task on every reset and step", f"info keys {sorted(info)}")
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
        broken("info['admissible_actions'] is a tuple of str (or absent: any text is admissible)", repr(actions))
    if actions is not None and len(set(actions)) < len(actions):
        broken("info['admissible_actions'] has each action once", repr(actions))
    if actions == () and not over:
        broken("at least one action is admissible until the episode is over", "an empty tuple")
    vector = info.get("feature_vector")
    if vector is not None and not (
        isinstance(vector, np.ndarray)
        and vector.dtype == np.float32
        and vector.ndim == 1
        and bool(np.isfinite(vector).all())
    ):
        broken("info['feature_vector'] is a float32 array (d,) of finite numbers", repr(vector))
    left = info.get("steps_left")
    if left is not None and (not isinstance(left, int) or left < 0 or (left == 0 and not over)):
        broken("info['steps_left'] is an int of at least 0, and 0 only when the episode is over", repr(left))
    if over:
        for key in ("success", "is_success"):
            if not isinstance(info.get(key), bool):
                broken(f"info[{key!r}] is a bool on the last step", repr(info.get(key)))
        if info["success"] is not info["is_success"]:
            broken("info['success'] and info['is_success'] agree", f"{info['success']} and {info['is_success']}")


def _check_action_kinds(env: Any) -> None:
    kinds = optional_member(env, "action_kinds")
    if kinds is None:
        return
    if not isinstance(kinds, tuple) or not all(isinstance(kind, str) and kind for kind in kinds):
        broken("action_kinds is a tuple of texts that are not empty", repr(kinds))
    if len(set(kinds)) < len(kinds):
        broken("action_kinds has each prefix once", repr(kinds))


def _check_types(kinds: dict[str, Any], info: dict[str, Any]) -> None:
    """A key of info has one type on every step: Gymnasium's vector envs make an array of the first type."""
    for key, value in info.items():
        kind = float if isinstance(value, float) else bool if isinstance(value, bool | np.bool_) else type(value)
        if key == "feature_vector" and kinds.setdefault("its length", len(value)) != len(value):
            broken("info['feature_vector'] has one length", f"{len(value)} after {kinds['its length']}")
        if kinds.setdefault(key, kind) is not kind and {kinds[key], kind} & {int, float, bool, np.ndarray, dict}:
            broken(
                f"info[{key!r}] has one type on every step (leave the key out where there is no value)",
                f"{kind.__name__} after {kinds[key].__name__}",
            )


def _check_snapshots(env: Any, episode: int, choose: Callable[..., str], max_steps: int) -> None:
    """A snapshot can be restored twice, also after the end of the episode, with its random state."""
    picker = np.random.default_rng(episode)
    _, info = env.reset(seed=episode, options={"episode": episode})
    snapshot = env.get_wrapper_attr("snapshot")()
    actions: list[str] = []
    over = False
    while not over and len(actions) < max_steps:
        actions.append(choose(env, info, picker))
        _, _, terminated, truncated, info = env.step(actions[-1])
        over = terminated or truncated
    continuations = []
    for _ in range(2):
        env.get_wrapper_attr("restore")(snapshot)
        continuations.append(rest(env, actions))
    env.reset(seed=episode, options={"episode": episode})
    expected = rest(env, actions)
    if any(shown != expected for shown in continuations):
        kind = "the replay" if isinstance(env, ReplaySnapshots) else "snapshot() and restore()"
        broken(
            "restore(snapshot) restores the exact state, the random state included, as often as it is called",
            f"another continuation through {kind}",
        )


def _check_nonsense(env: Any, episode: int) -> None:
    """Any text of a language model is accepted, as an invalid action."""
    for text in (_NONSENSE, ""):
        _, info = env.reset(seed=episode, options={"episode": episode})
        if info.get("admissible_actions") is None:
            continue
        try:
            answer = env.step(text)
        except Exception as error:
            broken("step accepts any text; one that is not admissible is an invalid action", f"{error!r} for {text!r}")
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
    """Without options the seed chooses the task; without a seed np_random continues."""
    runs = []
    for _ in range(2):
        first = env.reset(seed=5)
        second = env.reset()
        runs.append((first[0], frozen(first[1]), second[0], frozen(second[1])))
    if runs[0] != runs[1]:
        broken("reset(seed=s), then reset(), gives the same two episodes each time", "episodes that differ")


def _check_augment(env: Any, observations: list[str]) -> None:
    """An augmented observation is an observation, drawn from the given generator alone."""
    augment = optional_member(env, "augment")
    for observation in observations if augment is not None else ():
        with untouched_global_randomness("a task"):
            text, again = (augment(observation, np.random.default_rng(3)) for _ in range(2))
        if not isinstance(text, str) or text not in env.observation_space:
            broken("augment(observation, rng) returns a str inside the observation space", f"{str(text)[:80]!r}")
        if text != again:
            broken("augment(observation, rng) draws from rng alone", f"{text[:80]!r}, then {again[:80]!r}")


def _random_choice(env: Any, info: dict[str, Any], picker: np.random.Generator) -> str:
    actions = info.get("admissible_actions")
    if actions is None:  # any text
        env.action_space.seed(int(picker.integers(2**31)))
        return env.action_space.sample()
    if not actions:
        return _NONSENSE
    return actions[int(picker.integers(len(actions)))]


def _expert_choice(env: Any, info: dict[str, Any], picker: np.random.Generator) -> str:
    expert = optional_member(env, "expert_action")
    before = env.get_wrapper_attr("snapshot")()
    action = expert()
    if not isinstance(action, str):
        broken("expert_action() returns a str", repr(action))
    admissible = info.get("admissible_actions")
    if admissible is not None and action not in admissible:
        broken("expert_action() is admissible", f"{action!r}, not one of {admissible!r}")
    if expert() != action:
        broken("expert_action() does not change the task", f"{action!r}, then {expert()!r}")
    if not isinstance(env, ReplaySnapshots):  # a replay undoes what the expert changes
        after = rest(env, [action])
        env.get_wrapper_attr("restore")(before)
        if rest(env, [action]) != after:
            broken("expert_action() does not change the task", "a step that differs after the call")
        env.get_wrapper_attr("restore")(before)
    return action


def _first_difference(one: list[Any], other: list[Any]) -> str:
    for t, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return f"at step {t}: {str(a)[:200]} and {str(b)[:200]}"
    return f"{len(one) - 1} and {len(other) - 1} steps"
