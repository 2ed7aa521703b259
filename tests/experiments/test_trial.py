"""Trials: their seeds, their tasks, and their run directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfreg_gym.experiments.running import config_of
from selfreg_gym.experiments.studies.self_regulation import SelfRegulation
from selfreg_gym.experiments.trial import FIRST_TASK, Trial, of_seed
from selfreg_gym.pipeline.config import RunConfig


def config(*overrides: str) -> RunConfig:
    return config_of(SelfRegulation(), quick=True, overrides=overrides)


def test_trials_differ_in_all_seeds_but_those_of_the_evaluation() -> None:
    base = config()
    first, second = of_seed(base, 0), of_seed(base, 1)
    for name in RunConfig.model_fields:
        sections = [getattr(one, name) for one in (base, first, second)]
        if not hasattr(sections[0], "seed"):
            assert sections[0] == sections[1] == sections[2]
        elif name in ("calibrate", "select", "evaluate"):
            assert sections[0].seed == sections[1].seed == sections[2].seed
        else:
            assert len({section.seed for section in sections}) == 3, "also another seed than that of the demo"


def test_new_tasks_are_not_those_of_the_demo(tmp_path: Path) -> None:
    trial = Trial(0, of_seed(config(), 0), tmp_path, say=lambda line: None)
    assert trial.tasks() == trial.tasks("collected") == range(12)
    assert trial.tasks("unseen") == range(FIRST_TASK, FIRST_TASK + 12)


def test_the_last_tasks_are_taken_where_there_are_few(tmp_path: Path) -> None:
    """Coin has 1000 tasks."""
    few = config("task.id=selfreg/Coin-v0", "task.splits.new={heads=0.6}", "task.splits.collected={}")
    trial = Trial(0, of_seed(few, 0), tmp_path, say=lambda line: None)
    assert trial.tasks("new") == range(988, 1000)


def test_sizes_of_the_evaluation_do_not_change_the_run(tmp_path: Path) -> None:
    paths = {
        Trial(0, of_seed(config(change), 0), tmp_path, say=lambda line: None).run().path
        for change in ("evaluate.tasks=3", "evaluate.episodes=7", "calibrate.episodes=9", "select.tasks=5")
    }
    assert len(paths) == 1
    other = Trial(0, of_seed(config("collect.episodes=5"), 0), tmp_path, say=lambda line: None).run().path
    assert other not in paths


@pytest.mark.parametrize("episodes", [1, 5, 12, 13, 504])
def test_episodes_are_at_least_those_asked_for(episodes: int) -> None:
    found = config_of(SelfRegulation(), quick=True, episodes=episodes).evaluate
    assert found.tasks <= 12
    assert episodes <= found.tasks * found.episodes < episodes + found.tasks
