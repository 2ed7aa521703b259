"""Further training of an actor on states of rollouts, and the comparison of two actors."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType

import pytest
from example_files import load_example

import selfreg_gym
from selfreg_gym import Rollouts
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.errors import InvalidArgumentError


@pytest.fixture(scope="module")
def example(repository: Path) -> ModuleType:
    return load_example(repository / "examples" / "train_actor.py")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of the scripted actor on training tasks."""
    path = tmp_path_factory.mktemp("actor") / "rollouts.sqlite"
    env = {
        "task": "selfreg/SIF-v0", "task_kwargs": {"split": "train"}, "actor": "scripted", "interventions": ["expert"],
    }  # fmt: skip
    options = {"help_probabilities": [0.0, 0.5], "seed": 2, "progress": False}
    selfreg_gym.collect(env, store=path, tasks=range(9), episodes=4, **options).close()
    return path


def test_the_states_are_those_that_help_has_reached(example: ModuleType, store: Path) -> None:
    with Rollouts.open(store) as rollouts:
        episodes = list(rollouts)
    decisions = [(episode.steps[t - 1] if t else None, step) for episode in episodes for t, step in enumerate(episode)]
    helped = [step.observation for before, step in decisions if before is not None and before.action]
    assert [text for text, _ in example.stored_decisions(store)] == helped
    alone = [
        step.observation
        for episode in episodes
        for t, step in enumerate(episode)
        if t and not any(one.action for one in episode.steps[:t])
    ]
    assert [text for text, _ in example.stored_decisions(store, "alone")] == alone
    every = example.stored_decisions(store, "all")
    assert len(every) == len(decisions)
    for (_, step), (_, target) in zip(decisions, every, strict=True):
        assert target in step.admissible_actions
        if step.action:  # the expert acted
            assert target == step.action_text


def test_stores_of_other_splits_are_refused(example: ModuleType, tmp_path: Path) -> None:
    env = {
        "task": "selfreg/SIF-v0", "task_kwargs": {"split": "test-seen"}, "actor": "scripted",
        "interventions": ["expert"],
    }  # fmt: skip
    path = tmp_path / "test.sqlite"
    selfreg_gym.collect(env, store=path, tasks=[0], episodes=1, help_probabilities=[0.5], progress=False).close()
    with pytest.raises(InvalidArgumentError, match="training tasks"):
        example.stored_decisions(path)


def test_further_training_and_comparison(example: ModuleType, repository: Path, store: Path, tmp_path: Path) -> None:
    start = repository / "agents" / "checkpoints" / "sif" / "tiny"
    records = [example.train_further(start, store, tmp_path / name, steps=2, count=16) for name in ("one", "two")]
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"]  # the seed determines it
    assert records[0]["decisions"] == 16
    before = {name: weight.clone() for name, weight in LM(start).scorer.model.named_parameters()}
    after = dict(LM(tmp_path / "one").scorer.model.named_parameters())
    changes = [float((after[name] - weight).detach().abs().max()) for name, weight in before.items()]
    assert 0 < max(changes) < 0.1
    compare = load_example(repository / "examples" / "compare_actors.py").compare
    found = compare(tmp_path / "one", tmp_path / "two", 2, ["seen"])["seen"]
    assert set(found) == {"success", "invalid", "failed after help", "invalid after help"}
    for row in found.values():
        assert row["difference"].value == 0.0
        assert 0 <= row["before"].value <= 1


@pytest.fixture
def demonstrations(example: ModuleType) -> ModuleType:
    """The module that the example imports; new processes can import it too."""
    pytest.importorskip("minigrid")
    return importlib.import_module("demonstrations")


def test_demonstrations_do_not_depend_on_the_number_of_processes(demonstrations: ModuleType, tmp_path: Path) -> None:
    family = dataclasses.replace(demonstrations.FAMILIES["babyai"], block=3)
    pairs = demonstrations.expert_decisions(family, 7, 0.2, 1)
    assert pairs == demonstrations.expert_decisions(family, 7, 0.2, 1, jobs=2)
    assert pairs != demonstrations.expert_decisions(family, 7, 0.2, 2)
    demonstrations.write(tmp_path / "pairs.jsonl.xz", pairs)
    assert demonstrations.read(tmp_path / "pairs.jsonl.xz") == pairs


def test_an_actor_of_another_family_is_trained_from_a_file(
    example: ModuleType, demonstrations: ModuleType, tmp_path: Path
) -> None:
    pairs = demonstrations.expert_decisions(demonstrations.FAMILIES["babyai"], 6, 0.1, 1)
    demonstrations.write(tmp_path / "pairs.jsonl.xz", pairs)
    recipe = dataclasses.replace(example.RECIPES["babyai"]["tiny"], hidden=12, steps=2, batch_size=4)
    record = example.train(recipe, tmp_path / "actor", family="babyai", demonstrations=tmp_path / "pairs.jsonl.xz")
    assert (record["family"], record["decisions"]) == ("babyai", len(pairs))
    rates = example.play(tmp_path / "actor", episodes=3, temperature=1.0, mode="rank", split="val", family="babyai")
    assert set(rates) == {"GoToLocal", "PickupLoc", "PutNextLocal", "all", "invalid"}
    assert rates["invalid"] == 0.0
