"""Helper keys, and the helpers that others are compared with: declared references, not names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.evaluation import EpisodeTable, Evaluation, evaluate
from selfreg_gym.helper import Helper, HelperKey

N = 40
ENV = {"task": "selfreg/Coin-v0", "actor": lambda observation: "heads", "interventions": ["expert"]}


class Fixed(Helper):
    """Always the same action."""

    def __init__(self, action: int) -> None:
        self.action = action

    def decide(self, observations, state, start):
        return np.full(len(start), self.action), state


def measured(success: float, usage: float, toggles: float = 0.0) -> dict[str, np.ndarray]:
    won = (np.arange(N) < round(success * N)).astype(float)
    flat = {"usage": usage, "toggles": toggles, "length": 5.0, "helped": usage, "error": 0.0}
    return {"success": won, **{name: np.full(N, value) for name, value in flat.items()}}


def evaluation(points: dict[str, tuple[float, ...]], declared: dict[str, str] | None = None) -> Evaluation:
    columns = {key: measured(*point) for key, point in points.items()}
    table = EpisodeTable(
        "hard", np.arange(N), np.arange(N), np.full(N, "", dtype=object), columns, fixed_tasks=False, resamples=20
    )
    records = {name: {"reference": reference} for name, reference in (declared or {}).items()}
    return Evaluation({"hard": table}, meta={"hard": {"helpers": records}})


POINTS = {"nothing": (0.2, 0.0), "everything": (1.0, 4.0), "dice@1": (0.4, 1.0), "mine@1": (0.6, 1.0, 2.0)}
DECLARED = {"nothing": "lower", "everything": "upper", "dice": "random"}


def test_references_are_declared_and_not_named():
    found = evaluation(POINTS, DECLARED)
    mine = found.recovery("mine", budget=1.0)
    assert mine.share.value == pytest.approx(0.5)
    assert mine.random is not None
    assert mine.random.value == pytest.approx(0.25)
    assert found.at_equal_usage("mine", budget=1.0).other == "dice"
    assert {item["helper"] for item in found.comparisons} == {"dice", "mine"}
    assert {curve["helper"] for curve in found.curves} == {"dice", "mine"}
    assert not any("has no result of" in text for text in found.warnings)


def test_without_references_there_is_no_gap():
    found = evaluation(POINTS)
    assert found.comparisons == found.curves == []
    assert any("has no result of never asking and always asking" in text for text in found.warnings)
    with pytest.raises(UnknownNameError, match="lower"):
        found.recovery("mine", budget=1.0)
    with pytest.raises(UnknownNameError, match="random"):
        found.at_equal_usage("mine", budget=1.0)


def test_toggles_are_compared_with_a_declared_threshold():
    points = POINTS | {"cut@1": (0.5, 1.0, 5.0), "cut:far@1": (0.5, 3.0, 7.0)}
    found = evaluation(points, DECLARED | {"cut": "threshold", "cut:far": "threshold"})
    items = {item["key"]: item.get("toggles_against_prm_threshold") for item in found.comparisons}
    assert items["mine@1"]["other"] == "cut"
    assert items["mine@1"]["difference"]["value"] == pytest.approx(2.0 - 5.0)
    assert items["cut@1"] is items["dice@1"] is None


def test_any_object_under_a_registered_id_takes_its_place():
    """Also in files of earlier versions, which hold no declarations."""
    names = {"nothing": "never", "everything": "always", "dice@1": "random@1", "mine@1": "mine@1"}
    found = evaluation({names[key]: point for key, point in POINTS.items()})
    old = replace(found, meta={})
    assert old.comparisons == found.comparisons
    assert old.recovery("mine", budget=1.0) == found.recovery("mine", budget=1.0)
    assert old.description("never").reference == "lower"
    assert old.description("no such helper").reference is None


@pytest.mark.parametrize("budget", [1 / 3, 0.1 + 0.2, 1e-7, 2.0])
def test_a_budget_comes_back_exactly(tmp_path, budget):
    helpers = {HelperKey("never"): Fixed(0), "always": Fixed(1), HelperKey("mine", budget, 3): Fixed(1)}
    found = evaluate(ENV, helpers, tasks=range(4), episodes=2, progress=False, warn=False)
    loaded = Evaluation.load(found.save(tmp_path / "evaluation.json"))
    for one in (found, loaded):
        assert {row["budget"] for row in one.rows} == {None, budget}
        assert one.recovery("mine", budget=budget).budget == budget
        assert HelperKey("mine", budget, 3) in one.table().columns
    assert {row["key"] for row in loaded.rows} == {"never", "always", str(HelperKey("mine", budget, 3))}


def test_keys_that_mean_the_same_are_refused():
    with pytest.raises(InvalidArgumentError, match=r"must differ, received mine@1, mine@1\.0"):
        evaluate(ENV, {"mine@1": Fixed(0), "mine@1.0": Fixed(1)}, tasks=[0], episodes=1)
    with pytest.raises(InvalidArgumentError, match="must differ"):
        evaluation({"mine@1": (0.2, 0.0), "mine@1.0": (0.3, 0.0)})


def test_merged_parts_keep_what_their_helpers_declare():
    parts = [
        evaluate(ENV, {name: helper}, tasks=range(4), episodes=2, progress=False, warn=False)
        for name, helper in (("nothing", Lower()), ("mine", Fixed(1)))
    ]
    assert Evaluation.merge(*parts).description("nothing").reference == "lower"


class Lower(Fixed):
    reference = "lower"

    def __init__(self) -> None:
        super().__init__(0)
