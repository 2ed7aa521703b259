"""Results do not depend on the batch; in 16-bit types every row is read alone, for every model family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.batching import rows_per_forward
from selfreg_gym.lm.readers import PromptGroupReader
from selfreg_gym.lm.scoring_paths import best_path
from selfreg_gym.prm import ProcessRewardModel
from selfreg_gym.types import Decision

TEXTS = ["Room 2", "red green blue one two three four", "one", "Room 2 has: a table, a cup on a table. " * 3, "ten is"]


def decisions() -> list[Decision]:
    return [Decision(text, ("Done!", "Go to Room 3", "one"), key=(i, 0, 0)) for i, text in enumerate(TEXTS)]


def families(tokenizer: Any) -> dict[str, Any]:
    """Models without a key-value cache, or without position ids."""
    import transformers as hf

    size = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return {
        "mamba": lambda: hf.MambaForCausalLM(hf.MambaConfig(hidden_size=16, num_hidden_layers=1, **size)),
        "mpt": lambda: hf.MptForCausalLM(
            hf.MptConfig(d_model=32, n_heads=2, n_layers=2, max_seq_len=128, initializer_range=0.2, **size)
        ),
        "recurrent gemma": lambda: hf.RecurrentGemmaForCausalLM(
            hf.RecurrentGemmaConfig(
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=3,
                num_attention_heads=2,
                lru_width=16,
                attention_window_size=64,
                **size,
            )
        ),
    }


@pytest.fixture(params=["mamba", "mpt", "recurrent gemma"])
def folder(request: pytest.FixtureRequest, tokenizer: Any, tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        families(tokenizer)[request.param]().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ranking_does_not_depend_on_batch_or_order(checkpoint: Path, dtype: str) -> None:
    actor = LM(checkpoint, dtype=dtype, memo=0)
    together = [act.logprobs for act in actor.act(decisions())]
    assert [act.logprobs for act in actor.act(decisions()[::-1])][::-1] == together
    assert [actor.act([one])[0].logprobs for one in decisions()] == together


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_generation_does_not_depend_on_the_batch(checkpoint: Path, dtype: str) -> None:
    actor = LM(checkpoint, mode="generate", dtype=dtype, max_new_tokens=12)
    together = [act.text for act in actor.act(decisions())]
    assert [actor.act([one])[0].text for one in decisions()] == together


def test_a_process_reward_model_in_bfloat16(model: Any, tokenizer: Any, checkpoint: Path) -> None:
    from selfreg_gym.lm.loading import load_classifier

    with torch.random.fork_rng():
        torch.manual_seed(1)
        classifier = load_classifier(checkpoint, dtype="bfloat16")
    scorer = ProcessRewardModel(classifier, tokenizer, memo=0)
    assert np.array_equal(scorer.score(TEXTS), np.concatenate([scorer.score([text]) for text in TEXTS]))


def test_a_prompt_in_bfloat16_does_not_depend_on_its_group(checkpoint: Path, tokenizer: Any) -> None:
    from selfreg_gym.lm.loading import load_causal

    reader = PromptGroupReader(load_causal(checkpoint, dtype="bfloat16"), tokenizer, [5, 9], memo=0)
    groups = [[f"{text}\nBudget {budget}. Help?" for budget in ("1", "2")] for text in TEXTS]
    together = reader.read(groups)
    alone = np.stack([[reader.read([[question]])[0, 0] for question in group] for group in groups])
    assert np.array_equal(together, alone)


def test_rows_per_forward(model: Any) -> None:
    assert (rows_per_forward(model, None), rows_per_forward(model, 3)) == (8, 3)
    with pytest.raises(InvalidArgumentError, match="at least 1 row, received 0"):
        rows_per_forward(model, 0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recurrent_families_rank_and_generate(folder: Path, dtype: str) -> None:
    actor = LM(folder, dtype=dtype, memo=0)
    assert best_path(actor.scorer.model) != "tree"
    reference = LM(folder, dtype=dtype, memo=0, scoring="naive").act(decisions())
    tolerance = 2e-3 if dtype == "float32" else 3e-2
    for act, expected in zip(actor.act(decisions()), reference, strict=True):
        assert np.allclose(act.logprobs, expected.logprobs, atol=tolerance)
    writer = LM(folder, mode="generate", dtype=dtype, max_new_tokens=4)
    together = [act.text for act in writer.act(decisions())]
    assert [writer.act([one])[0].text for one in decisions()] == together
