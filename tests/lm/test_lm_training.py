"""The training loop (seeds, resuming, early stopping) and LoRA."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from selfreg_gym.errors import CheckpointError, InvalidArgumentError, SelfRegError
from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.training import add_lora, cast_parameters, finetune, held_out_loss, plan_batches, seeded

EXAMPLES = [[1, 5 + i % 7, 6, 5 + i % 3, *range(4, 4 + i % 5)] for i in range(40)]


def next_token(net: Any, batch: Sequence[list[int]]) -> torch.Tensor:
    ids = pad_right(batch, pad=0)
    return net(input_ids=ids, labels=ids.masked_fill(ids == 0, -100)).loss


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def run(model: Any, **kwargs: Any) -> tuple[Any, Any]:
    net = copy.deepcopy(model)
    arguments: dict[str, Any] = {"lr": 1e-2, "batch_size": 4, "seed": 3, **kwargs}
    return net, finetune(net, EXAMPLES, next_token, lengths=[len(row) for row in EXAMPLES], **arguments)


def test_the_loss_falls_and_depends_on_the_seed(model: Any) -> None:
    first, log = run(model, steps=40)
    assert log.steps == 40
    assert log.loss[-1] < 0.7 * log.loss[0]
    again, _ = run(model, steps=40)
    other, _ = run(model, steps=40, seed=4)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_a_resumed_run_equals_an_uninterrupted_one(model: Any, tmp_path: Path) -> None:
    whole, _ = run(model, steps=20)
    calls = 0

    def dying(net: Any, batch: Sequence[list[int]]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > 13:
            raise KeyboardInterrupt
        return next_token(net, batch)

    net = copy.deepcopy(model)
    arguments: dict[str, Any] = {"lengths": [len(row) for row in EXAMPLES], "lr": 1e-2, "batch_size": 4, "seed": 3}
    with pytest.raises(KeyboardInterrupt):
        finetune(net, EXAMPLES, dying, steps=20, resume=tmp_path, save_every=5, **arguments)
    resumed = copy.deepcopy(model)
    log = finetune(resumed, EXAMPLES, next_token, steps=20, resume=tmp_path, save_every=5, **arguments)
    assert log.steps == 20
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=1e-6)
    assert not list(tmp_path.iterdir())


def test_the_state_of_another_run_raises(model: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(model, steps=9, resume=tmp_path, save_every=2, validate=_interrupted, validate_every=5)
    with pytest.raises(CheckpointError, match="another run"):
        run(model, steps=9, resume=tmp_path, seed=8)
    next(tmp_path.iterdir()).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(model, steps=9, resume=tmp_path)


def test_the_best_weights_are_kept_and_training_stops_early(model: Any) -> None:
    scores = iter([3.0, 1.0, 2.0, 2.5, 0.0])
    seen: list[torch.Tensor] = []

    def validate(net: Any) -> float:
        seen.append(weights(net))
        return next(scores)

    net, log = run(model, steps=50, validate=validate, validate_every=5, patience=2)
    assert log.stopped_early
    assert log.validation == ((5, 3.0), (10, 1.0), (15, 2.0), (20, 2.5))
    assert torch.equal(weights(net), seen[1])


def test_accumulated_batches_are_one_step(model: Any) -> None:
    _, log = run(model, epochs=1, accumulate=2)
    assert log.steps == 5


def test_an_accumulated_step_equals_that_of_one_larger_batch(model: Any) -> None:
    def per_example(net: Any, batch: Sequence[list[int]]) -> torch.Tensor:
        return torch.stack([next_token(net, [row]) for row in batch]).mean()

    rows = EXAMPLES[:7]  # the last of the batches of 3 holds one example
    nets = []
    for arguments in ({"batch_size": 3, "accumulate": 3}, {"batch_size": 7}):
        net = copy.deepcopy(model)
        finetune(net, rows, per_example, lengths=[len(row) for row in rows], seed=1, lr=1e-3, steps=1, **arguments)
        nets.append(net)
    # AdamW's first step is the sign of the gradient: compare where that is not noise
    moved = weights(nets[1]) - weights(model)
    torch.testing.assert_close(weights(nets[0]) - weights(model), moved, rtol=0, atol=2e-5)
    assert moved.abs().max() > 5e-4


def test_early_stopping_in_a_resumed_run(model: Any, tmp_path: Path) -> None:
    scores = {2: 3.0, 4: 1.0, 6: 2.0, 8: 2.5, 10: 1.5, 12: 0.5}

    def validate(steps: list[int]) -> Any:
        def score(net: Any) -> float:
            steps.append(steps[-1] + 2)
            if len(steps) == 5 and steps[0] == 0 and kill:
                raise KeyboardInterrupt
            return scores[steps[-1]]

        return score

    arguments: dict[str, Any] = {"steps": 30, "validate_every": 2, "patience": 3}
    kill = False
    whole, expected = run(model, validate=validate([0]), **arguments)
    assert expected.stopped_early
    assert expected.validation[-1][0] == 10
    kill = True
    with pytest.raises(KeyboardInterrupt):  # at the validation of step 8, the last state is that of step 7
        run(model, validate=validate([0]), resume=tmp_path, save_every=1, **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["training_state.safetensors"]
    resumed, log = run(model, validate=validate([6]), resume=tmp_path, save_every=1, **arguments)
    assert (log.validation, log.steps) == (expected.validation, expected.steps)  # patience continues
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=1e-6)
    assert not list(tmp_path.iterdir())


def test_dropout_is_the_same_in_a_resumed_run(tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=20, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    assert config.resid_pdrop > 0
    with seeded(0):
        gpt2 = transformers.GPT2LMHeadModel(config)
    whole, _ = run(gpt2, steps=8)
    torch.manual_seed(99)  # draws elsewhere do not matter
    again, _ = run(gpt2, steps=8)
    assert torch.equal(weights(whole), weights(again))
    with pytest.raises(KeyboardInterrupt):
        run(gpt2, steps=8, resume=tmp_path, save_every=3, validate=_interrupted, validate_every=5)
    resumed, _ = run(gpt2, steps=8, resume=tmp_path, save_every=3)
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=1e-6)


def test_held_out_loss_is_the_mean_over_all_of_them(model: Any) -> None:
    rows = EXAMPLES[:7]
    score = held_out_loss(next_token, rows, lengths=[len(row) for row in rows], batch_size=1)(model)
    with torch.inference_mode():
        assert score == pytest.approx(np.mean([float(next_token(model, [row])) for row in rows]), abs=1e-6)


def _interrupted(net: Any) -> float:
    raise KeyboardInterrupt


def test_batches_hold_similar_lengths_and_every_example_once_an_epoch() -> None:
    lengths = np.random.default_rng(0).integers(10, 300, size=64).tolist()
    plan = plan_batches(lengths, batch_size=8, count=16, seed=1)
    for epoch in (plan[:8], plan[8:]):
        assert sorted(i for batch in epoch for i in batch) == list(range(64))
    assert plan[:8] != plan[8:]
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in plan]
    assert np.mean(spread) < 60


def test_lora_skips_the_tied_head_and_merges(model: Any) -> None:
    net = add_lora(copy.deepcopy(model), task="CAUSAL_LM", rank=4, seed=1)
    assert not any("lm_head" in name or "embed" in name for name, p in net.named_parameters() if p.requires_grad)
    ids = torch.tensor([[1, 5, 6, 7]])
    finetune(net, EXAMPLES, next_token, lengths=[len(row) for row in EXAMPLES], seed=0, lr=1e-2, steps=10)
    with torch.inference_mode():
        before = net(input_ids=ids).logits
        assert not torch.allclose(before, model(input_ids=ids).logits, atol=1e-2)
        merged = net.merge_and_unload()
        torch.testing.assert_close(merged(input_ids=ids).logits, before, rtol=0, atol=1e-4)
    assert merged.lm_head.weight.data_ptr() == merged.model.embed_tokens.weight.data_ptr()


def test_seeded_restores_the_global_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with seeded(1):
        torch.rand(3)
    assert torch.equal(torch.rand(1), expected)


def test_invalid_arguments_raise(model: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="needs examples"):
        finetune(model, [], next_token, lengths=[], seed=0, lr=1e-3)
    with pytest.raises(InvalidArgumentError, match="lr=0"):
        run(model, lr=0)
    with pytest.raises(InvalidArgumentError, match="patience=0"):
        run(model, patience=0)


def test_float16_is_trained_by_adapters_only(model: Any) -> None:
    halved = cast_parameters(copy.deepcopy(model), torch.float16)
    with pytest.raises(InvalidArgumentError, match=r"float16 cannot be trained.*LoRA"):
        run(halved, steps=2)
    adapted = add_lora(halved, task="CAUSAL_LM", rank=4)
    log = finetune(adapted, EXAMPLES, next_token, lengths=[len(row) for row in EXAMPLES], lr=1e-2, seed=3, steps=30)
    assert log.loss[-1] < 0.9 * log.loss[0]


def test_a_loss_that_is_not_finite_raises_before_the_step(model: Any, tmp_path: Path) -> None:
    calls = 0

    def breaking(net: Any, batch: Sequence[list[int]]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return next_token(net, batch) * (float("nan") if calls == 7 else 1.0)

    net = copy.deepcopy(model)
    arguments: dict[str, Any] = {"lengths": [len(row) for row in EXAMPLES], "lr": 1e-2, "batch_size": 4, "seed": 3}
    with pytest.raises(SelfRegError, match=r"loss .* received nan at step 7 of 20: try a smaller learning rate"):
        finetune(net, EXAMPLES, breaking, steps=20, resume=tmp_path, save_every=1, **arguments)
    assert weights(net).isfinite().all()
    resumed = copy.deepcopy(model)
    assert finetune(resumed, EXAMPLES, next_token, steps=20, resume=tmp_path, **arguments).steps == 20
    torch.testing.assert_close(weights(resumed), weights(run(model, steps=20)[0]), rtol=0, atol=1e-6)
    with pytest.raises(SelfRegError, match=r"validation .* received nan at step 5 of 20"):
        run(model, steps=20, validate=lambda net: float("nan"), validate_every=5)
