"""Tasks by ``module:function``: built, collected, named in a config; wrong names are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from selfreg_gym import collect
from selfreg_gym.errors import InvalidArgumentError, StoreError, UnknownNameError
from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.validation import validate
from selfreg_gym.testing import check_task

MODULE = """
import gymnasium as gym
from selfreg_gym.tasks import TextAdapter

def make_lake(size="4x4", slippery=True):
    env = gym.make("FrozenLake-v1", map_name=size, is_slippery=slippery)
    return TextAdapter(env, lambda field: f"Field {field}.", ["left", "down", "right", "up"], max_steps=WORD)

make_lake.splits = {"collected": {"slippery": True}, "dry": {"slippery": False}}

class Rules:
    make = staticmethod(make_lake)

gym.register("mine/Lake-v0", entry_point=make_lake)
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user, written with another limit by calling the value."""

    def write(limit: int) -> None:
        (tmp_path / "my_lakes.py").write_text(MODULE.replace("WORD", str(limit)))
        sys.modules.pop("my_lakes", None)
        gym.registry.pop("mine/Lake-v0", None)

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    write(20)
    yield write
    sys.modules.pop("my_lakes", None)
    gym.registry.pop("mine/Lake-v0", None)


def test_a_task_by_module_and_function(module: Any, tmp_path: Path) -> None:
    for path in ("my_lakes:make_lake", "my_lakes:Rules.make"):
        task = build_task(path, {"slippery": False, "history": 2})
        assert task.get_wrapper_attr("max_steps") == 20
        assert task.get_wrapper_attr("turns") == 2
    check_task("my_lakes:make_lake")
    check_task(gym.make("my_lakes:mine/Lake-v0"))
    assert build_task("my_lakes:make_lake", {"max_episode_steps": 4}).get_wrapper_attr("_max_episode_steps") == 4
    env = {"task": "my_lakes:make_lake", "actor": "scripted", "interventions": [], "task_kwargs": {"slippery": False}}
    options: dict[str, Any] = {"store": tmp_path / "r.sqlite", "tasks": range(2), "episodes": 2, "progress": False}
    options["help_probabilities"] = [0.0]
    with collect(env, **options) as rollouts:
        assert rollouts.spec["env"]["task"] == "my_lakes:make_lake"
        assert len(set(rollouts.columns("state_key")["state_key"].values)) > 2
    collect(env, **options).close()  # the same settings
    module(19)  # the code of the function is part of the identity
    with pytest.raises(StoreError, match="code"):
        collect(env, **options)


def test_a_config_names_a_function_and_gets_its_splits(module: Any) -> None:
    config = load_config(preset="smoke", overrides=["task.id=my_lakes:make_lake"])
    assert config.task.splits == {"collected": {"slippery": True}, "dry": {"slippery": False}}
    validate(
        load_config(preset="smoke", overrides=["task.id=my_lakes:make_lake", "interventions.ids=['self-consistency']"])
    )


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("my_lakes:make_lak", UnknownNameError, "make_lake"),
        ("my_lakes:number", UnknownNameError, "my_lakes"),
        ("no_such_module:make", InvalidArgumentError, "cannot be imported"),
        ("nothing", UnknownNameError, "nothing"),
        ("my_lakes:Rules", InvalidArgumentError, "received Rules"),
    ],
)
def test_wrong_names_of_functions(module: Any, task: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_task(task)
    with pytest.raises(UnknownNameError, match="sizes"):
        build_task("my_lakes:make_lake", {"sizes": 3})
