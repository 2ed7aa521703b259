"""The value head: its loss is 1 - R2, the text adds nothing before training, and it is saved whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selfreg_gym.errors import CheckpointError
from selfreg_gym.lm.gain_model import GainHead, GainModel, gain_loss, load_head, save_head, text_features
from selfreg_gym.lm.loading import load_causal

TINY = Path(__file__).parents[2] / "agents" / "checkpoints" / "sif" / "tiny"
PRICES = (0.4, 0.1, 0.0)


def targets(n: int = 400, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, len(PRICES), 2, 2, generator=torch.Generator().manual_seed(seed))


def test_predicting_the_mean_has_a_loss_of_about_one_and_the_truth_of_zero() -> None:
    head, wanted = GainHead(4, 3, PRICES, 2), targets()
    head.fit_scale(wanted * torch.tensor([1.0, 1e-6]))
    small = head.scale.clone()
    head.fit_scale(wanted)
    torch.testing.assert_close(small, head.scale * torch.tensor([1.0, 1e-6]))  # in cost units
    mean = wanted.mean(0).expand_as(wanted)
    assert float(gain_loss(head, mean, wanted).mean()) == pytest.approx(1.1, abs=1e-4)
    assert float(gain_loss(head, wanted, wanted).mean()) == 0.0
    found = mean + 0.3 * (wanted - mean)
    gain = [one[..., 0] - torch.tensor(PRICES)[:, None] * one[..., 1] for one in (found, wanted)]
    share = ((gain[0] - gain[1]) ** 2).mean(0) / gain[1].var(0, correction=0)
    assert float(gain_loss(head, found, wanted).mean()) == pytest.approx(float(share.mean()) + 0.1 * 0.49, rel=1e-4)


def test_before_training_the_text_adds_nothing() -> None:
    head = GainHead(8, 3, PRICES, 2, seed=1).eval()
    numbers = torch.randn(5, 3)
    with torch.inference_mode():
        torch.testing.assert_close(head(torch.randn(5, 8), numbers), head.without_text(numbers))


def test_the_features_of_a_text_do_not_depend_on_padding() -> None:
    backbone = load_causal(TINY)
    rows = [[1, 20, 30, 40, 50], [1, 25, 35]]
    padded = torch.tensor([rows[0], [*rows[1], 0, 0]])
    with torch.inference_mode():
        both = text_features(backbone, padded, [5, 3])
        alone = torch.cat([text_features(backbone, torch.tensor([row]), [len(row)]) for row in rows])
        hidden = backbone.model(torch.tensor([rows[0]])).last_hidden_state[0]
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(both[0], torch.cat([hidden[-1], hidden.mean(0), hidden.mean(0)]), atol=1e-5, rtol=0)
    long = torch.randint(5, 250, (1, 100), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        hidden, found = backbone.model(long).last_hidden_state[0], text_features(backbone, long, [100])[0]
    parts = torch.cat([hidden[-1], hidden[-32:].mean(0), hidden.mean(0)])
    torch.testing.assert_close(found, parts, atol=1e-5, rtol=0)
    model = GainModel(backbone, GainHead(both.shape[1], 0, PRICES, 1)).eval()
    assert model(padded, [5, 3], torch.zeros(2, 0)).shape == (2, len(PRICES), 1, 2)


def test_a_head_is_saved_and_loaded_and_damage_is_found(tmp_path: Path) -> None:
    head = GainHead(8, 3, PRICES, 2, seed=1)
    head.fit_scale(targets())
    save_head(head, tmp_path)
    sizes = {"text": 8, "numbers": 3, "prices": PRICES, "interventions": 2}
    loaded = load_head(tmp_path, **sizes)
    x = torch.randn(5, 8), torch.randn(5, 3)
    with torch.inference_mode():
        assert torch.equal(loaded(*x), head.eval()(*x))
    with pytest.raises(CheckpointError, match="must have the weights"):
        load_head(tmp_path, **{**sizes, "numbers": 4})
    tensors = load_file(tmp_path / "head.safetensors")
    tensors["mean"] = torch.full_like(tensors["mean"], float("nan"))
    save_file(tensors, tmp_path / "head.safetensors")
    with pytest.raises(CheckpointError, match="NaN"):
        load_head(tmp_path, **sizes)
    (tmp_path / "head.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_head(tmp_path, **sizes)


def test_the_seed_determines_the_weights() -> None:
    first, second, other = (GainHead(4, 2, PRICES, 1, seed=seed) for seed in (0, 0, 1))
    weights = [
        np.concatenate([p.detach().numpy().ravel() for p in head.parameters()]) for head in (first, second, other)
    ]
    assert (weights[0] == weights[1]).all()
    assert (weights[0] != weights[2]).any()
