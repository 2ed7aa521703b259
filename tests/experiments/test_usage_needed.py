"""The usage at which a curve reaches 95 % of always asking."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.experiments.usage_needed import usage_reaching


def evaluation(points: dict[str, tuple[float, float]], n: int = 400) -> Evaluation:
    """Helpers with a mean usage and a success rate (usage, success) on n tasks; successes are nested."""
    index = np.arange(n)
    order = np.random.default_rng(0).permutation(n)
    columns = {
        key: {
            "usage": np.full(n, usage),
            "success": (order < success * n).astype(float),
            "length": np.full(n, 8.0),
            "helped": np.full(n, usage),
            "error": np.zeros(n),
        }
        for key, (usage, success) in points.items()
    }
    return Evaluation({"seen": EpisodeTable("seen", index, index, np.full(n, "", object), columns, False)})


def test_it_is_read_on_the_line_between_two_points() -> None:
    found = evaluation({"never": (0, 0.2), "always": (6, 0.9), "random@1": (1, 0.6), "random@2": (2, 0.88)})
    estimate = usage_reaching(found, "seen", "random")
    assert estimate.value == pytest.approx(1 + (0.95 * 0.9 - 0.6) / 0.28)
    assert estimate.low < estimate.value < estimate.high
    of_gap = usage_reaching(found, "seen", "random", of_gap=True)
    assert of_gap.value == pytest.approx(1 + (0.2 + 0.95 * 0.7 - 0.6) / 0.28)


def test_a_dip_is_pooled_with_its_neighbour() -> None:
    """The isotonic curve of 0.9 and 0.8 is 0.85 at both, which is below 0.855: only always reaches it."""
    found = evaluation({"never": (0, 0.2), "always": (6, 0.9), "random@1": (1, 0.9), "random@2": (2, 0.8)})
    assert usage_reaching(found, "seen", "random").value == pytest.approx(2 + 4 * (0.855 - 0.85) / 0.05)


def test_never_asking_is_enough_where_help_adds_little() -> None:
    found = evaluation({"never": (0, 0.89), "always": (6, 0.9), "random@1": (1, 0.9)})
    assert usage_reaching(found, "seen", "random").value == 0.0
