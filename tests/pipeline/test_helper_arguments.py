"""The arguments of the trainings of helpers: the task whose observations are augmented is closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.pipeline import training
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.directory import Run


@pytest.mark.parametrize("fails", [False, True])
def test_the_task_of_augmented_observations_is_closed_after_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    open_now: list[Any] = []

    class Watched(gym.Wrapper[Any, Any, Any, Any]):
        def close(self) -> None:
            open_now.remove(self)
            super().close()

    def watched(*arguments: Any) -> Any:
        open_now.append(Watched(build_task(*arguments)))
        return open_now[-1]

    monkeypatch.setattr(training, "build_task", watched)
    run = Run.open(tmp_path / "run", load_config(preset="smoke", overrides=["helper.augment=true"]))
    try:
        with training.helper_arguments(run) as arguments:
            assert callable(arguments["augment"])
            assert len(open_now) == 1
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert open_now == []


def test_without_augmentation_there_is_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(training, "build_task")
    run = Run.open(tmp_path / "run", load_config(preset="smoke", overrides=["helper.augment=false"]))
    with training.helper_arguments(run) as arguments:
        assert arguments["augment"] is None
