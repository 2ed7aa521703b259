"""ReplaySnapshots: restoring a state by replay."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from selfreg_gym import FreeText, InterventionEnv
from selfreg_gym.errors import InvalidArgumentError, NotResetError, TaskContractError
from selfreg_gym.intervention_env.snapshots import ReplaySnapshots


class Walk(gym.Env[str, str]):
    """A random walk that remembers what was said; it has no snapshot of its own."""

    def __init__(self, drift: list[int] | None = None) -> None:
        self.observation_space = self.action_space = FreeText()
        self.drift = drift  # shared state that reset does not clear: breaks the contract

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.said = [str((options or {}).get("episode", "none"))]
        return self._text(), {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.said.append(f"{action}{self.np_random.integers(1000)}")
        if self.drift is not None:
            self.drift.append(1)
        over = len(self.said) > 6
        return self._text(), 0.0, over, False, {"success": over}

    def _text(self) -> str:
        return " ".join(self.said) + ("" if self.drift is None else f" {len(self.drift)}")


def test_restores_repeatedly_and_after_the_end() -> None:
    task = ReplaySnapshots(Walk())
    task.reset(seed=3, options={"episode": 2})
    task.step("a")
    snapshot = task.snapshot()
    first = [task.step("b")[0] for _ in range(5)]
    for _ in range(2):
        task.restore(snapshot)
        assert [task.step("b")[0] for _ in range(5)] == first
    assert first[0].startswith("2 a")


def test_a_snapshot_of_another_episode_can_be_restored() -> None:
    task = ReplaySnapshots(Walk())
    task.reset(seed=1)
    snapshot = task.snapshot()
    expected = task.step("a")[0]
    task.reset(seed=2)
    task.restore(snapshot)
    assert task.step("a")[0] == expected


def test_without_a_seed_a_seed_is_drawn_and_can_be_replayed() -> None:
    task = ReplaySnapshots(Walk())
    task.reset(seed=0)
    task.reset()
    snapshot = task.snapshot()
    first = task.step("a")[0]
    task.restore(snapshot)
    assert task.step("a")[0] == first


def test_the_callers_options_are_not_kept() -> None:
    task = ReplaySnapshots(Walk())
    options = {"episode": 1}
    task.reset(seed=0, options=options)
    snapshot = task.snapshot()
    options["episode"] = 9
    task.restore(snapshot)
    assert task.step("a")[0].startswith("1 ")


def test_a_task_that_is_not_determined_by_its_seed_raises() -> None:
    task = ReplaySnapshots(Walk(drift=[]))
    task.reset(seed=0)
    task.step("a")
    snapshot = task.snapshot()
    with pytest.raises(TaskContractError, match="determined by its seed"):
        task.restore(snapshot)


def test_clear_errors() -> None:
    task = ReplaySnapshots(Walk())
    with pytest.raises(NotResetError):
        task.snapshot()
    with pytest.raises(InvalidArgumentError, match="received int"):
        task.restore(3)


def test_only_tasks_without_snapshots_are_wrapped() -> None:
    assert isinstance(InterventionEnv(Walk(), str, []).task, ReplaySnapshots)
    own = InterventionEnv("selfreg/Coin-v0", str, []).task
    layers = []
    while isinstance(own, gym.Wrapper):
        layers.append(type(own))
        own = own.env
    assert ReplaySnapshots not in layers


def test_recreated_from_its_spec() -> None:
    task = ReplaySnapshots(gym.make("selfreg/Coin-v0"))
    assert task.spec is not None
    assert isinstance(gym.make(task.spec), ReplaySnapshots)
