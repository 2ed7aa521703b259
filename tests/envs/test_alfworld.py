"""ALFWorld: the user's data folder, games by TextWorld's PDDL environment, and the planner with its time limit."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym.envs.alfworld import ALFWorld
from selfreg_gym.envs.alfworld.engine import entity_names
from selfreg_gym.envs.alfworld.planner import plan_within
from selfreg_gym.errors import InvalidArgumentError, MissingPackageError, TaskContractError, UnknownNameError
from selfreg_gym.testing import check_task

pytest.importorskip("fast_downward")
pytest.importorskip("alfworld")

from alfworld_games import write_game

TASK = "selfreg/ALFWorld-v0"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as ``alfworld-download`` makes it, with small games."""
    root = tmp_path_factory.mktemp("alfworld")
    train = root / "json_2.1.1" / "train"
    for trial in range(3):
        write_game(train / "pick_and_place_simple-Mug-None-CounterTop-3" / f"trial_{trial}", cabinets=2 + trial)
    heat = "pick_heat_then_place_in_recep"
    write_game(train / f"{heat}-Apple-None-Fridge-7" / "trial_0", heat)
    write_game(train / f"{heat}-Apple-None-Fridge-8" / "trial_0", heat, solvable=False)
    write_game(train / f"{heat}-AppleSliced-None-Fridge-9" / "trial_0", heat)
    write_game(root / "json_2.1.1" / "valid_seen" / f"{heat}-Apple-None-Fridge-1" / "trial_0", heat)
    return root


def _make(data: Path, **kwargs: Any) -> ALFWorld:
    return gym.make(TASK, disable_env_checker=True, data=data, **kwargs).unwrapped


def test_contract(data: Path) -> None:
    check_task(_make(data, max_steps=5), episodes=1)


def test_games_are_selected_as_alfworld_does(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _make(data).num_episodes == 4  # without the unsolvable and the sliced one
    assert _make(data, task_types=("pick_and_place_simple",)).num_episodes == 3
    assert _make(data / "json_2.1.1", split="valid_seen").num_episodes == 1
    parts = [set(_make(data, split=split)._files) for split in ("train-fit", "train-val")]
    assert len(parts[0]) == 3
    assert parts[0] | parts[1] == set(_make(data)._files)
    monkeypatch.setenv("ALFWORLD_DATA", str(data))
    assert gym.make(TASK, disable_env_checker=True).unwrapped.num_episodes == 4


def test_the_planner_wins_from_the_start_and_after_other_actions(data: Path) -> None:
    task, rng = _make(data), np.random.default_rng(0)
    for episode in range(task.num_episodes):
        for steps in (0, 6):
            _, info = task.reset(seed=0, options={"episode": episode})
            for _ in range(steps):
                if not task._over:
                    task.step(str(rng.choice(task._current().actions)))
            reward = float(task._over)
            while not task._over:
                _, reward, _, _, info = task.step(task.expert_action())
            assert info["success"] is True
            assert reward == 1.0
            assert info["metrics"] == {"progress": 1.0}


def test_names_are_those_of_alfworld(data: Path) -> None:
    misc = pytest.importorskip("alfworld.agents.utils.misc")
    task = _make(data)
    task.reset(seed=0, options={"episode": 2})
    entities = task._game._env._entity_infos
    theirs = misc.Demangler(game_infos=entities)
    assert entity_names(entities) == {name: theirs.demangle_alfred_name(name) for name in entities}


@pytest.mark.parametrize("checks", [10, pytest.param(1_000, marks=pytest.mark.slow)])
def test_snapshots_are_exact(data: Path, checks: int) -> None:
    task, rng, done = _make(data), np.random.default_rng(1), 0
    while done < checks:
        task.reset(seed=done, options={"episode": done % 2})
        for _ in range(int(rng.integers(0, 8))):
            if not task._over:
                task.step(str(rng.choice(task._current().actions)))
        if task._over:
            continue
        position, text, actions = task.snapshot(), task._text(), []
        expected = []
        while len(actions) < 4 and not task._over:
            actions.append(str(rng.choice(task._current().actions)))
            expected.append(task.step(actions[-1]))
        task.restore(position)
        assert task._text() == text
        assert [task.step(action) for action in actions] == expected
        done += 1


def test_a_game_that_begins_again_is_that_of_textworld(data: Path) -> None:
    task, rng = _make(data), np.random.default_rng(4)
    first, _ = task.reset(seed=0, options={"episode": 1})
    engine = task._game
    for _ in range(6):
        task.step(str(rng.choice(task._current().actions)))
    assert engine.begin() == engine._read(engine._env.reset())
    for _ in range(12):  # both from their beginning, by the same commands
        command = str(rng.choice(engine.actions))
        ours = (engine.send(command), engine.actions)
        assert ours[1]
    assert task.reset(seed=0, options={"episode": 1})[0] == first


def test_observations(data: Path) -> None:
    task = _make(data)
    first, info = task.reset(seed=0, options={"episode": 0})
    assert first.startswith("You are in the middle of a room.")
    assert "Your task is to: put some mug on countertop." in first
    assert info["kind"] == "pick_and_place_simple"
    text = task.step("go to countertop 1")[0]
    assert "On the countertop 1, you see" in text
    assert "You are at the countertop 1. You hold nothing." in text
    text, _, _, _, info = task.step("take apple 2 from countertop 1")
    assert "You hold the apple 2." in text or info["invalid_action"]
    replies = _make(data, page=False)
    replies.reset(seed=0, options={"episode": 0})
    assert replies.step("look")[0].startswith("> look\nYou are in the middle of a room.")


def _python_children() -> set[str]:
    """The ids of this process's children that run Python."""
    command = ["ps", "--ppid", str(os.getpid()), "-o", "pid=,comm="]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return {line.split()[0] for line in lines if "python" in line.split()[1]}


def test_a_planner_that_does_not_come_back_is_an_error_that_says_so(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _python_children()
    task = _make(data, planner_seconds=0.3)
    task.reset(seed=0, options={"episode": 0})
    monkeypatch.setattr(task._game, "plan", lambda: time.sleep(60))
    with pytest.raises(TaskContractError, match=r"within 0\.3 s and did not: raise planner_seconds"):
        task.expert_action()
    with pytest.raises(TaskContractError, match="found no plan"):
        plan_within(30, lambda: [])
    with pytest.raises(TaskContractError, match="found no plan"):
        plan_within(30, lambda: [1 / 0])  # type: ignore[list-item]
    assert _python_children() <= before


def test_missing_data_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "none"))
    with pytest.raises(MissingPackageError, match=r"ALFWORLD_DATA is .*none.*alfworld-download"):
        ALFWorld()
    with pytest.raises(MissingPackageError, match=r"data is .*alfworld-download"):
        ALFWorld(data=tmp_path)
    with pytest.raises(MissingPackageError, match="has no folder valid_unseen"):
        _make(data, split="valid_unseen")
    with pytest.raises(InvalidArgumentError, match="no solvable game of the types look_at_obj_in_light"):
        _make(data, task_types=["look_at_obj_in_light"])
    with pytest.raises(UnknownNameError, match="type of ALFWorld task"):
        _make(data, task_types=["pick"])
