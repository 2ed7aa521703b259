"""``stress_task``: transcripts, snapshots in the middle of episodes, and hostile actions of a text task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.testing.common import broken, frozen, rest
from selfreg_gym.types import optional_member

__all__ = ["HOSTILE", "stress_task", "transcript_digest"]

HOSTILE = (
    "", " ", "\n", "\t\r\n", "\x00", "a\x00b", "\x1b[2J\x1b[H", "\ud800", "\u202e\u200b", "\U0001f600" * 50,
    "x" * 20_000, "quit", "QUIT", "exit", "q", "y", "yes", "no", "restart", "reset", "save", "save game",
    "save ../../x", "restore", "restore ../../x", "load", "undo", "script", "script on", "transcript",
    "transcript on", "record", "verbose", "debug", "tree", "showme", "actions", "random", "abstract me to room",
    "purloin all", "gonear all", "scope", "trace 5", "version", "help", "?", "look\nquit", "look. quit", "look; save",
    "take all", "drop all", "again", "g", "wait", "z", "inventory", "$(touch hostile)", "`touch hostile`",
    "; touch hostile", "| touch hostile", "> hostile", "open('hostile','w')", "{}", "[]", "null", "None", "nan", "-1",
    "0", "1e999", "true", '{"action": "left"}', "Action: left", "Reasoning: because. Action: left", "<|im_end|>",
    "</s>", "%s%s%n", "../../etc/passwd", "C:\\con", "\\", '"', "'", "--", "*",
)  # fmt: skip
"""Texts that a language model or a player could send: controls, escapes, commands of interpreters, and code."""


def stress_task(
    task: gym.Env[str, str] | str, *, snapshots: int = 50, hostile: int = 200, seed: int = 0, max_steps: int = 1000
) -> None:
    """Check snapshots in the middle of episodes, and that no text crashes a task. Longer than ``check_task``.

    Args:
        task: id of a text task, or the env.
        snapshots: number of snapshots: each is taken at a random step, followed by up to eight steps and sometimes by
            another episode, and restored; the same actions must then have the same results.
        hostile: number of steps with a text of :data:`HOSTILE`, an action of another state, or a changed action.
        seed: seed of the choices.
        max_steps: largest number of steps of an episode.

    Raises:
        TaskContractError: a continuation that differs, or a step that raises.
    """
    env = build_task(task)
    rng = np.random.default_rng(seed)
    _check_snapshots(env, snapshots, rng, max_steps)
    _check_hostile(env, hostile, rng)
    if not isinstance(task, gym.Env):
        env.close()


def transcript_digest(task: gym.Env[str, str] | str, *, episodes: int = 3, seed: int = 0, steps: int = 40) -> str:
    """A hash of all results of some episodes with random actions and actions of the expert."""
    env = build_task(task)
    rng, digest = np.random.default_rng(seed), hashlib.sha256()
    for episode in _episodes(env, episodes):
        observation, info = env.reset(seed=seed + episode, options={"episode": episode})
        digest.update(repr((observation, sorted(frozen(info).items()))).encode("utf-8", "surrogatepass"))
        for _ in range(steps):
            [(observation, *flags, info)] = rest(env, [_choice(env, info, rng)])
            digest.update(repr((observation, flags, sorted(info.items()))).encode("utf-8", "surrogatepass"))
            if flags[1] or flags[2]:
                break
    if not isinstance(task, gym.Env):
        env.close()
    return digest.hexdigest()


def _check_snapshots(env: Any, count: int, rng: np.random.Generator, max_steps: int) -> None:
    done = 0
    while done < count:
        info = _begin(env, rng)
        for _ in range(max_steps):
            if rng.random() < 0.25 and done < count:
                _check_snapshot(env, info, rng)
                done += 1
            _, _, terminated, truncated, info = env.step(_choice(env, info, rng))
            if terminated or truncated or done >= count:
                break


def _check_snapshot(env: Any, info: dict[str, Any], rng: np.random.Generator) -> None:
    """Take a snapshot, step on, begin another episode now and then, and restore it twice."""
    snapshot = env.get_wrapper_attr("snapshot")()
    actions, expected = [], []
    current = info
    for _ in range(int(rng.integers(1, 9))):
        actions.append(_choice(env, current, rng))
        [one] = rest(env, actions[-1:])
        expected.append(one)
        current = dict(one[4])
        if one[2] or one[3]:
            break
    if rng.random() < 0.2:
        env.step(_choice(env, _begin(env, rng), rng))
    for _ in range(2):
        try:
            env.get_wrapper_attr("restore")(snapshot)
            found = rest(env, actions)
        except Exception as error:
            broken(
                "a snapshot in the middle of an episode can be restored, also after the end of the episode",
                f"{type(error).__name__}: {error} for the actions {actions!r}",
            )
        if found != expected:
            first = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
            broken(
                "a snapshot in the middle of an episode can be restored, and equal actions then have equal results",
                f"another result of step {first + 1} after the actions {actions[: first + 1]!r}: "
                f"{str(found[first])[:300]} for {str(expected[first])[:300]}",
            )
    env.get_wrapper_attr("restore")(snapshot)


def _check_hostile(env: Any, count: int, rng: np.random.Generator) -> None:
    seen: list[str] = ["left"]
    info = _begin(env, rng)
    for step in range(count):
        offered = info.get("admissible_actions") or ()
        seen = [*seen, *offered][-500:]
        action = _hostile(offered, seen, rng)
        if rng.random() < 0.3:  # reach later states too
            action = _choice(env, info, rng)
        try:
            answer = env.step(action)
        except Exception as error:
            broken(
                "step accepts any text; one that is not admissible is an invalid action",
                f"{type(error).__name__}: {error} for {action[:100]!r} (hostile step {step})",
            )
        observation, reward, terminated, truncated, info = answer
        if not isinstance(observation, str) or not np.isfinite(float(reward)) or not isinstance(info, dict):
            broken(
                "step returns (str, number, bool, bool, dict) after any text", f"{answer!r:.300} for {action[:100]!r}"
            )
        if terminated or truncated:
            info = _begin(env, rng)


def _hostile(offered: Sequence[str], seen: Sequence[str], rng: np.random.Generator) -> str:
    kind = int(rng.integers(8))
    base = str(rng.choice(offered)) if offered else "left"
    if kind == 0:
        return seen[int(rng.integers(len(seen)))]
    if kind == 1:
        return [f" {base}", base.upper(), f"{base}.", f"{base}\n", base[:-1], f"{base} {base}", base[::-1]][
            int(rng.integers(7))
        ]
    if kind == 2:
        return "".join(map(chr, rng.integers(0, 0x2FFF, int(rng.integers(1, 60)))))
    return HOSTILE[int(rng.integers(len(HOSTILE)))]


def _begin(env: Any, rng: np.random.Generator) -> dict[str, Any]:
    available = optional_member(env, "num_episodes") or 20
    options = {"episode": int(rng.integers(min(available, 20)))}
    return env.reset(seed=int(rng.integers(2**31)), options=options)[1]


def _episodes(env: Any, count: int) -> list[int]:
    available = optional_member(env, "num_episodes") or count
    return [i * available // count for i in range(min(count, available))]


def _choice(env: Any, info: dict[str, Any], rng: np.random.Generator) -> str:
    """The expert's action in one step of three, else a random admissible one."""
    expert = optional_member(env, "expert_action")
    actions = info.get("admissible_actions")
    if expert is not None and (not actions or rng.random() < 1 / 3):
        return expert()
    return str(rng.choice(HOSTILE[:60])) if not actions else actions[int(rng.integers(len(actions)))]
