"""``backbone="auto"`` chooses a checkpoint that can read the task, or builds one; a named one must read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.backbone import AUTO, BUILT, backbone_path, checkpoint_of_spec, opened_backbone, weights_hash
from selfreg_gym.lm.prompts import helper_prompt
from selfreg_gym.lm.small_llama import build_small_llama, steps_from_scratch
from selfreg_gym.prm import ProcessRewardModel
from selfreg_gym.types import Episode, Transition

LAMPS = ("azure", "ochre", "sepia", "umber")
SIGNALS = [f"Post {post} of 9. The {lamp} lamp glows." for post in range(1, 10) for lamp in LAMPS]
ROOMS = ["Room 2 has: a table, a cup on a table.", "Room 3 has: a cup. You can: Go to Room 2"]
ASKED = [helper_prompt("", budget) for budget in (0.5, 1.0, 2.0)]


@dataclass(frozen=True, slots=True)
class Row:
    observation: str
    budget: float
    action: int
    weight: float = 1.0


def labels() -> list[Row]:
    """Labels that say help for the sepia lamp from budget 1, and for the umber lamp from budget 2."""
    need = {"sepia": 2.0, "umber": 1.0}
    return [
        Row(text, budget, int(budget >= min([need[lamp] for lamp in need if lamp in text], default=9.0)))
        for text in SIGNALS
        for budget in (0.5, 1.0, 2.0)
    ] * 4


def episodes() -> list[Episode]:
    """Episodes whose success depends on the lamp."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(160):
        lamp = LAMPS[i % 4]
        text = f"Post {i % 9 + 1} of 9. The {lamp} lamp glows."
        success = bool(rng.random() < 0.1 + 0.25 * LAMPS.index(lamp))
        step = Transition(
            t=0, observation=text, admissible_actions=("go",), state_key=text, feature_key=None, steps_left=1, action=0,
            action_text="go", cost=0.0, reward=float(success), terminated=True, truncated=False,
            invalid=False,
        )  # fmt: skip
        found.append(Episode(i, i, f"task-{i % 20}", "signals", 0.0, success, (0.0,), (step,)))
    return found


def test_auto_chooses_the_actors_backbone_if_it_can_read_the_task(checkpoint: Path) -> None:
    with opened_backbone(AUTO, ROOMS, prompts=ASKED, actor=checkpoint) as found:
        assert (found.path, found.built, found.rejected) == (checkpoint, False, {})
        assert found.record()["unknown_tokens"] <= 0.05


def test_auto_chooses_the_shipped_backbone_if_the_actors_cannot_read_or_is_missing(checkpoint: Path) -> None:
    household = ["You are in Room 3 and hold nothing.\nHelp?", "You are in Room 2 and hold a cup."]
    with opened_backbone(AUTO, household, prompts=ASKED) as found:
        assert (found.name, found.built) == ("tiny", False)
    with opened_backbone(AUTO, household, actor=checkpoint) as found:
        assert found.name == "tiny"
        assert found.rejected[checkpoint.name] > 0.05


def test_auto_builds_a_backbone_if_no_other_can_read_the_task() -> None:
    with opened_backbone(AUTO, SIGNALS, prompts=ASKED, seed=3) as found:
        assert (found.name, found.built, found.unknown.share) == (BUILT, True, 0.0)
        assert found.rejected["tiny"] > 0.05
        folder, first = found.path, weights_hash(found.path)
    assert not folder.exists()
    for seed, same in ((3, True), (4, False)):
        with opened_backbone(AUTO, SIGNALS[::-1], prompts=ASKED, seed=seed) as found:
            assert (weights_hash(found.path) == first) is same


def test_prompts_that_become_equal_are_not_readable() -> None:
    texts = ["You are in Room 3 and hold nothing."]
    asked = [helper_prompt("", budget) for budget in (0.123, 0.456)]  # written with two decimals: 0.12 and 0.46
    with opened_backbone(AUTO, texts, prompts=asked) as found:
        assert not found.built
    with opened_backbone(AUTO, texts, prompts=["Budget 0.05 zloty", "Budget 0.05 forint"]) as found:
        assert found.built


