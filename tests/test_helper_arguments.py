"""What is given as a helper: an object with ``predict``; anything else is an error that says what to write."""

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


@pytest.mark.parametrize(("helper", "told"), WRONG)
def test_what_is_no_helper_is_refused_by_evaluate_and_calibrate(helper: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        evaluate(ENV, {"mine": helper}, tasks=range(2), episodes=1, progress=False)
    with pytest.raises(InvalidArgumentError, match=told):
        calibrate(helper, ENV, budget=1, tasks=range(2), episodes=4)


@pytest.mark.parametrize(("helper", "told"), WRONG[:2])
def test_what_is_no_helper_is_refused_by_play(helper: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        run_episodes(InterventionEnv("selfreg/Coin-v0", "scripted", ["expert"]), [EpisodeSpec(0, 0)], helper)


def test_helpers_come_by_key_and_tasks_in_a_sequence() -> None:
    with pytest.raises(InvalidArgumentError, match=r"at least one helper.*received \["):
        evaluate(ENV, [Never()], tasks=range(2), episodes=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"a helper's key is NAME.*received 1"):
        evaluate(ENV, {1: Never()}, tasks=range(2), episodes=1)  # type: ignore[dict-item]
    for tasks in (2, "2", [0.5], [-1]):
        with pytest.raises(InvalidArgumentError, match=r"tasks must be (a sequence|different indices)"):
            evaluate(ENV, {"never": Never()}, tasks=tasks, episodes=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"write range\(2\)"):
        calibrate(registry.load("helpers", "random")(), ENV, budget=1, tasks=2, episodes=4)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"episodes \(per task\)"):
        evaluate(ENV, {"never": Never()}, tasks=range(2), episodes=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [0.5, "help", None, np.array([0, 1]), float("nan")])
def test_an_answer_that_is_no_integer_is_never_rounded(answer: Any) -> None:
    """0.5 was read as nohelp, without a message."""
    helper = as_helper(lambda text: answer)
    for observation in ("a text", ("one", "two")):
        with pytest.raises(TaskContractError, match=r"answers an observation with an integer: 0 \(nohelp\).*answered"):
            helper.predict(observation)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [1, True, 1.0, np.int64(1), np.bool_(True), np.array([1]), np.float32(1)])
def test_every_kind_of_whole_number_is_an_answer(answer: Any) -> None:
    assert as_helper(lambda text: answer).predict("a text")[0] == 1
