"""Data of a small known problem, and a frontier fitted to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.ensemble import Ensemble
from selfreg_gym.fitted.frontier import FittedFrontier
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.solve import fit_decisions
from selfreg_gym.transitions import TransitionModel
from tests.solver.conftest import make_random_model
from tests.support.sampled import sample_decisions

SMALL = {"prices": 8, "folds": 2, "members": 2, "hidden": 24, "rounds": 9, "final_rounds": 1, "steps": 24}


@contextmanager
def interrupted(round_: int, fold: int = 1) -> Iterator[None]:
    """A block whose fit is interrupted in the training of one fold."""
    train = Ensemble.train

    def stop(self: Ensemble, data: Any, targets: Any, current: int, rate: float) -> float:
        if (current, self.fold) == (round_, fold):
            raise KeyboardInterrupt
        return train(self, data, targets, current, rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ensemble, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.fixture(scope="session")
def small() -> Settings:
    return Settings(**SMALL)


@pytest.fixture(scope="session")
def model() -> TransitionModel:
    return make_random_model(np.random.default_rng(3), 12)


@pytest.fixture(scope="session")
def decisions(model: TransitionModel) -> LoggedDecisions:
    return sample_decisions(model, 1500, 5, tasks=30)


@pytest.fixture(scope="session")
def frontier(decisions: LoggedDecisions, small: Settings) -> FittedFrontier:
    return fit_decisions(decisions, small)
