"""Selection by calibration and by an oracle, with known shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selfreg_gym.evaluation import EpisodeTable, Evaluation

N = 40


def columns(success: float, usage: float) -> dict[str, np.ndarray]:
    won = np.zeros(N)
    won[: round(success * N)] = 1.0
    flat = dict.fromkeys(("length", "helped", "toggles", "switches", "invalid", "invalid_after_help"), np.ones(N))
    return {**flat, "success": won, "usage": np.full(N, usage), "usage_1": np.full(N, usage), "error": np.zeros(N)}


def evaluation(calibrated: dict[str, float], *, knows_tasks: tuple[str, ...] = ()) -> Evaluation:
    """never 0.2 at 0, always 1.0 at 4; a@1 0.4, b@1 0.6, b@2 0.9, dp@1 0.95."""
    points = {"never": (0.2, 0.0), "always": (1.0, 4.0), "a@1": (0.4, 1.0), "b@1": (0.6, 1.0), "b@2": (0.9, 2.0)}
    points["dp@1"] = (0.95, 1.0)
    table = EpisodeTable(
        "seen",
        np.repeat(np.arange(N // 4), 4),
        np.arange(N),
        np.full(N, "", dtype=object),
        {key: columns(*point) for key, point in points.items()},
        fixed_tasks=False,
        resamples=20,
    )
    expected = {key: {"calibrated_usage": 1.0, "calibrated_success": value} for key, value in calibrated.items()}
    return Evaluation({"seen": table}, expected={"seen": expected}, meta={"seen": {"knows_tasks": list(knows_tasks)}})


def chosen(found: Evaluation) -> list[tuple[Any, ...]]:
    return [(one["budget"], one["selected"], one["oracle"]) for one in found.selection["helpers"]]


def test_selection_uses_calibration_and_the_oracle_uses_test_episodes() -> None:
    found = evaluation({"a@1": 0.7, "b@1": 0.5, "b@2": 0.9, "dp@1": 0.99}, knows_tasks=("dp@1",))
    assert chosen(found) == [(1.0, "a", "b")]  # at C = 2 a single helper is calibrated, and dp knows the tasks
    one = found.selection["helpers"][0]
    assert one["share"] == pytest.approx(0.25)
    assert one["oracle_share"] == pytest.approx(0.5)
    assert one["lost"] == pytest.approx(0.25)
    assert one["among"] == ["a", "b"]
    right = evaluation({"a@1": 0.4, "b@1": 0.5})
    assert chosen(right) == [(1.0, "b", "b")]
    assert right.selection["helpers"][0]["lost"] == 0.0


def test_helpers_without_calibration_are_not_selected() -> None:
    assert chosen(evaluation({"a@1": 0.7})) == []


def test_the_oracle_of_a_knob_is_the_hull_at_the_budget() -> None:
    knobs = {one["key"]: one for one in evaluation({}).selection["knobs"]}
    assert knobs["a@1"]["share"] == pytest.approx(0.25)  # on the coin line, and the hull is no higher
    assert knobs["a@1"]["oracle_share"] == pytest.approx(0.25)
    assert knobs["b@1"]["oracle_share"] == pytest.approx(0.5)
    assert knobs["b@2"]["oracle_share"] == pytest.approx(0.875)


def test_no_other_number_depends_on_a_selection_and_it_is_saved(tmp_path: Any) -> None:
    import json

    found = evaluation({"a@1": 0.7, "b@1": 0.5})
    other = evaluation({"a@1": 0.1, "b@1": 0.5})
    assert chosen(found) != chosen(other)
    assert found.comparisons == other.comparisons
    saved = json.loads(found.save(tmp_path / "evaluation.json").read_text())
    assert saved["selection"] == found.selection
    assert Evaluation.load(tmp_path / "evaluation.json").selection == found.selection
    assert saved["curves"] == found.curves
    by_name = {curve["helper"]: curve for curve in saved["curves"]}
    assert by_name["b"]["usage_for_half"] == pytest.approx(1.0)
    assert by_name["b"]["usage_for_80_percent"] == pytest.approx(1.8)
    assert by_name["b"]["largest_gap"] == pytest.approx(0.5)  # from 2 to 4 of 4
    low, high = by_name["b"]["best_lift_ci"]
    assert low < by_name["b"]["best_lift"] < high
    assert 0.15 < by_name["b"]["best_lift"] <= 0.3 < high  # the best of the points as measured is 0.3
    assert np.diff([0, *sorted([1, 2, *by_name["b"]["missing_usages"]]), 4]).max() <= 0.05 * 4 + 1e-9
