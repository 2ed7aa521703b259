"""The choice between the helpers of a run by another collection, without playing."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfreg_gym import Rollouts, collect
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.pipeline import STAGES, choose_helper
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import run_stages

OVERRIDES = (
    "collect.tasks=6", "collect.episodes=12", "values.prices=5", "values.folds=2", "values.members=1",
    "values.hidden=16", "values.rounds=3", 'evaluate.helpers=["never", "always", "random", "fitted"]',
    "evaluate.budgets=[1.0, 2.0]", 'interventions.ids=["guide=expert"]',
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = load_config(preset="smoke", overrides=OVERRIDES)
    found = Run.open(tmp_path_factory.mktemp("runs") / "run", config, progress=False, say=lambda line: None)
    run_stages(found, STAGES, ["collect", "fit-values"])
    return found


def collection(run: Run, path: Path, tasks: range, episodes: int = 30, **env) -> Rollouts:
    probabilities = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
    return collect(
        {**run.env_kwargs(), **env}, store=path, tasks=tasks, episodes=episodes, help_probabilities=probabilities,
        seed=9, workers=1, progress=False,
    )  # fmt: skip


def test_helpers_are_compared_on_tasks_that_trained_none(run: Run, tmp_path: Path) -> None:
    with collection(run, tmp_path / "other.sqlite", range(6, 14)) as rollouts:
        choice = choose_helper(run, rollouts, names=["random", "fitted"], draws=2, min_effective=1.0)
        only = choose_helper(run, rollouts, budget=2.0, min_effective=1.0)
    assert choice.budget == 1.0
    assert {one.name for one in choice.candidates} == {"random", "fitted"}
    best = choice.candidates[0]
    assert best.name == choice.name
    assert best.supported
    assert best.points.shape == (2, 2)  # usage and success at both budgets of the config
    assert 0 < best.points[0, 0] < best.points[1, 0]
    assert (only.budget, only.name) == (2.0, "fitted")  # the only helper that can be deployed


def test_rollouts_that_cannot_judge_the_helpers_are_errors(run: Run, tmp_path: Path) -> None:
    with (
        Rollouts.open(run.path / "rollouts.sqlite") as own,
        pytest.raises(InvalidArgumentError, match="tasks on which no helper was trained, and 6 of its tasks"),
    ):
        choose_helper(run, own)
    with (
        collection(run, tmp_path / "actor.sqlite", range(6, 7), 6, actor="tiny") as other,
        pytest.raises(InvalidArgumentError, match="must have the actor of the run, 'scripted', received 'tiny'"),
    ):
        choose_helper(run, other)
    costs = {"guide": {"cost": 2.0}}
    with (
        collection(run, tmp_path / "cost.sqlite", range(6, 7), 6, intervention_kwargs=costs) as other,
        pytest.raises(InvalidArgumentError, match=r"intervention_kwargs of the run, None, received .*2\.0"),
    ):
        choose_helper(run, other)
    history = {**run.env_kwargs()["task_kwargs"], "history": 3}
    with (
        collection(run, tmp_path / "history.sqlite", range(6, 7), 6, task_kwargs=history) as other,
        pytest.raises(InvalidArgumentError, match="history of the run, None, received 3"),
    ):
        choose_helper(run, other)
    with pytest.raises(InvalidArgumentError, match="a Rollouts store"):
        choose_helper(run, [])
    with (
        collection(run, tmp_path / "new.sqlite", range(6, 7), 6) as new,
        pytest.raises(UnknownNameError, match="fited"),
    ):
        choose_helper(run, new, names=["fited"])
