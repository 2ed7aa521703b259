"""ScienceWorld: the published split, offered actions, replayed snapshots, and the expert on and off its path."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym.envs.scienceworld import ScienceWorld
from selfreg_gym.envs.scienceworld.expert import Played, advice
from selfreg_gym.envs.scienceworld.simulator import Simulator
from selfreg_gym.envs.scienceworld.variations import VARIATIONS
from selfreg_gym.errors import InvalidArgumentError, MissingPackageError, TaskContractError, UnknownNameError

TASK = "selfreg/ScienceWorld-v0"


def _make(**kwargs: Any) -> ScienceWorld:
    pytest.importorskip("scienceworld")
    return gym.make(TASK, disable_env_checker=True, **kwargs).unwrapped


def test_split_and_first_actions() -> None:
    task = _make(task="find-non-living-thing")
    _, info = task.reset(seed=0, options={"episode": 0})
    assert len(info["admissible_actions"]) == 114  # 115 with "reset task"
    assert "reset task" not in info["admissible_actions"]
    assert info["task_id"] == "find-non-living-thing/0"
    server = task._simulator
    for name, part in (("Train", 0), ("Dev", 1), ("Test", 2)):
        edges = (0, *VARIATIONS["find-non-living-thing"])
        assert list(server._call(f"getVariations{name}")) == list(range(edges[part], edges[part + 1]))


def test_episodes_take_the_tasks_in_turn_without_overlap() -> None:
    plays = {split: _make(split=split)._plays for split in ("train", "dev", "test")}
    assert [name for name, _ in plays["test"][:30]] == list(VARIATIONS)
    assert plays["dev"][0] == ("boil", 14)
    everything = [play for found in plays.values() for play in found]
    assert len(everything) == len(set(everything)) == sum(edges[-1] for edges in VARIATIONS.values())
    assert _make(task="boil", variation=3)._plays == [("boil", 3)]


def test_expert_snapshots_and_hostile_actions() -> None:
    task, rng = _make(task="find-non-living-thing"), np.random.default_rng(2)
    task.reset(seed=0, options={"episode": 1})
    for action in ("save", "reset task", "", "\x00", "look\naround" * 100):
        assert task.step(action)[4]["invalid_action"] is True
    for _ in range(3):
        task.step(str(rng.choice([one for one in task._current().actions if not one.startswith("focus")])))
    position, text = task.snapshot(), task._text()
    actions, expected = [], []
    while not task._over:
        actions.append(task.expert_action())
        expected.append(task.step(actions[-1]))
    assert expected[-1][4]["success"] is True
    task.restore(position)
    assert task._text() == text
    assert [task.step(action) for action in actions] == expected


def test_a_replay_with_another_outcome_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _make(task="find-non-living-thing")
    task.reset(seed=0, options={"episode": 0})
    task.step("look around")
    position = task.snapshot()
    send = Simulator.send
    monkeypatch.setattr(Simulator, "send", lambda self, action: send(self, action)._replace(reply="Another butterfly."))
    with pytest.raises(TaskContractError, match=r"a replay of 1 actions of find-non-living-thing .* another outcome"):
        task.restore(position)


def test_a_replay_reads_descriptions_only_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _make(task="find-non-living-thing")
    task.reset(seed=0, options={"episode": 0})
    for _ in range(4):
        task.step(task.expert_action())
    position, text, call, methods = task.snapshot(), task._text(), Simulator._call, []

    def counted(self: Simulator, method: str, *arguments: Any) -> Any:
        methods.append(method)
        return call(self, method, *arguments)

    monkeypatch.setattr(Simulator, "_call", counted)
    task.restore(position)
    assert task._text() == text
    assert methods.count("step") == 1 + 4  # the first one is that of the beginning
    assert methods.count("freeActionLook") == methods.count("getScore") == 2


SOLUTION = ("open door to kitchen", "go to kitchen", "pick up thermometer", "use thermometer in inventory on metal pot")
HALL = ("go to kitchen", "look around", "teleport to workshop")
KITCHEN = ("go to hall", "look around", "pick up thermometer", "use thermometer on metal pot", "use thermometer on pot")
WORKSHOP = ("look around", "teleport to kitchen")


def test_the_expert_keeps_its_place() -> None:
    assert advice(SOLUTION, [], HALL, "hallway") == "go to kitchen"  # the door is open
    gone = Played("go to kitchen", HALL, "hallway")
    assert advice(SOLUTION, [gone], KITCHEN, "kitchen") == "pick up thermometer"
    looked = Played("look around", KITCHEN, "kitchen")
    assert advice(SOLUTION, [gone, looked], KITCHEN, "kitchen") == "pick up thermometer"
    taken = Played("pick up thermometer", KITCHEN, "kitchen")
    assert advice(SOLUTION, [gone, looked, taken], KITCHEN, "kitchen") == "use thermometer on metal pot"
    assert advice(SOLUTION, [gone, taken], WORKSHOP, "workshop") == "teleport to kitchen"
    away = Played("teleport to workshop", HALL, "hallway")
    assert advice(SOLUTION, [away], WORKSHOP, "workshop") == "teleport to kitchen"
    used = Played("use thermometer on metal pot", KITCHEN, "kitchen")
    assert advice(SOLUTION, [gone, taken, used], KITCHEN, "kitchen") == "look around"  # the solution has ended


def test_the_expert_names_objects_as_they_are_offered() -> None:
    offered = (
        "focus on egg turtle",
        "focus on outside",
        "move dove to red box",
        "move apple to red box",
        "look around",
    )
    assert advice(("focus on egg turtle in outside",), [], offered, "outside") == "focus on egg turtle"
    assert advice(("move egg dove egg in inventory to red box",), [], offered, "outside") == "move dove to red box"
    assert advice(("focus on flower pot 2",), [], offered, "outside") == "look around"


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scienceworld")
    with pytest.raises(UnknownNameError, match="task of ScienceWorld"):
        _make(task="boill")
    with pytest.raises(UnknownNameError, match="simplification"):
        _make(simplification="openDoor")
    with pytest.raises(InvalidArgumentError, match="variation of boil"):
        _make(task="boil", variation=30)
    with pytest.raises(InvalidArgumentError, match="time_limit"):
        _make(time_limit=0)
    monkeypatch.setitem(sys.modules, "scienceworld", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'selfreg-gym\[scienceworld\]'"):
        ScienceWorld()
