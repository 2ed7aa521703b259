"""Validation of acts: an invalid field ends only its own episode."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym
from selfreg_gym import Act, FreeText, Intervention, InterventionVectorEnv
from selfreg_gym.collection import collect
from selfreg_gym.intervention_env.asking import ask
from selfreg_gym.types import Decision

NAN = math.nan


class Says:
    def __init__(self, answer: Callable[[Decision], Any]) -> None:
        self.answer = answer

    def act(self, decisions: Any) -> list[Any]:
        return [self.answer(decision) for decision in decisions]

    def __deepcopy__(self, memo: Any) -> Says:
        return self


@pytest.mark.parametrize(
    "act",
    [
        Act("heads", tokens=2**63), Act("heads", tokens=10**30), Act("heads", tokens=-1), Act("heads", tokens=True),
        Act("heads", tokens=1.5), Act("heads", tokens="3"), Act("heads", cost=NAN), Act("heads", cost=math.inf),
        Act("heads", cost=1e300), Act("heads", cost="1"), Act("heads", cost=True), Act("heads", logprobs=(NAN, -1.0)),
        Act("heads", logprobs=(-1.0,)), Act("heads", logprobs=(-1.0, -2.0, -3.0)), Act("heads", logprobs=(0.5, -1.0)),
        Act("heads", logprobs=(-math.inf, -math.inf)), Act("heads", logprobs="ab"), Act("heads", logprobs=3),
        Act(None), Act(b"heads"), 3, None,
    ],
)  # fmt: skip
def test_an_invalid_act_is_an_error(act: Any) -> None:
    decision = Decision("Call it.", ("heads", "tails"))
    (answer,) = ask(Says(lambda d: act), [decision])
    assert isinstance(answer, Act)
    assert answer.error
    assert "received" in answer.error


@pytest.mark.parametrize("act", [Act("heads", tokens=2**63), Act("heads", logprobs=(NAN, 0.0))])
def test_an_invalid_act_ends_its_own_episode_only(act: Act, tmp_path: Path) -> None:
    actor = Says(lambda d: act if d.observation.startswith("Coin 2 of 3") else "heads")
    env = {"task": "selfreg/Coin-v0", "task_kwargs": {"heads": 0.9}, "actor": actor, "interventions": ["expert"]}
    with collect(env, store=tmp_path / "r.sqlite", tasks=[0, 1], episodes=3, retries=0, progress=False) as rollouts:
        assert sum(episode.task_index == 0 for episode in rollouts) == 3
        assert rollouts.failures()
        assert all("received" in error for _, error in rollouts.failures())


def test_numbers_of_numpy_become_plain() -> None:
    act = Act(np.str_("heads"), logprobs=np.array([-0.5, -math.inf]), tokens=np.int32(3), cost=np.float32(0.5))
    (answer,) = ask(Says(lambda d: act), [Decision("Call it.", ("heads", "tails"))])
    assert answer == Act("heads", (-0.5, -math.inf), 3, 0.5)
    assert isinstance(answer, Act)
    assert [type(x) for x in (answer.text, answer.tokens, answer.cost, answer.logprobs)] == [str, int, float, tuple]


def test_a_text_is_not_a_list_of_acts() -> None:
    class One:
        def act(self, decisions: Any) -> str:
            return "a"

    (answer,) = ask(One(), [Decision("x")])  # type: ignore[arg-type]
    assert isinstance(answer, Act)
    assert "must return a list" in str(answer.error)


class Scored(gym.Env):
    num_episodes = 3

    def __init__(self, metrics: Any) -> None:
        self.observation_space, self.action_space, self.metrics = FreeText(), FreeText(9), metrics

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return "go", {"task_id": "t", "steps_left": np.int64(1)}

    def step(self, action: str) -> Any:
        return "end", 0.0, True, False, {"task_id": "t", "success": np.True_, "metrics": self.metrics}


def scored(metrics: Any) -> InterventionVectorEnv:
    return InterventionVectorEnv(
        2, lambda: Scored(metrics), lambda text: "a", [Intervention(lambda text: "b", name="f")],
        autoreset_mode="Disabled",
    )  # fmt: skip


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf, None, np.float32("nan"), 10**400])
def test_a_metric_without_a_value_is_null(value: Any, tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "r.sqlite"
    env = scored({"spl": value, "n": np.int64(2)})
    with collect(env, store=path, tasks=[0], episodes=2, progress=False) as rollouts:
        (first, _) = list(rollouts)
    assert math.isnan(first.metrics["spl"])
    assert first.metrics["n"] == 2.0
    found = sqlite3.connect(path).execute("SELECT json_extract(metrics, '$.spl'), metrics FROM episodes").fetchall()
    assert found == [(None, '{"spl": null, "n": 2.0}')] * 2


@pytest.mark.parametrize("metrics", [{"spl": "high"}, {"spl": [1.0]}, [1.0], {3: 1.0}, "spl"])
def test_metrics_that_are_not_numbers_break_the_contract(metrics: Any, tmp_path: Path) -> None:
    with collect(scored(metrics), store=tmp_path / "r.sqlite", tasks=[0], episodes=2, progress=False) as rollouts:
        assert rollouts.count() == 0
        assert all("info['metrics'] must be a dict of numbers" in error for _, error in rollouts.failures())
        assert rollouts.failures()


class Counts:
    def act(self, decisions: Any) -> list[Act]:
        return [Act("heads", tokens=12, cost=0.5) for _ in decisions]

    def __deepcopy__(self, memo: Any) -> Counts:
        return self


@pytest.mark.parametrize("mode", ["sync", "async", None])
def test_every_info_key_has_one_type_in_every_vector_env(mode: str | None) -> None:
    kwargs: dict[str, Any] = {"vector_kwargs": {"shared_memory": False}} if mode == "async" else {}
    envs = gym.make_vec(
        "selfreg/Intervention-v0", num_envs=2, vectorization_mode=mode, task="selfreg/Coin-v0",
        task_kwargs={"heads": 0.999}, actor=Counts(), interventions=[Intervention(lambda text: "heads", name="friend")],
        **kwargs,
    )  # fmt: skip
    kinds: dict[str, Any] = {}
    try:
        for actions in ([1, 0], [0, 1], [0, 0], [1, 1]):
            _, infos = envs.reset(seed=0)
            for step in range(4):
                for key, value in infos.items():
                    if isinstance(value, np.ndarray):
                        assert kinds.setdefault(key, value.dtype) == value.dtype, key
                *_, infos = envs.step(np.array(actions))
                if step == 0 and actions == [1, 0]:  # later steps may be those of a reset
                    assert infos["tokens"].tolist() == [-1, 12]
                    assert infos["reported_cost"].tolist() == [-1.0, 0.5]
    finally:
        envs.close()


@pytest.mark.parametrize(
    "acts", [None, 3, "heads", {"heads": 1}, {"heads"}, iter(["heads"]), (act for act in ["heads"])]
)
def test_acts_that_are_no_list_are_named(acts: Any) -> None:
    class Answers:
        def act(self, decisions: Any) -> Any:
            return acts

    (answer,) = ask(Answers(), [Decision("Call it.", ("heads", "tails"))])
    assert isinstance(answer, Act)
    assert answer.error is not None
    assert answer.error.startswith("Answers.act must return a list of acts, received")


def test_an_actor_cannot_change_the_info() -> None:
    def change(decision: Decision) -> str:
        decision.info["state_key"] = "elsewhere"  # type: ignore[index]
        return "heads"

    env = selfreg_gym.InterventionEnv("selfreg/Coin-v0", Says(change), [])
    key = env.reset(seed=0)[1]["state_key"]
    env.actor_acts()
    assert env.slots[0].info["state_key"] == key
    assert "does not support item assignment" in env.step(0)[4]["error"]
