"""Records beside weights are strict JSON: a number that is not finite is written as null, and null can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.errors import CheckpointError
from selfreg_gym.lm.loading import load_causal, load_classifier
from selfreg_gym.lm.model_card import write_card
from selfreg_gym.lm.training_state import Progress, TrainingState
from selfreg_gym.prm import ProcessRewardModel

INFO = {"held_out": {"auc": float("nan"), "ece": 0.1}, "loss": [1.0, float("inf")], "targets": "nohelp"}
PLAIN = {"held_out": {"auc": None, "ece": 0.1}, "loss": [1.0, None], "targets": "nohelp"}


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_process_reward_model(checkpoint: Path, tokenizer: Any, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        classifier = load_classifier(checkpoint)
    ProcessRewardModel(classifier, tokenizer, info=INFO).save_pretrained(tmp_path)
    assert strict((tmp_path / "prm.json").read_text())["info"] == PLAIN
    assert ProcessRewardModel.from_pretrained(tmp_path).info == PLAIN


def test_a_scale_that_is_not_a_number_raises(checkpoint: Path, tokenizer: Any, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        classifier = load_classifier(checkpoint)
    ProcessRewardModel(classifier, tokenizer, scale=(float("nan"), 0.0)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"'scale' .* must be two numbers"):
        ProcessRewardModel.from_pretrained(tmp_path)


def test_a_helper(checkpoint: Path, tokenizer: Any, tmp_path: Path) -> None:
    LMSFTHelper(load_causal(checkpoint), tokenizer, answers=[5, 9], info=INFO).save_pretrained(tmp_path)
    assert strict((tmp_path / "helper.json").read_text())["info"] == PLAIN
    assert LMSFTHelper.from_pretrained(tmp_path).info == PLAIN


def test_a_card(tmp_path: Path) -> None:
    write_card(tmp_path, title="t", what="w", tags=(), info=INFO, usage="x")
    text = (tmp_path / "README.md").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert ".nan" not in text


def test_a_state_with_invalid_losses_raises(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    weights = dict(layer.named_parameters())
    state = TrainingState(tmp_path, fingerprint="x")
    state.save(Progress(1, [float("nan")], [], None), weights, optimizer)
    with pytest.raises(CheckpointError, match="must hold the steps done and their losses"):
        state.load(weights, optimizer)
