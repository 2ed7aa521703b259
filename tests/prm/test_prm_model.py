"""The process reward model: training, calibration, saving and loading, errors; and its baseline."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym.errors import CheckpointError, InvalidArgumentError, UnknownNameError
from selfreg_gym.prm import BagOfWords, ProcessRewardModel
from selfreg_gym.types import Episode, Transition

THINGS = "cup hat book bowl plate shoe".split()
PLACES = "table bed chair couch counter cabinet".split()


def observation(thing: str, place: str, rng: np.random.Generator) -> str:
    rooms = [f"Room {i}: {rng.choice(PLACES)} with {rng.choice(THINGS)}." for i in range(1, 4)]
    return "\n".join([*rooms, f"You are in Room {rng.integers(1, 4)} and hold a {thing}.", f"You see a {place}."])


def episodes(count: int, *, seed: int = 0, help_probability: float = 0.0) -> list[Episode]:
    """Holding a cup or a hat succeeds in nine of ten episodes, all else in one of ten."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        thing = str(rng.choice(THINGS))
        success = bool(rng.random() < (0.9 if thing in ("cup", "hat") else 0.1))
        steps = tuple(
            Transition(
                t=t, observation=observation(thing, str(rng.choice(PLACES)), rng), admissible_actions=("Done!",),
                state_key=f"{i}/{t}", feature_key=None, steps_left=3 - t, action=int(rng.random() < help_probability),
                action_text="Done!", cost=0.0, reward=0.0, terminated=t == 2, truncated=False, invalid=False,
            )
            for t in range(3)
        )  # fmt: skip
        out.append(
            Episode(
                task_index=i % 20, seed=i, task_id=f"task-{i % 20}", kind="", help_probability=help_probability,
                success=success, usage=(float(sum(s.action for s in steps)),), steps=steps,
            )
        )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def prm() -> ProcessRewardModel:
    return ProcessRewardModel.train(episodes(200), seed=1, epochs=3, lr=3e-3, progress=False)


def test_it_learns_the_rule_and_is_calibrated(prm: ProcessRewardModel) -> None:
    fresh = episodes(150, seed=9)
    table = prm.calibration(fresh)
    assert table["auc"] > 0.8  # 0.9 is the maximum with this noise
    assert table["ece"] < 0.12
    assert sum(table["count"]) == table["n"] == 450
    rng = np.random.default_rng(3)
    good, bad = prm.score([observation("cup", "bed", rng), observation("shoe", "bed", rng)])
    assert good > 0.7 > 0.3 > bad


def test_the_reported_figures_are_those_of_held_out_tasks(prm: ProcessRewardModel) -> None:
    held = prm.calibration()
    assert held["n"] == 4 * 10 * 3  # a fifth of 20 tasks, ten episodes each of three decisions
    assert len(prm.info["calibration_tasks"]) == 4
    assert held["auc"] > 0.75


def test_scores_do_not_depend_on_the_batch(prm: ProcessRewardModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    texts = [
        observation(str(rng.choice(THINGS)), "bed", rng) + " You see a table." * int(rng.integers(4)) for _ in range(25)
    ]
    prm.save_pretrained(tmp_path)
    alone = ProcessRewardModel.from_pretrained(tmp_path, memo=0)
    together = prm.score(texts)
    assert together.shape == (25,)
    assert together.dtype == np.float64
    np.testing.assert_allclose([alone.score(text)[0] for text in texts], together, atol=1e-4)


def test_a_loaded_model_has_the_same_scores(prm: ProcessRewardModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    texts = [observation("hat", "bed", rng) for _ in range(4)]
    prm.save_pretrained(tmp_path / "prm")
    loaded = ProcessRewardModel.from_pretrained(tmp_path / "prm")
    np.testing.assert_array_equal(loaded.score(texts), prm.score(texts))
    assert loaded.info == json.loads(json.dumps(prm.info))
    assert not list((tmp_path / "prm").glob("*.bin"))


def test_other_directories_are_refused(prm: ProcessRewardModel, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"prm\.json"):
        ProcessRewardModel.from_pretrained(tmp_path)
    prm.save_pretrained(tmp_path)
    record = json.loads((tmp_path / "prm.json").read_text())
    (tmp_path / "prm.json").write_text(json.dumps({**record, "format": "selfreg-prm-0"}))
    with pytest.raises(CheckpointError, match="selfreg-prm-0"):
        ProcessRewardModel.from_pretrained(tmp_path)
    (tmp_path / "prm.json").write_text("[]")
    with pytest.raises(CheckpointError, match="cannot be read"):
        ProcessRewardModel.from_pretrained(tmp_path)


def test_every_weight_can_be_trained_instead_of_adapters() -> None:
    model = ProcessRewardModel.train(episodes(30), seed=1, epochs=1, lora=None, progress=False)
    assert model.info["lora"] is None
    assert 0 <= model.score("Room 1: table.")[0] <= 1


def test_equal_seeds_give_equal_models() -> None:
    first, second = (
        ProcessRewardModel.train(episodes(30), seed=2, epochs=0.5, max_states=40, progress=False) for _ in range(2)
    )
    texts = [step.observation for step in episodes(4, seed=8)[0]]
    np.testing.assert_array_equal(first.logits(texts), second.logits(texts))


def test_the_bag_of_words_learns_the_rule_too(prm: ProcessRewardModel) -> None:
    baseline = BagOfWords.train(episodes(200), seed=1)
    assert baseline.calibration()["n"] == prm.calibration()["n"]
    assert baseline.calibration(episodes(150, seed=9))["auc"] > 0.8


def test_the_bag_of_words_minimises_its_documented_objective() -> None:
    examples = [(step.observation, episode.success) for episode in episodes(60) for step in episode]
    texts, y = [text for text, _ in examples], np.array([float(won) for _, won in examples])
    weight = np.random.default_rng(0).exponential(size=len(y))
    model = BagOfWords.fit(texts, y, weight=weight, ridge=2.0)
    words = [set(re.findall(r"\w+|[^\w\s]", text.lower())) for text in texts]
    single = [word for word in model.vocabulary if " " not in word]
    assert single == sorted({w for w in set().union(*words) if 5 <= sum(w in some for some in words) < len(texts)})
    error = weight * (model.score(texts) - y)  # the gradient is 0: error . x + ridge * w for every word, error for b
    for word, value in zip(model.vocabulary, model.weight, strict=True):
        if word in single:
            assert error @ [word in some for some in words] + 2.0 * value == pytest.approx(0, abs=1e-5)
    assert error.sum() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("outcome", [[1, 1, 1], [0, 0, 0], [1, 0, 1]])
def test_without_a_usable_word_or_a_second_outcome_the_baseline_is_the_success_rate(outcome: list[int]) -> None:
    model = BagOfWords.fit(["a b", "b c", "d"], np.array(outcome))
    np.testing.assert_allclose(model.score(["a", "x y"]), np.mean(outcome), atol=1e-8)
    assert model.score([]).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"targets": "no-help"}, UnknownNameError, "Did you mean 'nohelp'"),
        ({"backbone": "tinny"}, UnknownNameError, "Did you mean 'tiny'"),
        ({"clip": 0.5}, InvalidArgumentError, "clip"),
    ],
)
def test_bad_input_says_what_is_wrong(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ProcessRewardModel.train(episodes(4), progress=False, **arguments)


def test_one_task_cannot_be_split() -> None:
    with pytest.raises(InvalidArgumentError, match="at least 2 tasks"):
        ProcessRewardModel.train(episodes(1), progress=False)
