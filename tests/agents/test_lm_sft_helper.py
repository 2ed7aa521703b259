"""The trained helper: it learns when to ask, obeys its budget, is calibrated by its offset, and is saved whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.errors import CheckpointError, InvalidArgumentError

THINGS = "cup hat book bowl plate shoe".split()
NEED = {"cup": 0.25, "hat": 0.75, "book": 1.5, "bowl": 2.5}  # the budget from which help is worth it; else never
BUDGETS = (0.5, 1.0, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class LabelFields:
    """The fields of a label that a helper reads."""

    observation: str
    budget: float
    action: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Labelled(LabelFields):
    """With the task, by which labels are held out."""

    task_id: str = ""


def observation(thing: str, rng: np.random.Generator) -> str:
    rooms = [f"Room {i}: table with {rng.choice(THINGS)}." for i in range(1, 3)]
    return "\n".join([*rooms, f"You are in Room {rng.integers(1, 3)} and hold a {thing}."])


def rows(count: int, *, seed: int = 0, second: str | None = None) -> list[LabelFields]:
    """The label is help from the thing's budget on; for ``second`` it is the second intervention."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        thing, budget = str(rng.choice(THINGS)), float(rng.choice(BUDGETS))
        action = int(budget >= NEED.get(thing, 99.0)) * (2 if thing == second else 1)
        out.append(LabelFields(observation(thing, rng), budget, action))
    return out


@pytest.fixture(scope="module")
def helper() -> LMSFTHelper:
    labels = rows(1600)
    features = {row.observation: row.observation.split()[-1] for row in labels[:1500]}  # what is held; unknown for some
    helper = LMSFTHelper.train(labels, seed=1, epochs=8, lr=1e-3, features=features, progress=False)
    assert helper.info["features"] == len(THINGS)
    return helper


def accuracy(helper: LMSFTHelper, labels: list[LabelFields]) -> float:
    right = [int(helper.with_budget(row.budget).predict(row.observation)[0]) == row.action for row in labels]
    return float(np.mean(right))


def test_it_learns_when_to_ask(helper: LMSFTHelper) -> None:
    assert accuracy(helper, rows(200, seed=5)) > 0.9


def test_a_larger_budget_asks_more(helper: LMSFTHelper) -> None:
    texts = [row.observation for row in rows(120, seed=6)]
    used = [helper.with_budget(budget).predict(texts)[0].mean() for budget in BUDGETS]
    assert used == sorted(used)
    assert used[0] < 0.35 < 0.5 < used[-1]


def test_usage_does_not_fall_with_the_offset_and_its_bounds_are_never_and_always(helper: LMSFTHelper) -> None:
    texts = [row.observation for row in rows(60, seed=7)]
    low, high = helper.knob_bounds
    used = [helper.with_knob(x).predict(texts)[0].sum() for x in np.linspace(low, high, 41)]
    assert used == sorted(used)
    assert (used[0], used[-1]) == (0, 60)
    assert helper.with_offset(1.5).knob == 1.5
    assert helper.with_offset(1.5).with_budget(2).knob == 0.0  # an offset belongs to the budget it was found for
    assert helper.with_budget(2).with_offset(1.5).budget == 2


def test_predict_has_the_shapes_of_stable_baselines(helper: LMSFTHelper) -> None:
    texts = tuple(row.observation for row in rows(5, seed=8))
    actions, state = helper.predict(texts, state="kept", episode_start=np.ones(5, dtype=bool))
    assert actions.shape == (5,)
    assert actions.dtype == np.int64
    assert state == "kept"
    action, _ = helper.predict(texts[0], deterministic=True)
    assert action.shape == ()
    assert [int(helper.predict(text)[0]) for text in texts] == actions.tolist()


def test_saved_and_loaded_it_decides_the_same(helper: LMSFTHelper, tmp_path: Path) -> None:
    texts = [row.observation for row in rows(20, seed=9)]
    changed = helper.with_budget(2.0).with_offset(0.25)
    changed.save_pretrained(tmp_path / "helper")
    loaded = LMSFTHelper.from_pretrained(tmp_path / "helper", memo=0)
    assert (loaded.budget, loaded.offset) == (2.0, 0.25)
    np.testing.assert_allclose(loaded.logits(texts), changed.logits(texts), atol=3e-4)
    alone = np.concatenate([loaded.logits([text]) for text in texts])
    np.testing.assert_allclose(alone, loaded.logits(texts), atol=3e-4)
    from_run = LMSFTHelper.from_run(tmp_path, budget=3.0)
    assert (from_run.budget, from_run.offset) == (3.0, 0.0)


