"""Invalid helpers are errors that say what to write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selfreg_gym import InterventionEnv, as_helper, evaluate, registry
from selfreg_gym.calibration import calibrate
from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec

ENV = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
Never = registry.load("helpers", "never")


WRONG = [
    (Never, r"received the class Never: write Never\("),
    ("never", r"received the text 'never': selfreg_gym\.registry\.load\('helpers', 'never'\)\(\)"),
    (None, "received None of type NoneType"),
]


@pytest.mark.parametrize(("helper", "message"), WRONG)
def test_invalid_helpers_are_refused_by_evaluate_and_calibrate(helper: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        evaluate(ENV, {"mine": helper}, tasks=range(2), episodes=1, progress=False)
    with pytest.raises(InvalidArgumentError, match=message):
        calibrate(helper, ENV, budget=1, tasks=range(2), episodes=4)


@pytest.mark.parametrize(("helper", "message"), WRONG[:2])
def test_invalid_helpers_are_refused_by_run_episodes(helper: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        run_episodes(InterventionEnv("selfreg/Coin-v0", "scripted", ["expert"]), [EpisodeSpec(0, 0)], helper)


def test_helpers_come_by_key_and_tasks_in_a_sequence() -> None:
    with pytest.raises(InvalidArgumentError, match=r"at least one helper.*received \["):
        evaluate(ENV, [Never()], tasks=range(2), episodes=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"a helper's key must be NAME.*received 1"):
        evaluate(ENV, {1: Never()}, tasks=range(2), episodes=1)  # type: ignore[dict-item]
    for tasks in (2, "2", [0.5], [-1]):
        with pytest.raises(InvalidArgumentError, match=r"tasks must be (a sequence|different indices)"):
            evaluate(ENV, {"never": Never()}, tasks=tasks, episodes=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"write range\(2\)"):
        calibrate(registry.load("helpers", "random")(), ENV, budget=1, tasks=2, episodes=4)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"episodes (\(per task\)|per task)"):
        evaluate(ENV, {"never": Never()}, tasks=range(2), episodes=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [0.5, "help", None, np.array([0, 1]), float("nan")])
def test_an_answer_that_is_not_an_integer_is_an_error(answer: Any) -> None:
    """0.5 was once read as nohelp."""
    helper = as_helper(lambda text: answer)
    for observation in ("a text", ("one", "two")):
        with pytest.raises(TaskContractError, match=r"must return an integer: 0 \(nohelp\).*returned"):
            helper.predict(observation)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [1, True, 1.0, np.int64(1), np.bool_(True), np.array([1]), np.float32(1)])
def test_every_integer_type_is_an_answer(answer: Any) -> None:
    assert as_helper(lambda text: answer).predict("a text")[0] == 1
