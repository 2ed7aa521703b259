"""Validation of the return values of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import FreeText, HelpBudget, Intervention, InterventionEnv, InterventionVectorEnv
from selfreg_gym.collection import collect
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, UnknownNameError


class Task(gym.Env[str, str]):
    """Two steps, then a success. Info, last info and the answers of reset and step can be replaced."""

    num_episodes = 3

    def __init__(self, info: Any = None, last: Any = None, reset: Any = None, step: Any = None) -> None:
        self.observation_space, self.action_space = FreeText(), FreeText(20)
        self.also, self.last, self.on_reset, self.on_step = info or {}, last or {}, reset, step

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        if self.on_reset is not None:
            return self.on_reset()
        return "go", {"task_id": "t", "state_key": "k", **self.also}

    def step(self, action: str) -> Any:
        self.t += 1
        if self.on_step is not None:
            return self.on_step()
        over = self.t == 2
        end = {"success": True, "is_success": True, **self.last} if over else {}
        return "go", 0.0, over, False, {"task_id": "t", "state_key": "k", **self.also, **end}


def env(**parts: Any) -> InterventionEnv:
    return InterventionEnv(Task(**parts), lambda text: "a", [Intervention(lambda text: "b", name="friend")])


def last_info(**parts: Any) -> dict[str, Any]:
    made = env(**parts)
    made.reset(seed=0)
    made.step(0)
    return made.step(0)[4]


def fails() -> Any:
    raise OSError("no such room")


def test_missing_values_and_numpy_values_are_converted() -> None:
    info = last_info(
        info={"task_id": None, "kind": None, "state_key": None, "feature_key": None, "admissible_actions": ["a", "b"],
              "invalid_action": np.bool_(True)},
        last={"success": np.bool_(True), "metrics": None},
    )  # fmt: skip
    assert info["task_id"] == ""
    assert info["state_key"] == "go"
    assert not {"kind", "feature_key", "metrics"} & info.keys()
    assert info["admissible_actions"] == ("a", "b")
    assert info["invalid_action"] is True
    assert info["success"] is True
    assert last_info(last={"success": 0})["success"] is False
    assert last_info(info={"task_id": 7, "kind": 3})["task_id"] == "7"


@pytest.mark.parametrize(
    "value", [float("nan"), "no", 0.7, [], np.array([True, False])], ids=["nan", "text", "0.7", "list", "array"]
)
def test_an_outcome_that_is_not_a_bool_ends_the_episode_with_an_error(value: Any) -> None:
    assert "info['success'] of a task must be a bool, received" in last_info(last={"success": value})["error"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state_key", 3), ("feature_key", (1, 2)), ("kind", [1]), ("task_id", 1.5), ("admissible_actions", "ab"),
        ("admissible_actions", (1, 2)), ("admissible_actions", {"a"}), ("invalid_action", "no"), ("steps_left", True),
    ],
)  # fmt: skip
def test_a_key_of_another_type_raises(key: str, value: Any) -> None:
    with pytest.raises(TaskContractError, match=f"{key}.*received"):
        env(info={key: value}).reset(seed=0)


@pytest.mark.parametrize(
    "answer",
    [None, "text", ("a", 0.0, True, {}), ("a", 0.0, True, False, None), (None, 0.0, True, False, {}),
     ("a", 0.0, "no", False, {"success": True}), ("a", 0.0, None, False, {})],
)  # fmt: skip
def test_an_invalid_return_value_of_step_ends_the_episode_with_an_error(answer: Any) -> None:
    made = env(step=lambda: answer)
    made.reset(seed=0)
    _, reward, terminated, truncated, info = made.step(0)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["error"].startswith("the task <")
    assert "Task" in info["error"]
    assert "received" in info["error"]


def test_an_invalid_return_value_of_reset_raises() -> None:
    for answer in (None, "text", ("a", None), (5, {})):
        with pytest.raises(TaskContractError, match="received"):
            env(reset=lambda answer=answer: answer).reset(seed=0)


def test_an_exception_of_a_task_names_the_task_and_the_step() -> None:
    with pytest.raises(TaskContractError, match=r"Task.*raised OSError \('no such room'\) in reset\(seed=4"):
        env(reset=fails).reset(seed=4)
    made = env(step=fails)
    made.reset(seed=4)
    assert "raised OSError ('no such room') in step('a'), after step 0 of seed 4" in made.step(0)[4]["error"]


def test_a_collection_of_a_bad_task_ends_with_the_rule(tmp_path: Path) -> None:
    people: dict[str, Any] = {"actor": lambda text: "a", "interventions": []}
    envs = InterventionVectorEnv(2, lambda: Task(info={"state_key": 3}), **people, autoreset_mode="Disabled")
    with pytest.raises(TaskContractError, match=r"32 episodes in a row .*state_key"):
        collect(envs, store=tmp_path / "r.sqlite", tasks=[0], episodes=33, progress=False)


def test_the_info_that_a_caller_changes_is_its_own() -> None:
    made = env()
    _, info = made.reset(seed=0)
    snapshot = made.snapshot()
    info.clear()
    assert made.step(0)[4]["step"] == 1
    made.restore(snapshot)
    assert made.slots[0].info["state_key"] == "k"


def test_environments_do_not_share_one_task() -> None:
    one = Task()
    with pytest.raises(InvalidArgumentError, match="must return a new task env"):
        InterventionVectorEnv(2, lambda: one, lambda text: "a", [])


def test_misspelt_arguments_of_the_envs() -> None:
    with pytest.raises(
        UnknownNameError, match=r"argument of InterventionEnv: received 'helpcost'\. Did you mean 'help_c"
    ):
        gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor="tiny", interventions=[], helpcost=1)
    with pytest.raises(UnknownNameError, match="argument of InterventionVectorEnv: received 'autoreset'"):
        InterventionVectorEnv(2, Task, "tiny", [], autoreset="Disabled")
    for name in ("task_kwargs", "actor_kwargs", "intervention_kwargs"):
        with pytest.raises(InvalidArgumentError, match="must be a dict of keyword arguments"):
            InterventionEnv("selfreg/Coin-v0", "scripted", ["expert"], **{name: "abc"})


def test_a_class_is_not_an_actor() -> None:
    class Says:
        def act(self, decisions: Any) -> Any:
            return ["a" for _ in decisions]

    with pytest.raises(InvalidArgumentError, match=r"received the class Says: write Says\(\)"):
        InterventionEnv(Task(), Says, [])


@pytest.mark.parametrize("actions", [None, "01", [0, 1, 0], [1.0, 0.0], 1, [None, 0], [[0], [0, 1]], [10**30, 0]])
def test_actions_of_a_vector_env_with_a_budget(actions: Any) -> None:
    envs = HelpBudget(InterventionVectorEnv(2, Task, lambda text: "a", []), 1)
    envs.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match="actions must be 2 integers, one per environment, received"):
        envs.step(actions)
    one = HelpBudget(env(), 1)
    one.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match="an action must be an integer from 0 to 1"):
        one.step(actions if actions != 1 else 2)


def test_an_invalid_snapshot_raises() -> None:
    made, envs = env(), InterventionVectorEnv(2, Task, lambda text: "a", [])
    made.reset(seed=0)
    envs.reset(seed=0)
    for other in ("junk", None, (1, 2, 3), made.snapshot()):
        with pytest.raises(InvalidArgumentError, match="restore takes a snapshot"):
            envs.restore(other)
    for other in ("junk", None, (1, 2)):
        with pytest.raises(InvalidArgumentError, match="restore takes a snapshot"):
            made.restore(other)
