"""Checkpoints by task: ``tiny`` and ``strong`` act with those of the task's family."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from selfreg_gym import InterventionEnv, InterventionVectorEnv
from selfreg_gym.agents.actors.lm import SHIPPED
from selfreg_gym.agents.actors.tiny import Tiny
from selfreg_gym.agents.interventions.strong import Strong
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import CheckpointError
from selfreg_gym.lm.backbone import backbone_path, candidates, checkpoint_of_spec
from selfreg_gym.pipeline.checkpoints import actor_checkpoint, models_of
from selfreg_gym.pipeline.config import load_config


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """The checkpoints of another distribution, with other bytes in their records."""
    for name in ("tiny", "strong"):
        shutil.copytree(SHIPPED / "sif" / name, tmp_path / "coins" / name)
        (tmp_path / "coins" / name / "training.json").write_text("{}")
    return tmp_path / "coins"


@pytest.fixture
def trained(family: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Coin as a task of the other distribution."""
    monkeypatch.setattr(Coin, "checkpoints", family, raising=False)
    return family


def test_the_checkpoint_is_that_of_the_tasks_family(trained: Path) -> None:
    coin = InterventionEnv("selfreg/Coin-v0", "tiny", ["strong"])
    assert coin.actor.checkpoint_dir == trained / "tiny"
    assert coin.interventions[0].actor.checkpoint_dir == trained / "strong"
    assert coin.interventions[0].name == "strong"
    coin.reset(seed=0)
    assert coin.step(0)[4]["action_text"] in ("heads", "tails")
    sif = InterventionEnv("selfreg/SIF-v0", "tiny", ["strong"])
    assert sif.actor.checkpoint_dir == SHIPPED / "sif" / "tiny"


def test_one_actor_object_plays_several_tasks(trained: Path) -> None:
    tiny = Tiny(temperature=0.5)
    coin = [InterventionVectorEnv(2, "selfreg/Coin-v0", tiny, [Strong()]) for _ in range(2)]
    assert coin[0].actor is coin[1].actor, "its checkpoint is read once"
    assert (coin[0].actor.checkpoint_dir, coin[0].actor.temperature) == (trained / "tiny", 0.5)
    assert tiny.checkpoint_dir == SHIPPED / "sif" / "tiny", "the given object does not change"
    assert pickle.loads(pickle.dumps(coin[0].actor)).checkpoint_dir == trained / "tiny"


def test_interventions_with_an_own_actor_are_for_the_task_too(trained: Path) -> None:
    kwargs = {"self-consistency": {"actor": "tiny", "n": 3}}
    env = InterventionEnv("selfreg/Coin-v0", lambda _: "heads", ["self-consistency"], intervention_kwargs=kwargs)
    assert env.interventions[0].actor.called.checkpoint_dir == trained / "tiny"


def test_a_class_with_several_ids_declares_a_family_for_each(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coin, "checkpoints", {"selfreg/Coin-v0": family}, raising=False)
    assert InterventionEnv("selfreg/Coin-v0", "tiny", []).actor.checkpoint_dir == family / "tiny"
    monkeypatch.setattr(Coin, "checkpoints", {"selfreg/Other-v0": family})
    with pytest.raises(CheckpointError, match="'selfreg/Coin-v0' has none"):
        InterventionEnv("selfreg/Coin-v0", "tiny", [])


@pytest.mark.parametrize(
    "arguments", [{"actor": "tiny", "interventions": []}, {"actor": lambda _: "heads", "interventions": ["strong"]}]
)
def test_a_task_without_a_checkpoint_names_those_that_exist(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Any] = []
    monkeypatch.setattr(Coin, "close", lambda self: closed.append(self))
    with pytest.raises(CheckpointError, match=r"the task 'selfreg/Coin-v0' has none\. Families with one: .*sif"):
        gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", **arguments)
    assert len(closed) == 1, "the task is closed"


def test_a_family_can_be_chosen(family: Path) -> None:
    for chosen in ("sif", family):
        folder = (SHIPPED / "sif" if chosen == "sif" else family) / "tiny"
        env = InterventionEnv("selfreg/Coin-v0", "tiny", [], actor_kwargs={"family": chosen})
        assert env.actor.checkpoint_dir == folder
    with pytest.raises(CheckpointError, match=r"must be one of .*sif.*received 'siff'"):
        Tiny(family="siff")


def test_backbones_are_those_of_the_task(trained: Path) -> None:
    assert backbone_path("tiny", task="selfreg/Coin-v0") == trained / "tiny"
    assert backbone_path("tiny") == SHIPPED / "sif" / "tiny"
    assert candidates(task="selfreg/Coin-v0") == {"tiny": trained / "tiny"}
    assert candidates(task="selfreg/FrozenLake-v0") == {"tiny": SHIPPED / "sif" / "tiny"}
    assert checkpoint_of_spec({"env": {"task": "selfreg/Coin-v0", "actor": "tiny"}}) == trained / "tiny"


def test_a_run_records_the_checkpoints_of_its_task(trained: Path) -> None:
    coin = ["task.id=selfreg/Coin-v0", "task.kwargs={}", "task.splits={collected={}}", "actor.id=tiny"]
    config = load_config(preset="smoke", overrides=[*coin, 'interventions.ids=["strong"]'])
    assert actor_checkpoint(config) == trained / "tiny"
    sif = models_of(load_config(preset="smoke", overrides=["actor.id=tiny", 'interventions.ids=["strong"]']))
    assert {name for name, sha in models_of(config).items() if sha != sif[name]} == set(sif)
