"""TextAdapter: arguments that it refuses, and results of the wrapped env that it refuses."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError, TaskContractError, UnknownNameError
from selfreg_gym.tasks import TextAdapter

MOVES = ["left", "down", "right", "up"]


class Fixed(gym.Env[int, int]):
    """Its steps return what it is given."""

    def __init__(self, reward: Any = 0.0, terminated: Any = False, truncated: Any = False) -> None:
        self.observation_space = self.action_space = gym.spaces.Discrete(2)
        self.result = reward, terminated, truncated

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: int) -> Any:
        return 1, *self.result, {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actions": None}, "need names"),
        ({"actions": ["left"]}, "name for each of its 4 actions"),
        ({"actions": ["left", "left", "up", "down"]}, "own name"),
        ({"actions": ["", "a", "b", "c"]}, "not empty"),
        ({"actions": 7}, "names, a dict"),
        ({"describe": "text"}, "describe must be a function"),
        ({"describe": lambda: ""}, "describe must be a function"),
        ({"expert": lambda a, b, c, d: ""}, "expert must be a function"),
        ({"start": "later"}, "'episode' or 'seed'"),
        ({"max_steps": 0}, "max_steps"),
        ({"success": "yes"}, "success"),
        ({"list_actions": 1}, "list_actions"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    given = {"describe": str, "actions": MOVES, "max_steps": 9, **arguments}
    with pytest.raises(InvalidArgumentError, match=message):
        TextAdapter("FrozenLake-v1", **given)


def test_other_wrong_uses() -> None:
    with pytest.raises(InvalidArgumentError, match="pass max_steps=100"):
        TextAdapter(Fixed(), str, ["a", "b"])
    with pytest.raises(UnknownNameError, match="replay"):
        TextAdapter("FrozenLake-v1", str, MOVES, snapshots="replays")
    with pytest.raises(TaskContractError, match="describe of a TextAdapter must return a str"):
        TextAdapter("FrozenLake-v1", lambda field: field, MOVES)
    with pytest.raises(InvalidArgumentError, match="received Box"):
        TextAdapter(gym.spaces.Box(0, 1), str, MOVES)  # type: ignore[arg-type]
    task = TextAdapter("FrozenLake-v1", str, MOVES, success=lambda end: "yes", max_steps=1, snapshots="replay")
    task.reset(seed=0)
    with pytest.raises(TaskContractError, match="True or False"):
        task.step("left")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"reward": None}, "reward of a wrapped env must be a finite number, received None"),
        ({"reward": float("nan")}, "reward of a wrapped env must be a finite number, received nan"),
        ({"reward": "1 point"}, "reward of a wrapped env"),
        ({"terminated": "False"}, "terminated of a task must be a bool, received 'False'"),
        ({"truncated": None}, "truncated of a task must be a bool, received None"),
        ({"terminated": float("nan")}, "terminated of a task must be a bool"),
    ],
)
def test_wrong_results_of_the_env_are_refused(result: dict[str, Any], message: str) -> None:
    task = TextAdapter(Fixed(**result), str, ["a", "b"], max_steps=3, snapshots="replay")
    task.reset(seed=0)
    with pytest.raises(TaskContractError, match=message):
        task.step("a")


def test_results_of_numpy_types_are_accepted() -> None:
    task = TextAdapter(Fixed(np.float32(2), np.bool_(True), 0), str, ["a", "b"], max_steps=3, snapshots="replay")
    task.reset(seed=0, options={"episode": None})
    _, reward, terminated, truncated, info = task.step("a")
    assert (reward, terminated, truncated, info["success"]) == (2.0, True, False, True)
    with pytest.raises(UnknownNameError, match="option of reset"):
        task.reset(seed=0, options={"difficulty": 2})
    vector = TextAdapter(Fixed(), str, ["a", "b"], max_steps=3, snapshots="replay", feature_vector=lambda _: ["x"])
    with pytest.raises(TaskContractError, match="feature_vector of a TextAdapter must return numbers"):
        vector.reset(seed=0)
