"""The choice of a helper on validation tasks, with known success and usage."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.evaluation import EpisodeTable, Evaluation
from selfreg_gym.evaluation.choice import rank_helpers

N = 200
NEVER, ALWAYS = (0.2, 0.0), (1.0, 4.0)


def columns(success: float, usage: float, noise: float = 0.0) -> dict[str, np.ndarray]:
    """The same number of successes among the first and the second half of the episodes, shuffled by ``noise``."""
    won = np.zeros(N)
    won[: round(success * N)] = 1.0
    if noise:
        won = np.random.default_rng(int(1000 * noise)).permutation(won)
    flat = dict.fromkeys(("length", "helped", "toggles", "switches", "invalid", "invalid_after_help"), np.ones(N))
    return {**flat, "success": won, "usage": np.full(N, usage), "usage_1": np.full(N, usage), "error": np.zeros(N)}


def evaluation(**splits: dict[str, tuple[float, float]]) -> Evaluation:
    tables = {
        split: EpisodeTable(
            split,
            np.repeat(np.arange(N // 2), 2),
            np.arange(N),
            np.full(N, "", dtype=object),
            {key: columns(*point, noise=0.1 * i) for i, (key, point) in enumerate(points.items())},
            fixed_tasks=False,
            resamples=200,
        )
        for split, points in splits.items()
    }
    return Evaluation(tables)


def test_the_helper_with_the_largest_success_at_the_budget_comes_first() -> None:
    """Of points on one line from never to always, the dearer one has more success and is no better."""
    points = {"never": NEVER, "always": ALWAYS, "a@1": (0.4, 1.0), "b@1": (0.6, 1.0), "dear@1": (0.75, 2.0)}
    found = rank_helpers(evaluation(val=points), ["a", "b", "dear"], budget=1.0)
    assert [one["helper"] for one in found] == ["b", "dear", "a"]
    assert [one["success"]["value"] for one in found] == pytest.approx([0.6, 0.475, 0.4])
    assert [one["shares"]["val"] for one in found] == pytest.approx([0.5, 0.34375, 0.25])
    assert [one["usage"] for one in found] == pytest.approx([1.0, 2.0, 1.0])


def test_splits_have_equal_weight_and_differences_are_paired() -> None:
    one = {"never": NEVER, "always": ALWAYS, "a@1": (0.7, 1.0), "b@1": (0.5, 1.0)}
    two = {"never": NEVER, "always": ALWAYS, "a@1": (0.5, 1.0), "b@1": (0.6, 1.0)}
    both = evaluation(x=one, y=two)
    first, second = rank_helpers(both, ["b", "a"], budget=1.0)
    assert (first["helper"], second["helper"]) == ("a", "b")
    assert first["success"]["value"] == pytest.approx(0.6)
    assert first["difference"] == {"value": 0.0, "ci": [0.0, 0.0]}
    assert second["difference"]["value"] == pytest.approx(-0.05)
    low, high = second["difference"]["ci"]
    assert low < -0.05 < high
    each = [both.paired_difference("b@1", "a@1", split=split) for split in ("x", "y")]
    width = np.sqrt(sum((one.high - one.low) ** 2 for one in each)) / 2
    assert high - low == pytest.approx(width, rel=0.15), "independent splits"


def test_equal_helpers_keep_their_order_and_bad_requests_are_errors() -> None:
    points = {"never": NEVER, "always": ALWAYS, "a@1": (0.6, 1.0), "b@1": (0.6, 1.0)}
    found = evaluation(val=points)
    assert [one["helper"] for one in rank_helpers(found, ["b", "a"], budget=1.0)] == ["b", "a"]
    with pytest.raises(InvalidArgumentError, match="at least one helper"):
        rank_helpers(found, [], budget=1.0)
    with pytest.raises(UnknownNameError, match="'c'"):
        rank_helpers(found, ["a", "c"], budget=1.0)
    with pytest.raises(UnknownNameError, match="upper"):
        rank_helpers(evaluation(val={"never": NEVER, "a@1": (0.6, 1.0)}), ["a"], budget=1.0)


def test_the_interval_of_a_success_rate_stays_within_0_and_1() -> None:
    points = {"never": NEVER, "always": ALWAYS, "a@1": (0.995, 1.0), "b@1": (0.0, 1.0)}
    found = rank_helpers(evaluation(x=points, y=points), ["a"], budget=1.0)
    assert found[0]["success"]["ci"][1] == 1.0
