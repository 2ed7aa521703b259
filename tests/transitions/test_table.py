"""Episodes as integer columns."""

from __future__ import annotations

import pytest

from selfreg_gym.errors import ModelError
from selfreg_gym.transitions import TransitionModel


def test_increasing_steps_left_raise(step, episode):
    with pytest.raises(ModelError, match=r"goes from 2 to 3 at step 1"):
        TransitionModel.fit([episode([step(0, "a", 0, left=2), step(1, "a", 0, left=3)])])
