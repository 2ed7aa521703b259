"""Wrappers that end episodes or hold state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym  # noqa: F401 (registers the ids)
from selfreg_gym import HelpBudget, InterventionEnv, InterventionVectorEnv, PRMReward
from selfreg_gym.collection import collect
from selfreg_gym.errors import InvalidArgumentError, StoreError
from selfreg_gym.intervention_env.snapshots import (
    LimitSnapshots,
    ReplaySnapshots,
    restore_snapshot,
    take_snapshot,
    with_snapshots,
)
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec

COIN: dict[str, Any] = {
    "task": "selfreg/Coin-v0", "task_kwargs": {"heads": 0.999}, "actor": lambda text: "heads",
    "interventions": ["expert"],
}  # fmt: skip
SPECS = [EpisodeSpec(3, seed, 0.0) for seed in range(3)]  # 5 coins


class Counting(gym.Wrapper):
    """Holds state of its own: the steps of the episode are part of the text, and the 4th ends it."""

    def reset(self, **kwargs: Any) -> Any:
        self.count = 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        text, reward, terminated, truncated, info = self.env.step(action)
        self.count += 1
        return f"{self.count}: {text}", reward, terminated, truncated or self.count == 4, info


class Twice(gym.Wrapper):
    def step(self, action: Any) -> Any:
        self.env.step(action)
        return self.env.step(action)


class VectorLimit(gym.vector.VectorWrapper):
    """Truncates every row after 2 steps."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self.count = np.where(mask, 0, getattr(self, "count", 0))
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        texts, rewards, terminations, truncations, infos = self.env.step(actions)
        self.count = self.count + 1
        return texts, rewards, terminations, truncations | (self.count == 2), infos


def ends(episodes: Any) -> list[tuple[int, bool, bool, bool]]:
    return [(len(e), e.steps[-1].terminated, e.steps[-1].truncated, e.success) for e in episodes]


def test_a_time_limit_around_the_env_ends_the_episode() -> None:
    cut = [(2, False, True, False)] * 3
    assert ends(run_episodes(gym.make("selfreg/Intervention-v0", max_episode_steps=2, **COIN), SPECS)) == cut
    assert ends(run_episodes(gym.wrappers.TimeLimit(InterventionEnv(**COIN), 2), SPECS)) == cut
    assert ends(run_episodes(InterventionEnv(**COIN, max_episode_steps=2), SPECS)) == cut
    for n in (1, 2, 3):
        envs = InterventionVectorEnv(n, **COIN, autoreset_mode="Disabled")
        assert ends(run_episodes(VectorLimit(envs), SPECS)) == cut
        limited = gym.make_vec(
            "selfreg/Intervention-v0", num_envs=n, max_episode_steps=2, autoreset_mode="Disabled", **COIN
        )
        assert ends(run_episodes(limited, SPECS)) == cut


def test_a_wrapper_that_skips_or_resets_raises() -> None:
    with pytest.raises(InvalidArgumentError, match=r"pass on every step exactly once.*Twice"):
        list(run_episodes(Twice(InterventionEnv(**COIN)), SPECS))


def test_the_limit_is_an_argument_that_both_envs_check_and_count() -> None:
    env = InterventionEnv(**COIN, max_episode_steps=2)
    _, info = env.reset(seed=0, options={"episode": 3})
    assert info["steps_left"] == 2
    assert env.step(0)[4]["steps_left"] == 1
    *_, terminated, truncated, info = env.step(0)
    assert (terminated, truncated, info["steps_left"], info["success"]) == (False, True, 0, False)
    for bad in (0, -2, 2.0, "3", True):
        with pytest.raises(InvalidArgumentError, match="max_episode_steps must be an integer of at least 1"):
            InterventionVectorEnv(1, **COIN, max_episode_steps=bad)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="max_episode_steps must be an integer of at least 1"):
            InterventionEnv(**{**COIN, "task_kwargs": {"max_episode_steps": bad}})


@pytest.mark.parametrize(
    ("wrap", "kind", "steps"),
    [
        (lambda task: gym.wrappers.TimeLimit(task, 3), LimitSnapshots, 3),
        (lambda task: gym.wrappers.TimeLimit(gym.wrappers.TimeLimit(task, 4), 9), LimitSnapshots, 4),
        (Counting, ReplaySnapshots, 4),
        (lambda task: gym.wrappers.TimeLimit(Counting(task), 3), ReplaySnapshots, 3),
    ],
)
@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_snapshot_restores_the_wrappers_of_the_task(wrap: Any, kind: type, steps: int, done: int) -> None:
    arguments = {key: COIN[key] for key in ("actor", "interventions")}
    env = InterventionEnv(lambda: wrap(gym.make("selfreg/Coin-v0", heads=0.999)), **arguments)
    assert isinstance(env.task, kind)
    env.reset(seed=0, options={"episode": 3})
    for _ in range(done):
        env.step(0)
    snapshot = env.snapshot()
    shown = []
    for _ in range(3):
        trace, over = [], False
        while not over:
            text, reward, terminated, truncated, info = env.step(0)
            over = terminated or truncated
            trace.append((text, reward, terminated, truncated, info["success"]))
        shown.append(trace)
        env.restore(snapshot)
    assert shown[0] == shown[1] == shown[2]
    assert len(shown[0]) == steps - done


def test_a_task_without_stateful_wrappers_stays_as_it_is() -> None:
    task = gym.make("selfreg/Coin-v0")
    assert with_snapshots(task) is task


class Half:
    def score(self, observations: Any) -> Any:
        return np.full(len(observations), 0.5)


@pytest.mark.parametrize(
    "wrap", [lambda env: env, lambda env: HelpBudget(env, 1.0), lambda env: PRMReward(env, Half())]
)
def test_a_snapshot_of_a_wrapped_env_includes_the_time_limit(wrap: Any) -> None:
    env = wrap(gym.make("selfreg/Intervention-v0", max_episode_steps=3, **COIN))
    env.reset(seed=0, options={"episode": 3})
    env.step(0)
    snapshot = take_snapshot(env)
    traces = []
    for _ in range(3):
        traces.append([env.step(0)[:4] for _ in range(2)])
        restore_snapshot(env, snapshot)
    assert traces[0] == traces[1] == traces[2]
    assert [step[3] for step in traces[0]] == [False, True]


def test_a_wrapper_whose_state_cannot_be_saved_raises_with_its_name() -> None:
    env = Counting(InterventionEnv(**COIN))
    env.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match="Counting"):
        take_snapshot(env)


def test_a_store_records_the_time_limit(tmp_path: Path) -> None:
    def fill(env: Any) -> Any:
        return collect(env, store=tmp_path / "r.sqlite", tasks=[3], episodes=2, progress=False)

    with fill(gym.wrappers.TimeLimit(InterventionEnv(**COIN), 2)) as rollouts:
        assert [len(episode) for episode in rollouts] == [2, 2]
    fill(gym.wrappers.TimeLimit(InterventionEnv(**COIN), 2)).close()
    for other in (InterventionEnv(**COIN), gym.wrappers.TimeLimit(InterventionEnv(**COIN), 3)):
        with pytest.raises(StoreError, match="wrappers"):
            fill(other)