def test_two_interventions_are_distinguished_with_adapters() -> None:
    helper = LMSFTHelper.train(rows(1200, second="cup"), seed=1, epochs=6, lora=True, progress=False)
    assert helper.logits(["Room 1: table."]).shape == (1, 2)
    rng = np.random.default_rng(3)
    cups = [observation("cup", rng) for _ in range(20)]
    hats = [observation("hat", rng) for _ in range(20)]
    assert np.mean(helper.with_budget(3).predict(cups)[0] == 2) > 0.7
    assert np.mean(helper.with_budget(3).predict(hats)[0] == 1) > 0.7


def test_weights_decide_where_labels_disagree() -> None:
    rng = np.random.default_rng(0)
    texts = [observation("cup", rng) for _ in range(150)]
    labels = [LabelFields(text, 1.0, 1, 0.9) for text in texts] + [LabelFields(text, 1.0, 0, 0.1) for text in texts]
    helper = LMSFTHelper.train(labels, seed=1, progress=False)
    assert helper.predict([observation("cup", rng) for _ in range(20)])[0].mean() > 0.9


def test_a_seed_replays_a_training() -> None:
    first, second = (LMSFTHelper.train(rows(60), seed=4, max_labels=40, progress=False) for _ in range(2))
    text = rows(1, seed=2)[0].observation
    np.testing.assert_array_equal(first.logits([text]), second.logits([text]))
    assert 30 < first.info["trained_on"] < 50  # observations are drawn, with all their budgets


def test_a_directory_without_a_helper_is_refused(helper: LMSFTHelper, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"helper\.json"):
        LMSFTHelper.from_pretrained(tmp_path)
    helper.save_pretrained(tmp_path)
    record = json.loads((tmp_path / "helper.json").read_text())
    for text, message in ((json.dumps({**record, "format": "old"}), "'old'"), ("{}", "cannot be read")):
        (tmp_path / "helper.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            LMSFTHelper.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        ([], {}, "received none"),
        ([LabelFields("a", 1.0, -1)], {}, "received -1"),
        ([LabelFields("a", 1.0, 2)], {"interventions": 1}, "K = 1"),
        ([LabelFields("a", 1.0, 1, 0.0)], {}, "not all 0"),
    ],
)
def test_invalid_labels_are_errors(labels: list[LabelFields], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        LMSFTHelper.train(labels, progress=False, **arguments)


def test_a_budget_is_not_negative(helper: LMSFTHelper) -> None:
    with pytest.raises(InvalidArgumentError, match=r"-1"):
        helper.with_budget(-1)


def test_augmented_observations_teach_what_no_label_shows() -> None:
    """With every plate augmented to a shoe, the same labels teach that a shoe needs no help."""
    labels = [row for row in rows(500, seed=2) if not row.observation.endswith("shoe.")]

    def swap(text: str, rng: np.random.Generator) -> str:
        return text.replace("plate", "shoe") if rng.random() < 0.5 else text

    def asked(augment: Any) -> float:
        helper = LMSFTHelper.train(labels, seed=1, epochs=5, lr=1e-3, augment=augment, progress=False)
        assert helper.info["augmented"] is (augment is not None)
        rng = np.random.default_rng(9)
        return float(helper.with_budget(3.0).logits([observation("shoe", rng) for _ in range(30)]).mean())

    assert asked(swap) < asked(None) - 1.0


def test_held_out_labels_of_weight_0_allow_no_validation() -> None:
    from selfreg_gym.prm.targets import split_tasks

    tasks = [f"task {i % 4}" for i in range(40)]
    held_out = split_tasks(tasks, share=0.25, seed=3)
    labels = [
        Labelled(row.observation, row.budget, row.action, weight=float(not out), task_id=task)
        for row, out, task in zip(rows(40), held_out, tasks, strict=True)
    ]
    arguments: dict[str, Any] = {"seed": 3, "patience": 1, "share": 0.25, "progress": False}
    with pytest.warns(RuntimeWarning, match="trained to the end"):
        helper = LMSFTHelper.train(labels, **arguments)
    assert helper.info["steps"] == 4  # 30 observations in batches of 8
    assert "early_stopping" not in helper.info
    nothing = [Labelled(one.observation, one.budget, one.action, 0.0, one.task_id) for one in labels]
    with pytest.raises(InvalidArgumentError, match="labels must have weights"):
        LMSFTHelper.train(nothing, **arguments)
