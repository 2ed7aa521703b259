"""The interface of BabyAI: texts, invalid actions, arguments, splits, pictures, the missing package."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("minigrid.minigrid_env")

import selfreg_gym  # noqa: F401 - registers the tasks
from selfreg_gym.envs.babyai import levels
from selfreg_gym.envs.babyai.env import BabyAI
from selfreg_gym.errors import (
    EpisodeOverError,
    InvalidArgumentError,
    NotResetError,
    SetupError,
    UnknownNameError,
)


def test_a_person_can_play_from_the_text() -> None:
    env = BabyAI(levels="PutNextLocal", max_steps=30)
    observation, info = env.reset(options={"episode": 0})
    assert observation.split("\n") == [
        "You see 6 cells ahead and 3 to each side.",
        "Ahead: 2 free, then a wall.",
        "Left: 3 free.",
        "Right: 1 free, then a wall.",
        "a red box 2 ahead, 1 right",
        "a grey box 2 ahead, 2 left",
        "You carry nothing and face north.",
        "30 steps are left.",
        "Mission: put the red ball next to the grey box.",
        "You can: left, right, forward, pickup, drop, toggle",
    ]
    goals = [env.subgoal()]
    for action in ("left", "forward", "forward", "left", "pickup", "right", "right"):
        assert env.expert_action() == action
        observation, _, _, _, info = env.step(action)
        goals.append(env.subgoal())
    assert "You carry a red ball and face north." in observation
    assert "a grey box 2 ahead" in observation
    assert info["feature_key"] == "PutNextLocal|put next to bring|1|target|beside|free"
    assert list(dict.fromkeys(goals)) == [
        "find the red ball", "go to the red ball", "pick up the red ball", "find the grey box",
        "bring the object to the grey box", "put the object down",
    ]  # fmt: skip
    assert env.step("Drop.")[4]["success"] is True


def test_directions_of_missions_are_from_the_start() -> None:
    env = BabyAI(levels="PickupLoc")
    observation, _ = env.reset(options={"episode": 0})
    assert "from the start: it is here, and you faced south there." in observation
    assert "pick up a ball on your right." in observation
    for action in ("right", "right", "forward"):
        observation = env.step(action)[0]
    assert "You carry nothing and face north." in observation
    assert "from the start: it is 1 behind, and you faced south there." in observation


def test_invalid_actions() -> None:
    env = BabyAI(levels="GoToLocal")
    env.reset(options={"episode": 1})
    _, reward, terminated, truncated, info = env.step("fly")
    assert (reward, terminated, truncated, info["success"], info["invalid_action"]) == (0.0, True, False, False, True)
    with pytest.raises(EpisodeOverError):
        env.step("left")
    env = BabyAI(levels="GoToLocal", invalid_action="noop")
    before = env.reset(options={"episode": 1})[1]
    _, _, terminated, truncated, info = env.step("fly")
    assert not terminated
    assert not truncated
    assert info["invalid_action"]
    assert info["state_key"] == before["state_key"]
    assert info["steps_left"] == before["steps_left"] - 1
    with pytest.raises(InvalidArgumentError, match="must be a str"):
        env.step(2)  # type: ignore[arg-type]


def test_arguments() -> None:
    assert BabyAI(levels=["GoToLocal", "OpenDoor"]).num_episodes == 200_000
    for bad, error in (
        ({"levels": "GoToLoca"}, UnknownNameError),
        ({"levels": []}, InvalidArgumentError),
        ({"levels": 3}, InvalidArgumentError),
        ({"split": "dev"}, UnknownNameError),
        ({"max_steps": 0}, InvalidArgumentError),
        ({"vector": 1}, InvalidArgumentError),
        ({"invalid_action": "raise"}, UnknownNameError),
        ({"render_mode": "human"}, UnknownNameError),
    ):
        with pytest.raises(error):
            BabyAI(**bad)  # type: ignore[arg-type]
    with pytest.raises(NotResetError):
        BabyAI().step("left")
    with pytest.raises(NotResetError):
        BabyAI().snapshot()


def test_splits_have_separate_seeds() -> None:
    ranges = sorted((first, first + count) for first, count in levels.SPLITS.values())
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ranges))
    assert ranges[-1][1] <= levels._NEXT_ATTEMPT
    seen = {split: BabyAI(split=split).reset(options={"episode": 0})[1]["task_id"] for split in levels.SPLITS}
    assert len(set(seen.values())) == len(seen)


def test_pictures() -> None:
    env = BabyAI(levels="GoToLocal", render_mode="rgb_array")
    env.reset(options={"episode": 0})
    assert env.render().dtype == np.uint8
    env = BabyAI(levels="GoToLocal", render_mode="ansi")
    observation, _ = env.reset(options={"episode": 0})
    assert env.render() == observation


def test_done_actions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BABYAI_DONE_ACTIONS", "1")
    with pytest.raises(SetupError, match="BABYAI_DONE_ACTIONS"):
        BabyAI().reset()


def test_without_the_package_the_error_names_the_line_to_type(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['minigrid'] = None\n"
        "import gymnasium as gym, selfreg_gym\n"
        "from selfreg_gym.errors import MissingPackageError\n"
        "try:\n    gym.make('selfreg/BabyAI-GoToLocal-v0')\n"
        "except MissingPackageError as error:\n    print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "pip install 'selfreg-gym[minigrid]'" in found.stdout
