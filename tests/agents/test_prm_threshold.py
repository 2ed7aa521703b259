"""The threshold on p(s): toggling per state, steady per task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from selfreg_gym.agents.helpers.prm_threshold import PRMThreshold
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, UnknownNameError


class NumberPRM:
    """A process reward model of texts that are numbers."""

    def score(self, observations: Sequence[str]) -> np.ndarray:
        return np.array([float(text) for text in observations])


def test_it_helps_below_the_threshold() -> None:
    actions, state = PRMThreshold(NumberPRM(), 0.5).predict(("0.2", "0.5", "0.7"))
    assert actions.tolist() == [1, 0, 0]
    assert state is None


def test_one_text_gives_one_action() -> None:
    action, _ = PRMThreshold(NumberPRM(), 0.5, intervention=2).predict("0.2")
    assert action.shape == ()
    assert int(action) == 2


def test_usage_does_not_fall_with_the_knob_and_its_bounds_are_never_and_always() -> None:
    texts = [str(x) for x in (0.0, 0.1, 0.5, 0.9, 1.0)]
    helper = PRMThreshold(NumberPRM())
    low, high = helper.knob_bounds
    used = [helper.with_knob(x).predict(texts)[0].sum() for x in np.linspace(low, high, 30)]
    assert used == sorted(used)
    assert (used[0], used[-1]) == (0, 5)
    assert helper.with_knob(0.3).knob == 0.3


def test_per_state_it_toggles_per_task_it_does_not() -> None:
    row = ["0.2", "0.8", "0.2", "0.8"]
    seen: dict[str, list[int]] = {}
    for scope in ("state", "task"):
        helper, state = PRMThreshold(NumberPRM(), 0.5, scope=scope), None
        seen[scope] = []
        for t, text in enumerate(row):
            actions, state = helper.predict((text,), state, np.array([t == 0]))
            seen[scope] += actions.tolist()
    assert seen == {"state": [1, 0, 1, 0], "task": [1, 1, 1, 1]}


def test_per_task_the_memory_is_reset_where_an_episode_begins() -> None:
    helper = PRMThreshold(NumberPRM(), 0.5, scope="task")
    actions, state = helper.predict(("0.1", "0.9"), None, np.array([True, True]))
    assert actions.tolist() == [1, 0]
    before = state.copy()
    actions, after = helper.predict(("0.9", "0.1"), state, np.array([False, True]))
    assert actions.tolist() == [1, 1]
    np.testing.assert_array_equal(state, before)  # what was returned earlier is not written to
    assert helper.predict(("0.9", "0.9"), after)[0].tolist() == [1, 1]


def test_invalid_arguments_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="process reward model"):
        PRMThreshold(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="nan"):
        PRMThreshold(NumberPRM(), float("nan"))
    with pytest.raises(UnknownNameError, match="Did you mean 'state'"):
        PRMThreshold(NumberPRM(), scope="states")
    with pytest.raises(CheckpointError, match=r"prm\.json"):
        PRMThreshold.from_run(tmp_path)
