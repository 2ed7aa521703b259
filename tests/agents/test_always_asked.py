"""The upper end of the knob of helpers with gains: the intervention that is always asked there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym import InterventionVectorEnv, Rollouts, collect, run_episodes
from selfreg_gym.agents.helpers._always import always_asked
from selfreg_gym.agents.helpers.averagers import Averagers
from selfreg_gym.agents.helpers.fitted import Fitted
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.fitted import FittedFrontier, MissingSupportWarning, solve_fitted
from selfreg_gym.fitted.estimates import Estimates
from selfreg_gym.fitted.priced import PricedFrontier
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Intervention

SMALL: dict[str, Any] = {"prices": 6, "folds": 2, "members": 1, "hidden": 32, "rounds": 6, "batch": 128}


class Estimated(PricedFrontier):
    """A frontier with two prices, of which only the estimates are known: at the prices, never, and always 1, 2, 3."""

    prices = np.array([0.0, 0.5])
    encoder = None

    def __init__(self, always: Sequence[tuple[float, float]], tried: Sequence[bool] = (True, True, True)) -> None:
        success, usage = np.array([(0.8, 2.0), (0.6, 1.0), (0.3, 0.0), *always]).T
        self.estimates = Estimates(success, usage, success[None], usage[None], self.prices)
        self._tried = np.array(tried)

    @property
    def tried(self) -> np.ndarray:
        return self._tried

    def values(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("always", "tried", "expected"),
    [
        ([(0.7, 3.0), (0.9, 2.5), (0.6, 8.0)], (1, 1, 1), 2),  # the largest success
        ([(0.7, 3.0), (0.9, 2.5), (0.6, 8.0)], (1, 0, 1), 1),  # of those that occur
        ([(0.7, 3.0), (0.9, 1.5), (0.6, 8.0)], (1, 1, 1), 1),  # and that do not lower usage
        ([(0.7, 1.0), (0.9, 1.5), (0.6, 0.5)], (1, 1, 1), 3),  # none of these: the most expensive
        ([(0.7, 1.0), (0.9, 1.5), (0.6, 0.5)], (1, 1, 0), 2),  # that occurs
        ([(0.7, 1.0), (0.9, 1.5), (0.6, 0.5)], (0, 0, 0), 3),  # no intervention occurs
    ],
)
def test_the_choice(always: list[tuple[float, float]], tried: tuple[int, ...], expected: int) -> None:
    frontier = Estimated(always, [bool(one) for one in tried])
    assert always_asked(frontier, [0.1, 0.3, 1.0]) == expected


def test_other_teachers_have_no_estimates() -> None:
    assert always_asked(object(), [0.5, 2.0, 2.0]) == 2
    stay = np.zeros((3, 2, 2))
    available = [[True, True], [False, True], [False, False]]
    model = TransitionModel(stay, np.ones((3, 2)), [0.5, 0.5], cost=[0.0, 0.5, 2.0], available=available)
    assert always_asked(model, [0.5, 2.0]) == 1, "the second intervention occurs nowhere"


def tails(text: str) -> str:
    """Answers "tails" to everything."""
    return "tails"


def vector() -> InterventionVectorEnv:
    return InterventionVectorEnv(
        16,
        "selfreg/Coin-v0",
        "scripted",
        [Intervention(tails, name="tails", cost=2.0), "expert"],
        autoreset_mode="Disabled",
    )


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Rollouts:
    """Rollouts in which the more expensive intervention, the first, never occurs."""
    store = tmp_path_factory.mktemp("always") / "rollouts.sqlite"
    return collect(vector(), store=store, tasks=range(40), episodes=11, help_shares=[0.0, 1.0], progress=False)


@pytest.fixture(scope="module")
def frontier(rollouts: Rollouts) -> FittedFrontier:
    with pytest.warns(MissingSupportWarning, match="help 1 never occurs"):
        return solve_fitted(rollouts, inputs=("features", "steps_left"), progress=False, **SMALL)


def test_the_frontier_knows_what_occurs(frontier: FittedFrontier, tmp_path: Path) -> None:
    assert frontier.tried.tolist() == [False, True]
    frontier.save(tmp_path / "values")
    assert FittedFrontier.load(tmp_path / "values").tried.tolist() == [False, True]


@pytest.mark.parametrize("kind", ["same inputs", "student", "averagers"])
def test_an_intervention_without_data_is_not_asked(
    rollouts: Rollouts, frontier: FittedFrontier, kind: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"costs": [2.0, 1.0], "progress": False}
    if kind == "averagers":
        helper: Any = Averagers.train(rollouts, frontier, neighbours=(10,), **options)
    else:
        more = {"inputs": ["steps_left"], "epochs": 2} if kind == "student" else {}
        helper = Fitted.train(rollouts, frontier, **options, **more)
    end = helper.with_knob(helper.knob_bounds[1])
    episodes = list(run_episodes(vector(), [EpisodeSpec(100 + i, i) for i in range(16)], end))
    assert {step.action for episode in episodes for step in episode.decisions} == {2}
    assert all(episode.success for episode in episodes)
    cost = np.mean([episode.cost for episode in episodes])
    assert end.expected_usage == pytest.approx(cost, abs=0.3)
    assert end.expected_success > 0.9
    end.save_pretrained(tmp_path)
    assert type(helper).from_pretrained(tmp_path).always == 2


def test_helpers_of_earlier_versions_ask_the_most_expensive(
    rollouts: Rollouts, frontier: FittedFrontier, tmp_path: Path
) -> None:
    Fitted.train(rollouts, frontier, costs=[2.0, 1.0], progress=False).save_pretrained(tmp_path)
    file = tmp_path / "helper.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "always": 3}))
    with pytest.raises(CheckpointError, match=r"'always' in .* must be null, or the number of an intervention"):
        Fitted.from_pretrained(tmp_path)
    record.pop("always")
    file.write_text(json.dumps({**record, "format": "selfreg-values-helper-2"}))
    assert Fitted.from_pretrained(tmp_path).always == 1
    with pytest.raises(InvalidArgumentError, match="always, the intervention at the end of the knob, must be"):
        Fitted(frontier, costs=[2.0, 1.0], always=3)