def test_budgets_with_equal_prompts_raise() -> None:
    alike = [Row(SIGNALS[0], budget, 0) for budget in (0.001, 0.002)]
    with pytest.raises(
        InvalidArgumentError, match=r"differ when written with two decimals, received \[0\.001, 0\.002\]"
    ):
        LMSFTHelper.train(alike, progress=False)


def test_a_named_backbone_that_cannot_read_the_task_raises_before_training(tmp_path: Path) -> None:
    rule = r"at most 5% of a task's tokens .* received 'tiny'.*'(Post|glows|lamp|azure)'.*backbone=\"auto\""
    with pytest.raises(InvalidArgumentError, match=rule):
        LMSFTHelper.train(labels(), backbone="tiny", resume=tmp_path / "resume", progress=False)
    with pytest.raises(InvalidArgumentError, match=rule):
        ProcessRewardModel.train(episodes(), backbone="tiny", resume=tmp_path / "resume", progress=False)
    assert not (tmp_path / "resume").exists()


def test_a_helper_learns_a_task_that_no_shipped_backbone_can_read() -> None:
    helper = LMSFTHelper.train(labels(), seed=1, progress=False)
    assert helper.info["backbone"] == BUILT
    assert (helper.info["backbone_built"], helper.info["unknown_tokens"]) == (True, 0.0)
    right = [int(helper.with_budget(row.budget).predict(row.observation)[0]) == row.action for row in labels()[:108]]
    assert np.mean(right) == 1.0


def test_a_process_reward_model_learns_a_task_that_no_shipped_backbone_can_read(tmp_path: Path) -> None:
    model = ProcessRewardModel.train(episodes(), seed=1, epochs=4, progress=False)
    assert (model.info["backbone"], model.info["lora"]) == (BUILT, None)
    scores = model.score([f"Post 4 of 9. The {lamp} lamp glows." for lamp in LAMPS])
    assert scores[0] < scores[3]
    model.save_pretrained(tmp_path / "prm")
    card = (tmp_path / "prm" / "README.md").read_text()
    assert "unknown_tokens" in card
    again = ProcessRewardModel.from_pretrained(tmp_path / "prm")
    new = ["Post 12 of 9. The mauve lamp glows."]
    np.testing.assert_allclose(again.score(new), model.score(new))


def test_steps_from_scratch() -> None:
    assert steps_from_scratch(48, epochs=1, batch_size=8) == 48
    assert steps_from_scratch(4000, epochs=1, batch_size=8) == 1000
    assert steps_from_scratch(40_000, epochs=1, batch_size=8) == 5000
    assert steps_from_scratch(4000, epochs=1, batch_size=8, accumulate=4) == 1000


def test_a_built_backbone_has_positions_for_longer_texts(tmp_path: Path) -> None:
    from selfreg_gym.lm.loading import load_causal, load_tokenizer

    folder = build_small_llama(["word " * 700, "another word"], tmp_path)
    assert load_causal(folder).config.max_position_embeddings == 4096
    assert load_tokenizer(folder).unk_token_id is not None
    with pytest.raises(InvalidArgumentError, match="at least one text"):
        build_small_llama(["", ""], tmp_path)


def test_the_backbone_of_the_actor_that_a_store_names(checkpoint: Path) -> None:
    assert checkpoint_of_spec({"env": {"actor": "lm", "actor_kwargs": {"path": str(checkpoint)}}}) == checkpoint
    assert checkpoint_of_spec({"env": {"actor": "tiny"}}) == backbone_path("tiny")
    for spec in (None, {}, {"env": {"actor": "scripted"}}, {"env": {"actor": "lm", "actor_kwargs": {"path": "gone"}}}):
        assert checkpoint_of_spec(spec) is None
