"""Checks of the task members that planners use: ``reseed`` and ``sample_hidden``."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfreg_gym.testing.common import broken, frozen, untouched_global_randomness
from selfreg_gym.types import optional_member

__all__ = ["check_planning_members"]

_STEPS = 8  # steps of a continuation
_NONSENSE = "\u00bfqu\u00e9? (no such action)"


def check_planning_members(env: Any, episode: int) -> None:
    """Check ``reseed`` and ``sample_hidden`` at some states of an episode, where the task has them.

    Args:
        env: the task env, with ``snapshot`` and ``restore``.
        episode: index of the task.
    """
    reseed, sample = optional_member(env, "reseed"), optional_member(env, "sample_hidden")
    if reseed is None and sample is None:
        return
    picker = np.random.default_rng(episode)
    _, info = env.reset(seed=21 + episode, options={"episode": episode})
    for _ in range(4):
        before = env.get_wrapper_attr("snapshot")()
        with untouched_global_randomness("a task"):
            if reseed is not None:
                _check_reseed(env, info, before)
            if sample is not None:
                _check_sample(env, info, before)
        env.get_wrapper_attr("restore")(before)
        _, _, terminated, truncated, info = env.step(_choice(info, picker))
        if terminated or truncated:
            return


def _check_reseed(env: Any, info: dict[str, Any], before: object) -> None:
    restore, snapshot = env.get_wrapper_attr("restore"), env.get_wrapper_attr("snapshot")
    expected = _continuation(env, info)
    restore(before)
    shown = _shown(env)
    env.get_wrapper_attr("reseed")(5)
    if _shown(env) != shown:
        broken("reseed(seed) does not change the state", "another rendering of the task")
    between = snapshot()
    once = _continuation(env, info)
    restore(between)
    if _continuation(env, info) != once:
        broken("a snapshot includes the random stream of reseed(seed)", "another continuation after restore")
    restore(before)
    state = _random_state(env)
    env.get_wrapper_attr("reseed")(4)
    env.get_wrapper_attr("reseed")(5)
    if _continuation(env, info) != once:
        broken("reseed(seed) begins a stream that depends on the seed alone", "a continuation that depends on the past")
    restore(before)
    _continuation(env, info)
    draws = _random_state(env) != state
    restore(before)
    env.get_wrapper_attr("reseed")(5)
    if draws and _random_state(env) == state:
        broken("reseed(seed) replaces the random stream, if steps draw from np_random", "an unchanged np_random")
    restore(before)
    if _continuation(env, info) != expected:
        broken("restore(snapshot) undoes reseed(seed)", "another continuation")
    restore(before)


def _check_sample(env: Any, info: dict[str, Any], before: object) -> None:
    restore = env.get_wrapper_attr("restore")
    expected = _continuation(env, info)
    restore(before)
    shown, state = _shown(env), _random_state(env)
    env.get_wrapper_attr("sample_hidden")(np.random.default_rng(1))
    if _shown(env) != shown:
        broken("sample_hidden(rng) changes nothing that the actor has observed", "another rendering of the task")
    if _random_state(env) != state:
        broken("sample_hidden(rng) draws from rng and leaves the task's random stream", "a changed np_random")
    restore(before)
    env.get_wrapper_attr("sample_hidden")(np.random.default_rng(2))
    once = _continuation(env, info)
    for first in (None, 1, 3, 4, 5):
        restore(before)
        if first is not None:
            env.get_wrapper_attr("sample_hidden")(np.random.default_rng(first))
        env.get_wrapper_attr("sample_hidden")(np.random.default_rng(2))
        if _continuation(env, info) != once:
            broken(
                "sample_hidden(rng) depends on rng and on what the actor can know, not on the true facts",
                "a sample that differs after an earlier sample",
            )
    restore(before)
    if _continuation(env, info) != expected:
        broken("restore(snapshot) brings back the true facts after sample_hidden(rng)", "another continuation")
    restore(before)


def _continuation(env: Any, info: dict[str, Any]) -> list[Any]:
    """The results of some random steps, comparable with ``==``."""
    picker, shown = np.random.default_rng(0), []
    for _ in range(_STEPS):
        action = _choice(info, picker)
        observation, reward, terminated, truncated, info = env.step(action)
        shown.append((action, observation, float(reward), terminated, truncated, frozen(info)))
        if terminated or truncated:
            break
    return shown


def _choice(info: dict[str, Any], picker: np.random.Generator) -> str:
    """A random action; the last admissible one, which often ends the episode, only if there is no other."""
    actions = info.get("admissible_actions")
    if not actions:
        return _NONSENSE
    return actions[int(picker.integers(max(1, len(actions) - 1)))]


def _shown(env: Any) -> Any:
    return env.render() if env.render_mode == "ansi" else None


def _random_state(env: Any) -> str:
    return str(env.unwrapped.np_random.bit_generator.state)
